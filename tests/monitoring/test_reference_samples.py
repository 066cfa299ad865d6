"""`ReferenceSample`: what is kept of which images, how it is stored, and what is refused."""

import copy
import hashlib
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from drawn_answers import answers, sample
from small_runs import BASE, coloured, model_folder

from skinxai import Classifier, Trainer
from skinxai.data import Records
from skinxai.errors import IntegrityError, OptionError
from skinxai.images.reading import read_image
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_model_folder, write_model_folder
from skinxai.model_folders.parts import REFERENCE, WEIGHTS
from skinxai.monitoring import DriftMonitor
from skinxai.results import Observation
from skinxai.trust.colours import colours
from skinxai.trust.image_measures import measure
from skinxai.trust.novelty import held_out_distances
from skinxai.trust.reference_sample import QUALITY, Columns, ReferenceSample, reference_of

DIGEST = "ab" * 32
pytestmark = pytest.mark.usefixtures("small_networks")


class Notes(list[Observation]):
    """A monitor that keeps what it is told."""

    def add(self, observation: Observation) -> None:
        self.append(observation)


def test_what_is_kept_is_what_was_seen() -> None:
    drawn = answers(9, np.random.default_rng(1))
    made = ReferenceSample.fit(drawn, list(range(3)) * 3, list("abcabcabc"), axes=24)
    rows = np.stack([each.probabilities for each in drawn])
    order = [int(np.abs(rows - own).sum(axis=1).argmin()) for own in made.probabilities]
    assert sorted(order) == list(range(9))
    assert made.lesions.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(len({k % 3 for k in order[start : start + 3]}) == 1 for start in (0, 3, 6))
    assert made.labels.tolist() == [k % 3 for k in order]
    columns = Columns.of([drawn[k] for k in order])
    for name in ("novelty", "quality", "colours", "probabilities"):
        np.testing.assert_array_equal(getattr(made, name), getattr(columns, name))
    # All axes are kept: distances are those of the embeddings, within half precision.
    before = np.linalg.norm(columns.embeddings[0] - columns.embeddings[5])
    after = np.linalg.norm((made.embeddings[0] - made.embeddings[5]).astype(float))
    assert after * made.scale[0] == pytest.approx(before, rel=5e-3)
    np.testing.assert_allclose(made.along(columns.embeddings), made.embeddings, atol=2e-3)
    assert (made.embeddings.astype(float) ** 2).sum(axis=1).mean() == pytest.approx(1, abs=1e-2)


def test_axes_are_the_principal_ones() -> None:
    drawn = answers(200, np.random.default_rng(1))
    stretched = [replace(e, embedding=e.embedding * np.r_[1, 9, np.ones(22)].astype(np.float32))
                 for e in drawn]  # fmt: skip
    made = ReferenceSample.fit(stretched, axes=1)
    assert abs(made.axes[0, 1]) > 0.99 and made.labels.tolist() == [-1] * 200
    assert made.accuracy is None and len(set(made.lesions.tolist())) == 200


