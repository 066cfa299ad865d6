"""Kill a run at random moments, and at every system call of a checkpoint write, and resume it.

Usage: python benchmarks/kills.py [KILLS]        (writes benchmarks/results/kills.json)

The run is that of tests/training/test_resume.py, twelve steps with everything on. Each kill is a
SIGKILL.
After each the newest whole checkpoint must be at least the last one that was reported as
written, and in the end all tensors, the model folder and the list of files must be those of a run
that nobody disturbed. Needs strace for the system calls; tells where it is missing.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from small_runs import ALL_ON, coloured, differences  # noqa: E402
from training_server import Server, told  # noqa: E402

from skinxai.training.checkpointing import CheckpointFolder  # noqa: E402

WATCHED = 7  # a checkpoint within the second epoch, which pushes an older one out
CALL = re.compile(r"(\w+)\(")


class Campaign:
    """Runs in one folder, all alike.

    Args:
        folder: for everything that is written.
        server: trains.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        coloured(folder / "train", 11, 0)
        coloured(folder / "val", 3, 1)
        self.lost, self.different = 0, Counter[str]()
        assert server.run(self.job("first")) == 0  # the server still imports
        start = time.perf_counter()
        assert server.run(self.job("whole")) == 0
        self.seconds = time.perf_counter() - start

    def job(self, name: str, workers: int = 0) -> dict[str, Any]:
        """A run under this name."""
        settings = ALL_ON | {"workers": workers}
        out, lines = self.folder / name / "run", self.folder / name / "told"
        out.parent.mkdir(exist_ok=True)
        paths = {"data": str(self.folder), "out": str(out), "told": str(lines)}
        return paths | {"settings": settings}

    def after_a_kill(self, job: dict[str, Any]) -> None:
        """Count the run as lost where less is on disk than was reported."""
        reported = told(Path(job["told"]), "checkpoint")
        found = CheckpointFolder(Path(job["out"]) / "checkpoints").newest()
        if reported and (found is None or int(found[0].name[:9]) < reported[-1]):
            self.lost += 1

    def finish(self, job: dict[str, Any]) -> None:
        """Resume the run to its end and compare it."""
        if self.server.run(job):
            self.different["did not end"] += 1
            return
        out = Path(job["out"])
        self.different.update(differences(out, self.folder / "whole" / "run"))
        shutil.rmtree(out.parent)


def at_random(campaign: Campaign, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kills at moments drawn evenly from the time that a run takes, some for each run."""
    draws, left, runs, phases = np.random.default_rng(seed), kills, 0, Counter[str]()
    while left:
        job = campaign.job(f"random-{runs}", workers=2 * (runs % 2))
        lines = Path(job["told"])
        for _ in range(min(left, int(draws.integers(1, 8)))):
            process, steps = campaign.server.start(job), len(told(lines, "step"))
            time.sleep(draws.uniform(0, campaign.seconds))
            os.kill(process, signal.SIGKILL)
            if campaign.server.status() != -signal.SIGKILL:
                break  # it had ended already
            left -= 1
            phases["between the first and the last step" if len(told(lines, "step")) > steps
                   else "before a step, or after the last one"] += 1  # fmt: skip
            campaign.after_a_kill(job)
        campaign.finish(job)
        runs += 1
        print(f"{kills - left} of {kills} random kills, {runs} runs", file=sys.stderr)
    return {"kills": kills, "runs": runs, "when": dict(phases)}


def watched(campaign: Campaign, name: str, inject: str | None) -> tuple[int, list[str], dict]:
    """Run to the watched checkpoint, trace its write, and end at the injected kill or after it.

    Returns:
        The exit status, the system calls in order, and the job.
    """
    job = campaign.job(name)
    gate, trace, lines = (Path(job["told"]).parent / n for n in ("gate", "trace", "told"))
    os.mkfifo(gate)
    process = campaign.server.start(job | {"watched": WATCHED, "gate": str(gate)})
    while not told(lines, "ready"):
        time.sleep(0.005)
    command = ["strace", "-p", str(process), "-o", str(trace), *(["-e", inject] if inject else [])]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None and "attached" in tracer.stderr.readline()
    gate.write_bytes(b"go")
    while WATCHED not in told(lines, "checkpoint") and not _ended(process):
        time.sleep(0.005)
    if not _ended(process):
        os.kill(process, signal.SIGKILL)
    status = campaign.server.status()
    tracer.communicate()
    return status, trace.read_text().splitlines(), job


def _ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def at_each_call(campaign: Campaign) -> dict[str, Any]:
    """One kill at the entry of each system call of a checkpoint write."""
    _, lines, job = watched(campaign, "traced", None)
    campaign.finish(job)
    begin = next(n for n, line in enumerate(lines) if '"go"' in line)
    end = next(n for n, line in enumerate(lines) if f'"checkpoint {WATCHED}' in line)
    seen, targets = Counter[str](), []
    for number, line in enumerate(lines[: end + 1]):
        if found := CALL.match(line):
            seen[found[1]] += 1
            if number > begin:
                targets.append((found[1], seen[found[1]]))
    reached = Counter[str]()
    for number, (call, when) in enumerate(targets):
        inject = f"inject={call}:signal=KILL:when={when}"
        _, trace, job = watched(campaign, f"call-{number}", inject)
        if not any(f'"checkpoint {WATCHED}' in line and "= ?" not in line for line in trace):
            reached[call] += 1
        campaign.after_a_kill(job)
        campaign.finish(job)
        print(f"{number + 1} of {len(targets)} system calls", file=sys.stderr)
    return {"calls": len(targets), "killed": sum(reached.values()), "which": dict(reached)}


def main(kills: int) -> None:
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), server)
        report: dict[str, Any] = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}, "
            f"torch {torch.__version__}",
            "random moments": at_random(campaign, kills),
            "system calls of a checkpoint write": (
                at_each_call(campaign) if shutil.which("strace") else "strace is missing"
            ),
            "checkpoints lost": campaign.lost,
            "differences from an undisturbed run": dict(campaign.different),
        }
    server.close()
    text = json.dumps(report, indent=2)
    (ROOT / "benchmarks/results/kills.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
