"""What must not calibrate a model, and what is said of it; the command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_runs import LABELS, coloured
from test_calibration import MALIGNANT, calibrated, folder, records, with_training
from typer.testing import CliRunner

from skinxai import Classifier, checkpoints
from skinxai.cli import app
from skinxai.data import TrainedOn
from skinxai.errors import (
    CalibrationError,
    LeakageError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    SkinxaiWarning,
    UnknownNameError,
)
from skinxai.labels import LabelSet
from skinxai.model_folders.files import read_model_folder
from skinxai.predicting.torch_predictor import TorchPredictor

__all__ = ["calibrated", "folder", "records"]  # fixtures
pytestmark = pytest.mark.usefixtures("small_networks")


def test_images_that_must_not_calibrate(folder, records, tmp_path) -> None:
    plain = Classifier.from_pretrained(folder)
    with pytest.raises(LeakageError, match="must not see the test part"):
        plain.calibrate(replace(records, part="test"))
    with pytest.raises(LeakageError, match="must not see the test part"):
        some = [item.image_id for item in records if item.label != "blue"]
        plain.calibrate(replace(records, part="test").subset(some))
    with pytest.raises(LeakageError, match="allow_leakage"):
        plain.calibrate(replace(records, leaked=True))
    with pytest.raises(OptionError, match="must have the model's labels"):
        plain.calibrate(replace(records, labels=LabelSet(("red", "blue", "green"))))
    with pytest.raises(CalibrationError, match="two classes"):
        only = [item for item in records if item.label == "red"]
        plain.calibrate(replace(records, items=tuple(only)))
    with pytest.raises(CalibrationError, match="no malignant one"):
        none = [item for item in records if item.label != "red"]
        plain.calibrate(replace(records, items=tuple(none)))
    with pytest.raises(UnknownNameError, match="Did you mean 'balanced'"):
        plain.calibrate(records, operating_point="ballanced")
    strict = plain.calibrate(records, operating_point="specificity 0.80", specificity=0.8)
    assert strict.predict(records[0].path).operating_point == "specificity 0.80"
    for wrong in ({"method": "isotonic"}, {"sensitivity": 1.5}, {"on_error": "return"}):
        with pytest.raises(OptionError):
            plain.calibrate(records, **wrong)


def test_models_that_cannot_be_calibrated(folder, calibrated, records, tmp_path) -> None:
    own = Classifier.from_module(
        calibrated.network.network, MALIGNANT, calibrated.config.preprocessing,
        calibrated.network.network.features, calibrated.network.network.head, device="cpu",
    )  # fmt: skip
    with pytest.raises(ModelError, match="may still change"):
        own.calibrate(records)
    Classifier.from_pretrained(folder).export(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="an exported file"):
        Classifier.from_pretrained(tmp_path / "model.onnx").calibrate(records)
    rounded = Classifier.from_pretrained(folder, precision="bfloat16", device="cpu")
    with pytest.raises(OptionError, match="precision='float32'"):
        rounded.calibrate(records)


def test_one_answer_that_is_not_finite_is_an_error(folder, records, monkeypatch) -> None:
    exact = TorchPredictor.outputs

    def broken(self, items, passes, **given):
        found = exact(self, items, passes, **given)
        if items[0].index == 32:  # of the second batch
            found[-1].rows[0] = np.nan
        return found

    monkeypatch.setattr(TorchPredictor, "outputs", broken)
    with pytest.raises(NonFiniteOutputError, match="1 of 36 images"):
        Classifier.from_pretrained(folder).calibrate(records)


def test_a_model_is_calibrated_anew(calibrated, records) -> None:
    again = calibrated.calibrate(records, sensitivity=0.5)
    assert again.calibration == calibrated.calibration


def test_training_images_and_their_copies_are_refused(folder, records) -> None:
    from skinxai.data.hashing import looks

    seen = TrainedOn.of_looks(looks(replace(records, items=records.items[:3])))
    learnt = with_training(folder, seen)
    with pytest.raises(LeakageError, match="3 have the pixels of training images"):
        learnt.calibrate(records)
    rest = replace(records, items=records.items[3:])
    assert learnt.calibrate(rest).calibration.images == len(records) - 3


def test_a_silent_model_warns(folder, records) -> None:
    silent = with_training(folder, None)
    with pytest.warns(SkinxaiWarning, match="does not say"):
        silent.calibrate(records)


def test_labels_without_malignant_ones(folder, records) -> None:
    loaded = checkpoints.load(read_model_folder(folder))
    model = Classifier(replace(loaded, config=replace(loaded.config, labels=LABELS)))
    own = replace(records, labels=LABELS)
    made = model.calibrate(own)
    assert made.calibration.default is None and not made.calibration.one_view.operating_points
    found = made.predict(records[0].path)
    assert found.decision is None and found.calibrated_on == "colours"
    with pytest.raises(OptionError, match="declares none"):
        model.calibrate(own, sensitivity=0.9)


def test_the_command(folder, tmp_path) -> None:
    coloured(tmp_path / "flat", 9, 5)
    for number, path in enumerate(sorted((tmp_path / "flat").glob("*.png"))):
        label = path.name.partition("-")[0] if number % 3 else "green"
        place = tmp_path / "data" / ("red" if number % 5 == 0 else label)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    run = CliRunner().invoke
    done = run(app, ["calibrate", str(tmp_path / "data"), "--model", str(folder), "--sensitivity",
                     "0.5", "--out", str(tmp_path / "made")])  # fmt: skip
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "calibrated on" in done.output and "screening: refer from" in done.output
    image = str(next((tmp_path / "data" / "red").iterdir()))
    words = ["predict", image, "--model", str(tmp_path / "made"), "--operating-point"]
    found = run(app, [*words, "sensitivity 0.50", "--json"])
    (row,) = json.loads(found.stdout)
    assert row["operating_point"] == "sensitivity 0.50" and row["decision"] in ("refer", "routine")
    assert row["decision"] in run(app, words[:-1]).stdout