def test_whole_lesions_are_taken_up_to_the_number_of_rows() -> None:
    drawn = answers(30, np.random.default_rng(1))
    lesions = [str(k // 3) for k in range(30)]
    made = ReferenceSample.fit(drawn, lesions=lesions, rows=10)
    assert made.lesions.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    again, other = (ReferenceSample.fit(drawn, lesions=lesions, rows=10, seed=s) for s in (0, 1))
    assert again.to_bytes(DIGEST) == made.to_bytes(DIGEST) != other.to_bytes(DIGEST)
    assert len(ReferenceSample.fit(drawn, lesions=["one"] * 30, rows=10)) == 10


def test_images_that_do_not_differ_make_a_reference() -> None:
    (one,) = answers(1, np.random.default_rng(0))
    for count in (1, 40):
        made = ReferenceSample.fit([one] * count)
        assert (made.along(one.embedding[None]) == 0).all() and made.scale[0] == 1


def test_what_cannot_be_a_reference_is_refused() -> None:
    drawn = answers(3, np.random.default_rng(0))
    for wrong in ({"labels": [0, 1]}, {"lesions": ["a"]}):
        with pytest.raises(OptionError, match="at least one image, each with a label and a les"):
            ReferenceSample.fit(drawn, **wrong)
    with pytest.raises(OptionError, match="at least one image"):
        ReferenceSample.fit([])
    for wrong in ({"rows": 0}, {"rows": 2049}, {"axes": 0}):
        with pytest.raises(OptionError, match="rows must be from 1 to 2048 and axes at least 1"):
            ReferenceSample.fit(drawn, **wrong)
    with pytest.raises(OptionError, match="needs a calibrated model"):
        ReferenceSample.fit([replace(drawn[0], novelty=None)])


def test_bytes_are_read_back() -> None:
    made = sample(40)
    again = ReferenceSample.from_bytes(made.to_bytes(DIGEST), DIGEST, 4)
    assert again.weights == DIGEST
    for each in fields(made):
        if each.name == "weights":
            continue
        one, two = getattr(made, each.name), getattr(again, each.name)
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("weights", "classes", "message"),
    [("cd" * 32, 4, "must be of the weights beside it"), (DIGEST, 5, "for 5 classes, got 4")],
)
def test_a_reference_of_other_weights_or_classes_is_refused(
    weights: str, classes: int, message: str
) -> None:
    with pytest.raises(IntegrityError, match=message):
        ReferenceSample.from_bytes(sample(40).to_bytes(DIGEST), weights, classes)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mean", lambda a: a[:5], "must hold 1 to 2048 images"),
        ("mean", lambda a: a.astype(np.float64), "'mean'.*must be float32"),
        ("axes", lambda a: a[:3], "'axes'.*must be float16"),
        ("embeddings", lambda a: a[:0], "must hold 1 to 2048 images"),
        ("embeddings", lambda a: a * np.float16(np.nan), "'embeddings'.*must be finite"),
        ("novelty", lambda a: a + 1, "novelty must be from 0 to 1"),
        ("probabilities", lambda a: a * 2, "probabilities must be 0 to 1"),
        ("probabilities", lambda a: a - np.float32([1, -1, 0, 0]), "probabilities must be 0 to 1"),
        ("probabilities", lambda a: a[:, :1], "two or more probabilities"),
        ("quality", lambda a: a[:, 1:], "'quality'.*must be float32"),
        ("colours", lambda a: a * np.float32(np.inf), "'colours'.*must be finite"),
        ("labels", lambda a: a + np.int16(4), "labels must be from -1 to 3"),
        ("labels", lambda a: a - np.int16(6), "labels must be from -1 to 3"),
        ("lesions", lambda a: a[::-1].copy(), "lesions must rise"),
        ("scale", lambda a: a * 0, "scale must be > 0"),
    ],
)  # fmt: skip
def test_values_outside_their_range_are_refused(name, change, message) -> None:
    made = sample(40)
    with pytest.raises(IntegrityError, match=message), np.errstate(invalid="ignore"):
        replace(made, **{name: change(getattr(made, name))})


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    found = coloured(tmp_path_factory.mktemp("drift") / "val", 12, 0)
    other = {"red": "red", "green": "blue", "blue": "green"}
    items = [replace(item, label=other[item.label]) if k in (13, 30) else item
             for k, item in enumerate(found)]  # fmt: skip
    return replace(found, items=tuple(items))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, records: Records) -> Path:
    """A model that has learnt the colours, with a graph, calibrated."""
    place = tmp_path_factory.mktemp("models")
    parts = [coloured(place / name, 8, 7 + k) for k, name in enumerate(("train", "val"))]
    Trainer(**BASE | {"learning_rate": 0.03, "epochs": 2}, output_dir=place / "run").fit(*parts)
    images = [item.path for item in records]
    Classifier.from_pretrained(place / "run").with_graph(images[:2]).calibrate(
        records
    ).save_pretrained(place / "model")
    return place / "model"


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_a_monitor_sees_each_image_as_every_backend_answers(
    folder: Path, records: Records, backend: str
) -> None:
    model = Classifier.from_pretrained(folder, backend=backend)
    images = [item.path for item in records][:7]
    notes, pixels = Notes(), [read_image(path).pixels for path in images]
    made = model.predict(images, monitor=notes, batch_size=3)
    assert [each.decision for each in notes] == [each.decision for each in made]
    np.testing.assert_allclose(
        np.stack([each.embedding for each in notes]),
        Classifier.from_pretrained(folder).embed(images), atol=1e-4,
    )  # fmt: skip
    for each, answer, own in zip(notes, made, pixels, strict=True):
        assert list(each.probabilities) == list(answer.probabilities.values())
        assert each.novelty == answer.novelty.score and each.model == model.model
        assert each.quality == measure(own) and (each.colours == colours(own)).all()
    streamed = Notes()
    again = list(model.stream(images, monitor=streamed, batch_size=3))
    assert [each.label for each in again] == [each.label for each in made] and len(streamed) == 7


