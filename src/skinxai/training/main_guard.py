"""Whether the script that trains can be imported by processes that are started anew.

On Windows and macOS, and wherever `multiprocessing` starts by ``spawn`` or ``forkserver``, each
decoding process imports the script that started it. Without a main guard it would train, too.
"""

from __future__ import annotations

import multiprocessing
import sys

from skinxai.errors import TrainingError

_NAME, _CODE = "skinxai-main-guard", 78


def check_main_guard(workers: int) -> None:
    """Refuse a script without a main guard before anything is written.

    One process is started that imports the script and does nothing else.

    Args:
        workers: decoding processes that the run is going to start.

    Raises:
        TrainingError: the script has no main guard, or this process is one that imports it.
    """
    here = multiprocessing.current_process()
    if getattr(here, "_inheriting", False):  # true as long as the script is being imported
        if here.name == _NAME:
            sys.exit(_CODE)
        raise _without_guard()
    if not workers or here.daemon or multiprocessing.get_start_method() == "fork":
        return
    process = multiprocessing.Process(target=_nothing, name=_NAME)
    process.start()
    process.join()
    if process.exitcode == _CODE:
        raise _without_guard()


def _without_guard() -> TrainingError:
    return TrainingError(
        "a script must not train while decoding processes import it, as they do on Windows, on "
        "macOS and with the start method 'spawn'; this one does",
        python='put the call of fit under `if __name__ == "__main__":`, or pass workers=0',
    )


def _nothing() -> None:
    """What the process does that only imports the script."""
