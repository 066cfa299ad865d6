"""Images per second of training, as ratios within one run.

A bare loop feeds random tensors to the network: no loader can be faster. `Trainer` trains from
JPEG files and from a prepared folder. fastai and Lightning, where they are installed, train the
same network on the same files with the same batch and augmentation::

    python benchmarks/training_speed.py HAM10000_FOLDER

Every way gets the same number of images; the ways are timed in turn, in rounds, and the best round
of each counts. Writes results/training_speed.json.
"""

import argparse
import importlib.metadata
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from skinxai import Trainer, backbones
from skinxai.data import Records, load_ham10000, prepare, split
from skinxai.training.augmentation import Augmentation
from skinxai.training.callbacks import Callback
from skinxai.training.loaders import TrainingImages, network_input
from skinxai.training.precision import choose_precision, mixed_precision
from skinxai.training.process import kept_memory

SIZE, BATCH, BACKBONE = (168, 224), 32, "tf_efficientnet_lite0"
WARM, STEPS = 8, 24
RESULTS = Path(__file__).parent / "results" / "training_speed.json"


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return backbones.build(BACKBONE, 7).train().to(memory_format=torch.channels_last)


def bare(precision: torch.dtype | None, *, kept: bool = True) -> float:
    """Random tensors, forward, backward, AdamW; nothing else."""
    model, device = network(), torch.device("cpu")
    optimizer = torch.optim.AdamW(model.parameters())
    images = torch.randn(BATCH, 3, *SIZE).to(memory_format=torch.channels_last)
    target = torch.randint(0, 7, (BATCH,))

    def steps(count: int) -> None:
        for _ in range(count):
            with mixed_precision(device, precision):
                loss = torch.nn.functional.cross_entropy(model(images).float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def timed() -> float:
        steps(WARM)
        start = time.perf_counter()
        steps(STEPS)
        return STEPS * BATCH / (time.perf_counter() - start)

    if not kept:
        return timed()
    with kept_memory():
        return timed()


class Clock(Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.times.append(time.perf_counter())

    def images_per_second(self) -> float:
        return STEPS * BATCH / (self.times[WARM + STEPS - 1] - self.times[WARM - 1])


def trainer(train: Records, val: Records, **settings: Any) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            BACKBONE, init_weights=None, image_size=SIZE, batch_size=BATCH, epochs=1, device="cpu",
            output_dir=Path(folder) / "run", callbacks=[clock], **settings,
        ).fit(train, val)  # fmt: skip
    return clock.images_per_second()


class Augmented(TrainingImages):
    """Float tensors and targets, as other libraries take them."""

    def __getitem__(self, key: Any) -> Any:
        _, pixels, target = super().__getitem__((int(key), int(key)))
        image = network_input(pixels[None], self.preprocessing, torch.device("cpu"))[0]
        return image, target


def loader(train: Records, workers: int) -> DataLoader[Any]:
    from skinxai import PreprocessConfig

    images = Augmented(train, PreprocessConfig(SIZE), Augmentation(SIZE))
    return DataLoader(images, BATCH, shuffle=True, num_workers=workers, drop_last=True)


def fastai(train: Records, val: Records, workers: int) -> float:
    import fastai.callback.progress  # noqa: F401  (gives learners no_bar())
    from fastai.callback.core import Callback as FastaiCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    times: list[float] = []

    class Note(FastaiCallback):
        def after_batch(self) -> None:
            if self.training:
                times.append(time.perf_counter())

    data = DataLoaders(loader(train, workers), loader(val, 0))
    learner = Learner(
        data, network(), loss_func=torch.nn.functional.cross_entropy, cbs=[Note()],
        opt_func=lambda groups, **_: OptimWrapper(groups, torch.optim.AdamW),
    )  # fmt: skip
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3)
    return STEPS * BATCH / (times[WARM + STEPS - 1] - times[WARM - 1])


def lightning(train: Records, val: Records, workers: int) -> float:
    import lightning.pytorch as pl

    times: list[float] = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def on_train_batch_end(self, *_: Any) -> None:
            times.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    with tempfile.TemporaryDirectory() as folder:
        pl.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        ).fit(Module(), loader(train, workers))  # fmt: skip
    return STEPS * BATCH / (times[WARM + STEPS - 1] - times[WARM - 1])


