"""``teacher_answers="unseen"``: each image is answered by the members that did not learn it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_runs import BASE, coloured, model_folder, turned

from skinxai import Classifier, Trainer
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, TrainedOn
from skinxai.data.hashing import looks
from skinxai.errors import LeakageError, OptionError, TrainingError
from skinxai.images.limits import MAX_PIXELS
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.training import membership
from skinxai.training.teaching import Teacher, load_teacher, only_unseen

pytestmark = pytest.mark.usefixtures("small_networks")

LABELS = LabelSet(("red", "green", "blue"))
OWN = PreprocessConfig((32, 48), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> tuple[Records, Records]:
    return coloured(tmp_path / "train", 4, 0), coloured(tmp_path / "val", 3, 1)


def folds(records: Records, count: int) -> list[TrainedOn]:
    """What members of so many folds learnt: all but every ``count``-th image."""
    found = list(looks(records))
    return [
        TrainedOn.of_looks(look for n, look in enumerate(found) if n % count != fold)
        for fold in range(count)
    ]


def ensemble(folder: Path, learnt: list[TrainedOn | None], weights: list[float]) -> Path:
    members = [
        model_folder(folder / f"{n}", seed=n, preprocessing=OWN, trained_on=known)
        for n, known in enumerate(learnt)
    ]
    write_ensemble(folder / "all", members, weights=weights, name="all")
    return folder / "all"


def loaded(folder: Path, train: Records) -> Teacher:
    return only_unseen(load_teacher(str(folder), LABELS, OWN, 1.0, CPU), train, MAX_PIXELS)


def test_each_image_gets_the_mean_of_the_members_that_did_not_learn_it(data, tmp_path) -> None:
    """Three folds and a member of the second one again, against NumPy, in another order."""
    train = data[0]
    learnt = folds(train, 3)
    folder = ensemble(tmp_path, [*learnt, learnt[1]], [0.2, 0.3, 0.1, 0.4])
    images, positions = torch.rand(5, 3, 32, 48), [7, 0, 4, 11, 3]
    found = loaded(folder, train)(images, positions).numpy()
    answers = []
    for n in range(4):
        network = Classifier.from_pretrained(tmp_path / f"{n}", device="cpu").network
        with torch.no_grad():
            answers.append(softmax(network(images).double().numpy(), axis=1))
    by_fold = [answers[0], (0.3 * answers[1] + 0.4 * answers[3]) / 0.7, answers[2]]
    expected = [by_fold[position % 3][row] for row, position in enumerate(positions)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_student_learns_what_the_others_say_and_not_what_they_learnt(data, tmp_path) -> None:
    """Each member answers what it learnt with a wrong class, and all else right."""
    train, val = data
    right = {f"{item.image_id}": item.label for item in train}
    halves = [[n for n in range(len(train)) if n % 2 == k] for k in (0, 1)]
    settings = BASE | {"backbone": "plain", "epochs": 12, "learning_rate": 1e-2}
    good = Trainer(**settings, output_dir=tmp_path / "good").fit(train, val)
    assert good.evaluate(val, resamples=5).accuracy.value == 1
    wrong = turned(train)
    found = list(looks(train))
    for n, half in enumerate(halves):
        known = TrainedOn.of_looks(found[position] for position in half)
        copied = replace(good._loaded, trained_on=known)
        copied.save(str(tmp_path / f"member{n}"))
    write_ensemble(tmp_path / "both", [tmp_path / "member0", tmp_path / "member1"], name="both")
    run = Trainer(
        **settings, teacher=tmp_path / "both", teacher_share=1.0, teacher_answers="unseen",
        output_dir=tmp_path / "student",
    )  # fmt: skip
    student = run.fit(wrong, val)
    answers = student.predict([item.path for item in train])
    assert [a.label for a in answers] == [right[item.image_id] for item in train]
    assert "each image answered by the members that did not learn it" in student.card


def test_the_steps_ask_for_the_images_of_the_batch(data, tmp_path, monkeypatch) -> None:
    """In micro-batches as well: what is asked about is what is shown, by its colour."""
    train = data[0]
    folder = ensemble(tmp_path, list(folds(train, 2)), [0.5, 0.5])
    asked, answer = [], Teacher.__call__

    def telling(self: Teacher, images: torch.Tensor, positions: list[int]) -> torch.Tensor:
        asked.extend(zip(images.mean((2, 3)).argmax(1).tolist(), positions, strict=True))
        return answer(self, images, positions)

    monkeypatch.setattr(Teacher, "__call__", telling)
    Trainer(
        **BASE | {"batch_size": 6}, epochs=1, accumulate=2, teacher=folder, augmentation="light",
        teacher_answers="unseen", output_dir=tmp_path / "run",
    ).fit(*data)  # fmt: skip
    targets = train.targets()
    assert sorted(position for _, position in asked) == list(range(len(train)))
    assert all(colour == targets[position] for colour, position in asked)


@pytest.mark.parametrize("answers", ["unseen", "all"])
def test_kernels_are_timed_for_the_batches_that_recur_alone(
    data, tmp_path, monkeypatch, answers
) -> None:
    """Not for the last batch of an epoch, nor for the images that one member did not learn."""
    cudnn, features = torch.backends.cudnn, SkinClassifier.features
    learning: dict[int, set[bool]] = {}
    judging: dict[int, set[bool]] = {}

    def telling(self: SkinClassifier, images: torch.Tensor) -> torch.Tensor:
        passes = learning if torch.is_grad_enabled() else judging
        passes.setdefault(len(images), set()).add(cudnn.benchmark)
        return features(self, images)

    monkeypatch.setattr(SkinClassifier, "features", telling)
    folder = ensemble(tmp_path, list(folds(data[0], 2)), [0.5, 0.5])
    Trainer(
        **BASE | {"batch_size": 7}, epochs=2, teacher=folder, teacher_answers=answers,
        output_dir=tmp_path / "run",
    ).fit(*data)  # fmt: skip
    assert learning == {7: {True}, 5: {False}}
    timed = {size for size, values in judging.items() if True in values}
    assert timed == ({7} if answers == "all" else set())


def test_an_image_that_all_members_learnt(data, tmp_path) -> None:
    learnt = folds(data[0], 3)
    folder = ensemble(tmp_path, list(learnt[:2]), [0.5, 0.5])
    with pytest.raises(TrainingError, match="but all members learnt 4 of 12; train the members"):
        loaded(folder, data[0])


def test_a_member_that_does_not_say_what_it_learnt(data, tmp_path) -> None:
    folder = ensemble(tmp_path, [folds(data[0], 3)[0], None], [0.5, 0.5])
    with pytest.raises(TrainingError, match="was trained on, but 1 of 2 does not"):
        loaded(folder, data[0])


def test_a_validation_image_that_a_member_learnt_is_refused_as_before(data, tmp_path) -> None:
    known = TrainedOn.of_looks(looks(data[1].subset([data[1][0].image_id])))
    folder = ensemble(tmp_path, [known], [1.0])
    run = Trainer(
        **BASE, teacher=folder, teacher_answers="unseen", output_dir=tmp_path / "run"
    )  # fmt: skip
    with pytest.raises(LeakageError, match="or the teacher were trained on: of 9, 1 has"):
        run.fit(*data)


def test_members_of_the_training_part_are_not_compared_once_more(
    data, tmp_path, monkeypatch
) -> None:
    """Of two members, one learnt another image as well; the training part itself comes last."""
    other = coloured(tmp_path / "other", 1, 5)
    more = TrainedOn.of_looks(looks(other)) | folds(data[0], 3)[1]
    folder = ensemble(tmp_path, [folds(data[0], 3)[0], more], [0.5, 0.5])
    compared: list[int] = []
    monkeypatch.setattr(
        membership, "check_unseen", lambda val, known, *_, **__: compared.append(len(known))
    )
    Trainer(**BASE | {"epochs": 1}, teacher=folder, output_dir=tmp_path / "run").fit(*data)
    assert compared == [len(more), len(data[0])]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_blends_have_no_member_that_learnt_neither_image(name: str) -> None:
    with pytest.raises(OptionError, match="mixup and cutmix must be 0 with teacher_answers"):
        Trainer(**BASE, teacher_answers="unseen", **{name: 0.2})
