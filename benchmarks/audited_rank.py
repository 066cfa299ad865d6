"""A rank of `kills_of_ranks.py`: ``skinxai train`` that writes down each image it learnt from.

Each line of its file in the folder ``AUDIT`` is one step: its number, and the positions of the
images that this rank had of it. ``KILL`` may name a moment at which the rank sends a signal:
``{"at": "step", "count": 3, "rank": 1, "victim": 0, "signal": 9}``; the victim ``-1`` is torchrun.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

AUDIT, RANK = Path(os.environ["AUDIT"]), int(os.environ.get("RANK", "0"))
KILL: dict[str, Any] = json.loads(os.environ.get("KILL", "{}"))


def passes(moment: str) -> None:
    """A moment is reached: the signal is sent where it is the one to send it at."""
    if KILL.get("at") != moment or KILL["rank"] != RANK:
        return
    KILL["count"] -= 1
    if not KILL["count"]:
        number = KILL["victim"]
        victim = os.getppid() if number < 0 else int((AUDIT / f"pid-{number}").read_text())
        (AUDIT / "sent").touch()
        os.kill(victim, KILL["signal"])
        if victim == os.getpid():
            signal.pause()  # until it is gone


def audited() -> None:
    """Let the training write down what it does."""
    from skinxai.disk import writing
    from skinxai.training import loop

    lines = (AUDIT / f"steps-{RANK}").open("a", buffering=1)
    step, validate, sync = loop.Loop._step, loop.validate, os.fsync

    def audited_step(own: Any, batch: Any, share: Any, number: int, rate: float) -> float:
        loss = step(own, batch, share, number, rate)
        lines.write(json.dumps([number, batch.positions]) + "\n")
        passes("step")
        return loss

    def audited_validation(average: Any, batches: Any, *rest: Any) -> Any:
        def watched() -> Any:
            for batch in batches:
                passes("validation")
                yield batch

        return validate(average, watched(), *rest)

    class Files:
        """`os`, whose files are complete but not yet in their place when a signal comes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, handle: int) -> None:
            sync(handle)
            passes("file")

    loop.Loop._step = audited_step  # type: ignore[method-assign]
    loop.validate = audited_validation
    writing.os = Files()  # type: ignore[assignment]


def main() -> None:
    (AUDIT / f"pid-{RANK}").write_text(str(os.getpid()))
    import small_runs
    import torch

    from skinxai import cli

    torch.set_num_threads(1)
    small_runs.few_resamples()
    audited()
    with small_runs.registered():
        cli.main()


if __name__ == "__main__":
    main()