def faster_in_bfloat16() -> bool:
    """Processors without instructions for it take some twenty times as long."""
    images = torch.randn(BATCH, 3, *SIZE).to(memory_format=torch.channels_last)
    return choose_precision(True, torch.device("cpu"), network(), images) is torch.bfloat16


def memory(root: Path) -> dict[str, int]:
    """Peak memory in MiB of a process that trains one epoch, four, and on twice the images."""
    found = {}
    for name, epochs, count in (
        ("1 epoch, 320 images", 1, 320), ("4 epochs, 320 images", 4, 320),
        ("1 epoch, 640 images", 1, 640),
    ):  # fmt: skip
        words = [sys.executable, __file__, str(root), "--memory", str(epochs), str(count)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        found[name] = int(done.stdout.split()[-1])
    return found


def train_once(root: Path, epochs: int, count: int) -> None:
    train, val = some(root, count)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            BACKBONE, init_weights=None, image_size=(96, 128), epochs=epochs, amp=False, workers=0,
            output_dir=Path(folder) / "run",
        ).fit(train, val)  # fmt: skip
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def some(root: Path, count: int) -> tuple[Records, Records]:
    parts = split(load_ham10000(root))
    order = sorted(parts.train, key=lambda item: item.image_id[::-1])
    train = parts.train.subset([item.image_id for item in order][:count])
    return train, parts.val.subset([item.image_id for item in parts.val][:64])


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    flags = next(line.split() for line in lines if line.startswith("flags"))
    return f"{name}, {'with' if 'avx512_bf16' in flags else 'without'} bfloat16 arithmetic"


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(root: Path, rounds: int) -> None:
    train, val = some(root, BATCH * (WARM + STEPS + 1))
    with tempfile.TemporaryDirectory() as folder:
        cached = prepare(train, Path(folder) / "prepared", image_size=(240, 320), progress=False)
        ways: dict[str, Callable[[], float]] = {
            "bare loop, float32": lambda: bare(None),
            "bare loop, float32, allocator as it comes": lambda: bare(None, kept=False),
            "Trainer, files, float32": lambda: trainer(train, val, amp=False, workers=2),
            "Trainer, prepared, float32": lambda: trainer(cached, val, amp=False, workers=1),
            "Trainer, files, amp=True": lambda: trainer(train, val, workers=2),
        }
        if faster_in_bfloat16():
            kind: dict[str, Any] = {"amp": "bfloat16"}
            ways |= {
                "bare loop, bfloat16": lambda: bare(torch.bfloat16),
                "Trainer, prepared, bfloat16": lambda: trainer(cached, val, workers=1, **kind),
                "Trainer, files, bfloat16": lambda: trainer(train, val, workers=2, **kind),
            }
        if version("fastai"):
            ways["fastai, files, float32"] = lambda: fastai(train, val, 2)
        if version("lightning"):
            ways["Lightning, files, float32"] = lambda: lightning(train, val, 2)
        best = dict.fromkeys(ways, 0.0)
        for _ in range(rounds):
            for name, way in ways.items():
                best[name] = max(best[name], way())
                print(f"{name:<45} {best[name]:6.1f} images/s", flush=True)
    write(best, memory(root))


def write(best: Mapping[str, float], peak: Mapping[str, int]) -> None:
    ratios = {
        f"{name} / bare loop, {kind}": best[name] / best[f"bare loop, {kind}"]
        for name in best
        for kind in ("float32", "bfloat16")
        if f"bare loop, {kind}" in best
        if name.endswith(kind) and not name.startswith("bare")
    }
    for peer in ("fastai, files, float32", "Lightning, files, float32"):
        if peer in best:
            for name in ("Trainer, files, float32", "Trainer, files, amp=True"):
                ratios[f"{name} / {peer}"] = best[name] / best[peer]
    ratios["Trainer, files, amp=True / amp=False"] = (
        best["Trainer, files, amp=True"] / best["Trainer, files, float32"]
    )
    content = {
        "network": f"{BACKBONE}, {SIZE[0]} x {SIZE[1]}, batch {BATCH}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "timm", "fastai", "lightning")},
        "images_per_second": {name: round(value, 1) for name, value in best.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "peak_memory_mib": dict(peak),
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ham10000", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        train_once(options.ham10000, *options.memory)
    else:
        main(options.ham10000, options.rounds)
