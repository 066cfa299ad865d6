"""A process that works through jobs: each line of its standard input is one.

It answers each with one JSON line. SIGTERM ends it; ``Trainer`` writes a checkpoint first, and the
same job goes on from there at the next call.
"""

import gc
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobs import Job
from material import Material
from settings import STUDENT

from skinxai import Classifier, Trainer, backbones
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.data import Records
from skinxai.training.callbacks import Callback
from skinxai.training.precision import choose_precision, mixed_precision

MEASURED = 20.0  # seconds of a rate
WARM_UP = 3  # steps
PATIENCE = 60.0  # seconds that a warm run waits for the others, of which one may have failed


def train(job: Job, material: Material) -> dict[str, Any]:
    """Begin or continue a run, and keep its answers to the images it was judged on."""
    folder = material.work / "runs" / job.name
    splits, started = material.splits(job.learns), time.time()
    try:
        if (folder / "train.json").exists():
            trainer = Trainer.resume(folder)
        else:
            trainer = Trainer(**job.settings, output_dir=folder)
        classifier = trainer.fit(splits)
        flips = job.phase != "choices"  # which are compared by one view
        found = answers(classifier, material, splits.val, folder / "answers.npz", flips=flips)
        if job.phase == "sources":
            source = job.learns.rpartition(" ")[2]
            left_out = material.of_source(source)
            evaluation = classifier.evaluate(left_out, progress=False)
            (folder / "left_out.json").write_text(json.dumps(evaluation.to_dict()) + "\n")
            found |= answers(classifier, material, left_out, folder / "left_out.npz")
            found["seen"] = len(evaluation.seen.exact) + len(evaluation.seen.copies)
    finally:
        if folder.exists():
            with (folder / "seconds.txt").open("a") as lines:
                lines.write(f"{time.time() - started:.1f}\n")
    seconds = sum(map(float, (folder / "seconds.txt").read_text().split()))
    done = found | {"seconds": round(seconds, 1)}
    (folder / "done.json").write_text(json.dumps(done) + "\n")
    shutil.rmtree(folder / "checkpoints")
    return done


def answers(
    classifier: Classifier, material: Material, records: Records, path: Path, *, flips: bool = True
) -> dict[str, Any]:
    """Write probabilities and return their figures: one view, WebP copies and, if asked, flips."""
    kept = {"ids": np.asarray([item.image_id for item in records]),
            "target": np.asarray(records.targets())}  # fmt: skip
    found: dict[str, Any] = {}
    views = {"one": (records, False), "webp": (material.webp(records), False)}
    if flips:
        views["flips"] = (records, True)
    for name, (asked, tta) in views.items():
        assert asked.pixels is not None
        pixels = [asked.pixels.read(item.image_id) for item in asked]  # mapped, and not yet read
        predicted = classifier.predict(pixels, tta=tta, batch_size=128, progress=False)
        rows = [[p.probabilities[code] for code in records.labels] for p in predicted]
        kept[name] = np.asarray(rows, np.float32)
        found[name] = figures(kept["target"], kept[name])
    np.savez_compressed(path, **kept)
    return found


def figures(target: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro-F1, melanoma recall."""
    table = confusion_matrix(target, probabilities.argmax(1), probabilities.shape[1])
    found = metrics_of(table)
    mel = 4  # akiec, bcc, bkl, df, mel, nv, vasc
    recall = table[mel][mel] / max(1, sum(table[mel]))
    return {"accuracy": found.accuracy, "balanced_accuracy": found.balanced_accuracy,
            "macro_f1": found.macro_f1, "melanoma_recall": float(recall)}  # fmt: skip


class Clock(Callback):
    """Notes when steps end, from when all runs of a measurement are warm, and ends the run.

    A run that is warm before the others would else be measured while it has the device for itself.

    Args:
        seconds: that are measured.
        meeting: folder in which each of these runs says that it is warm.
        count: number of these runs.
    """

    def __init__(self, seconds: float, meeting: Path, count: int) -> None:
        self.begun, self.steps, self.times = time.perf_counter(), list[float](), list[float]()
        self._seconds, self._meeting, self._count = seconds, meeting, count

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(now := time.perf_counter())
        if len(self.steps) > WARM_UP and (self.times or self._all_are_warm(now)):
            self.times.append(now)
        if len(self.times) > 1 and now - self.times[0] > self._seconds:
            raise KeyboardInterrupt

    def _all_are_warm(self, now: float) -> bool:
        self._meeting.mkdir(parents=True, exist_ok=True)
        (self._meeting / str(os.getpid())).touch()
        late = now - self.steps[WARM_UP] > PATIENCE
        return late or len(list(self._meeting.iterdir())) >= self._count


def rate(job: Job, material: Material) -> dict[str, float]:
    """Images a second of a run's steps, with loading, and of the bare step."""
    settings = dict(job.settings)
    seconds = settings.pop("measured", MEASURED)
    folder = material.work / "rates" / f"run-{os.getpid()}"
    count = int(job.name.rpartition("-")[2])  # at a time
    clock = Clock(seconds, material.work / "rates" / f"{job.network}-{count}", count)
    try:
        Trainer(**settings, output_dir=folder, callbacks=[clock]).fit(material.splits(job.learns))
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    times = clock.times
    found = {
        "with_loading": settings["batch_size"] * (len(times) - 1) / (times[-1] - times[0]),
        "start": clock.steps[0] - clock.begun,
    }
    if job.network == STUDENT and count == 1:
        found["bare"] = bare(settings, seconds)
    return {name: round(value, 2) for name, value in found.items()}


def bare(settings: dict[str, Any], seconds: float) -> float:
    """Images a second of forward, backward and update alone, of one batch on the device."""
    name = settings["device"]
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto"
                          else name)  # fmt: skip
    network = backbones.build(settings["backbone"], 7, 0.2).train()
    network.to(device).to(memory_format=torch.channels_last)
    images = torch.randn(settings["batch_size"], 3, *settings["image_size"], device=device)
    images = images.to(memory_format=torch.channels_last)
    target = torch.randint(7, (len(images),), device=device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    precision = choose_precision(settings["amp"], device)
    steps, begun = -WARM_UP, time.perf_counter()
    while steps < 2 or time.perf_counter() - begun < seconds:
        optimizer.zero_grad(set_to_none=True)
        with mixed_precision(device, precision):
            logits = network(images)
        torch.nn.functional.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        steps += 1
        if steps == 0 or steps % 10 == 0:
            if device.type == "cuda":
                torch.cuda.synchronize()
            begun = time.perf_counter() if steps == 0 else begun
    if device.type == "cuda":
        torch.cuda.synchronize()
    return len(images) * steps / (time.perf_counter() - begun)


def main(work: Path) -> None:
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is printed goes to the log
    material = Material(work)
    for line in sys.stdin:
        job = Job.of(json.loads(line))
        try:
            done = (rate if job.phase == "rates" else train)(job, material)
            result: dict[str, Any] = {"job": job.name, "done": done}
        except Exception as error:
            traceback.print_exc()
            result = {"job": job.name, "failed": f"{type(error).__name__}: {error}"}
        gc.collect()  # of the device's memory, an idle worker keeps nothing from the others
        torch.cuda.empty_cache()
        answer.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
