"""The commands of a page of the documentation, run as they stand there.

As a program, with the words of several commands of skinxai as JSON, it runs them one after another
in its own process, since the imports take longer than most commands, and ends with the exit code of
the first that fails.
"""

import json
import re
import shlex
import sys
from itertools import groupby
from pathlib import Path

import warm
from places import ROOT
from waiting import LIMIT


def commands_of(page: str) -> list[str]:
    """The lines of the consoles of a page under ``docs``, without their prompt."""
    return re.findall(r"^\$ (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)


def run_page(page: str, folder: Path) -> Path:
    """Run the commands of a page in a folder that holds the repository's ``examples``."""
    (folder / "examples").symlink_to(ROOT / "examples")
    for ours, commands in groupby(commands_of(page), lambda line: line.startswith("skinxai ")):
        if ours:
            words = json.dumps([shlex.split(command) for command in commands])
            run([sys.executable, __file__, words], folder)
            continue
        for command in commands:
            path = f'PATH="{Path(sys.executable).parent}:$PATH"'
            run(["bash", "-c", f"{path} {command}"], folder)
    return folder


def run(words: list[str], folder: Path) -> str:
    """What a program prints that must end well."""
    done = warm.run(words, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    from skinxai.cli import main

    for words in json.loads(sys.argv[1]):
        sys.argv = words
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
