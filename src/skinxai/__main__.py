"""``python -m skinxai``: the command line, as torchrun starts it."""

from skinxai.cli import main

if __name__ == "__main__":
    main()
