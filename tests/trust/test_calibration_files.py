"""A calibration's files in the model's folder: its images are recognised, others are refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import BASE, LABELS, coloured, model_folder

from skinxai import Classifier, Evaluation, Trainer
from skinxai.data import Record, Records, TrainedOn
from skinxai.data.hashing import looks
from skinxai.errors import IntegrityError, ModelConfigError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_model_folder, write_model_folder
from skinxai.model_folders.parts import CALIBRATION, CALIBRATION_FINGERPRINTS, CALIBRATION_PIXELS
from skinxai.reporting import write_evaluation

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, malignant=frozenset({"red"}))


def pictures(folder: Path, count: int, seed: int) -> Records:
    """Blurred noise in three colours; each picture is a lesion."""
    draws, items = np.random.default_rng(seed), []
    folder.mkdir(parents=True)
    for number in range(count):
        label = LABELS.codes[number % 3]
        coarse = draws.integers(60, 160, (8, 10, 3), np.uint8)
        coarse[..., number % 3] += 60
        path = folder / f"{label}-{seed}-{number}.png"
        Image.fromarray(coarse).resize((160, 128), Image.Resampling.BICUBIC).save(path)
        items.append(Record(image_id=path.stem, path=path, label=label, lesion_id=path.stem))
    return Records(tuple(items), MALIGNANT, name="blurs")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return pictures(tmp_path_factory.mktemp("own") / "images", 24, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, own: Records) -> Path:
    """A model that was calibrated on these pictures, with a graph."""
    place = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(place / name, 8, 7 + k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    made = Trainer(**BASE, output_dir=place / "run").fit(*parts)
    made.calibrate(own).with_graph().save_pretrained(place / "calibrated")
    return place / "calibrated"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, own: Records) -> Records:
    """Twelve others, one picture of the calibration as it is, and one of another quality."""
    place = tmp_path_factory.mktemp("judged")
    others = pictures(place / "images", 12, 2)
    again = replace(own[3], image_id="again", lesion_id="again")
    Image.open(own[4].path).resize((140, 112)).save(place / "smaller.jpg", quality=80)
    smaller = replace(own[4], image_id="smaller", lesion_id="smaller", path=place / "smaller.jpg")
    return replace(others, items=(*others.items, again, smaller))


def kept(records: Records, *left_out: str) -> Records:
    items = tuple(item for item in records if item.image_id not in left_out)
    return replace(records, items=items)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_evaluate_names_the_images_that_calibrated_the_model(
    folder, judged, tmp_path, backend
) -> None:
    model = Classifier.from_pretrained(folder, backend=backend)
    found = model.evaluate(judged, resamples=5)
    assert (found.calibration_seen.exact, found.calibration_seen.copies) == (
        ("again",), ("smaller",),
    )  # fmt: skip
    sentence = (
        " The model was calibrated on 2 of these images: calibration errors, Brier score and "
        "decisions are better here than on others."
    )
    assert sentence in found.verdict and not found.leaked
    assert sentence in found.to_markdown()
    page = write_evaluation(found, tmp_path)[0].read_text()
    assert "verdict doubt" in page and sentence.strip() in page
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))).verdict == found.verdict
    assert not model.evaluate(judged, not_copies=["smaller"], resamples=5).calibration_seen.copies
    rest = model.evaluate(kept(judged, "again", "smaller"), resamples=5)
    assert not rest.calibration_seen and "calibrated" not in rest.verdict


def test_an_ensemble_has_images_of_its_own_calibration(folder, judged, own, tmp_path) -> None:
    other = model_folder(tmp_path / "other", MALIGNANT, seed=4)
    write_ensemble(tmp_path / "both", [folder, other], name="both")
    plain = Classifier.from_pretrained(tmp_path / "both")
    assert not plain.evaluate(judged, resamples=5).calibration_seen  # a member's is not used
    plain.calibrate(kept(own, own[3].image_id)).save_pretrained(tmp_path / "kept")
    found = Classifier.from_pretrained(tmp_path / "kept").evaluate(judged, resamples=5)
    assert (found.calibration_seen.exact, found.calibration_seen.copies) == ((), ("smaller",))


def test_a_model_that_is_not_calibrated_has_none(judged, tmp_path) -> None:
    plain = Classifier.from_pretrained(model_folder(tmp_path / "plain", MALIGNANT))
    assert not plain.evaluate(judged, resamples=5).calibration_seen


@pytest.mark.parametrize("name", [CALIBRATION_PIXELS, CALIBRATION_FINGERPRINTS])
@pytest.mark.parametrize("change", ["missing", "another"])
def test_other_images_than_the_calibrations_are_refused(
    folder, judged, tmp_path, name, change
) -> None:
    files = dict(read_model_folder(folder).files)
    other = TrainedOn.of_looks(looks(judged)).files((CALIBRATION_PIXELS, CALIBRATION_FINGERPRINTS))
    files.pop(name)
    if change == "another":
        files[name] = other[name]
    write_model_folder(tmp_path / "changed", files)
    with pytest.raises(IntegrityError, match=f"{name} must be the one"):
        Classifier.from_pretrained(tmp_path / "changed")


@pytest.mark.parametrize("known", [{}, [], {CALIBRATION_PIXELS: "0" * 64}])
def test_digests_of_other_files_are_refused(folder, tmp_path, known) -> None:
    files = dict(read_model_folder(folder).files)
    values = json.loads(files[CALIBRATION]) | {"known": known}
    write_model_folder(tmp_path / "changed", files | {CALIBRATION: json.dumps(values).encode()})
    with pytest.raises(ModelConfigError, match=r"known of calibration\.json"):
        Classifier.from_pretrained(tmp_path / "changed")


def test_a_calibration_of_other_weights_is_refused(folder, tmp_path) -> None:
    other = model_folder(tmp_path / "other", MALIGNANT, seed=4)
    files = {p.name: p.read_bytes() for p in other.iterdir()} | {
        CALIBRATION: (folder / CALIBRATION).read_bytes()
    }
    del files["manifest.json"]
    write_model_folder(tmp_path / "mixed", files)
    with pytest.raises(IntegrityError, match="was fitted for others"):
        Classifier.from_pretrained(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"schema_version": 2}, ModelConfigError),
        ({"default": "nothing"}, ModelConfigError),
        ({"images": 0}, ModelConfigError),
        ({"data": "a\nb"}, ModelConfigError),
        ({"one_view": {}}, ModelConfigError),
        ({"more": 1}, ModelConfigError),
        ({"slopes": [1, 1]}, IntegrityError),
        ("other points", ModelConfigError),
    ],
)
def test_a_part_with_other_values_is_refused(folder, tmp_path, change, error) -> None:
    files = dict(read_model_folder(folder).files)
    values = json.loads(files[CALIBRATION])
    if change == "other points":
        values["four_views"]["operating_points"].pop()
    elif slopes := change.get("slopes"):
        values["one_view"]["scaling"] = {"slopes": slopes, "offsets": [0, 0]}
    else:
        values |= change
    write_model_folder(tmp_path / "changed", files | {CALIBRATION: json.dumps(values).encode()})
    with pytest.raises(error):
        Classifier.from_pretrained(tmp_path / "changed")
