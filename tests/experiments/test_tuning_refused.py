"""Searches that are refused: their folder, weights, teacher, study or space."""

import sqlite3
from typing import Any

import pytest
from safetensors.torch import save_file
from small_runs import build_small, model_folder
from test_tuning import SETTINGS, SPACE, done, parts, searched

from skinxai.data import Splits, TrainedOn
from skinxai.data.hashing import looks
from skinxai.errors import (
    OptionError,
    ResumeMismatchError,
    SkinxaiError,
    TrainingError,
)
from skinxai.experiments import study as studies
from skinxai.experiments import tune
from skinxai.labels import LabelSet

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("small_networks")
__all__ = ["done", "parts"]  # fixtures


def test_another_search_in_the_folder_is_refused(done, parts) -> None:
    def refused(**options: Any) -> str:
        with pytest.raises(ResumeMismatchError) as caught:
            searched(parts, done.folder, 8, **options)
        return str(caught.value)

    assert "goes on with the settings it began with, but ['epochs'] differ" in refused(epochs=3)
    assert "the space it began with, but ['loss'] differ" in refused(
        search={"learning_rate": (1e-4, 1e-1)}
    )
    other = Splits(parts.train, parts.val.subset([i.image_id for i in parts.val][1:]), parts.test)
    with pytest.raises(
        ResumeMismatchError, match=r"the images it began with, but \['files', 'val'\]"
    ):
        searched(other, done.folder, 8)


@pytest.mark.parametrize("held", ["cross_validation.json", "train.json"])
def test_a_folder_with_other_work_is_refused(parts, tmp_path, held) -> None:
    (tmp_path / held).touch()
    with pytest.raises(TrainingError, match=r"must be a new folder, but .* holds a ") as caught:
        searched(parts, tmp_path, 1)
    assert str(caught.value).endswith("; pass another output_dir.")
    assert [each.name for each in tmp_path.iterdir()] == [held]


def test_without_the_starting_weights_nothing_is_written(parts, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    network = {"backbone": "timm/resnet10t", "init_weights": "imagenet"}
    with pytest.raises(TrainingError, match="ImageNet weights of 'timm/resnet10t' must come from"):
        searched(parts, tmp_path / "x", 1, **network)
    assert not (tmp_path / "x").exists()
    settings = {name: value for name, value in SETTINGS.items() if name != "init_weights"}
    searched_weights = {"init_weights": ["none"], "learning_rate": (1e-4, 1e-2)}
    found = tune(parts, 1, search=searched_weights, output_dir=tmp_path / "y", **settings)
    assert len(found.trials) == 1  # the default, ImageNet weights, is not fetched


def test_starting_weights_that_do_not_fit_a_backbone_are_refused_first(parts, tmp_path) -> None:
    fixed = {name: value for name, value in SETTINGS.items() if name != "backbone"}
    start = model_folder(tmp_path / "start")
    own = {"init_weights": tmp_path / "own.safetensors"}
    save_file(build_small("small", 3).network.state_dict(), own["init_weights"])
    search = {"backbone": ["small", "stacked"]}
    for more, remedy in (({"init_weights": start}, "'small'"), (own, "they were saved from")):
        with pytest.raises(TrainingError) as caught:
            tune(parts, 1, search=search, output_dir=tmp_path / "x", **fixed | more)
        said = str(caught.value)
        assert "must fit the backbone 'stacked' outside its classifier, but 12 tensors" in said
        assert said.endswith(f"; take the backbone {remedy}, or other starting weights.")
        assert not (tmp_path / "x").exists()
    found = tune(parts, 1, search={"backbone": ["small"]}, output_dir=tmp_path / "x", **fixed | own)
    assert found.best.drawn == {"backbone": "small"}


def test_a_teacher_of_other_labels_is_refused_first(parts, tmp_path) -> None:
    other = str(model_folder(tmp_path / "other", LabelSet(("a", "b", "c"))))
    search = {"teacher": ["none", other]}
    with pytest.raises(TrainingError, match=r"must have the labels of the images .*take another"):
        searched(parts, tmp_path / "x", 1, search=search)
    assert not (tmp_path / "x").exists()


def test_a_teacher_that_cannot_answer_unseen_is_refused_first(parts, tmp_path) -> None:
    """One that says nothing of what it learnt, and one that learnt all images."""
    silent = str(model_folder(tmp_path / "silent", trained_on=None))
    learnt = TrainedOn.of_looks(looks(parts.train))
    full = str(model_folder(tmp_path / "full", trained_on=learnt))
    for teacher, words in ((silent, "1 of 1 does not; "), (full, "all members learnt 21 of 21")):
        both = {"teacher_answers": ["all", "unseen"], "teacher": ["none", teacher]}
        for search, fixed in (
            ({"teacher_answers": ["all", "unseen"]}, {"teacher": teacher}),
            ({"teacher": ["none", teacher]}, {"teacher_answers": "unseen"}),
            (SPACE, {"teacher": teacher, "teacher_answers": "unseen"}),
            (both, {}),
        ):
            with pytest.raises(TrainingError, match=words):
                searched(parts, tmp_path / "x", 1, search=search, **fixed)
            assert not (tmp_path / "x").exists()
    found = searched(parts, tmp_path / "x", 1, search={"teacher": ["none", silent]})
    assert len(found.trials) == 1


def test_a_torn_study_and_a_lost_one_are_named(parts, tmp_path) -> None:
    searched(parts, tmp_path / "x", 1)
    file = tmp_path / "x/study.db"
    whole = file.read_bytes()
    for torn in (b"no database at all" * 99, whole[:-4096], whole[:5000]):
        file.write_bytes(torn)
        with pytest.raises(TrainingError, match="must be the study of a search, but SQLite says"):
            searched(parts, tmp_path / "x", 1)
    file.unlink()
    with pytest.raises(TrainingError, match=r"holds 1 trial, but its study\.db is gone"):
        searched(parts, tmp_path / "x", 1)


def test_a_locked_study_is_named(done, parts, monkeypatch) -> None:
    monkeypatch.setattr(studies, "PATIENCE", 0.2)
    file = sqlite3.connect(done.folder / "study.db")
    file.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TrainingError, match="is locked by another process for 0"):
            searched(parts, done.folder, 7)
    finally:
        file.close()


