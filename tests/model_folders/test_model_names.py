"""What `Classifier.from_pretrained` takes for a model, and what it says of anything else."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import LABELS, coloured, model_folder, uncalibrated

from skinxai import Classifier
from skinxai.errors import (
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    SkinxaiError,
)
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import open_models, training_pixels, write_ensemble
from skinxai.model_folders.opening import open_model

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("models")
    return [model_folder(place / name, seed=seed) for seed, name in enumerate("abc", 1)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [r.path for r in coloured(tmp_path_factory.mktemp("data") / "pictures", 2, seed=0)]


def rows(classifier: Classifier, pictures: list[Path]) -> np.ndarray:
    return np.array([list(p.probabilities.values()) for p in classifier.predict(pictures)])


# the bundled model


def test_the_bundled_model_by_its_name(classifier, photos, tmp_path, monkeypatch) -> None:
    named = Classifier.from_pretrained("bundled")
    assert named.model == classifier.model
    assert named.predict(photos[0]) == classifier.predict(photos[0])
    (tmp_path / "bundled").mkdir()  # a folder of that name is "./bundled"
    monkeypatch.chdir(tmp_path)
    assert open_model("bundled").digest == open_model(None).digest
    with pytest.raises(ModelNotFoundError, match=r"must hold manifest\.json, found none"):
        open_model("./bundled")


def test_a_wrong_name_of_it() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no folder 'bundeled'\. Did you mean 'bundled'"):
        Classifier.from_pretrained("bundeled")


@pytest.mark.parametrize("model", [7, {"a": 1}, np.zeros(3), object()])
def test_what_is_no_name(model) -> None:
    with pytest.raises(OptionError, match="model must be a folder, 'org/name', 'bundled' or None"):
        Classifier.from_pretrained(model)


# the mean of several


def test_the_mean_of_several(folders, pictures) -> None:
    each = [rows(Classifier.from_pretrained(folder), pictures) for folder in folders]
    found = Classifier.from_pretrained(folders)
    np.testing.assert_allclose(rows(found, pictures), np.mean(each, axis=0), atol=1e-12)
    assert found.model.startswith("mean(a, b, c)@") and found.labels == tuple(LABELS)
    assert found.trained_on is not None
    assert found.explain(pictures[0]).options["ensemble"]
    two = Classifier.from_pretrained((str(folders[0]), folders[1]))
    np.testing.assert_allclose(rows(two, pictures), np.mean(each[:2], axis=0), atol=1e-12)


def test_the_bundled_model_among_several(classifier, photos) -> None:
    found = Classifier.from_pretrained([None, "bundled"])
    one, two = found.predict(photos[0]), uncalibrated(classifier).predict(photos[0])
    assert one.probabilities == pytest.approx(two.probabilities, abs=1e-12)


def test_it_is_saved_as_an_ensemble_of_the_same_revision(folders, pictures, tmp_path) -> None:
    found = Classifier.from_pretrained(folders)
    revision = found.save_pretrained(tmp_path / "saved")
    assert found.model == f"mean(a, b, c)@{revision}"
    again = Classifier.from_pretrained(tmp_path / "saved", revision=revision)
    np.testing.assert_array_equal(rows(again, pictures), rows(found, pictures))
    written = write_ensemble(tmp_path / "written", folders, name="mean(a, b, c)")
    assert written == revision
    assert found.card == again.card


def test_an_ensemble_among_several_counts_as_one(folders, pictures, tmp_path) -> None:
    write_ensemble(tmp_path / "two", folders[:2], weights=[0.25, 0.75], name="two")
    each = [rows(Classifier.from_pretrained(folder), pictures) for folder in folders]
    found = Classifier.from_pretrained([tmp_path / "two", folders[2]])
    expected = (0.25 * each[0] + 0.75 * each[1] + each[2]) / 2
    np.testing.assert_allclose(rows(found, pictures), expected, atol=1e-12)
    assert found.model.startswith("mean(two, c)@")


def test_one_alone_is_that_model(folders) -> None:
    alone = Classifier.from_pretrained(folders[0])
    assert Classifier.from_pretrained(folders[:1]).model == alone.model


def test_many_have_a_short_name(folders) -> None:
    assert open_models([*folders, folders[0]]).files
    assert Classifier.from_pretrained([*folders, folders[0]]).model.startswith("mean of 4 models@")


def test_what_they_were_trained_on(folders) -> None:
    assert training_pixels(open_models(folders)).models == tuple(
        Classifier.from_pretrained(folder).model for folder in folders
    )


def test_backends_need_a_graph_in_each(folders) -> None:
    with pytest.raises(ModelError, match=r"needs graph.safetensors"):
        Classifier.from_pretrained(folders, backend="onnx")


@pytest.mark.parametrize(
    "labels",
    [
        LabelSet(("green", "red", "blue")),
        LabelSet(("red", "green", "black")),
        LabelSet(("red", "green")),
        LabelSet(("red", "green", "blue"), malignant=frozenset({"red"})),
    ],
)
def test_other_labels_are_refused(folders, tmp_path, labels) -> None:
    other = model_folder(tmp_path / "other", labels, seed=4)
    with pytest.raises(ModelConfigError, match="all members must have the labels"):
        Classifier.from_pretrained([folders[0], other])


def test_wrong_lists(folders, tmp_path) -> None:
    with pytest.raises(OptionError, match="a list of at least one model, got an empty one"):
        Classifier.from_pretrained([])
    with pytest.raises(OptionError, match="revision must be left out for a list of models"):
        Classifier.from_pretrained(folders, revision="0123456789")
    with pytest.raises(ModelNotFoundError, match="found no folder"):
        Classifier.from_pretrained([folders[0], tmp_path / "none"])
    with pytest.raises(OptionError, match="got list"):
        Classifier.from_pretrained([folders[0], folders])
    (tmp_path / "x.onnx").write_bytes(b"graph")
    with pytest.raises(SkinxaiError, match=r"x\.onnx' is an exported file; give the folder"):
        Classifier.from_pretrained([folders[0], tmp_path / "x.onnx"])
