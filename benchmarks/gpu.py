"""What skinxai does on a GPU, each figure beside a hand-written loop in the same run.

Usage: python benchmarks/gpu.py [--device cuda] [--seconds 6] [--out results/gpu.json]
       python benchmarks/gpu.py --device cpu --tiny --out /tmp/gpu.json     (a check of this script)

First one warm image, from an array in memory to probabilities and to a Grad-CAM map, beside the
bare network and a Grad-CAM with hooks; then many images, from JPEG files and as tensors that lie on
the device; then training in float32 and in mixed precision, by `Trainer` and by a bare loop over
random tensors. The bundled model's weights, and EfficientNet-B0 for training. Each measurement
takes --seconds after its warm-up, three to four minutes together on a fast GPU. Each figure is
printed and written as it is found, so that a run that is cut keeps what it had.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from skinxai import Classifier, LabelSet, Trainer, __version__, backbones, read_image, samples
from skinxai.backbones.exact_float32 import exact_float32
from skinxai.data import Record, Records
from skinxai.disk.writing import write_atomic
from skinxai.images.transforms import evaluation_transform
from skinxai.training.callbacks import Callback
from skinxai.training.precision import choose_precision, mixed_precision, precision_name

OUT = Path(__file__).parent / "results" / "gpu.json"
BACKBONE, SIZE = "efficientnet_b0", (192, 256)
CODES = ("one", "two", "three")


class Found:
    """Figures, each printed and written as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.values: dict[str, Any] = {}
        self._path, self._start = path, time.perf_counter()

    def add(self, name: str, value: Any) -> None:
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        print(f"{time.perf_counter() - self._start:6.1f} s | {name} | {shown}", flush=True)
        self.values[name] = value
        write_atomic(self._path, json.dumps(self.values, indent=2).encode() + b"\n")


class Bench:
    """A device, and how long to measure.

    Args:
        device: where networks compute.
        seconds: of each measurement.
        tiny: one round of everything, to see that it runs.
    """

    def __init__(self, device: str, seconds: float, tiny: bool) -> None:
        self.device, self.tiny = torch.device(device), tiny
        self._seconds = 0.0 if tiny else seconds

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def rounds(self, *calls: Callable[[], object]) -> list[list[float]]:
        """Seconds of each call, which take turns; the first rounds are not counted."""
        times: list[list[float]] = [[] for _ in calls]
        for _ in range(0 if self.tiny else 5):
            for call in calls:
                call()
        end = time.perf_counter() + self._seconds * len(calls)
        while len(times[0]) < (1 if self.tiny else 2) or (
            time.perf_counter() < end and len(times[0]) < 1000
        ):
            for own, call in zip(times, calls, strict=True):
                self.wait()
                start = time.perf_counter()
                call()
                self.wait()
                own.append(time.perf_counter() - start)
        return times

    def medians(self, *calls: Callable[[], object]) -> list[float]:
        """Median seconds of each call."""
        return [statistics.median(own) for own in self.rounds(*calls)]

    def peak(self) -> float | None:
        """Largest GiB of the GPU that tensors took since the last call."""
        if self.device.type != "cuda":
            return None
        found = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return found


def about(found: Found, bench: Bench) -> None:
    card, driver = "none", "none"
    if bench.device.type == "cuda":
        card = torch.cuda.get_device_name(bench.device)
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        driver = done.stdout.strip().partition("\n")[0]
    found.add("card", card)
    found.add("driver", driver)
    cudnn = torch.backends.cudnn.version() if bench.device.type == "cuda" else None
    versions = {"skinxai": __version__, "torch": torch.__version__, "cuda": torch.version.cuda,
                "cudnn": cudnn, "python": platform.python_version()}  # fmt: skip
    found.add("versions", versions)
    found.add("processor cores", os.cpu_count())


