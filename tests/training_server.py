"""A process that trains in children of its own, which tests hold, kill and start again."""

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import warm
from small_runs import few_resamples, listed, registered
from torch import nn
from waiting import wait_for

from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.trainer import Trainer


class Telling(Callback):
    """Writes what happens to a file, each line at once.

    Args:
        path: of the file.
        hold: file that the callback of a step waits for; ``None``: for nothing.
        hold_at: that step.
        megabytes: of addresses that the process may take beyond those it has at the start.
    """

    def __init__(
        self, path: Path, hold: str | None = None, hold_at: int = 2, megabytes: int = 0
    ) -> None:  # fmt: skip
        self._file, self._hold, self._hold_at = path.open("a", buffering=1), hold, hold_at
        self._megabytes = megabytes

    def on_start(self, run_folder: Path, settings: Mapping[str, Any]) -> None:
        if self._megabytes:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + self._megabytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def tell(self, what: str, number: int) -> None:
        """One line."""
        self._file.write(f"{what} {number}\n")

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.tell("step", step)
        if self._hold is not None and step == self._hold_at:
            wait_for(Path(self._hold).exists)


def work(job: Mapping[str, Any]) -> None:
    """Train as the job says; each checkpoint that was reported as written is told as well."""
    out, lines = Path(job["out"]), Path(job["told"])
    for name in job.get("ignore", ()):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(job.get("threads", 1))
    telling = Telling(lines, job.get("hold"), job.get("hold_at", 2), job.get("megabytes", 0))
    written = CheckpointFolder.write

    def write(folder: CheckpointFolder, number: int, data: bytes) -> Path:
        if number == job.get("watched"):
            telling.tell("ready", number)
            Path(job["gate"]).read_bytes()  # a pipe: waits for the one who watches
        path = written(folder, number, data)
        telling.tell("checkpoint", number)
        return path

    CheckpointFolder.write = write  # type: ignore[method-assign]
    if (out / "train.json").exists():
        trainer = Trainer.resume(out, callbacks=[telling], **job.get("changes", {}))
    else:
        trainer = Trainer(**job["settings"], output_dir=out, callbacks=[telling])
    data = Path(job["data"])
    trainer.fit(listed(data / "train"), listed(data / "val"))


def usual_signals() -> None:
    """Take signals as a program in a terminal does, whatever the caller of the tests ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def told(path: Path, what: str) -> list[int]:
    """Numbers of the steps or checkpoints that were told so far."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(what)]


class Server:
    """A process that runs this file, and imports everything heavy once.

    For each job, a JSON line, it trains in a child of its own and prints that child's process id,
    and its exit status when asked.
    """

    def __init__(self) -> None:
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = warm.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | one,
        )  # fmt: skip

    def start(self, job: Mapping[str, Any]) -> int:
        """Begin a job and return its process id, which stays its own until `status`."""
        return int(self._ask(json.dumps(job)))

    def status(self) -> int:
        """Wait for the job's end: its exit code, or minus the signal that killed it."""
        return int(self._ask("wait"))

    def run(self, job: Mapping[str, Any]) -> int:
        """Begin a job and wait for its end."""
        self.start(job)
        return self.status()

    def close(self) -> None:
        """End the server."""
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def serve() -> None:
    """Work through the jobs on standard input."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            usual_signals()
            with Path(job["told"]).with_suffix(".out").open("ab") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            os._exit(_exit_code(job))
        print(child, flush=True)
        sys.stdin.readline()  # until then the child's number is not given to another process
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


def _exit_code(job: Mapping[str, Any]) -> int:
    """What Python's own main program would end with."""
    try:
        work(job)
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports a good part of torch
    import skinxai.assessment.evaluating
    import skinxai.predicting.torch_predictor  # noqa: F401  (both for the end of each run)

    few_resamples()
    with registered():
        serve()
