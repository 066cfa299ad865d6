"""Jobs for several ranks: a program that torchrun starts, or processes forked as torchrun does.

Each process trains job after job, and writes what became of each. Importing torch takes seconds, so
that one start does many jobs, and all starts of a test run fork from one process.
"""

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import warm
from waiting import LIMIT

HERE = Path(__file__)
SAID = ((1, "said.out"), (2, "said.err"))
"""What all ranks of the last start printed, by the numbers of their streams."""


def torchrun(*arguments: str, ranks: int = 2) -> list[str]:
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
    process = _forking()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps([str(folder), ranks]) + "\n")
    process.stdin.flush()
    codes = json.loads(process.stdout.readline())
    said = [(folder / name).read_text() for _, name in SAID]
    return subprocess.CompletedProcess(jobs, max(map(abs, codes)), *said)


@functools.cache
def _forking() -> "subprocess.Popen[str]":
    """The process from which ranks are forked, which ends with this one.

    It is no child of this one: tests count those.
    """
    process = warm.Popen(
        [sys.executable, str(HERE)], env=one_thread(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.wait(LIMIT) == 0  # the child that it left goes on
    return process


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


def fork_ranks() -> None:
    """For each line of standard input, fork its ranks and say how they ended; a child of nobody."""
    if os.fork():
        return
    import ranked_jobs  # noqa: F401  (with all that training needs)
    import timm  # noqa: F401
    import torch.distributed.fsdp

    import skinxai.assessment.evaluating
    import skinxai.predicting.torch_predictor  # noqa: F401  (both for the end of each run)

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # imports a good part of torch
    gc.freeze()  # what is loaded stays

    for line in sys.stdin:
        folder, count = json.loads(line)
        for _, name in SAID:
            Path(folder, name).write_bytes(b"")
        store, port = _host()
        ranks = [_rank(Path(folder), rank, count, port) for rank in range(count)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]
        os.kill(store, signal.SIGKILL)
        os.waitpid(store, 0)
        print(json.dumps(codes), flush=True)


def _host() -> tuple[int, int]:
    """A process that keeps the store of a start, as torchrun does, and its port."""
    from torch.distributed import TCPStore

    reading, writing = os.pipe()
    if not (child := os.fork()):
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(writing, str(store.port).encode())
        signal.pause()
    os.close(writing)
    with os.fdopen(reading) as told:  # the other end stays open in the child
        return child, int(os.read(told.fileno(), 9))


def _rank(folder: Path, rank: int, count: int, port: int) -> int:
    if child := os.fork():
        return child
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")
    os.chdir(folder)
    for number, name in SAID:
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_APPEND), number)
    try:
        main(folder)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1])) if sys.argv[1:] else fork_ranks()
