"""A server that answers a manifest in a child for each job, to be killed; imports are paid once.

As a program: python sharded_runs.py MODEL, then a JSON line for each job on standard input. It
prints the child's process id, and its exit status when asked with ``null``.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  (pyarrow does, once a table is written: once, not in each child)
import pyarrow.parquet  # noqa: F401
import torch
import warm
from small_runs import registered

from skinxai import Classifier
from skinxai.manifests import predict_manifest

CALLS = ("open", "fsync", "chmod", "replace", "unlink", "close", "dup")


class ShardServer:
    """Runs jobs in children of one process.

    Args:
        model: folder of the model that answers.
    """

    def __init__(self, model: Path) -> None:
        self._process = warm.Popen(
            [sys.executable, __file__, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def start(self, job: dict[str, Any]) -> int:
        """Begin a job; its process id."""
        return int(self._ask(job))

    def status(self) -> int:
        """Wait for the oldest child: its exit status, negative for a signal."""
        return int(self._ask(None))

    def run(self, job: dict[str, Any]) -> int:
        """Do a whole job."""
        self.start(job)
        return self.status()

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, job: dict[str, Any] | None) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def _dying(moment: int) -> None:
    """Be killed before the call of this number that changes the disk."""
    left = [moment]

    def watched(call: Any) -> Any:
        def run(*values: Any, **keywords: Any) -> Any:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*values, **keywords)

        return run

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))


def _do(classifier: Classifier, job: dict[str, Any]) -> None:
    options = {name: job[name] for name in ("chunk", "batch_size") if name in job}
    if "moment" in job:
        _dying(job["moment"])
    predict_manifest(
        classifier, job["manifest"], job["out"], shard=tuple(job.get("shard", (0, 1))),
        progress=False, **options,
    )  # fmt: skip


def main(model: str) -> None:
    torch.set_num_threads(1)
    with registered():
        classifier, children = Classifier.from_pretrained(model), []
        for line in sys.stdin:
            job = json.loads(line)
            if job is None:
                print(os.waitstatus_to_exitcode(os.waitpid(children.pop(0), 0)[1]), flush=True)
                continue
            child = os.fork()
            if child:
                children.append(child)
                print(child, flush=True)
                continue
            try:
                _do(classifier, job)
            except BaseException as error:
                if not isinstance(error, SystemExit):
                    traceback.print_exc()
                os._exit(error.code if isinstance(error, SystemExit) else 3)
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
