"""Labelled cases become a data set that a model is fine-tuned on, and nothing leaks."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from review_cases import START, case
from small_runs import BASE, LABELS, model_folder

from skinxai import Classifier, Trainer
from skinxai.data import (
    Record,
    Records,
    Splits,
    audit,
    given_split,
    load_csv,
    load_shards,
    write_shards,
)
from skinxai.errors import (
    DatasetError,
    DatasetImageError,
    OptionError,
    OutputError,
    StoreError,
)  # fmt: skip
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.review import UNSURE, Case, GivenLabel, ReviewedCase, ReviewStore
from skinxai.review.agreed_cases import agreed_images

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
    assert by_label["blue"].lesion_id.startswith("image-") and found.notes == ()  # one patient's
    assert by_label["blue"].patient_id == "S" and by_label["green"].lesion_id == "M"
    own = by_label["red"].path
    np.testing.assert_array_equal(read_image(own).pixels, read_image(jpeg).pixels)
    assert b"Exif" not in own.read_bytes() and b"Miller" not in own.read_bytes()
    two = store.export(tmp_path / "two", model, reviewers=2)
    assert two.cases == 1 and reasons(two)["alone"] == "labelled by 1 of 2 reviewers"


def test_nothing_leaks(store, model, old: Splits, tmp_path: Path) -> None:
    """Copies of old images, and whatever is grouped with them, are left out."""
    pixels = {
        item.image_id: read_image(item.path).pixels for item in (*old.train, *old.val, *old.test)
    }
    recorded(store, model, "trained on", encoded(pixels["old0"][:, ::-1]), "red")
    recorded(store, model, "same patient", encoded(skin(20)), "red", subject="mine")
    recorded(
        store, model, "val copy", encoded(pixels["old7"], "JPEG", quality=70), "red", subject="mine"
    )
    recorded(store, model, "test copy", encoded(pixels["old12"][::-1]), "green")
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
        "test copy": "a copy of an image of the test part of the old data",
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


def test_an_image_that_cannot_be_read_is_left_out(store, model, tmp_path: Path) -> None:
    recorded(store, model, "good", encoded(skin(60)), "red")
    (made,) = model.predict([encoded(skin(61))])
    store.record(Case.of(made, b"no image", id="=1+1", at=START))
    store.label("=1+1", "red", "ann")
    recorded(store, model, "large", encoded(np.zeros((200, 200, 3), np.uint8)), "red")
    found = store.export(tmp_path / "out", model, max_pixels=160 * 120)
    assert set(reasons(found)) == {"=1+1", "large"}
    assert reasons(found)["=1+1"].startswith("its image cannot be read: ")
    assert "max_pixels" in reasons(found)["large"]
    lines = (tmp_path / "out" / "left_out.csv").read_text().splitlines()
    assert lines[1].startswith("'=1+1,")  # a spreadsheet computes nothing


def test_old_data_that_cannot_be_read(store, model, old: Splits, tmp_path: Path) -> None:
    recorded(store, model, "new", encoded(skin(62)), "red")
    (tmp_path / "broken.png").write_bytes(b"no image")
    for part, path in (("val", "broken.png"), ("test", "broken.png"), ("train", "gone.png")):
        records = getattr(old, part)
        first = replace(records.items[0], path=tmp_path / path)
        other = replace(old, **{part: replace(records, items=(first, *records.items[1:]))})
        with pytest.raises(DatasetImageError, match=path):
            store.export(tmp_path / "out", model, old=other)
        assert not (tmp_path / "out").exists()


def test_old_data_without_patients_share_none(store, model, old: Splits, tmp_path: Path) -> None:
    recorded(store, model, "new", encoded(skin(63)), "red")
    nobodys = tuple(replace(item, patient_id=None) for item in old.val)
    found = store.export(
        tmp_path / "out", model, old=replace(old, val=replace(old.val, items=nobodys))
    )
    assert found.cases == 1 and not found.left_out


def test_a_store_without_its_folder_exports_nothing(store, opened, model, tmp_path: Path) -> None:
    recorded(store, model, "new", encoded(skin(64)), "red")
    with pytest.raises(StoreError, match="opened without their folder"):
        opened().export(tmp_path / "out", model)


def test_which_images_reviewers_agree_on() -> None:
    def given(name: str, label: str, image: str, *, kept: bool = True, **ids) -> ReviewedCase:
        one = case(name, content=image.encode(), **ids)
        return ReviewedCase(one, (GivenLabel(name, "ann", label, "", START),), kept)

    images, left = agreed_images(
        [
            given("of another model", "mel", "1"),
            given("subject 1", "nv", "2", subject="A"), given("subject 2", "nv", "2", subject="B"),
            given("lesion 1", "nv", "3", lesion="A"), given("lesion 2", "nv", "3", lesion="B"),
            given("not kept", "nv", "4", kept=False),
            given("kept once", "nv", "5", kept=False), given("kept twice", "nv", "5"),
            given("no id", "nv", "6", subject="unknown", lesion="n/a"),
            given("an id", "nv", "6", subject="A", lesion="L"),
        ],
        LabelSet(("nv", "bkl")), 1,
    )  # fmt: skip
    assert {each.case_id: each.reason for each in left} == {
        "of another model": "the model has no label 'mel'",
        "subject 1": "one image of two subjects: A, B",
        "subject 2": "one image of two subjects: A, B",
        "lesion 1": "one image of two lesions: A, B",
        "lesion 2": "one image of two lesions: A, B",
        "not kept": "its image was not kept, or has expired",
    }
    assert {each.cases: (each.subject, each.lesion) for each in images} == {
        ("kept once", "kept twice"): ("", ""), ("an id", "no id"): ("A", "L")
    }  # fmt: skip


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


def test_old_data_in_shards_are_copied_out_of_them(store, model, old, tmp_path: Path) -> None:
    every = tuple(item for part in (old.train, old.val, old.test) for item in part)
    write_shards(Records(every, LABELS, "old data"), tmp_path / "shards")
    ids = {
        part: [item.image_id for item in getattr(old, part)] for part in ("train", "val", "test")
    }
    sharded = Splits.of(load_shards(tmp_path / "shards"), ids)
    recorded(store, model, "new", encoded(skin(1)), "red")
    found = store.export(tmp_path / "out", model, old=sharded)
    made = {item.lesion_id: item.path.read_bytes() for item in found.records}
    assert len(made) == 19
    assert all(made[item.lesion_id] == item.path.read_bytes() for item in every)
