"""Is a network of timm split in the right place? One of each family, with random weights.

Usage: python benchmarks/backbones.py [NAME ...]

For each network: the head makes of the features what the whole network makes of the image; what
changes in the features when a patch is planted in a corner lies towards that corner; and the
score's gradient reaches the features. Without names, a small network of each of timm's families is
examined, and docs/reference/backbones.md is written.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.models import model_entrypoint

from skinxai import backbones
from skinxai.backbones.timm_networks import REFUSED, SPLITS
from skinxai.errors import SkinxaiError
from skinxai.explainers.cam import GradCAM

PAGE = Path(__file__).parent.parent / "docs/reference/backbones.md"
LEAST = 0.05
"""How far the centre must move; the patches' own are two thirds of each side apart."""
MOST = 60e6
"""Parameters: larger networks of a family are split as the small ones are."""
SMALL = ("atto", "femto", "pico", "nano", "tiny", "xxs", "small", "_s", "18", "b0", "0")
SIZES = ((192, 256), (224, 224), (256, 256), (299, 299), (240, 240), (384, 384), (160, 160))


HEAD = """# Networks with a feature map

Any network of timm can be a backbone:

```console
$ skinxai train --data DATA --out runs/mine --backbone timm/convnext_atto
```

The first table lists the classes of networks whose feature map is known, so that every explanation
method works. A network whose class is not in it can be trained and predicts, and methods that need
a feature map refuse it.

`benchmarks/backbones.py` wrote this page with timm {version}. For one network of each class it
checks three things: the head computes from the features what the whole network computes from the
image; when a patch is planted in a corner, the change in the features lies there (its peak, or its
centre moves from corner to corner); and the gradient of the score reaches the features.

| class in timm | examined | split at | input | grid |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Found:
    """What holds of one network; ``problem`` is ``None`` where all does."""

    name: str
    family: str
    layer: str
    size: str
    grid: str
    problem: str | None


def examine(name: str) -> Found:
    """Examine one network at the first of `SIZES` that it takes."""
    torch.manual_seed(0)
    model = backbones.build(f"timm/{name}", 7)
    with torch.no_grad():  # some begin with a classifier of zeros
        for own in backbones.classifier_names(model):
            model.network.get_parameter(own).normal_()
    family = type(model.network).__name__
    own = model.network.default_cfg.get("input_size", (3, 224, 224))[1:]
    for size in (SIZES[0], tuple(own), *SIZES[1:]):
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, *size))
            break
        except Exception:
            continue
    else:
        return Found(name, family, model.layer, "none", "", "it takes none of the sizes tried")
    try:
        grid = _examine(model, size)
    except (SkinxaiError, AssertionError) as problem:
        return Found(name, family, model.layer, f"{size[0]} × {size[1]}", "", str(problem))
    return Found(name, family, model.layer, f"{size[0]} × {size[1]}", grid, None)


def settle(model: torch.nn.Module, size: tuple[int, int]) -> None:
    """Give batch normalisation the statistics of noise: without, signals vanish or explode."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(0.5 * torch.randn(4, 3, *size))
    model.eval()


@dataclass(frozen=True)
class Change:
    """Where a patch in a corner changes the features: the centre, and whether the peak is there."""

    row: float
    column: float
    peak: bool


def change(
    model: torch.nn.Module, images: torch.Tensor, before: torch.Tensor, corner: tuple[int, int]
) -> Change:
    """Of a patch of a third of each side."""
    height, width = images.shape[2] // 3, images.shape[3] // 3
    y = corner[0] * (images.shape[2] - height)
    x = corner[1] * (images.shape[3] - width)
    planted = images.clone()
    planted[:, :, y : y + height, x : x + width] += torch.randn(3, height, width)
    with torch.no_grad():
        found = model.grid(model.features(planted), tuple(images.shape[2:]))
    moved = (found - before).abs().sum(dim=1)[0]
    rows, columns = moved.shape
    row, column = divmod(int(moved.argmax()), columns)
    third = rows / 3 + 1, columns / 3 + 1  # a cell more: strided layers shift
    peak = (row < third[0], row >= rows - third[0])[corner[0]] and (
        column < third[1], column >= columns - third[1]
    )[corner[1]]  # fmt: skip
    moved = moved / moved.sum()
    centre = (
        float(moved.sum(dim=1) @ (torch.arange(rows) + 0.5)) / rows,
        float(moved.sum(dim=0) @ (torch.arange(columns) + 0.5)) / columns,
    )
    return Change(*centre, peak)


