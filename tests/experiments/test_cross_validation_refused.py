"""Cross-validations that are refused, before anything is written."""

from dataclasses import replace
from typing import Any

import pytest
from small_runs import model_folder
from test_cross_validation import SETTINGS, done, records

from skinxai import Trainer
from skinxai.data import Records, Splits, TrainedOn, split
from skinxai.data.hashing import looks
from skinxai.errors import (
    DatasetError,
    LeakageError,
    OptionError,
    ResumeMismatchError,
    SkinxaiError,
    TrainingError,
)
from skinxai.experiments import cross_validate
from skinxai.experiments.fold_plan import pooled

__all__ = ["done", "records"]  # fixtures
pytestmark = pytest.mark.usefixtures("small_networks")


def refusal(*arguments: Any, **options: Any) -> SkinxaiError:
    with pytest.raises(SkinxaiError) as caught:
        cross_validate(*arguments, **SETTINGS | options)
    return caught.value


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, True])
def test_fewer_than_two_folds_are_refused(records, tmp_path, k) -> None:
    error = refusal(records, k, output_dir=tmp_path / "x")
    assert isinstance(error, DatasetError)
    assert str(error) == f"folds must be an integer >= 2, got {k!r}."
    assert not (tmp_path / "x").exists()


def test_more_folds_than_lesions_of_a_class_are_refused(records, tmp_path) -> None:
    error = refusal(records, 8, output_dir=tmp_path / "x")
    assert "each class must have at least 8 lesions for 8 folds, but 'red' has 7" in str(error)
    assert not (tmp_path / "x").exists()
    few = records.subset([i.image_id for i in records if i.label != "red"] +
                         [i.image_id for i in records if i.label == "red"][:4])  # fmt: skip
    found = cross_validate(few, 2, output_dir=tmp_path / "y", resamples=20, **SETTINGS)
    assert found.evaluation.images == 32  # two lesions of red: each fold has one


