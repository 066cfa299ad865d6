"""Jobs for several ranks: a program that torchrun starts, and the start of it.

As a program it trains job after job, in each of its processes, and writes what became of each.
Importing torch takes seconds, so that one start does many jobs.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from waiting import LIMIT

HERE = Path(__file__)


def torchrun(*arguments: str, ranks: int = 2, **environment: str) -> list[str]:
    """The command that starts a program in so many processes on this machine."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*run, f"--nproc-per-node={ranks}", *arguments]


def one_thread() -> dict[str, str]:
    """The environment of a test, with one thread for each process."""
    own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {
        **os.environ,
        **own,
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1] / "src"), str(HERE.parent)]),
    }


def do(
    folder: Path, jobs: Sequence[Mapping[str, Any]], ranks: int = 2
) -> subprocess.CompletedProcess[str]:
    """Do all jobs in one start."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    return subprocess.run(
        torchrun(str(HERE), str(folder), ranks=ranks), env=one_thread(), cwd=folder,
        capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip


def outcome(folder: Path, name: str, rank: int = 0) -> dict[str, Any]:
    """What became of a job on a rank."""
    found: dict[str, Any] = json.loads((folder / f"{name}-{rank}.json").read_text())
    return found


def main(folder: Path) -> None:
    import ranked_jobs
    import small_runs
    import torch

    from skinxai.errors import SkinxaiError

    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    small_runs.few_resamples()
    with small_runs.registered():
        for job in json.loads((folder / "jobs.json").read_text()):
            try:
                found = getattr(ranked_jobs, job["do"])(folder, rank, job) or {}
            except SkinxaiError as error:
                found = {
                    "error": type(error).__name__, "message": str(error),
                    "told elsewhere": getattr(error, "told_elsewhere", None),
                }  # fmt: skip
            except (SystemExit, KeyboardInterrupt) as error:
                found = {"end": repr(error)}
            except Exception:
                found = {"crash": traceback.format_exc()}
            (folder / f"{job['name']}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