def _examine(model: torch.nn.Module, size: tuple[int, int]) -> str:
    settle(model, size)
    images = 0.1 * torch.randn(1, 3, *size)
    with torch.no_grad():
        features = model.features(images)
        gap = (model.pool_and_classify(features) - model.network(images)).abs().max()
        assert gap < 1e-4, f"head(features) differs from the network by {gap:.2g}"
        before = model.grid(features, size)
    rows, columns = before.shape[2:]
    upper_right, lower_left = (change(model, images, before, corner) for corner in ((0, 1), (1, 0)))
    down, right = lower_left.row - upper_right.row, upper_right.column - lower_left.column
    peaks = upper_right.peak and lower_left.peak
    assert peaks or (down > LEAST and right > LEAST), (
        f"between patches at the upper right and at the lower left, what changes in the features "
        f"moves by {down:.2f} of the height and {right:.2f} of the width"
    )
    maps = GradCAM(_at(model, size)).attribute(images, torch.tensor([3]), options=None)
    assert maps.maps["gradcam"].shape[1:] == (rows, columns)
    with torch.enable_grad():
        leaf = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.pool_and_classify(leaf)[0, 3], leaf)
    assert model.grid(gradient, size).abs().max() > 0, "no gradient reaches the patches"
    return f"{rows} × {columns}"


def _at(model: torch.nn.Module, size: tuple[int, int]) -> torch.nn.Module:
    """The model, whose grid knows the images' size."""
    grid = model.grid
    model.grid = lambda features, image_size=None: grid(features, image_size or size)
    return model


def families() -> Iterator[str]:
    """Name of a small network of each class, among the likeliest of each of timm's modules."""
    modules: dict[str, list[str]] = {}
    for name in timm.list_models():
        modules.setdefault(model_entrypoint(name).__module__, []).append(name)
    seen: dict[str, tuple[float, str]] = {}
    for names in modules.values():
        likely = [n for n in names if any(word in n for word in SMALL)] or names
        for name in sorted(likely, key=len)[:6]:
            try:
                with torch.device("meta"):
                    network = timm.create_model(name, num_classes=7)
            except Exception:
                continue
            size = sum(weight.numel() for weight in network.parameters())
            key = type(network).__name__
            seen[key] = min(seen.get(key, (float("inf"), "")), (size, name))
    yield from (name for size, name in sorted(seen.values()) if size < MOST)


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    found = []
    for name in names or families():
        try:
            found.append(examine(name))
        except Exception as error:
            found.append(Found(name, "?", "", "", "", f"{type(error).__name__}: {error}"))
        print(found[-1], flush=True)
    if not names:
        write(found)


def write(found: list[Found]) -> None:
    wrong = [each for each in found if each.family in SPLITS and each.problem is not None]
    if wrong:
        raise SystemExit(f"SPLITS has networks that fail: {wrong}")
    supported = [each for each in found if each.family in SPLITS]
    refused = sorted(set(each.family for each in found) - {e.family for e in supported})
    rows = [f"| `{e.family}` | `{e.name}` | {e.layer} | {e.size} | {e.grid} |" for e in supported]
    reasons = [f"| `{name}` | {REFUSED.get(name, 'not examined')} |" for name in refused]
    PAGE.write_text(
        HEAD.format(version=timm.__version__)
        + "\n".join(rows)
        + "\n\n## Refused\n\n| class in timm | reason |\n| --- | --- |\n"
        + "\n".join(reasons)
        + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
