"""Kill ranks at random moments, resume the run, and account for every image, step and byte.

Usage: python benchmarks/kills_of_ranks.py [KILLS]      (writes results/kills_of_ranks.json)

Each run is ``torchrun … skinxai train`` with a network of some hundred weights on drawn
photographs, and a checkpoint after every step. A rank, or torchrun itself, is killed by SIGKILL, or
all are asked to end by SIGTERM: at a random time, or exactly after a step, in the middle of
writing a file, or in the validation. The run is resumed until it is complete. Then each epoch must
have each image once, and the folder must hold what an undisturbed run left. Where the number of
ranks never changed, that is the same to the bit, weights, optimiser and random states included.
"""

import csv
import json
import os
import platform
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

from small_runs import differences, newest, registered  # noqa: E402

from skinxai import Classifier  # noqa: E402

IMAGES, EPOCHS, BATCH = 96, 4, 8
SETTINGS = {
    "--backbone": "small", "--init-weights": "none", "--image-size": "64x80", "--amp": "false",
    "--epochs": str(EPOCHS), "--batch-size": str(BATCH), "--workers": "0", "--device": "cpu",
    "--mixup": "0.4", "--average-decay": "0.8", "--checkpoint-minutes": "1e-9",
}  # fmt: skip
TORCHRUN = -1
USED = "another process trains in"


class Run:
    """One run of ranks and what they wrote down.

    Args:
        folder: of the photographs and of all runs.
        name: of this run.
        drop: its dropout.
    """

    def __init__(self, folder: Path, name: str, drop: float) -> None:
        self.folder, self.out, self.audits = folder, folder / name / "run", folder / f"{name}-audit"
        self._drop, self.attempts = drop, 0

    def start(self, ranks: int, kill: dict[str, Any] | None = None) -> subprocess.Popen[bytes]:
        """Begin it, or go on with it."""
        self.audit = self.audits / f"{self.attempts:03d}-{ranks}"
        self.audit.mkdir(parents=True)
        self.attempts += 1
        table = ["--data", str(self.folder / "private/befunde.csv"), "--delimiter", ";"]
        table += ["--images", str(self.folder / "private/fotos"), "--column", "image=datei"]
        table += ["--column", "label=diagnose", "--column", "lesion_id=laesion"]
        go_on = ["--resume"] if (self.out / "train.json").exists() else []
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={ranks}", str(Path(__file__).with_name("audited_rank.py")), "train",
            *table, *(word for pair in SETTINGS.items() for word in pair),
            "--drop-rate", str(self._drop), "--out", str(self.out), *go_on,
        ]  # fmt: skip
        environment = os.environ | {
            "AUDIT": str(self.audit), "KILL": json.dumps(kill or {}), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }  # fmt: skip
        with (self.audit / "output").open("wb") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    @property
    def said(self) -> str:
        """What the last attempt printed."""
        return (self.audit / "output").read_text(errors="replace")

    def pids(self) -> list[int]:
        """The ranks of the last attempt that still run."""
        found = [int(path.read_text() or 0) for path in self.audit.glob("pid-*")]
        return [pid for pid in found if pid and _runs(pid)]

    def steps(self, audit: Path) -> dict[int, list[int]]:
        """Number of each step that all ranks of an attempt took → the positions of its images."""
        ranks, found = int(audit.name.partition("-")[2]), []
        for path in sorted(audit.glob("steps-*")):
            lines = path.read_text().split("\n")[:-1]
            found.append(dict(json.loads(line) for line in lines))
        if len(found) < ranks:
            return {}
        every = set.intersection(*map(set, found))
        return {step: [place for own in found for place in own[step]] for step in every}

    def faults(self) -> Counter[str]:
        """What is not accounted for."""
        learnt: dict[int, list[int]] = {}
        wrong: Counter[str] = Counter()
        for audit in sorted(self.audits.iterdir()):
            learnt |= self.steps(audit)  # later attempts count
        steps = len(learnt) // EPOCHS
        wrong["a step is missing"] += sorted(learnt) != list(range(steps * EPOCHS))
        every = len(_images(self.out))
        for epoch in range(EPOCHS):
            some = [learnt.get(epoch * steps + step, []) for step in range(steps)]
            seen = sorted(place for one in some for place in one)
            wrong["an image not once in an epoch"] += seen != list(range(every))
        with (self.out / "log.csv").open() as file:
            epochs = [int(float(row["epoch"])) for row in csv.DictReader(file)]
        wrong["an epoch not once in log.csv"] += epochs != [*range(1, EPOCHS + 1)]
        wrong["a torn file"] += sum(1 for _ in self.out.rglob("*.part"))
        notes = (self.out / "events.log").read_bytes()
        wrong["a torn line"] += not notes.endswith(b"\n")
        return wrong

    def answers(self) -> list[dict[str, float]]:
        """What its model says about some photographs."""
        photographs = sorted((self.folder / "private/fotos").iterdir())[:6]
        with registered():
            found = Classifier.from_pretrained(self.out).predict(photographs)
        return [dict(each.probabilities) for each in found]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _images(run: Path) -> list[str]:
    with (run / "splits.csv").open() as file:
        return [row["image_id"] for row in csv.DictReader(file) if row["part"] == "train"]


