"""Programs that are forked do and say what those do that Python starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm

PLACES = "import os, sys; print(sys.argv, os.getcwd(), sys.path[0], __name__, os.environ['OWN'])"
ENDS = "import atexit; atexit.register(print, 'the end'); print(input()); raise SystemExit"
PROGRAMS = {
    "places": ["-c", PLACES, "a", "-b"],
    "file": ["program.py", "a"],
    "module": ["-m", "program", "a"],
    "options": ["-W", "error", "-c", PLACES],
    "code": ["-c", f"{ENDS}(3)"],
    "text": ["-c", f"{ENDS}('in words')"],
    "error": ["-c", f"{ENDS} from 1 / 0"],
    "interrupt": ["-c", "raise KeyboardInterrupt"],
    "killed": ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
    "full": ["-c", "print('x' * 9); import os; os.close(1)"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_one_that_python_starts(name: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"{PLACES}; print(__file__)")
    more = {
        "env": os.environ | {"OWN": "own", "PYTHONPATH": ""}, "cwd": tmp_path, "input": "said\n",
        "capture_output": True, "text": True,
    }  # fmt: skip
    words = [sys.executable, *PROGRAMS[name]]
    plain, forked = subprocess.run(words, **more), warm.run(words, **more)
    assert (forked.returncode, forked.stdout) == (plain.returncode, plain.stdout)
    assert forked.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]
    assert forked.args == words


def test_torch_is_there_and_an_end_is_heard_once() -> None:
    code = "import sys; print('torch' in sys.modules, flush=True); sys.stdin.read()"
    with warm.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == f"{sys.platform == 'linux'}\n"
        assert program.poll() is None
        program.terminate()
        assert program.wait() == program.poll() == -15


@pytest.mark.parametrize(
    ("name", "forked"), [("TORCHINDUCTOR_CACHE_DIR", True), ("TORCH_LOGS", False)]
)
def test_what_torch_reads_at_its_import_is_read_anew(name: str, forked: bool) -> None:
    """It sets the one itself, and reads the other at its import."""
    words = [sys.executable, "-c", "import sys; print('torch' in sys.modules)"]
    done = warm.run(words, env=os.environ | {name: "none"}, capture_output=True, text=True)
    assert done.stdout == f"{forked and sys.platform == 'linux'}\n"