def test_a_monitor_sees_one_view_where_four_were_averaged(folder: Path, photos: list[Path]) -> None:
    model = Classifier.from_pretrained(folder)
    one, four = Notes(), Notes()
    plain = model.predict(photos, monitor=one)
    averaged = model.predict(photos, monitor=four, tta=True)
    rows = [np.array([list(each.probabilities.values()) for each in some])
            for some in (plain, averaged)]  # fmt: skip
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    for a, b in zip(one, four, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-6)


def test_a_bad_image_is_not_seen(folder: Path, records: Records, tmp_path: Path) -> None:
    notes, images = Notes(), [records[0].path, b"no image", records[1].path]
    model = Classifier.from_pretrained(folder)
    found = model.predict(images, monitor=notes, on_error="return")
    assert len(found) == 3 and len(notes) == 2
    with pytest.raises(OptionError, match="monitor must be left out with explain"):
        next(model.stream(images, explain="gradcam", monitor=notes))


def test_calibrate_makes_a_reference_of_its_images(folder: Path, records: Records) -> None:
    model = Classifier.from_pretrained(folder)
    reference, notes = model.reference, Notes()
    assert reference is not None and len(reference) == len(records) == 36
    model.predict([item.path for item in records], monitor=notes)
    seen = Columns.of(notes)
    place = [int(np.abs(seen.colours - row).sum(axis=1).argmin()) for row in reference.colours]
    assert sorted(place) == list(range(36))
    np.testing.assert_allclose(reference.probabilities, seen.probabilities[place], atol=1e-5)
    np.testing.assert_allclose(
        reference.embeddings, reference.along(seen.embeddings)[place], atol=5e-3
    )
    assert reference.labels.tolist() == [records.targets()[k] for k in place]
    # Novelty is that of an image which the novelty's own reference was not fitted on.
    own = held_out_distances(
        seen.embeddings, records.targets(), [item.lesion_id for item in records], seen.colours
    )
    limit = model.calibration.novelty.limit
    np.testing.assert_allclose(reference.novelty, (own / (own + limit))[place], atol=1e-4)
    assert reference.novelty.mean() > seen.novelty.mean()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_reference_comes_with_its_folder(folder: Path, backend: str) -> None:
    model = Classifier.from_pretrained(folder, backend=backend)
    assert model.reference is not None
    files = read_model_folder(folder).files
    digest = hashlib.sha256(files[WEIGHTS]).hexdigest()
    assert model.reference.to_bytes(digest) == files[REFERENCE]
    monitor = DriftMonitor(model.reference, window=8, false_alarms=0.2)
    assert monitor.reference is model.reference


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_monitor_takes_answers_of_the_references_network_alone(
    folder: Path, records: Records, tmp_path: Path, backend: str
) -> None:
    image = records[0].path
    model = Classifier.from_pretrained(folder, backend=backend)
    parts = [coloured(tmp_path / name, 8, 7 + k) for k, name in enumerate(("train", "val"))]
    options = BASE | {"learning_rate": 0.03, "epochs": 2, "seed": 1}
    Trainer(**options, output_dir=tmp_path / "run").fit(*parts)
    other = Classifier.from_pretrained(tmp_path / "run").calibrate(records)
    write_ensemble(tmp_path / "both", [folder, tmp_path / "run"], name="both")
    both = Classifier.from_pretrained(tmp_path / "both").calibrate(records)
    both.save_pretrained(tmp_path / "both")
    other.save_pretrained(tmp_path / "other")
    networks = [  # each one before and after it was saved, with references of its own
        [model, model.calibrate(records), model.with_reference([image] * 40)],
        [other, Classifier.from_pretrained(tmp_path / "other"), copy.deepcopy(other)],
        [both, Classifier.from_pretrained(tmp_path / "both"), both.with_reference([image] * 40)],
    ]
    for own in networks:
        for reference in [each.reference for each in own]:
            for made in networks:
                for each in made:
                    monitor = DriftMonitor(reference, window=8, false_alarms=0.2)
                    if made is own:
                        each.predict(image, monitor=monitor)
                        continue
                    with pytest.raises(OptionError, match="must be of the reference's weights"):
                        each.predict(image, monitor=monitor)
                    assert not monitor.report().images


