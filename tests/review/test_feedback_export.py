"""Labelled cases become a data set that a model is fine-tuned on, and nothing leaks."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from review_cases import START
from small_runs import BASE, LABELS, model_folder

from skinxai import Classifier, Trainer
from skinxai.data import Record, Records, Splits, audit, given_split, load_csv
from skinxai.errors import DatasetError, OptionError, OutputError
from skinxai.images.reading import read_image
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.review import UNSURE, Case, ReviewStore

pytestmark = pytest.mark.usefixtures("small_networks")


def skin(seed: int) -> np.ndarray:
    """A smooth picture, like no other."""
    coarse = np.random.default_rng(seed).integers(40, 240, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Splits:
    """The data that the model learnt from: 18 lesions of 18 patients, in three parts."""
    folder = tmp_path_factory.mktemp("old")
    items, ids = [], {"train": [], "val": [], "test": []}
    for number in range(18):
        path = folder / f"old{number}.png"
        path.write_bytes(encoded(skin(1000 + number)))
        label = LABELS[number % 3]
        items.append(Record(f"old{number}", path, label, f"L{number}", f"P{number}"))
        ids[("train", "val", "test")[number // 6]].append(f"old{number}")
    return Splits.of(Records(tuple(items), LABELS, "old data"), ids)


@pytest.fixture(scope="module")
def model(tmp_path_factory, small_networks, old) -> Classifier:
    looks = [Look.at(read_image(item.path).pixels) for item in old.train]
    folder = tmp_path_factory.mktemp("model") / "first"
    return Classifier.from_pretrained(
        model_folder(folder, seed=1, trained_on=TrainedOn.of_looks(looks))
    )


@pytest.fixture
def store(opened, tmp_path: Path) -> ReviewStore:
    return opened(images=tmp_path / "kept")


def recorded(store, model, name: str, data: bytes, *labels: str, **ids) -> None:
    """As a service does, and then each reviewer in turn."""
    (made,) = model.predict([data])
    store.record(Case.of(made, data, id=name, at=START, **ids))
    for number, label in enumerate(labels):
        store.label(name, label, f"reviewer {number}")


def reasons(found) -> dict[str, str]:
    return {each.case_id: each.reason for each in found.left_out}


def test_agreed_labels_become_records(store, model, tmp_path: Path) -> None:
    jpeg = encoded(skin(1), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", comment=b"Mrs Miller")
    recorded(store, model, "agreed", jpeg, "red", "red", lesion="L", subject="S")
    recorded(store, model, "alone", encoded(skin(2)), "blue", subject="S")
    recorded(store, model, "disputed", encoded(skin(3)), "red", "green")
    recorded(store, model, "unsure", encoded(skin(4)), UNSURE)
    recorded(store, model, "half sure", encoded(skin(5)), "red", UNSURE)
    recorded(store, model, "waits", encoded(skin(6)))
    recorded(store, model, "again 1", encoded(skin(7)), "green", lesion="M")
    recorded(store, model, "again 2", encoded(skin(7)), "green")
    recorded(store, model, "torn 1", encoded(skin(8)), "green")
    recorded(store, model, "torn 2", encoded(skin(8)), "blue")
    found = store.export(tmp_path / "out", model)
    assert reasons(found) == {
        "disputed": "disputed: green (1), red (1)", "half sure": "disputed: red (1), unsure (1)",
        "torn 1": "disputed: blue (1), green (1)", "torn 2": "disputed: blue (1), green (1)",
        "unsure": "its reviewers are unsure", "waits": "no reviewer has labelled it",
    }  # fmt: skip
    with (tmp_path / "out" / "left_out.csv").open() as file:
        assert {row["case"]: row["reason"] for row in csv.DictReader(file)} == reasons(found)
    assert found.cases == 4
    records = load_csv(tmp_path / "out/records.csv", tmp_path / "out", labels=LABELS)
    assert records.items == found.records.items
    by_label = {item.label: item for item in records}
    assert set(by_label) == {"red", "green", "blue"} and len(records) == 3
    assert (by_label["red"].lesion_id, by_label["red"].patient_id) == ("L", "S")
    assert by_label["blue"].patient_id == "S" and by_label["green"].lesion_id == "M"
    own = by_label["red"].path
    np.testing.assert_array_equal(read_image(own).pixels, read_image(jpeg).pixels)
    assert b"Exif" not in own.read_bytes() and b"Miller" not in own.read_bytes()
    two = store.export(tmp_path / "two", model, reviewers=2)
    assert two.cases == 1 and reasons(two)["alone"] == "labelled by 1 of 2 reviewers"


def test_nothing_leaks(store, model, old: Splits, tmp_path: Path) -> None:
    """Copies of old images, and whatever is grouped with them, are left out."""
    pixels = {item.image_id: read_image(item.path).pixels for item in (*old.train, *old.val)}
    recorded(store, model, "trained on", encoded(pixels["old0"][:, ::-1]), "red")
    recorded(store, model, "same patient", encoded(skin(20)), "red", subject="mine")
    recorded(
        store, model, "val copy", encoded(pixels["old7"], "JPEG", quality=70), "red", subject="mine"
    )
    recorded(store, model, "test lesion", encoded(skin(21)), "red", lesion="L13")
    recorded(store, model, "val patient", encoded(skin(22)), "red", subject="P8")
    recorded(store, model, "train lesion", encoded(skin(23)), "green", lesion="L2", subject="P2")
    recorded(store, model, "new", encoded(skin(24)), "blue")
    recorded(store, model, "new, smaller", encoded(skin(24)[::2, ::2]), "blue")
    recorded(store, model, "pixels 1", encoded(skin(25)), "blue")
    recorded(store, model, "pixels 2", encoded(skin(25), compress_level=1), "red")
    found = store.export(tmp_path / "out", model, old=old)
    copied = f"a copy of an image that {model.model} was trained on"
    val = "a copy of an image of the val part of the old data"
    assert reasons(found) == {
        "trained on": copied, "val copy": val,
        "same patient": f"of the lesion or subject of another image: {val}",
        "test lesion": "its lesion 'L13' is in the test part of the old data",
        "val patient": "its subject 'P8' is in the val part of the old data",
        "pixels 1": "disputed: its pixels are labelled blue, red",
        "pixels 2": "disputed: its pixels are labelled blue, red",
    }  # fmt: skip
    splits = given_split(load_csv(tmp_path / "out/records.csv", tmp_path / "out", labels=LABELS))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6 + 3, 6, 6)
    new = [item for item in splits.train if item.image_id.startswith("images/")]
    assert {item.label for item in new} == {"green", "blue"}
    blue = {item.lesion_id for item in new if item.label == "blue"}
    assert len(blue) == 1 and any("count as of it" in text for text in found.notes)
    report = audit(splits, trained_on=model.trained_on, progress=False)
    assert [each for each in report.findings if each.severity == "error"] == []
    unsplit = store.export(tmp_path / "new", model)
    assert reasons(unsplit)["trained on"] == copied and "part" not in (
        tmp_path / "new/records.csv"
    ).read_text().split("\n", 1)[0].split(",")


def test_a_copy_that_is_none(store, model, old: Splits, tmp_path: Path) -> None:
    data = encoded(read_image(old.train[0].path).pixels[4:, 4:])
    recorded(store, model, "similar", data, "red")
    digest = store.case("similar").case.image_sha256
    with pytest.raises(DatasetError, match=r"all are left out: similar: a copy of an image that"):
        store.export(tmp_path / "none", model)
    assert not (tmp_path / "none").exists()
    assert store.export(tmp_path / "out", model, not_copies=[digest]).cases == 1


def test_calibration_images_are_recognised(store, model, tmp_path: Path) -> None:
    known = TrainedOn.of_looks([Look.at(skin(30))])

    calibrated = SimpleNamespace(
        model=model.model, config=model.config, trained_on=None,
        calibration=SimpleNamespace(known=known),
    )  # fmt: skip
    recorded(store, model, "seen", encoded(skin(30)[::-1]), "red")
    recorded(store, model, "new", encoded(skin(31)), "red")
    found = store.export(tmp_path / "out", calibrated)
    assert reasons(found) == {"seen": f"a copy of an image that {model.model} was calibrated on"}
    assert "does not say which images it was trained on" in found.notes[0]


def test_images_that_are_gone(store, model, tmp_path: Path) -> None:
    recorded(store, model, "here", encoded(skin(40)), "red")
    recorded(store, model, "gone", encoded(skin(41)), "red")
    (tmp_path / "kept").joinpath(
        (digest := store.case("gone").case.image_sha256)[:2], digest
    ).unlink()
    found = store.export(tmp_path / "out", model)
    assert reasons(found) == {"gone": "its image was not kept, or has expired"}


def test_what_is_refused(store, model, old: Splits, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="must hold a case that can be exported"):
        store.export(tmp_path / "out", model)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="must be new or empty"):
        store.export(tmp_path / "full", model)
    with pytest.raises(OptionError, match="reviewers must be an integer >= 1, got 0"):
        store.export(tmp_path / "out", model, reviewers=0)
    wrong = replace(old.train, items=(), labels=type(LABELS)(("a", "b")))
    with pytest.raises(DatasetError, match="the old data must have the labels of the model"):
        store.export(tmp_path / "out", model, old=replace(old, train=wrong))


def test_the_round_trip(store, model, old: Splits, tmp_path: Path) -> None:
    """Recorded, labelled, exported, learnt from: the new model knows the new images."""
    for number in range(6):
        data = encoded(skin(50 + number))
        recorded(store, model, f"case {number}", data, LABELS[number % 3], subject=f"new{number}")
    store.export(tmp_path / "out", model, old=old)
    splits = given_split(load_csv(tmp_path / "out/records.csv", tmp_path / "out", labels=LABELS))
    model.save_pretrained(tmp_path / "first")
    settings = BASE | {"init_weights": str(tmp_path / "first"), "epochs": 1}
    tuned = Trainer(**settings, output_dir=tmp_path / "run").fit(splits)
    looks = {f"{n}": Look.at(skin(50 + n)) for n in range(6)}
    assert len(tuned.trained_on.seen(looks)) == 6 and tuned.model != model.model
    again = store.export  # what it has learnt from is no feedback any more
    with pytest.raises(DatasetError, match="a copy of an image that"):
        again(tmp_path / "again", tuned)