def test_without_the_starting_weights_nothing_is_written(records, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    network = {"backbone": "timm/resnet10t", "init_weights": "imagenet"}
    error = refusal(records, 2, output_dir=tmp_path / "x", **network)
    assert "ImageNet weights of 'timm/resnet10t' must come from" in str(error)
    assert not (tmp_path / "x").exists()


def test_starting_weights_of_another_backbone_cost_no_reading(records, tmp_path) -> None:
    start = model_folder(tmp_path / "start")
    gone = replace(records, items=tuple(replace(i, path=tmp_path / "gone") for i in records))
    error = refusal(gone, 2, output_dir=tmp_path / "x", backbone="stacked", init_weights=start)
    assert "must fit the backbone 'stacked'" in str(error)
    assert str(error).endswith("; take the backbone 'small', or other starting weights.")
    assert not (tmp_path / "x").exists()


def test_fewer_epochs_than_were_trained_are_refused(done, records) -> None:
    before = (done.folder / "cross_validation.json").read_bytes()
    with pytest.raises(ResumeMismatchError, match=r"epochs must be at least 2 .*fold-1.*, got 1"):
        cross_validate(records, output_dir=done.folder, resume=True, epochs=1)
    assert (done.folder / "cross_validation.json").read_bytes() == before


def test_what_is_no_material_for_folds_is_refused(records, tmp_path) -> None:
    parts = split(records)
    error = refusal(parts.test, 2, output_dir=tmp_path / "x")
    assert isinstance(error, LeakageError) and "must not be the test part" in str(error)
    for own in (
        Splits(parts.train, parts.test, parts.val),
        Splits(parts.test, parts.val, parts.val),
    ):
        error = refusal(own, 2, output_dir=tmp_path / "x")
        assert isinstance(error, LeakageError) and "must not be the test part" in str(error)
    items = tuple(replace(item, attributes={"part": "test" if n % 3 else "train"})
                  for n, item in enumerate(records))  # fmt: skip
    error = refusal(replace(records, items=items), 2, output_dir=tmp_path / "x")
    assert isinstance(error, LeakageError) and "pass skinxai.data.given_split" in str(error)
    error = refusal(records, 2, output_dir=tmp_path / "x", learning_rte=1)
    assert isinstance(error, OptionError) and "Did you mean 'learning_rate'?" in str(error)
    assert not (tmp_path / "x").exists()


def test_folds_of_a_leaked_part_are_leaked(records) -> None:
    parts = split(records)
    for train, val in ((True, False), (False, True), (False, False)):
        marked = Splits(
            replace(parts.train, leaked=train), replace(parts.val, leaked=val), parts.test
        )
        assert pooled(marked).leaked is (train or val)


def test_starting_weights_that_saw_an_image_are_refused(records, tmp_path) -> None:
    known = TrainedOn.of_looks([next(looks(records))])
    start = model_folder(tmp_path / "start", records.labels, seed=1, trained_on=known)
    error = refusal(records, 2, output_dir=tmp_path / "x", init_weights=str(start))
    assert isinstance(error, LeakageError)
    assert "records must hold no image of what the starting weights or the teacher" in str(error)


def test_a_folder_that_is_taken_and_one_that_holds_nothing(done, records, tmp_path) -> None:
    error = refusal(records, 3, output_dir=done.folder)
    assert "holds a cross-validation; go on with resume=True" in str(error)
    assert error.on_command_line.endswith("go on with it with --resume, or give another --out.")
    with pytest.raises(TrainingError, match="holds a run; pass another output_dir"):
        cross_validate(records, 3, output_dir=done.members[0], **SETTINGS)
    with pytest.raises(TrainingError, match="holds a cross-validation; pass another output_dir"):
        Trainer(**SETTINGS, output_dir=done.folder).fit(split(records))
    (tmp_path / "study.db").touch()
    with pytest.raises(TrainingError, match="holds a search; pass another output_dir") as caught:
        cross_validate(records, 3, output_dir=tmp_path, **SETTINGS)
    assert caught.value.on_command_line.endswith("holds a search; give another --out.")
    with pytest.raises(TrainingError, match=r"has no cross_validation\.json; leave resume out"):
        cross_validate(records, output_dir=tmp_path / "none", resume=True)


def test_resuming_as_another_one_is_refused(done, records) -> None:
    def resume(images: Records, *arguments: Any, **changes: Any) -> str:
        with pytest.raises(ResumeMismatchError) as caught:
            cross_validate(images, *arguments, output_dir=done.folder, resume=True, **changes)
        return str(caught.value)

    assert resume(records, 5).startswith("folds must be the 3 that the cross-validation began")
    assert "got 'loss': 'cross_entropy' became 'focal'" in resume(records, loss="focal")
    fewer = records.subset([item.image_id for item in records][1:])
    assert "but its images changed" in resume(fewer)
    items = (replace(records[0], label="green"), *records.items[1:])
    assert "but its images changed" in resume(replace(records, items=items))


def test_resuming_with_a_pair_that_the_folds_part_is_refused(done, records) -> None:
    def resume(*pairs: tuple[str, str]) -> None:
        cross_validate(records, output_dir=done.folder, resume=True, linked=pairs, resamples=20)

    split_files = sorted((done.folder / "splits").glob("*.csv"))
    folds = [Splits.from_csv(path, records) for path in split_files]
    (one, *_), (other, *_) = folds[0].test, folds[1].test
    before = (done.folder / "out_of_fold.csv").read_bytes()
    with pytest.raises(ResumeMismatchError, match="linked must be the pairs that the cross-valid"):
        resume((one.image_id, other.image_id))
    with pytest.raises(DatasetError, match="linked must name images that are folded, got 'none'"):
        resume((one.image_id, "none"))
    resume((one.image_id, one.image_id))
    assert (done.folder / "out_of_fold.csv").read_bytes() == before