@pytest.mark.parametrize(
    ("search", "fixed", "said"),
    [
        ({"learning_rte": (0, 1)}, {}, "unknown setting 'learning_rte'. Did you mean 'learning_r"),
        ({"loss": []}, {}, "must give 'loss' a value, got none"),
        ({}, {}, "must name at least one setting"),
        ({"learning_rate": (0, 1)}, {}, "must give 'learning_rate' numbers with 0 < low < high"),
        ({"mixup": (0.4, 0.1)}, {}, "must give 'mixup' numbers with low < high"),
        ({"epochs": (2.7, 5.2)}, {}, "must give 'epochs' integers with low < high, got [2.7, 5.2]"),
        ({"patience": (2, 5.5)}, {}, "must give 'patience' integers with low < high, got [2, 5.5]"),
        ({"mixup": "much"}, {}, "a pair (low, high) or a list of values, got 'much'"),
        ({"sampler": ["often"]}, {}, "sampler must be one of"),
        ({"hair": (0.0, 1.5)}, {}, "hair must be in [0, 1], got 1.5"),
        ({"seed": [1, 2]}, {}, "must not name 'seed'"),
        ({"loss": ["focal"]}, {"loss": "focal"}, "because its value is given too"),
        ({"loss": ["focl"]}, {}, "focal"),
        ({"teacher": ["none", "somewhere"]}, {}, "found no folder 'somewhere'"),
        ({"augmentation": ["heavy", "heavi"]}, {}, "heavy"),
    ],
)
def test_spaces_that_cannot_be_searched(parts, tmp_path, search, fixed, said) -> None:
    with pytest.raises(SkinxaiError) as caught:
        searched(parts, tmp_path / "x", 1, search=search, **fixed)
    assert said in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_without_optuna_one_sentence(parts, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(OptionError, match=r"needs Optuna; run pip install 'skinxai\[tune\]'"):
        searched(parts, tmp_path / "x", 1)
