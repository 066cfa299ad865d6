"""Novelty in answers: the score by hand, the limit, ensembles, and the same by every backend."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import BASE, LABELS, coloured

from skinxai import Classifier, Trainer
from skinxai.data import Records
from skinxai.errors import (
    CalibrationError,
    IntegrityError,
    ModelConfigError,
    ModelError,
    NonFiniteOutputError,
)
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_model_folder, write_model_folder
from skinxai.model_folders.parts import CALIBRATION, GRAPH, NOVELTY
from skinxai.trust.colours import colours
from skinxai.trust.novelty import Reference, held_out_distances, limit_for, to_bytes
from skinxai.trust.novelty_gate import NoveltyGate

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, malignant=frozenset({"red"}))
STRIPES = np.repeat(np.tile([[[0, 0, 0]], [[255, 255, 255]]], (50, 150, 1)), 2, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Pictures of three colours, two of which have the other's label."""
    found = coloured(tmp_path_factory.mktemp("novelty") / "val", 12, 0)
    other = {"red": "red", "green": "blue", "blue": "green"}
    items = [replace(item, label=other[item.label]) if k in (13, 30) else item
             for k, item in enumerate(found)]  # fmt: skip
    return replace(found, items=tuple(items), labels=MALIGNANT)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models that have learnt the colours, with graphs."""
    place = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(place / name, 8, 7 + k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    made = []
    for seed in (0, 1):
        settings = BASE | {"learning_rate": 0.03, "epochs": 2, "seed": seed}
        Trainer(**settings, output_dir=place / f"run{seed}").fit(*parts)
        model = Classifier.from_pretrained(place / f"run{seed}").with_graph([STRIPES])
        model.save_pretrained(place / f"model{seed}")
        made.append(place / f"model{seed}")
    return made


def by_hand(model: Classifier, records: Records, images: list) -> tuple[np.ndarray, float]:
    """Distances of images, and the limit."""
    own, places = model.embed([item.path for item in records]), [item.path for item in records]
    looks = np.stack([colours(read_image(path).pixels) for path in places])
    lesions = [item.lesion_id for item in records]
    reference = Reference.fit(own, records.targets(), looks)
    known = held_out_distances(own, records.targets(), lesions, looks)
    asked = np.stack([colours(read_image(image).pixels) for image in images])
    return reference.distance(model.embed(images), asked), limit_for(known, 1 / 37)


def test_the_score_by_hand_and_by_every_backend(folders, records, tmp_path) -> None:
    model = Classifier.from_pretrained(folders[0], backend="torch").calibrate(records)
    images = [records.items[0].path, records.items[20].path, STRIPES]
    distances, limit = by_hand(model, records, images)
    gate = model.calibration.novelty
    assert gate.limit == pytest.approx(limit, rel=1e-5) and gate.rejected == pytest.approx(1 / 37)
    right = distances / (distances + limit)
    model.save_pretrained(tmp_path / "model")
    for backend in ("torch", "onnx", "openvino"):
        own = Classifier.from_pretrained(tmp_path / "model", backend=backend)
        for tta in (False, True):
            found = own.predict(images, tta=tta)
            scores = [each.novelty.score for each in found]
            np.testing.assert_allclose(scores, right, atol=1e-4)
            assert [each.novelty.refused for each in found] == [False, False, True]
            assert [each.decision == "abstain" for each in found] == [False, False, True]
            assert any("unlike the images that the model knows" in r for r in found[2].reasons)
            assert found[2].label and found[2].to_dict()["novelty"]["refused"] is True
        pairs = list(own.stream(images, explain="gradcam"))
        np.testing.assert_allclose([p.novelty.score for p, _ in pairs], right, atol=1e-4)


def test_an_ensembles_distance_is_the_members_weighted_mean(folders, records, tmp_path) -> None:
    write_ensemble(tmp_path / "both", folders, name="both", weights=[0.75, 0.25])
    both = Classifier.from_pretrained(tmp_path / "both", backend="torch").calibrate(records)
    images = [records.items[5].path, STRIPES]
    own = [by_hand(Classifier.from_pretrained(each), records, images)[0] for each in folders]
    distance = 0.75 * own[0] + 0.25 * own[1]
    limit = both.calibration.novelty.limit
    found = both.predict(images)
    np.testing.assert_allclose(
        [each.novelty.score for each in found], distance / (distance + limit), rtol=1e-5
    )
    both.save_pretrained(tmp_path / "saved")
    again = Classifier.from_pretrained(tmp_path / "saved", backend="onnx")
    assert again.calibration == both.calibration
    for one, two in zip(again.predict(images), found, strict=True):
        assert one.novelty.score == pytest.approx(two.novelty.score, abs=1e-4)
    (doubt,) = {each.uncertainty.by for each in found}
    assert doubt == "members" and found[0].uncertainty.passes == 2
    assert both.predict(STRIPES, tta=True).uncertainty.by == "members and views"


def test_the_share_that_may_be_refused() -> None:
    draws = np.random.default_rng(0)
    rows, looks = (draws.normal(size=(400, d)).astype(np.float32) for d in (6, 12))
    names = [str(number) for number in range(400)]
    gate = NoveltyGate.fit([rows], looks, [0] * 400, names, [1.0], rejected=0.05)
    new = [draws.normal(size=(4000, d)).astype(np.float32) for d in (6, 12)]
    refused = (gate.scores([new[0]], new[1], [1.0]) > 0.5).mean()
    assert 0.02 < refused < 0.08 and gate.rejected == 0.05
    few = NoveltyGate.fit([rows[:9]], looks[:9], [0] * 9, names[:9], [1.0], rejected=0.05)
    assert few.rejected == pytest.approx(0.1)
    with pytest.raises(CalibrationError, match="at least two lesions, got one"):
        NoveltyGate.fit([rows], looks, [0] * 400, ["a"] * 400, [1.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_an_embedding_that_is_not_finite_has_no_score(bad) -> None:
    draws = np.random.default_rng(1)
    rows, looks = (draws.normal(size=(30, d)).astype(np.float32) for d in (6, 12))
    gate = NoveltyGate.fit([rows], looks, [0] * 30, [str(n) for n in range(30)], [1.0])
    asked = rows[:3].copy()
    asked[1, 2] = bad
    found = gate.scores([asked], looks[:3], [1.0])
    assert np.isnan(found).tolist() == [False, True, False]


def test_an_image_without_a_score_is_given_no_class(folders, records, monkeypatch) -> None:
    model = Classifier.from_pretrained(folders[0]).calibrate(records)
    unknown = lambda gate, embeddings, looks, weights: np.full(len(looks), np.nan)  # noqa: E731
    monkeypatch.setattr(NoveltyGate, "scores", unknown)
    with pytest.raises(NonFiniteOutputError, match="No class is returned"):
        model.predict(records[0].path)


def forged(folder: Path, tmp_path: Path, **changes) -> Path:
    """A calibrated model whose files are changed, with a manifest that fits."""
    files = dict(read_model_folder(folder).files)
    values = json.loads(files[CALIBRATION])
    values["novelty"] |= changes.pop("values", {})
    files[CALIBRATION] = json.dumps(values).encode()
    write_model_folder(tmp_path / "forged", files | changes)
    return tmp_path / "forged"


def test_references_belong_to_their_calibration(folders, records, tmp_path) -> None:
    model = Classifier.from_pretrained(folders[0]).calibrate(records)
    model.save_pretrained(tmp_path / "model")
    references = model.calibration.novelty.references
    other = to_bytes([replace(references[0], colours=None)])
    with pytest.raises(IntegrityError, match="was written with, and is another"):
        Classifier.from_pretrained(forged(tmp_path / "model", tmp_path, **{NOVELTY: other}))
    digest = {"references": hashlib.sha256(other).hexdigest()}
    with pytest.raises(IntegrityError, match=r"novelty\.safetensors must know the colours"):
        Classifier.from_pretrained(
            forged(tmp_path / "model", tmp_path, values=digest, **{NOVELTY: other})
        )
    two = to_bytes([references[0], references[0]])
    digest = {"references": hashlib.sha256(two).hexdigest()}
    with pytest.raises(IntegrityError, match="a reference for each of 1 network, got 2"):
        Classifier.from_pretrained(
            forged(tmp_path / "model", tmp_path, values=digest, **{NOVELTY: two})
        )


@pytest.mark.parametrize("limit", [0.0, -1.0, None, "1", True, 1])
def test_limits_outside_their_rule(folders, records, tmp_path, limit) -> None:
    Classifier.from_pretrained(folders[0]).calibrate(records).save_pretrained(tmp_path / "model")
    place = forged(tmp_path / "model", tmp_path, values={"limit": limit})
    with pytest.raises(ModelConfigError, match="limit of novelty must be a number above 0"):
        Classifier.from_pretrained(place)


def test_a_graph_without_embeddings_is_refused(folders, records, tmp_path, monkeypatch) -> None:
    from skinxai.exporting import onnx_graphs

    monkeypatch.setattr(onnx_graphs, "_is_pooled", lambda *given: False)
    old = Classifier.from_pretrained(folders[0], backend="torch").with_graph([STRIPES])
    old.save_pretrained(tmp_path / "old")
    plain = Classifier.from_pretrained(tmp_path / "old", backend="onnx").predict(STRIPES)
    assert plain.novelty is None and plain.uncertainty is None
    old.calibrate(records).save_pretrained(tmp_path / "model")
    assert GRAPH in read_model_folder(tmp_path / "model").files
    with pytest.raises(ModelError, match="must have the output 'embeddings'"):
        Classifier.from_pretrained(tmp_path / "model", backend="onnx")
    assert Classifier.from_pretrained(tmp_path / "model", backend="torch").predict(STRIPES).novelty
    with pytest.raises(ModelError, match="must have the output 'embeddings'"):
        Classifier.from_pretrained(tmp_path / "old", backend="onnx").calibrate(records)
