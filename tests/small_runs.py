"""Runs that take a second: networks of some hundred weights, and pictures of three colours."""

import inspect
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load
from torch import Tensor, nn

from skinxai import Classifier, Prediction, backbones, checkpoints, losses, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, TrainedOn, load_shards
from skinxai.data.tar_shards import is_shards
from skinxai.labels import LabelSet
from skinxai.training.checkpointing import NAME, CheckpointFolder

BACKBONES = ("small", "plain", "hungry", "stacked", "tied")
COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
LABELS, INPUT, NOTHING = LabelSet(tuple(COLOURS)), PreprocessConfig((32, 48)), TrainedOn()
BASE: dict[str, Any] = dict(
    backbone="small", init_weights=None, amp=False, image_size=(32, 48), batch_size=8,
    learning_rate=3e-3, average_decay=0.8, drop_rate=0.1, workers=0, device="cpu",
)  # fmt: skip
EVERY_STEP = 1e-9  # minutes between checkpoints
ALL_ON: dict[str, Any] = BASE | dict(
    epochs=3, mixup=0.4, cutmix=1.0, accumulate=2, drop_rate=0.3, clip_norm=1.0, layer_decay=0.5,
    checkpoint_minutes=EVERY_STEP, hair=0.2, colour_constancy=0.2, loss="drawn",
)  # fmt: skip


class Small(nn.Module):
    """Two convolutions and a classifier; ``plain`` has no BatchNorm and no dropout."""

    def __init__(self, classes: int, drop_rate: float, plain: bool = False) -> None:
        super().__init__()
        norms = [nn.Identity() if plain else nn.BatchNorm2d(8) for _ in range(2)]
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4, 2, bias=plain), norms[0], nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1, bias=plain), norms[1], nn.ReLU(),
        )  # fmt: skip
        self.drop = nn.Identity() if plain else nn.Dropout(drop_rate)
        self.fc = nn.Linear(8, classes)

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        return maps

    def head(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.drop(maps.mean((2, 3))))
        return logits


class Hungry(Small):
    """Takes 1 GiB of addresses for each image."""

    def features(self, images: Tensor) -> Tensor:
        torch.empty(len(images) * 2**28)
        return super().features(images)


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.norm(self.conv(maps)).relu()


class Stacked(Small):
    """Two residual blocks more."""

    def __init__(self, classes: int, drop_rate: float, plain: bool = False) -> None:
        super().__init__(classes, drop_rate, plain)
        self.blocks = nn.Sequential(Block(), Block())

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.blocks(super().features(images))
        return maps


class Tied(Stacked):
    """Both blocks have the same kernel and the same scale."""

    def __init__(self, classes: int, drop_rate: float, plain: bool = False) -> None:
        super().__init__(classes, drop_rate, plain)
        first, second = self.blocks
        second.conv.weight, second.norm.weight = first.conv.weight, first.norm.weight


def build_small(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
    """A builder for the registry."""
    kind = {"hungry": Hungry, "stacked": Stacked, "tied": Tied}.get(name, Small)
    network = kind(num_classes, drop_rate, name == "plain")
    return SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f))


def drawn_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy times what each of the three global generators draws."""
    factor = (1 + torch.rand(())) * (1 + float(np.random.random())) * (1 + random.random())
    return nn.functional.cross_entropy(logits, target) * factor


def uncalibrated(classifier: Classifier) -> Classifier:
    """The same networks, whose probabilities are the softmax of their logits."""
    return Classifier(replace(classifier._loaded, calibration=None))


def model_folder(
    folder: Path, labels: LabelSet = LABELS, *, seed: int | None = None,
    preprocessing: PreprocessConfig = INPUT, trained_on: TrainedOn | None = NOTHING,
    **changes: Any,
) -> Path:  # fmt: skip
    """A saved model whose weights are drawn, or without a seed all 0.25."""
    config = ModelConfig(folder.name, "small", labels, preprocessing, **changes)
    torch.manual_seed(seed or 0)
    model = build_small("small", len(labels))
    if seed is None:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.25)
    checkpoints.save(str(folder), model, config, "A card.", trained_on)
    return folder


@contextmanager
def registered() -> Iterator[None]:
    """Context in which this file's backbones and loss are registered."""
    for name in BACKBONES:
        backbones.register(name)(build_small)
    losses.register("drawn")(drawn_loss)
    try:
        yield
    finally:
        plugins.backbones.remove(BACKBONES)
        plugins.losses.remove(["drawn"])


RESAMPLES = inspect.signature(Classifier.evaluate).parameters["resamples"].default
"""What users get where they say nothing; `few_resamples` has not been called yet."""


def few_resamples() -> None:
    """Evaluations of this process take 50 resamples, where nothing else is said.

    Those that users get take longer than the training of a small network.
    """
    Classifier.evaluate.__kwdefaults__["resamples"] = 50


def coloured(folder: Path, each: int, seed: int) -> Records:
    """Write and list noisy pictures, ``each`` of every colour."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for code, colour in COLOURS.items():
        for number in range(each):
            noise = draws.integers(-50, 50, (40, 56, 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{code}-{number:02d}.png")
    return listed(folder)


def turned(records: Records) -> Records:
    """The same pictures with every label wrong."""
    codes = list(COLOURS)
    items = tuple(
        replace(item, label=codes[(codes.index(item.label) + 1) % len(codes)]) for item in records
    )
    return replace(records, items=items)


def rows(predictions: list[Prediction]) -> np.ndarray:
    """Their probabilities, ``(N, K)``."""
    return np.array([list(p.probabilities.values()) for p in predictions])


def listed(folder: Path) -> Records:
    """The pictures of `coloured`, also where they were written to shards."""
    if is_shards(folder):
        return load_shards(folder, progress=False)
    paths = sorted(folder.glob("*.png"))
    items = [Record(f"{folder.name}-{p.name}", p, p.name.partition("-")[0]) for p in paths]
    return Records(tuple(items), LabelSet(tuple(COLOURS)), "colours", "CC0-1.0", "nobody")


def newest(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the rest of a run's newest checkpoint."""
    found = CheckpointFolder(run / "checkpoints").newest()
    assert found is not None
    length = int.from_bytes(found[1][:8], "little")
    return load(found[1]), json.loads(json.loads(found[1][8 : 8 + length])["__metadata__"]["state"])


def differences(run: Path, other: Path) -> list[str]:
    """What is not the same, to the bit, in two finished runs; the time they took is left out."""
    (own, rest), (tensors, their) = newest(run), newest(other)
    found = sorted(set(own) ^ set(tensors))
    found += [name for name in own if name in tensors and not torch.equal(own[name], tensors[name])]
    for progress in (rest["progress"], their["progress"]):
        for row in progress["log"]:
            row.pop("images_per_second")
    found += [name for name in rest if rest[name] != their[name]]
    for name in ("model.safetensors", "config.json", "manifest.json", "README.md", "splits.csv"):
        if (run / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if not NAME.fullmatch(p.name)}
             for f in (run, other)]  # fmt: skip
    return found + sorted(names[0] ^ names[1])
