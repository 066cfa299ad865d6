"""A graph in eight bits answers nearly so, says so, and its cost is counted."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from small_runs import coloured, model_folder, registered, rows

from skinxai import Classifier, samples
from skinxai.configs import PreprocessConfig
from skinxai.data import Record, Records, TrainedOn, pixel_hash
from skinxai.errors import LeakageError, ModelError, OptionError, SkinxaiWarning
from skinxai.exporting.eight_bits import export_int8
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet


@pytest.fixture(autouse=True)
def networks():
    with registered():
        yield


@pytest.fixture
def parts(tmp_path: Path):
    return [coloured(tmp_path / name, 6, seed) for seed, name in enumerate(("seen", "new"))]


def read_metadata(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_the_cost_is_that_of_its_answers(parts: list, backend: str, tmp_path: Path) -> None:
    seen, new = parts
    whole = Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1))
    path = tmp_path / "int8.onnx"
    cost = export_int8(
        whole, path, calibrate=[item.path for item in seen], judge=new, backend=backend
    )
    small = Classifier.from_pretrained(path, backend=backend)
    assert small.backend.endswith("cpu int8") and small.backend == cost.backend
    assert small.model.partition("@")[0] == whole.model.partition("@")[0]
    assert small.model != whole.model == read_metadata(path)["skinxai.model"]
    one, two = ([each.predict(item.path) for item in new] for each in (whole, small))
    assert [p.backend for p in two] == [small.backend] * len(new)
    gaps = [
        abs(p.probabilities[code] - q.probabilities[code])
        for p, q in zip(one, two, strict=True)
        for code in whole.labels
    ]
    assert 1e-5 < max(gaps) < 0.05  # rounded, and not otherwise
    assert cost.probability == pytest.approx(max(gaps), abs=1e-6)
    assert cost.labels == sum(p.label != q.label for p, q in zip(one, two, strict=True))
    truth = [item.label for item in new]
    for found, shown in zip((one, two), cost.balanced_accuracy, strict=True):
        recalls = [
            np.mean([p.label == code for p, t in zip(found, truth, strict=True) if t == code])
            for code in whole.labels
        ]
        assert shown == pytest.approx(np.mean(recalls))
    assert cost.images == len(new)


def test_the_cost_is_of_the_rounding_and_not_of_a_calibration(parts: list, tmp_path: Path) -> None:
    """A file has no calibration, so that a calibrated model is judged without its own."""
    seen, new = parts
    plain = Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1))
    others = coloured(tmp_path / "others", 8, 2)
    calibrated = plain.calibrate(others, method="vector")
    images = [item.path for item in seen]
    answers = [rows([each.predict(item.path) for item in new]) for each in (plain, calibrated)]
    gap = float(np.abs(answers[0] - answers[1]).max())
    expected = export_int8(plain, tmp_path / "plain.onnx", calibrate=images, judge=new)
    with pytest.warns(SkinxaiWarning, match="has no calibration"):
        cost = export_int8(calibrated, tmp_path / "x.onnx", calibrate=images, judge=new)
    assert gap > 10 * expected.probability  # else nothing would be seen of it
    assert cost == expected


def test_what_would_hide_the_cost_is_refused(parts: list, tmp_path: Path) -> None:
    seen, new = parts
    images = [item.path for item in seen]
    known = TrainedOn.from_hashes([pixel_hash(read_image(new.items[0].path).pixels)])
    learnt = Classifier.from_pretrained(model_folder(tmp_path / "learnt", seed=1, trained_on=known))
    with pytest.raises(LeakageError, match="trained on"):
        export_int8(learnt, tmp_path / "x.onnx", calibrate=images, judge=new)
    whole = Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1))
    other = replace(new, labels=LabelSet(("green", "red", "blue")))
    for more, words in (
        ({"judge": other}, "labels"), ({"calibrate": []}, "at least one image"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=words):
            export_int8(whole, tmp_path / "x.onnx", **{"calibrate": images, "judge": new} | more)
    with pytest.raises(OptionError, match=r"backend must be one of .*, got 'torch'"):
        export_int8(whole, tmp_path / "x.onnx", calibrate=images, judge=new, backend="torch")
    with pytest.raises(OptionError, match=r"must end in \.onnx"):
        export_int8(whole, tmp_path / "x.xml", calibrate=images, judge=new)
    assert not (tmp_path / "x.onnx").exists()


def changed(image: Image.Image) -> Image.Image:
    """A mirrored, smaller copy."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((400, 300))


@pytest.mark.parametrize("change", [lambda image: image, changed])
def test_copies_of_calibration_images_are_not_judged(change, tmp_path: Path) -> None:
    """Also those that were saved again: they would count as independent."""
    whole = Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1))
    photos, items = samples.paths()[:3], []
    for number, (path, label) in enumerate(zip(photos, whole.labels, strict=True)):
        copy = tmp_path / f"{number}.jpg"
        change(Image.open(path).convert("RGB")).save(copy, quality=80)
        items.append(Record(f"copy-{number}", copy, label))
    judge = Records(tuple(items), whole.config.labels, "copies", "CC0-1.0", "nobody")
    with pytest.raises(OptionError, match=r"no copy of one, but 3 are, such as .*copy-0"):
        export_int8(whole, tmp_path / "x.onnx", calibrate=photos, judge=judge)


def test_calibration_images_are_read_once(parts: list, tmp_path: Path) -> None:
    """An open file is at its end afterwards; the path may be text in a new folder."""
    seen, new = parts
    whole = Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1))
    asked = [BytesIO(item.path.read_bytes()) for item in seen]
    path = tmp_path / "a" / "X.ONNX"
    cost = export_int8(whole, str(path), calibrate=asked, judge=new)
    assert cost.images == len(new) and Classifier.from_pretrained(path).backend == cost.backend


def test_an_ensemble_is_refused_before_its_images_are_read(parts: list, tmp_path: Path) -> None:
    folders = [
        model_folder(tmp_path / str(side), preprocessing=PreprocessConfig(side))
        for side in (32, 48)
    ]
    both = Classifier.from_pretrained(folders)
    with pytest.raises(ModelError, match=r"export_int8\(\) needs a single network"):
        export_int8(both, tmp_path / "x.onnx", calibrate=["nowhere.jpg"], judge=parts[1])