def disturb(run: Run, ranks: int, draws: np.random.Generator, seconds: float) -> dict[str, Any]:
    """One attempt that a signal ends, unless it ends before."""
    victim = int(draws.choice([0, 1, TORCHRUN, TORCHRUN]) if ranks > 1 else 0)
    number = signal.SIGTERM if victim == TORCHRUN and draws.random() < 0.6 else signal.SIGKILL
    if draws.random() < 0.6:
        at, most = [("step", 14), ("file", 40), ("validation", 5)][int(draws.integers(3))]
        by = 0 if at == "file" else int(draws.integers(ranks))
        kill = {
            "at": at, "count": int(draws.integers(1, most)), "rank": by, "victim": victim,
            "signal": int(number),
        }  # fmt: skip
        process = run.start(ranks, kill)
    else:
        at, process = "any time", run.start(ranks)
        time.sleep(draws.uniform(0.2, 1.0) * seconds)
        pid = process.pid
        if victim != TORCHRUN:
            path = run.audit / f"pid-{victim}"
            pid = int(path.read_text() or 0) if path.exists() else pid
        if process.poll() is None and pid and _runs(pid):
            (run.audit / "sent").touch()
            os.kill(pid, number)
    status = process.wait()
    return {
        "killed": (run.audit / "sent").exists() and status != 0, "at": at, "status": status,
        "orphans": bool(run.pids()), "victim": victim, "signal": signal.Signals(number).name,
    }  # fmt: skip


def complete(run: Run, ranks: int, wrong: Counter[str]) -> None:
    """Go on to the end, where nobody disturbs it."""
    if run.start(ranks).wait():
        wrong["did not go on"] += 1
        print(run.said[-3000:], file=sys.stderr)


def close(run: Run, ranks: int, wrong: Counter[str], refuse: bool) -> None:
    """End the ranks that torchrun left behind; a second start beside the first must be refused.

    The first rank holds the folder. Where it is dead, the others write nothing and end themselves.
    """
    left, audit = run.pids(), run.audit
    path = audit / "pid-0"
    first = int(path.read_text() or 0) if path.exists() else 0
    if first in left and refuse:
        status = run.start(ranks).wait()
        if _runs(first) and not (status and USED in run.said):
            wrong["trained beside ranks that were left"] += 1
            print(run.said[-3000:], file=sys.stderr)
        shutil.rmtree(run.audit) if not list(run.audit.glob("steps-*")) else None
        run.audit = audit
    for pid in left:
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)
    while run.pids():
        time.sleep(0.01)


