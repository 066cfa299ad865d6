"""Write a checkpoint again and again, killed before and after each call that changes the disk.

Usage: python killed_writes.py FOLDER KEEP        (prints the calls of one write, in order)
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skinxai.training.checkpointing import CheckpointFolder

CALLS = ("open", "fsync", "chmod", "replace", "rename", "unlink", "close")


def watched(name: str, call: Callable[..., Any], moment: list[int], seen: list[str]) -> Any:
    def run(*values: Any, **keywords: Any) -> Any:
        seen.append(name)
        _die(moment)
        result = call(*values, **keywords)
        _die(moment)
        return result

    return run


def _die(moment: list[int]) -> None:
    if not moment[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    moment[0] -= 1


def write(folder: Path, keep: int, moment: int) -> list[str]:
    """Write the tenth checkpoint, and be killed at a moment."""
    checkpoints, seen, left = CheckpointFolder(folder, keep), [], [moment]
    for name in CALLS:
        setattr(os, name, watched(name, getattr(os, name), left, seen))
    checkpoints.write(10, bytes([10]) * 5000)
    return seen


def main(folder: Path, keep: int) -> None:
    moment, code = 0, None
    while code != 0:
        checkpoints = folder / str(moment) / "checkpoints"
        for number in range(10 - keep, 10):
            CheckpointFolder(checkpoints, keep).write(number, bytes([number]) * 5000)
        child = os.fork()
        if not child:
            calls = write(checkpoints, keep, moment)
            sys.stdout.write(" ".join(calls))
            sys.stdout.flush()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        moment += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
