"""The table of robustness, against a model whose answers are worked out by hand."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT
from torch import nn

from skinxai import Classifier
from skinxai.configs import PreprocessConfig
from skinxai.data import Record, Records
from skinxai.labels import LabelSet

LABELS = LabelSet(("dark", "light"))
LIMIT = 0.5
GREYS = (90, 110, 120, 140, 160, 200)


@pytest.fixture(scope="module")
def robustness() -> Iterator[ModuleType]:
    path = list(sys.path)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import robustness

    yield robustness
    sys.path[:] = path
    for name in ("robustness", "resolutions"):
        sys.modules.pop(name, None)


class Brightness(nn.Module):
    """Says "light" where the mean of the picture is above `LIMIT`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[0.0] * 3, [100.0] * 3]))
            self.fc.bias.copy_(torch.tensor([0.0, -300.0 * LIMIT]))

    def features(self, images):
        return images

    def head(self, features):
        return self.fc(features.mean(dim=(2, 3)))


@pytest.fixture
def model() -> Classifier:
    network = Brightness().eval()
    sees = PreprocessConfig((40, 40), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Classifier.from_module(
        network, LABELS, sees, network.features, network.head, name="planted", device="cpu"
    )


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Six grey pictures, one a lesion."""
    items = []
    for grey in GREYS:
        path = tmp_path / f"{grey}.png"
        Image.new("RGB", (40, 40), (grey,) * 3).save(path)
        items.append(Record(path.stem, path, LABELS.codes[grey > 255 * LIMIT], f"l{grey}"))
    return Records(tuple(items), LABELS, "greys")


def test_labels_that_a_darker_exposure_takes(robustness, model, records) -> None:
    found = robustness.measure(model, records, progress=False, resamples=20)
    darker = [255 * (grey / 255) ** 1.5 for grey in GREYS]
    stay = [(grey > 255 * LIMIT) == (after > 255 * LIMIT)
            for grey, after in zip(GREYS, darker, strict=True)]  # fmt: skip
    assert stay == [True, True, True, False, False, True]
    row = next(line for line in found.to_markdown().splitlines() if "gamma 1.5" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["exposure", "darker: gamma 1.5"]
    assert cells[2].startswith(f"{100 * np.mean(stay):.0f}% (")
    low, high = (float(each.rstrip("%)")) for each in cells[2].split("(")[1].split(" to "))
    assert 0 <= low <= 100 * np.mean(stay) <= high <= 100
    assert cells[4] == "1.00 → 0.67" and cells[5].startswith("−0.33 (")  # of three light ones, one
    assert found.to_dict()["sizes"] == {}
    assert {row.artefact for row in found.shifts.rows} == set(robustness.SHIFTS)


def test_the_same_picture_at_two_sizes(robustness, model, tmp_path, monkeypatch) -> None:
    pictures = {"ISIC_1": (100, 100), "ISIC_2": (120, 140), "ISIC_3": (200, 200)}
    items = []
    for folder in ("large", "small"):
        (tmp_path / folder).mkdir()
        for name, greys in pictures.items():
            path = tmp_path / folder / f"{name}.png"
            Image.new("RGB", (40, 40), (greys[folder == "small"],) * 3).save(path)
            if folder == "small":
                items.append(Record(name, path, "dark"))
    import resolutions

    monkeypatch.setattr(resolutions, "load_ham10000", lambda root: Records(tuple(items), LABELS))
    found = resolutions.same_answers(model, tmp_path / "large", tmp_path / "small")
    assert (found["images"], found["same top label"]) == (3, 2)
    assert found["largest difference of a probability"] == pytest.approx(1, abs=0.05)
    monkeypatch.setattr(resolutions, "load_ham10000", lambda root: [])
    with pytest.raises(SystemExit, match="holds none"):
        resolutions.same_answers(model, tmp_path / "large", tmp_path / "small")
