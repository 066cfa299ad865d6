"""Scripts that train while the decoding processes that they start import them."""

import sys
from pathlib import Path

import pytest
import warm
from waiting import LIMIT

from skinxai.training import process

SCRIPT = """
import multiprocessing
multiprocessing.set_start_method({method!r}, force=True)
from skinxai.errors import TrainingError
from skinxai.training.process import check_main_guard

def train():
    try:
        check_main_guard({workers})
    except TrainingError as error:
        print("refused:", error)
    else:
        print("trains")

{call}
"""
GUARDED = 'if __name__ == "__main__":\n    train()'
REFUSED = (
    "refused: a script must not train while decoding processes import it, as they do on Windows, "
    "on macOS and with the start method 'spawn'; this one does; put the call of fit under "
    '`if __name__ == "__main__":`, or pass workers=0.\n'
)


@pytest.mark.parametrize(
    ("method", "workers", "call", "said"),
    [
        ("spawn", 2, "train()", REFUSED),
        ("spawn", 2, GUARDED, "trains\n"),
        ("spawn", 0, "train()", "trains\n"),
    ],
    ids=["without", "guarded", "no workers"],
)
def test_a_script_that_trains_has_a_main_guard(tmp_path: Path, method, workers, call, said) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(method=method, workers=workers, call=call))
    done = warm.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.stdout, done.returncode) == (said, 0), done.stderr


def test_where_processes_are_forked_no_process_is_started(monkeypatch) -> None:
    monkeypatch.setattr(process.multiprocessing, "get_start_method", lambda: "fork")
    monkeypatch.setattr(process.multiprocessing, "Process", None)
    process.check_main_guard(2)
