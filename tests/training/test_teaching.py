"""Learning from a finished model's answers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from small_runs import BASE, coloured, model_folder, turned

from skinxai import Classifier, Trainer
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, TrainedOn, pixel_hash
from skinxai.errors import LeakageError, ResumeMismatchError, TrainingError
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.training.callbacks import Callback
from skinxai.training.teaching import load_teacher

pytestmark = pytest.mark.usefixtures("small_networks")

LABELS = LabelSet(("red", "green", "blue"))
OWN = PreprocessConfig((32, 48), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
OTHER = PreprocessConfig((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.25))
CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> tuple[Records, Records]:
    return coloured(tmp_path / "train", 8, 0), coloured(tmp_path / "val", 3, 1)


def saved(folder: Path, preprocessing: PreprocessConfig = OWN, **more: object) -> Path:
    """A model folder with drawn weights."""
    return model_folder(folder, preprocessing=preprocessing, **{"seed": 0} | more)


def test_the_answer_is_the_members_weighted_mean_softened(tmp_path) -> None:
    """Against NumPy; each member gets the pixels normalised as it expects them."""
    members = [saved(tmp_path / "one"), saved(tmp_path / "two", OTHER, seed=1)]
    write_ensemble(tmp_path / "both", members, weights=[0.3, 0.7], name="both")
    pixels = torch.rand(4, 3, 32, 48)
    mean, std = torch.tensor(OWN.mean)[:, None, None], torch.tensor(OWN.std)[:, None, None]
    teacher = load_teacher(str(tmp_path / "both"), LABELS, OWN, 2.0, CPU)
    found = teacher((pixels - mean) / std).numpy()
    expected = np.zeros((4, 3))
    for folder, weight, own in zip(members, (0.3, 0.7), (OWN, OTHER), strict=True):
        own_mean, own_std = (torch.tensor(v)[:, None, None] for v in (own.mean, own.std))
        network = Classifier.from_pretrained(folder, device="cpu").network
        with torch.no_grad():
            logits = network((pixels - own_mean) / own_std).double().numpy()
        expected += weight * softmax(logits, axis=1)
    np.testing.assert_allclose(found, softmax(np.log(expected) / 2, axis=1), atol=1e-5)


def test_the_distance_is_the_divergence_times_the_squared_temperature(tmp_path) -> None:
    """Against NumPy; it is 0, and has no gradient, where the student agrees."""
    teacher = load_teacher(str(saved(tmp_path / "one")), LABELS, OWN, 3.0, CPU)
    answer = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    expected = 9 * np.mean(np.sum(answer * (np.log(answer) - log_softmax(logits / 3, 1)), axis=1))
    found = teacher.distance(torch.tensor(answer), torch.tensor(logits))
    assert float(found) == pytest.approx(expected, rel=1e-9)
    same = torch.tensor(3 * np.log(answer), requires_grad=True)
    agreed = teacher.distance(torch.tensor(answer), same)
    agreed.backward()
    assert float(agreed.detach()) == pytest.approx(0, abs=1e-12)
    assert float(same.grad.abs().max()) < 1e-12


def test_a_student_learns_what_the_teacher_says(data, tmp_path) -> None:
    """The labels are wrong and the teacher is right: its share decides what is learnt."""
    settings = BASE | {"backbone": "plain", "epochs": 12, "learning_rate": 1e-2}
    right = Trainer(**settings, output_dir=tmp_path / "teacher").fit(*data)
    assert right.evaluate(data[1], resamples=5).accuracy.value == 1
    for share, agrees, val in ((1.0, True, data[1]), (0.01, False, turned(data[1]))):
        run = Trainer(
            **settings, teacher=tmp_path / "teacher", teacher_share=share,
            output_dir=tmp_path / f"{share}",
        )  # fmt: skip
        answers = run.fit(turned(data[0]), val).predict([item.path for item in data[1]])
        hits = [found.label == item.label for found, item in zip(answers, data[1], strict=True)]
        assert np.mean(hits) == float(agrees)


def test_what_a_teacher_brings_with_it(data, tmp_path) -> None:
    seen = "ab" * 32
    teacher = saved(
        tmp_path / "elder", licence="CC-BY-NC-4.0", trained_on=TrainedOn.from_hashes([seen]),
        training_data={"attribution": "somebody", "leaked": "torn lesions"},
    )  # fmt: skip
    run = Trainer(**BASE, epochs=1, teacher=teacher, output_dir=tmp_path / "run")
    tuned = run.fit(*data)
    own = pixel_hash(read_image(data[0][0].path).pixels)
    assert seen in tuned.trained_on and own in tuned.trained_on
    assert tuned.config.licence == "CC0-1.0 AND CC-BY-NC-4.0"
    assert tuned.config.training_data["attribution"] == "nobody; somebody"
    assert tuned.config.training_data["leaked"] == "of what it learnt from: torn lesions"
    name = Classifier.from_pretrained(teacher).model
    assert tuned.config.training_data["teacher"] == name
    assert f"| teacher | {name}, 0.5 of the loss |" in tuned.card
    assert str(tmp_path) not in tuned.card + str(tuned.config)


def test_a_teacher_that_does_not_say_what_it_saw(data, tmp_path) -> None:
    teacher = saved(tmp_path / "silent", trained_on=None)
    tuned = Trainer(**BASE, epochs=1, teacher=teacher, output_dir=tmp_path / "run").fit(*data)
    assert tuned.trained_on is None and "is not known" in tuned.card


def test_a_teacher_that_saw_the_validation_images(data, tmp_path) -> None:
    seen = TrainedOn.from_hashes([pixel_hash(read_image(data[1][0].path).pixels)])
    teacher = saved(tmp_path / "elder", trained_on=seen)
    with pytest.raises(LeakageError, match="or the teacher were trained on: of 9, 1 has"):
        Trainer(**BASE, epochs=1, teacher=teacher, output_dir=tmp_path / "run").fit(*data)


def test_a_silent_member_hides_nothing(data, tmp_path) -> None:
    seen = TrainedOn.from_hashes([pixel_hash(read_image(data[1][0].path).pixels)])
    members = [saved(tmp_path / "elder", trained_on=seen), saved(tmp_path / "x", trained_on=None)]
    write_ensemble(tmp_path / "both", members, name="both")
    with pytest.raises(LeakageError, match="or the teacher were trained on: of 9, 1 has"):
        Trainer(**BASE, teacher=tmp_path / "both", output_dir=tmp_path / "run").fit(*data)


def test_a_teacher_of_other_classes(data, tmp_path) -> None:
    teacher = saved(tmp_path / "other", labels=LabelSet(("green", "red", "blue")))
    with pytest.raises(TrainingError, match=re.escape("the same order, ['red', 'green', 'blue']")):
        Trainer(**BASE, epochs=1, teacher=teacher, output_dir=tmp_path / "run").fit(*data)


class Stop(Callback):
    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if step == 4:
            raise KeyboardInterrupt


def test_other_starting_weights_are_told_before_the_teacher_is_loaded(
    data, tmp_path, monkeypatch
) -> None:
    teacher, start = saved(tmp_path / "elder"), saved(tmp_path / "start", seed=4)
    settings = BASE | {"teacher": teacher, "init_weights": str(start), "checkpoint_minutes": 1e-9}
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, epochs=2, output_dir=tmp_path / "run", callbacks=[Stop()]).fit(*data)
    saved(start, seed=5)
    monkeypatch.setattr("skinxai.training.materials.load_teacher", pytest.fail)
    with pytest.raises(ResumeMismatchError, match="init_weights must be what the run began with"):
        Trainer.resume(tmp_path / "run").fit(*data)


def test_a_stopped_run_goes_on_with_its_teacher_and_no_other(data, tmp_path) -> None:
    teacher = saved(tmp_path / "elder")
    settings = BASE | {"epochs": 2, "teacher": teacher, "mixup": 0.4, "checkpoint_minutes": 1e-9}
    Trainer(**settings, output_dir=tmp_path / "whole").fit(*data)
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, output_dir=tmp_path / "run", callbacks=[Stop()]).fit(*data)
    kept = teacher.rename(tmp_path / "kept")
    saved(tmp_path / "elder", seed=5)
    with pytest.raises(ResumeMismatchError, match="teacher must be what the run began with"):
        Trainer.resume(tmp_path / "run").fit(*data)
    for path in kept.iterdir():
        path.rename(teacher / path.name)
    Trainer.resume(tmp_path / "run").fit(*data)
    one, two = (
        Classifier.from_pretrained(tmp_path / name).network.state_dict()
        for name in ("whole", "run")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
