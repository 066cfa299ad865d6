"""What speaks against an image is said wherever the image is answered: maps included."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import BASE, LABELS, coloured

from skinxai import Classifier, Trainer, checkpoints
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.files import read_model_folder
from skinxai.trust.deciding import decided_at, trusted
from skinxai.trust.image_measures import measure

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, malignant=frozenset({"red"}))
BLACK = np.zeros((200, 300, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated model with a graph."""
    place = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(place / name, 8, 7 + k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    made = Trainer(
        **BASE | {"learning_rate": 0.03, "average_decay": 0.5}, output_dir=place / "run"
    ).fit(*parts)
    own = coloured(place / "own", 12, 40)
    items = [replace(item, label=LABELS.codes[k % 3]) if k % 5 == 0 else item
             for k, item in enumerate(own)]  # fmt: skip
    own = replace(own, items=tuple(items), labels=MALIGNANT)
    made.calibrate(own).with_graph().save_pretrained(place / "calibrated")
    return place / "calibrated"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture like those of the calibration."""
    return coloured(tmp_path_factory.mktemp("usual") / "own", 4, 90)[0].path


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("method", ["gradcam", "saliency"])
def test_a_map_says_what_speaks_against_its_image(folder, usual, backend, method) -> None:
    model = Classifier.from_pretrained(folder, backend=backend)
    doubts = model.predict(BLACK).reasons
    assert any(each.startswith("too dark") for each in doubts)
    found = model.explain(BLACK, method)
    assert found.warnings == doubts and doubts[0] in repr(found)
    assert found.to_dict()["warnings"] == list(doubts)
    pairs = list(model.stream([BLACK, usual], explain=method))
    assert [(first.doubts, answer.warnings) for first, answer in pairs] == [
        (doubts, doubts), ((), ()),
    ]  # fmt: skip
    every = model.explain(BLACK, method, all_classes=True)
    assert {each.warnings for each in every.values()} == {doubts}


def test_a_model_that_decides_nothing_says_it_too(folder) -> None:
    loaded = checkpoints.load(read_model_folder(folder))
    fitted = loaded.calibration
    bare = {name: replace(getattr(fitted, name), operating_points={})
            for name in ("one_view", "four_views")}  # fmt: skip
    model = Classifier(replace(loaded, calibration=replace(fitted, **bare, default=None)))
    found = model.predict(BLACK)
    assert found.decision is None and found.doubts == found.reasons != ()
    assert model.explain(BLACK, "gradcam").warnings == found.doubts


def test_no_point_decides_of_a_model_that_decides_nothing(folder, usual) -> None:
    loaded = checkpoints.load(read_model_folder(folder))
    point = loaded.calibration.one_view.operating_points["screening"]
    plain = Classifier(replace(loaded, calibration=None)).predict(usual)
    assert decided_at(plain, point) == plain and plain.decision is None


@pytest.mark.parametrize(("score", "shown"), [(0.5003, "0.5003"), (0.50000002, "0.50000002")])
def test_a_refused_novelty_is_not_rounded_to_its_limit(folder, usual, score, shown) -> None:
    """No reader is told that 0.500 is above 0.5."""
    loaded = checkpoints.load(read_model_folder(folder))
    plain = Classifier(replace(loaded, calibration=None)).predict(usual)
    measured = measure(read_image(usual).pixels)
    made = trusted(plain, loaded.calibration, measured, score, operating_point=None, tta=False)
    assert made.decision == "abstain" and made.reasons == (
        f"unlike the images that the model knows: novelty {shown}, above the limit of 0.5",
    )
