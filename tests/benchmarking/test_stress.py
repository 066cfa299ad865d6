"""Planted models that lean on a ruler, on ink or on the lesion, and what a stress test finds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from skinxai import Classifier, backbones, checkpoints
from skinxai.artefacts import CATALOGUE, named
from skinxai.artefacts.catalogue import GROUPS
from skinxai.assessment.faithfulness import mass_inside
from skinxai.benchmarking import stress_sheet, stress_test
from skinxai.benchmarking.stressing import change
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, TrainedOn, pixel_hash
from skinxai.errors import DatasetError, LeakageError, OptionError, UnknownNameError
from skinxai.labels import LabelSet
from skinxai.results import StressTest

LABELS = LabelSet(("benign", "bad"), malignant=frozenset({"bad"}))
SMALL = dict(progress=False, resamples=20)
CLEAR = (40, 200, 60)
DARK = (20, 90, 30)


class Planted(nn.Module):
    """Says "bad" where enough of the picture has a colour: ReLU(weights · RGB − least)."""

    def __init__(self, weights: tuple[float, ...], least: float) -> None:
        super().__init__()
        self.colours = nn.Conv2d(3, 1, 1)
        self.fc = nn.Linear(1, 2)
        with torch.no_grad():
            self.colours.weight.copy_(torch.tensor(weights).reshape(1, 3, 1, 1))
            self.colours.bias.fill_(-least)
            self.fc.weight.copy_(torch.tensor([[0.0], [2000.0]]))
            self.fc.bias.copy_(torch.tensor([1.0, -1.0]))

    def features(self, images):
        return functional.avg_pool2d(functional.relu(self.colours(images)), 2)

    def head(self, features):
        return self.fc(features.mean(dim=(2, 3)))


def planted(weights: tuple[float, ...], least: float, labels: LabelSet = LABELS) -> Classifier:
    """Pixels reach the network as 0–1."""
    network = Planted(weights, least).eval()
    sees = PreprocessConfig((120, 160), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Classifier.from_module(
        network, labels, sees, network.features, network.head, name="planted", device="cpu"
    )


def paper() -> Classifier:
    """Looks for white."""
    return planted((1 / 3, 1 / 3, 1 / 3), 0.85)


def violet() -> Classifier:
    """Looks for more blue than green."""
    return planted((0.0, -4.0, 4.0), 0.1)


def pigment() -> Classifier:
    """Looks for the green of the bad lesions alone."""
    return planted((-1.0, 1.0, -1.0), 0.3)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Records, Path]:
    """Twelve pictures of six lesions: bright green ones are bad; the masks beside them."""
    (masks := tmp_path / "masks").mkdir()
    items = []
    y, x = np.mgrid[:120, :160]
    for number in range(12):
        label = ("bad", "benign")[number // 2 % 2]
        mask = np.hypot((y - 58 - number) / 20, (x - 80) / (24 + number)) < 1
        grain = np.random.default_rng(number).normal(0, 4, (120, 160, 1))
        colours = np.where(mask[..., None], CLEAR if label == "bad" else DARK, (190, 150, 140))
        path = tmp_path / f"i{number:02d}.png"
        Image.fromarray((colours + grain).clip(0, 255).astype(np.uint8)).save(path)
        Image.fromarray(mask).save(masks / f"i{number:02d}_segmentation.png")
        items.append(Record(path.stem, path, label, lesion_id=f"l{number // 2}"))
    return Records(tuple(items), LABELS, "green"), masks


def test_a_model_that_looks_at_rulers_is_caught(data) -> None:
    found = stress_test(paper(), *data, maps=4, **SMALL)
    ruler, erased = found.row("ruler", "paper"), found.row("lesion erased", "box")
    assert ruler.images == 12 and ruler.lesions == 6 and ruler.no_room == 0
    assert ruler.top_class.value == ruler.top_class.high == 1
    assert ruler.top_class.low == pytest.approx(binomtest(6, 6).proportion_ci(method="wilson").low)
    assert ruler.malignant.value > 0.85
    assert ruler.mass.value > 0.95 > 0.25 > ruler.area.value and ruler.maps == 4
    assert ruler.covered.value == 0
    assert (ruler.balanced_before.value, ruler.balanced_after.value) == (0.5, 0.5)
    for row in (erased, found.row("ink", "circle"), found.row("rotation", "180°")):
        assert row.top_class.value == 0 and abs(row.true_class.value) < 0.01


def test_a_model_that_looks_at_ink_is_caught(data) -> None:
    found = stress_test(violet(), *data, artefacts=["ink", "ruler"], **SMALL)
    for strength in ("one stroke", "circle"):
        ink = found.row("ink", strength)
        assert ink.top_class.value == 1 and ink.mass.value > 0.95 and ink.area.value < 0.25
    assert found.row("ruler", "glass").top_class.value == 0


def test_a_model_that_looks_at_the_lesion_alone_is_not(data) -> None:
    found = stress_test(pigment(), *data, **SMALL)
    for name in ("ink", "ruler", "skin erased"):
        for row in (each for each in found.rows if each.artefact == name):
            assert row.top_class.value == 0 and abs(row.true_class.value) < 0.01, row
            assert not row.mass.value > 0.1
            assert row.balanced_after.value == row.balanced_before.value == 1
    for strength in ("inpainted", "mean", "box"):
        row = found.row("lesion erased", strength)
        assert row.top_class.value == 0.5  # all bad ones, and none of the others
        assert row.balanced_change.value == -0.5 and row.covered.value == 1


def test_the_figures_are_those_of_the_answers(data) -> None:
    records, masks = data
    classifier = violet()
    found = stress_test(classifier, records, masks, artefacts=["hair"], maps=3, seed=4, **SMALL)
    order = []
    for artefact in named(["hair"]):
        row, changes, masses = found.row("hair", artefact.strength), [], []
        for item in records:
            pixels = np.asarray(Image.open(item.path))
            made = artefact(pixels, image_id=item.image_id, seed=4)
            before, after = classifier.predict([pixels, made.pixels])
            changes.append([after.probabilities[item.label] - before.probabilities[item.label],
                            after.malignant_probability - before.malignant_probability,
                            after.label != before.label])  # fmt: skip
            order.append((item.image_id, mass_inside(classifier.explain(made.pixels).heatmap,
                                                     made.where)))  # fmt: skip
            masses.append(order[-1][1])
        expected = np.mean(changes, axis=0)
        got = [row.true_class.value, row.malignant.value, row.top_class.value]
        assert got == pytest.approx(expected, abs=1e-6)
        assert row.maps == 3 and np.isnan(row.mass.value) == np.isnan(masses).all()
    assert found.images == 12 and found.lesions == 6 and found.seed == 4


def test_decisions_that_change_and_those_that_become_none() -> None:
    (shown,) = [violet().predict(np.full((40, 40, 3), 120, np.uint8))]
    pairs = [("refer", "routine"), ("routine", "abstain"), ("abstain", "abstain"), (None, None)]
    found = [
        change(replace(shown, decision=one), replace(shown, decision=other), "bad")[3:]
        for one, other in pairs
    ]
    assert found[:3] == [[1, 0], [1, 1], [0, 0]] and np.isnan(found[3]).all()


def test_every_model_and_order_of_records_sees_the_same(data) -> None:
    records, masks = data
    seen: list[list[bytes]] = []
    for classifier, order in ((violet(), 1), (paper(), -1)):
        shown: list[bytes] = []
        predict = classifier.predict
        classifier.predict = lambda images, p=predict, s=shown, **options: (
            s.extend(image.tobytes() for image in images), p(images, **options)
        )[1]  # fmt: skip
        other = replace(records, items=records.items[::order])
        stress_test(classifier, other, masks, lesions=2, maps=0, **SMALL)
        seen.append(shown)
    assert seen[0] == seen[1] and len(seen[0]) == 4 * (1 + len(CATALOGUE))


def test_classes_take_turns(data) -> None:
    records, masks = data
    many = replace(records, items=tuple(replace(i, label="benign") for i in records[:10])
                   + records.items[10:])  # fmt: skip
    many = replace(many, items=(*many.items[:10], *(replace(i, label="bad") for i in many[10:])))
    found = stress_test(violet(), many, masks, artefacts=["blur"], lesions=2, **SMALL)
    assert found.images == 4 and not math.isnan(found.row("blur", "slight").balanced_after.value)


def test_without_masks_what_needs_them_is_left_out_and_said(data) -> None:
    records, _ = data
    found = stress_test(violet(), records, **SMALL)
    assert {row.artefact for row in found.rows} == {a.name for a in CATALOGUE if not a.needs_mask}
    (said,) = found.notes
    assert said.startswith("12 of 12 images have no mask, left out of: lesion erased (inpainted)")
    assert "ink (circle)" in said and "ruler (paper)" in said and "hair" not in said
    with pytest.raises(OptionError) as error:
        stress_test(violet(), records, artefacts=["ruler", "blur", "ink"], **SMALL)
    said = "the artefacts ['ink', 'ruler'] need masks of the lesions, and no masks were given; "
    assert str(error.value) == said + "pass masks=FOLDER."
    assert error.value.on_command_line == said + "give --masks FOLDER."


def test_an_image_without_mask_or_room_is_counted(data) -> None:
    records, masks = data
    (masks / "i03_segmentation.png").unlink()
    Image.fromarray(np.full((120, 160), 255, np.uint8)).save(masks / "i04_segmentation.png")
    found = stress_test(violet(), records, masks, artefacts=["ruler", "blur"], **SMALL)
    row = found.row("ruler", "paper")
    assert (row.images, row.no_mask, row.no_room) == (10, 1, 1)
    assert found.row("blur", "strong").images == 12
    assert found.notes == (
        "1 of 12 images has no mask, left out of: ruler (glass), ruler (paper)",
        "1 of 12 images leaves no room beside the lesion, left out of: ruler (glass), ruler "
        "(paper)",
    )


def test_masks_that_are_none(data, tmp_path: Path) -> None:
    records, masks = data
    for values, words in (
        (np.zeros((120, 160), np.uint8), "it has none"),
        (np.full((120, 120), 255, np.uint8), "shape"),
        (np.full((120, 160), 90, np.uint8), "black and white"),
    ):
        Image.fromarray(values).save(masks / "i02_segmentation.png")
        with pytest.raises(DatasetError, match=words):
            stress_test(violet(), records, masks, artefacts=["ruler"], **SMALL)
    with pytest.raises(DatasetError, match="has none for the 12 images"):
        stress_test(violet(), records, tmp_path / "nowhere", **SMALL)


def test_one_class_has_no_balanced_accuracy(data) -> None:
    records, masks = data
    same = replace(records, items=tuple(i for i in records if i.label == "bad"))
    found = stress_test(violet(), same, masks, artefacts=["blur"], **SMALL)
    row = found.row("blur", "slight")
    assert math.isnan(row.balanced_before.value) and math.isnan(row.balanced_change.value)
    assert found.notes == ("balanced accuracy is not defined: all images are of one class",)
    assert "balanced accuracy |" not in found.to_markdown() and row.images == 6


def test_what_cannot_be_tested(data) -> None:
    records, masks = data
    for wrong, words in (
        ({"lesions": 0}, "lesions must be an integer >= 1, got 0"),
        ({"maps": -1}, "maps must be an integer >= 0, got -1"),
        ({"seed": 0.5}, "seed must be an integer from 0 to 2\\^63 - 1, got 0.5"),
        ({"resamples": 0}, "resamples must be an integer >= 1"),
        ({"not_copies": ["i99"]}, "i99"),
    ):
        with pytest.raises((OptionError, DatasetError), match=words):
            stress_test(violet(), records, masks, **SMALL | wrong)
    with pytest.raises(UnknownNameError, match="Unknown artefact 'inc'"):
        stress_test(violet(), records, masks, artefacts=["inc"], **SMALL)
    with pytest.raises(UnknownNameError, match="gradcam"):
        stress_test(violet(), records, masks, method="gradcan", **SMALL)
    other = LabelSet(("bad", "benign"))
    with pytest.raises(OptionError, match="records must have the model's labels"):
        stress_test(violet(), replace(records, labels=other), masks, **SMALL)
    with pytest.raises(DatasetError, match="records must hold at least one image"):
        stress_test(violet(), replace(records, items=()), masks, **SMALL)


def test_images_that_the_model_was_trained_on(data, monkeypatch) -> None:
    records, masks = data
    seen = TrainedOn.from_hashes([pixel_hash(np.asarray(Image.open(records[5].path)))])
    classifier = violet()
    monkeypatch.setattr(type(classifier), "trained_on", seen)
    with pytest.raises(LeakageError, match="of 12, 1 has the pixels of a training image"):
        stress_test(classifier, records, masks, artefacts=["blur"], **SMALL)


def test_the_result_is_kept_as_json_and_shown_as_a_table(data) -> None:
    found = stress_test(paper(), *data, artefacts=["ruler", "blur"], maps=2, **SMALL)
    again = StressTest.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict() and again.to_markdown() == found.to_markdown()
    lines = found.to_markdown().splitlines()
    assert len(lines) == 2 + len(found.rows) and "decision changes" not in lines[0]
    ruler = next(line for line in lines if "| paper |" in line)
    assert "| 100% (61–100) | 0.50 → 0.50 |" in ruler
    assert next(line for line in lines if "| strong |" in line).endswith("| – | – |")
    with pytest.raises(OptionError, match="stress test must have the keys"):
        StressTest.from_dict({k: v for k, v in found.to_dict().items() if k != "seed"})
    with pytest.raises(KeyError):
        found.row("ruler", "wood")


def test_images_of_one_lesion_have_no_intervals(data, tmp_path: Path) -> None:
    records, masks = data
    alone = records.subset(["i00", "i01"])
    found = stress_test(paper(), alone, masks, artefacts=["ruler"], maps=0, **SMALL)
    row = found.row("ruler", "paper")
    assert row.lesions == 1 and math.isnan(row.top_class.low) and row.top_class.value >= 0
    table = found.to_markdown()
    assert "(nan" not in table and "% (–)" in table and "0.00 (–)" in table
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_picture_has_a_row_for_each_artefact(data) -> None:
    records, masks = data
    whole = stress_sheet(violet(), records, masks)
    some = stress_sheet(violet(), records, masks, artefacts=["ink", "blur"])
    assert whole.width == some.width and 2 * whole.height == len(GROUPS) * some.height
    assert stress_sheet(violet(), records, masks).tobytes() == whole.tobytes()
    violet_seen = np.asarray(some)[: some.height // 2, 256:500].astype(int)
    assert (violet_seen[..., 2] - violet_seen[..., 1] > 30).sum() > 200


def test_the_command(data, tmp_path: Path) -> None:
    records, masks = data
    for item in records:
        (folder := tmp_path / "data" / item.label).mkdir(parents=True, exist_ok=True)
        item.path.rename(folder / item.path.name)
    config = ModelConfig("tiny", "timm/test_convnext", LABELS, PreprocessConfig((64, 64)))
    network = backbones.build(config.backbone, 2)
    checkpoints.save(str(tmp_path / "model"), network, config, "A card.", TrainedOn())

    def run(*more: str):
        words = ["stress", str(tmp_path / "data"), "--model", str(tmp_path / "model"), *more]
        return CliRunner().invoke(app, words)

    out = tmp_path / "out"
    found = run("--masks", str(masks), "--out", str(out), "--artefacts", "ink, blur",
                "--maps", "2", "--lesions", "5")  # fmt: skip
    assert found.exit_code == 0, found.exception
    assert "| ink | circle | 5 |" in found.stdout
    assert {path.name for path in out.iterdir()} == {"stress.json", "stress.md", "stress.png"}
    read = StressTest.from_dict(json.loads((out / "stress.json").read_text()))
    assert read.images == 5 and read.to_markdown() == (out / "stress.md").read_text()
    for path in masks.iterdir():  # lesions that leave no room for ink
        Image.fromarray(np.full((120, 160), 255, np.uint8)).save(path)
    full = run("--masks", str(masks), "--out", str(tmp_path / "full"), "--artefacts", "ink")
    assert full.exit_code == 0, full.exception
    assert "12 of 12 images leave no room beside the lesion" in full.stdout
    assert (tmp_path / "full/stress.json").is_file()
    with Image.open(tmp_path / "full/stress.png") as picture, Image.open(out / "stress.png") as one:
        assert picture.width == one.width and 20 < picture.height < 60
    without = run("--out", str(tmp_path / "none"), "--backend", "onnx")
    assert "needs graph.safetensors in the model folder" in str(without.exception)
    refused = run("--out", str(tmp_path / "none"), "--artefacts", "ruler")
    assert refused.exit_code != 0 and "--masks FOLDER" in refused.exception.on_command_line
    assert not (tmp_path / "none").exists()
    inside = run("--out", str(tmp_path / "data" / "bad" / "out"))
    assert "--out must lie outside DATA" in str(inside.exception)