def hooked_gradcam(network: nn.Module, layer: nn.Module, images: Tensor) -> np.ndarray:
    """Grad-CAM of the top class as programs write it, with hooks and a full backward pass."""
    kept: dict[str, Tensor] = {}
    forward = layer.register_forward_hook(lambda _m, _i, output: kept.update(maps=output))
    backward = layer.register_full_backward_hook(lambda _m, _i, grads: kept.update(grad=grads[0]))
    try:
        logits = network(images)
        logits[0, logits[0].argmax()].backward()
    finally:
        forward.remove()
        backward.remove()
    network.zero_grad()
    weights = kept["grad"].mean(dim=(2, 3), keepdim=True)
    return (weights * kept["maps"].detach()).sum(dim=1).relu().cpu().numpy()


def one_image(found: Found, bench: Bench, model: Classifier) -> None:
    pixels = read_image(samples.paths()[0]).pixels
    config, network = model.config.preprocessing, model.network.network
    batch = torch.from_numpy(evaluation_transform(pixels, config))[None].to(bench.device)
    batch = batch.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def bare() -> np.ndarray:
        return network(batch).float().softmax(1).cpu().numpy()

    @torch.inference_mode()
    def by_hand() -> np.ndarray:
        image = torch.from_numpy(evaluation_transform(pixels, config))[None].to(bench.device)
        return network(image).float().softmax(1).cpu().numpy()

    def explained() -> object:
        return model.explain(pixels)

    layer = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.BatchNorm2d))
    for weight in network.parameters():
        weight.requires_grad_(True)

    def by_hooks() -> np.ndarray:
        image = torch.from_numpy(evaluation_transform(pixels, config))[None].to(bench.device)
        return hooked_gradcam(network, layer, image)

    calls = (lambda: model.predict(pixels), by_hand, bare, explained)
    with exact_float32():
        names = ("skinxai predict", "written by hand", "bare network", "skinxai explain, gradcam")
        for name, seconds in zip(names, bench.medians(*calls), strict=True):
            found.add(f"one image, ms: {name}", 1e3 * seconds)
        (seconds,) = bench.medians(by_hooks)
    found.add("one image, ms: Grad-CAM with hooks, written by hand", 1e3 * seconds)
    found.add("one image, peak GiB", bench.peak())


def many_images(found: Found, bench: Bench, folder: Path) -> None:
    count, size = (2, 1) if bench.tiny else (1024, 64)
    given = [path.read_bytes() for path in samples.paths()]
    files = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, path in enumerate(files):
        path.write_bytes(given[number % len(given)])
    for precision in ("float32", "bfloat16"):
        model = Classifier.from_pretrained(device=str(bench.device), precision=precision)
        config, network = model.config.preprocessing, model.torch_predictor.members[0].folded
        dtype = getattr(torch, precision)
        cast = torch.autocast(bench.device.type, dtype, enabled=dtype is not torch.float32)
        images = torch.randn(size, 3, *config.image_size, device=bench.device)
        images = images.contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def bare(network: nn.Module = network, images: Tensor = images, cast: Any = cast) -> None:
            with cast:
                network(images)

        @torch.inference_mode()
        def by_hand(
            network: nn.Module = network, config: Any = config, cast: Any = cast
        ) -> list[np.ndarray]:
            rows = []
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                prepared = pool.map(
                    lambda path: evaluation_transform(read_image(path).pixels, config), files
                )
                for _ in range(0, count, size):
                    batch = torch.from_numpy(np.stack([next(prepared) for _ in range(size)]))
                    with cast:
                        logits = network(batch.to(bench.device, non_blocking=True))
                    rows.append(logits.float().softmax(1).cpu().numpy())
            return rows

        def predicted(model: Classifier = model) -> object:
            return model.predict(files, batch_size=size, progress=False)

        with exact_float32():
            (seconds,) = bench.medians(bare)
            found.add(f"images a second, {precision}: bare network", size / seconds)
            own, other = bench.medians(predicted, by_hand)
        found.add(f"images a second, {precision}: skinxai predict, from files", count / own)
        found.add(f"images a second, {precision}: written by hand, from files", count / other)
        found.add(f"many images, {precision}, peak GiB", bench.peak())