def undisturbed(folder: Path, name: str, drop: float, wrong: Counter[str]) -> tuple[Run, float]:
    whole, start = Run(folder, name, drop), time.perf_counter()
    complete(whole, 2, wrong)
    wrong.update(whole.faults())
    return whole, time.perf_counter() - start


def compare(run: Run, whole: Run, same: bool, wrong: Counter[str]) -> None:
    """A run that was disturbed with the one that was not."""
    wrong.update(run.faults())
    if same:
        found = differences(run.out, whole.out)
        wrong["other bits than undisturbed"] += bool(found)
        wrong["other answers"] += run.answers() != whole.answers()
        if found:
            print(found, file=sys.stderr)
        return
    names = [{p.name for p in each.out.iterdir()} for each in (run, whole)]
    wrong["other files"] += names[0] != names[1]
    own, others = newest(run.out)[0], newest(whole.out)[0]
    far = [
        name
        for name in others
        if not name.startswith(("random", "rank"))
        and not np.allclose(own[name].double(), others[name].double(), rtol=1e-2, atol=1e-3)
    ]
    wrong["other weights than undisturbed"] += bool(far)
    pairs = zip(run.answers(), whole.answers(), strict=True)
    wrong["other answers"] += any(
        not np.allclose([*one.values()], [*two.values()], atol=1e-3) for one, two in pairs
    )
    if far:
        print(far, file=sys.stderr)


def campaign(folder: Path, kills: int) -> dict[str, Any]:
    script = [sys.executable, str(ROOT / "examples/private_data.py"), str(folder / "private")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*script, f"--images={IMAGES}"], check=True, env=environment)
    wrong: Counter[str] = Counter()
    draws, done, runs, same_runs = np.random.default_rng(0), 0, 0, 0
    moments, signals, counts = Counter[str](), Counter[str](), Counter[int]()
    wholes = {drop: undisturbed(folder, f"whole-{drop}", drop, wrong) for drop in (0.3, 0.0)}
    while done < kills:
        drop = [0.3, 0.0][runs % 2]  # dropout draws other numbers for another number of ranks
        run, (whole, seconds) = Run(folder, f"run-{runs}", drop), wholes[drop]
        used = []
        for _ in range(int(draws.integers(2, 7))):
            used.append(2 if drop else int(draws.choice([1, 2, 2, 4])))
            found = disturb(run, used[-1], draws, seconds)
            close(run, used[-1], wrong, refuse=draws.random() < 0.5)
            if not found["killed"]:
                wrong["ended by an error of its own"] += found["status"] != 0
                continue
            done += 1
            moments[found["at"]] += 1
            counts[used[-1]] += 1
            who = "torchrun" if found["victim"] == TORCHRUN else f"rank {found['victim']}"
            signals[f"{found['signal']} of {who}"] += 1
        complete(run, 2 if drop else int(draws.choice([1, 2, 4])), wrong)
        compare(run, whole, bool(drop), wrong)
        same_runs += bool(drop)
        if any(wrong.values()):
            shutil.copytree(folder, Path(tempfile.gettempdir()) / "kills_of_ranks_left")
            print(dict(wrong), file=sys.stderr)
            break
        shutil.rmtree(run.out.parent)
        shutil.rmtree(run.audits)
        runs += 1
        print(f"{done} of {kills} kills, {runs} runs", file=sys.stderr, flush=True)
    return {
        "kills": done, "runs": runs, "runs of two ranks throughout": same_runs,
        "images in each epoch": len(_images(wholes[0.3][0].out)), "epochs of each run": EPOCHS,
        "when": dict(moments), "signals": dict(signals),
        "kills by number of ranks": {str(n): c for n, c in sorted(counts.items())},
        "wrong": dict(wrong),
    }  # fmt: skip


def main(kills: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}, "
            f"torch {torch.__version__}",
            **campaign(Path(folder), kills),
        }
    text = json.dumps(report, indent=2)
    (ROOT / "benchmarks/results/kills_of_ranks.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
