"""Work through jobs in several processes until they are done or the minutes are over."""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs import Job

HERE = Path(__file__).parent
PR_SET_PDEATHSIG = 1
_C = ctypes.CDLL(None) if sys.platform == "linux" else None
SECONDS_TO_STOP = 20.0  # for the step, the checkpoint and a validation that is under way


class Processes:
    """Worker processes, each with the job that it is at.

    Args:
        work: the work folder.
        count: processes at a time.
        threads: threads of each.
    """

    def __init__(self, work: Path, count: int, threads: int) -> None:
        self._work, self._count, self._threads = work, count, threads
        self._at: dict[subprocess.Popen[str], str] = {}
        self._idle: list[subprocess.Popen[str]] = []

    def _start(self) -> subprocess.Popen[str]:
        (self._work / "logs").mkdir(exist_ok=True)
        log = self._work / "logs" / f"worker-{len(self._at) + 1}.log"
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        with log.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, HERE / "worker.py", self._work], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
                preexec_fn=end_with_parent,
                env=os.environ | dict.fromkeys(names, str(self._threads)),
            )  # fmt: skip

    def run(self, jobs: Sequence[Job], deadline: float, tell: Callable[[str], None]) -> bool:
        """Do the jobs; whether all are done or have failed before ``deadline``.

        Args:
            jobs: jobs, of which the longest begin first, so that none is left alone at the end; one
                whose needs failed is left out.
            deadline: value of ``time.monotonic`` at which to stop.
            tell: function that is called with one line about each job.
        """
        waiting, failed = sorted(jobs, key=lambda job: -job.seconds), set[str]()
        while waiting or self._at:
            for job in [job for job in waiting if failed.intersection(job.needs)]:
                waiting.remove(job)
            while len(self._at) < self._count:
                open_now = {*self._at.values(), *(job.name for job in waiting)}
                ready = [job for job in waiting if not open_now.intersection(job.needs)]
                if not ready:
                    break
                process = self._idle.pop() if self._idle else self._start()
                assert process.stdin is not None
                try:
                    process.stdin.write(json.dumps(ready[0].to_dict()) + "\n")
                    process.stdin.flush()
                except BrokenPipeError:  # it has ended while it was idle: killed for memory, say
                    process.wait()
                    close(process)
                    continue
                waiting.remove(ready[0])
                self._at[process] = ready[0].name
            if not self._at:
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            streams = {process.stdout: process for process in self._at}
            for stream in select.select(list(streams), [], [], left)[0]:
                process = streams[stream]
                name, line = self._at.pop(process), stream.readline()
                result: Mapping[str, Any] = json.loads(line) if line else {
                    "failed": f"its process ended with {process.wait()}"
                }  # fmt: skip
                if "failed" in result:
                    failed.add(name)
                    note(self._work, name, result["failed"])
                    tell(f"{name} FAILED: {result['failed']}")
                    process.kill()  # after some errors of a device it could compute nothing more
                    process.wait()
                    close(process)
                else:
                    tell(f"{name}: {json.dumps(result['done'])}")
                    self._idle.append(process)
        return True

    def stop(self) -> None:
        """End all processes; those at a job write a checkpoint first."""
        own = [*self._at, *self._idle]
        for process in own:
            process.terminate()
        until = time.monotonic() + SECONDS_TO_STOP
        for process in own:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            close(process)
        self._at, self._idle = {}, []


def end_with_parent() -> None:
    """Let Linux send SIGTERM to this process when the one that started it has ended.

    A call that is killed would else leave runs going on, which the next call cannot go on with.
    """
    if _C is not None:
        _C.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def close(process: subprocess.Popen[str]) -> None:
    """Close the pipes to a process that has ended."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def note(work: Path, name: str, reason: str) -> None:
    """Remember a failure for the table; the next call tries the job again."""
    path = work / "failed.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {name: reason}, indent=1) + "\n")