class Clock(Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.times.append(time.perf_counter())


def patterns(folder: Path, count: int, seed: int) -> Records:
    """JPEG files of smooth patterns, no two alike, 600 × 450 as HAM10000's."""
    folder.mkdir()
    draws, items = np.random.default_rng(seed), []
    for number in range(count):
        coarse = Image.fromarray(draws.integers(60, 230, (6, 8, 3), dtype=np.uint8))
        path = folder / f"{number:05d}.jpg"
        coarse.resize((600, 450), Image.Resampling.BICUBIC).save(path, quality=95)
        items.append(Record(f"{folder.name}-{number}", path, CODES[number % len(CODES)]))
    return Records(tuple(items), LabelSet(CODES), "patterns", "CC0-1.0", "nobody")


def bare_training(bench: Bench, precision: torch.dtype | None, size: int) -> float:
    """Images a second: random tensors on the device, forward, backward, AdamW; nothing else."""
    torch.manual_seed(0)
    network = backbones.build(BACKBONE, 3).train().to(bench.device)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randn(size, 3, *SIZE, device=bench.device)
    images = images.contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, 3, (size,), device=bench.device)

    def step() -> None:
        with mixed_precision(bench.device, precision):
            logits = network(images)
        loss = nn.functional.cross_entropy(logits.float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with exact_float32():
        return size / bench.medians(step)[0]


def trained(
    bench: Bench, parts: Sequence[Records], out: Path, amp: bool | str, size: int, where: str
) -> float:
    """Images a second through `Trainer` once it is warm, augmentation included."""
    clock = Clock()
    Trainer(
        BACKBONE, init_weights=None, image_size=SIZE, batch_size=size, epochs=2, amp=amp,
        device=str(bench.device), output_dir=out, callbacks=[clock], augment_on=where,
        **{"workers": 0} if bench.tiny else {},
    ).fit(*parts)  # fmt: skip
    each = len(clock.times) // 2
    times = clock.times[each + min(3, each // 4) :]  # of the second epoch, after its first steps
    return size * (len(times) - 1) / (times[-1] - times[0])


def training(found: Found, bench: Bench, folder: Path) -> None:
    size, count, val = (2, 6, 6) if bench.tiny else (128, 2048, 96)
    mixed = choose_precision(True, bench.device)
    kinds = {"float32": None, precision_name(mixed or torch.bfloat16): mixed or torch.bfloat16}
    speeds: dict[str, float] = {}
    for name, precision in kinds.items():
        speeds[name] = bare_training(bench, precision, size)
        found.add(f"training, images a second, {name}: bare loop", speeds[name])
        found.add(f"training, {name}, peak GiB: bare loop", bench.peak())
    first, second = speeds.values()
    found.add("training, gain of mixed precision: bare loop", second / first)
    parts = [patterns(folder / "train", count, 0), patterns(folder / "val", val, 1)]
    found.add("training, images", count)
    for where in ("device", "cpu"):
        own: dict[str, float] = {}
        for name, amp in ((name, name if kind else False) for name, kind in kinds.items()):
            out = folder / f"run-{where}-{name}"
            own[name] = trained(bench, parts, out, amp, size, where)
            title = f"training, images a second, {name}: Trainer, augmented on the {where}"
            found.add(title, own[name])
            found.add(f"training, {name}, peak GiB: Trainer, {where}", bench.peak())
        first, second = own.values()
        found.add(f"training, gain of mixed precision: Trainer, {where}", second / first)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    parser.add_argument("--tiny", action="store_true", help="a few images: the figures say nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    found, bench = Found(asked.out), Bench(asked.device, asked.seconds, asked.tiny)
    about(found, bench)
    found.add("tiny", asked.tiny)
    one_image(found, bench, Classifier.from_pretrained(device=asked.device))
    with tempfile.TemporaryDirectory() as folder:
        many_images(found, bench, Path(folder))
        training(found, bench, Path(folder))
    print("\n| figure | value |\n| --- | --- |")
    for name, value in found.values.items():
        print(f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |")


if __name__ == "__main__":
    main()