def test_a_reference_is_of_one_network() -> None:
    drawn = answers(9, np.random.default_rng(1))
    mixed = [replace(each, weights=DIGEST) for each in drawn[:4]] + drawn[4:]
    with pytest.raises(OptionError, match="a reference must be of one network, got answers of 2"):
        ReferenceSample.fit(mixed)
    assert ReferenceSample.fit(drawn).weights is None
    assert ReferenceSample.fit(mixed[:4]).weights == DIGEST


def test_a_model_without_a_reference_has_none(tmp_path: Path) -> None:
    assert Classifier.from_pretrained(model_folder(tmp_path / "model", seed=1)).reference is None


def test_a_reference_of_another_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    files = dict(read_model_folder(model_folder(tmp_path / "other", seed=2)).files)
    files[REFERENCE] = read_model_folder(folder).files[REFERENCE]
    write_model_folder(tmp_path / "other", files)
    with pytest.raises(IntegrityError, match=re.escape(f"{REFERENCE} must be of the weights")):
        Classifier.from_pretrained(tmp_path / "other")


def test_an_ensembles_reference_is_of_its_mean_and_its_first_member(
    folder: Path, records: Records, tmp_path: Path
) -> None:
    other = model_folder(tmp_path / "other", seed=3)
    write_ensemble(tmp_path / "both", [folder, other], name="both")
    plain = Classifier.from_pretrained(tmp_path / "both")
    assert plain.reference is None  # a member's is not the ensemble's
    made = plain.calibrate(records)
    made.save_pretrained(tmp_path / "both")
    again = Classifier.from_pretrained(tmp_path / "both")
    assert again.reference.to_bytes(DIGEST) == made.reference.to_bytes(DIGEST)
    notes, images = Notes(), [item.path for item in records][:4]
    answered = again.predict(images, monitor=notes)
    np.testing.assert_allclose(
        np.stack([each.embedding for each in notes]),
        Classifier.from_pretrained(folder).embed(images), atol=1e-5,
    )  # fmt: skip
    for each, answer in zip(notes, answered, strict=True):
        assert list(each.probabilities) == list(answer.probabilities.values())
    own = dict(read_model_folder(tmp_path / "both").files)
    own[REFERENCE] = made.reference.to_bytes("0" * 64)
    with pytest.raises(IntegrityError, match="must be of the weights beside it"):
        reference_of(replace(read_model_folder(tmp_path / "both"), files=own))


def test_quality_has_the_measures_in_order() -> None:
    (one,) = answers(1, np.random.default_rng(0))
    assert Columns.of([one]).quality[0].tolist() == pytest.approx([one.quality[q] for q in QUALITY])
