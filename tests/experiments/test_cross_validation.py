"""Cross-validation: who answered which image, resumed runs, and what is refused."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import StratifiedGroupKFold
from small_runs import BASE, coloured, differences, model_folder, rows

from skinxai import Classifier, Trainer
from skinxai.data import Records, Splits, TrainedOn, folds, split
from skinxai.data.hashing import looks
from skinxai.data.linking import alike_pairs
from skinxai.data.stratifying import group
from skinxai.errors import (
    DatasetError,
    LeakageError,
    OptionError,
    ResumeMismatchError,
    SkinxaiError,
    TrainingError,
)
from skinxai.experiments import CrossValidation, cross_validate
from skinxai.experiments.out_of_fold import FoldAnswers, answer, joined
from skinxai.progress import Rounds
from skinxai.reporting import read_evaluation, read_log
from skinxai.results import Evaluation
from skinxai.training.callbacks import Callback
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS: dict[str, Any] = BASE | {"epochs": 2}


def named(records: Records) -> Records:
    """Two pictures for each lesion, and two lesions for each of some patients."""
    items = []
    for number, item in enumerate(records):
        patient = f"patient{number // 4}" if number < 8 else None
        items.append(replace(item, lesion_id=f"lesion{number // 2}", patient_id=patient))
    return replace(records, items=tuple(items))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return named(coloured(tmp_path_factory.mktemp("colours") / "all", 14, 0))


@pytest.fixture(scope="module")
def done(records, tmp_path_factory) -> CrossValidation:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return cross_validate(records, 3, output_dir=folder, resamples=20, **SETTINGS)


def table(found: CrossValidation) -> list[dict[str, str]]:
    with found.table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_image_is_answered_once_by_the_model_that_has_not_seen_its_lesion(
    done, records
) -> None:
    lines = table(done)
    assert [line["image_id"] for line in lines] == sorted(item.image_id for item in records)
    of = {item.image_id: item for item in records}
    for number, member in enumerate(done.members, start=1):
        with (member / "splits.csv").open(newline="") as text:
            part = {line["image_id"]: line["part"] for line in csv.DictReader(text)}
        own = [line for line in lines if line["fold"] == str(number)]
        assert {line["image_id"] for line in own} == {n for n, p in part.items() if p == "test"}
        used = [of[name] for name, where in part.items() if where != "test"]
        for line in own:
            item = of[line["image_id"]]
            assert item.lesion_id not in {other.lesion_id for other in used}
            assert item.patient_id is None or item.patient_id not in {i.patient_id for i in used}
        model = Classifier.from_pretrained(member)
        assert {line["model"] for line in own} == {model.model}
        expected = rows(model.predict([of[line["image_id"]].path for line in own]))
        given = [[float(line[f"p_{code}"]) for code in records.labels] for line in own]
        np.testing.assert_allclose(given, expected, atol=1e-6)


def test_the_figures_are_those_of_the_table(done, records) -> None:
    lines = table(done)
    truth, guess = ([line[name] for line in lines] for name in ("label", "predicted"))
    found = done.evaluation
    assert found.images == 42 and found.lesions == 21
    assert found.macro_f1.value == pytest.approx(f1_score(truth, guess, average="macro"))
    assert found.balanced_accuracy.value == pytest.approx(
        recall_score(truth, guess, average="macro")
    )
    own = found.out_of_fold
    scores = []
    for each in own.folds:
        some = [line for line in lines if line["fold"] == str(each.fold)]
        pairs = [line["label"] for line in some], [line["predicted"] for line in some]
        scores.append(f1_score(*pairs, average="macro"))
        assert each.macro_f1 == pytest.approx(scores[-1])
        assert each.images + each.learnt + each.chosen_on == 42
        log = (done.members[each.fold - 1] / "log.csv").read_text().splitlines()[1:]
        f1 = [float(line.split(",")[4]) for line in log]
        assert each.epoch == 1 + int(np.argmax(f1))
    assert own.spread("macro_f1") == pytest.approx((np.mean(scores), np.std(scores, ddof=1)))


def test_the_verdict_says_what_the_figures_are_of(done) -> None:
    read, _ = read_evaluation(done.folder / "evaluation.json")
    assert read == done.evaluation
    for text in (read.verdict, done.page.read_text(), (done.ensemble / "README.md").read_text()):
        assert "out-of-fold: each image was answered by the one of 3 models" in text
        assert "must be judged on others" in text
    assert "Fold by fold" in done.page.read_text()
    assert "| mean ± standard deviation |" in read.to_markdown()
    older = read.to_dict()
    del older["out_of_fold"], older["verdict"]
    plain = replace(read, out_of_fold=None)
    assert Evaluation.from_dict(older | {"verdict": plain.verdict}) == plain


def test_the_ensemble_is_the_mean_of_the_members(done, records) -> None:
    paths = [item.path for item in records][:5]
    members = [rows(Classifier.from_pretrained(each).predict(paths)) for each in done.members]
    ensemble = Classifier.from_pretrained(done.ensemble)
    np.testing.assert_allclose(rows(ensemble.predict(paths)), np.mean(members, axis=0), atol=1e-6)
    assert ensemble.evaluate(records, progress=False).leaked  # it has learnt them all


class Stops(Callback):
    """Raises at a step of the run in a folder of that name."""

    def __init__(self, name: str, step: int) -> None:
        self._name, self._step, self.here = name, step, False

    def on_start(self, run_folder: Path, settings: Any) -> None:
        self.here = run_folder.name == self._name

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if self.here and step == self._step:
            raise ZeroDivisionError


class Counts(Callback):
    """Counts the steps of each run."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}

    def on_start(self, run_folder: Path, settings: Any) -> None:
        self._now = run_folder.name
        self.steps[self._now] = 0

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.steps[self._now] += 1


def test_a_resumed_one_is_the_same_to_the_bit_and_does_nothing_twice(
    done, records, tmp_path, capsys
) -> None:
    out = tmp_path / "whole"
    stops = Stops("fold-2", 4)
    with pytest.raises(TrainingError, match="ZeroDivisionError"):
        cross_validate(records, 3, output_dir=out, callbacks=[stops], resamples=20, **SETTINGS)
    assert not (out / "evaluation.json").exists()
    counts, whole = Counts(), Counts()
    found = cross_validate(records, output_dir=out, resume=True, callbacks=[counts], resamples=20)
    cross_validate(records, 3, output_dir=tmp_path / "x", callbacks=[whole], resamples=20,
                   **SETTINGS)  # fmt: skip
    each = whole.steps["fold-2"]
    assert counts.steps == {"fold-2": each - 4, "fold-3": whole.steps["fold-3"]}
    assert "fold 1 of 3 is finished" in capsys.readouterr().out
    assert table(found) == table(done) and found.evaluation == done.evaluation
    for own, other in zip(found.members, done.members, strict=True):
        assert differences(own, other) == []
        assert (own / "answers.json").read_bytes() == (other / "answers.json").read_bytes()


def test_more_epochs_are_trained_and_answered_anew(records, tmp_path) -> None:
    first = cross_validate(records, 2, output_dir=tmp_path / "x", resamples=20, **SETTINGS)
    again = cross_validate(records, output_dir=tmp_path / "x", resume=True, epochs=3, resamples=20)
    for member in again.members:
        assert len((member / "log.csv").read_text().splitlines()) == 4
    models = {line["model"] for line in table(again)}
    assert models == {Classifier.from_pretrained(each).model for each in again.members}
    assert first.folder == again.folder


def test_more_epochs_are_trained_in_every_fold_whenever_it_is_stopped(records, tmp_path) -> None:
    out, more = tmp_path / "x", {"epochs": 4, "learning_rate": 1e-3}
    cross_validate(records, 2, output_dir=out, resamples=20, **SETTINGS)

    class StopsAfterThree(Callback):
        def on_epoch(self, row: Mapping[str, float]) -> None:
            if row["epoch"] == 3:
                raise ZeroDivisionError

    with pytest.raises(TrainingError, match="ZeroDivisionError"):  # in fold 1, before it answers
        cross_validate(records, output_dir=out, resume=True, callbacks=[StopsAfterThree()],
                       resamples=20, **more)  # fmt: skip
    found = cross_validate(records, output_dir=out, resume=True, resamples=20, **more)
    for member in found.members:
        assert len(read_log(member)) == 4
        settings = json.loads((member / "train.json").read_text())["settings"]
        assert more.items() <= settings.items()
    models = {line["model"] for line in table(found)}
    assert models == {Classifier.from_pretrained(each).model for each in found.members}


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


def test_fewer_epochs_than_were_trained_are_refused(done, records) -> None:
    before = (done.folder / "cross_validation.json").read_bytes()
    with pytest.raises(ResumeMismatchError, match=r"epochs must be at least 2 .*fold-1.*, got 1"):
        cross_validate(records, output_dir=done.folder, resume=True, epochs=1)
    assert (done.folder / "cross_validation.json").read_bytes() == before


def test_what_is_no_material_for_folds_is_refused(records, tmp_path) -> None:
    parts = split(records)
    error = refusal(parts.test, 2, output_dir=tmp_path / "x")
    assert isinstance(error, LeakageError) and "must not be the test part" in str(error)
    items = tuple(replace(item, attributes={"part": "test" if n % 3 else "train"})
                  for n, item in enumerate(records))  # fmt: skip
    error = refusal(replace(records, items=items), 2, output_dir=tmp_path / "x")
    assert isinstance(error, LeakageError) and "pass skinxai.data.given_split" in str(error)
    error = refusal(records, 2, output_dir=tmp_path / "x", learning_rte=1)
    assert isinstance(error, OptionError) and "Did you mean 'learning_rate'?" in str(error)
    assert not (tmp_path / "x").exists()


def test_of_a_split_the_test_part_is_left_out(records, tmp_path) -> None:
    parts = split(records, (0.5, 0.25, 0.25))
    found = cross_validate(parts, 2, output_dir=tmp_path / "x", resamples=20, **SETTINGS)
    known = {item.image_id for item in (*parts.train, *parts.val)}
    assert {line["image_id"] for line in table(found)} == known


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


def test_damaged_files_are_refused_or_made_anew(records, tmp_path) -> None:
    out = tmp_path / "x"
    first = cross_validate(records, 2, output_dir=out, resamples=20, **SETTINGS)
    state, own = out / "cross_validation.json", first.members[0] / "answers.json"
    whole = own.read_bytes()
    for torn in (b"", whole[: len(whole) // 2], b"[]"):
        own.write_bytes(torn)
        cross_validate(records, output_dir=out, resume=True, resamples=20)
        assert own.read_bytes() == whole
    part = out / "splits/fold-1.csv"
    part.write_bytes(part.read_bytes().replace(b"train", b"val", 1))
    with pytest.raises(DatasetError, match="sha256 of"):
        cross_validate(records, output_dir=out, resume=True)
    for torn in (b"", b"{}", state.read_bytes()[:-9], b'{"folds": 2}'):
        state.write_bytes(torn)
        with pytest.raises(TrainingError, match="must hold a cross-validation's settings"):
            cross_validate(records, output_dir=out, resume=True)


def parts_of(records: Records, done: CrossValidation) -> list[Splits]:
    return [Splits.from_csv(done.folder / f"splits/fold-{k}.csv", records) for k in (1, 2, 3)]


def test_answers_of_another_model_are_noticed(done, records) -> None:
    parts = parts_of(records, done)
    answers = [FoldAnswers.read(each) for each in done.members]
    joined(records, parts, answers)
    with pytest.raises(TrainingError, match="fold 2 must have one answer to each"):
        joined(records, parts, [answers[0], replace(answers[1], probabilities={}), answers[2]])
    with pytest.raises(TrainingError, match=r"must be in one fold, but .* is in two"):
        joined(records, [parts[0], parts[0], parts[2]], [answers[0], answers[0], answers[2]])
    with pytest.raises(TrainingError, match=r"must be in a fold, but .* is in none"):
        joined(records, parts[:2], answers[:2])
    mixed = replace(parts[0], train=parts[0].test)
    with pytest.raises(LeakageError, match="fold 1 must share no lesion_id"):
        joined(records, [mixed, *parts[1:]], answers)
    classifier, config = Classifier.from_pretrained(done.members[0]), TrainConfig(**SETTINGS)
    with pytest.raises(LeakageError, match="fold 1 must hold no image that its model learnt"):
        answer(classifier, 1, parts[1], 1, config)


def test_copies_under_other_names_are_in_one_fold(records, tmp_path) -> None:
    twins = tuple(
        replace(item, image_id=f"twin-{item.image_id}", lesion_id="", patient_id=None)
        for item in records
    )
    both = replace(records, items=(*records, *twins))
    found = cross_validate(both, 3, output_dir=tmp_path / "x", resamples=20, **SETTINGS)
    fold = {line["image_id"]: line["fold"] for line in table(found)}
    assert len(fold) == 84
    assert all(fold[item.image_id] == fold[f"twin-{item.image_id}"] for item in records)


@pytest.mark.parametrize("named", [["a"], ["b"], ["a", "b"]])
def test_images_that_are_no_copies_end_no_fold(named, records, tmp_path) -> None:
    """Whichever of two images is learnt, the other may be answered or chosen on."""
    for number, name in enumerate("ab"):
        draws = np.random.default_rng(0)
        drawn = draws.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(drawn).resize((320, 240), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{name}.jpg", quality=95 - 20 * number)
    twins = [replace(records[0], image_id=name, path=tmp_path / f"{name}.jpg", lesion_id=name,
                     patient_id=None) for name in "ab"]  # fmt: skip
    both = replace(records, items=(*records, *twins))
    for seed in range(3):
        found = cross_validate(both, 2, output_dir=tmp_path / f"{seed}", resamples=20,
                               not_copies=named, **SETTINGS | {"seed": seed})  # fmt: skip
        fold = {line["image_id"]: line["fold"] for line in table(found)}
        assert len(named) == 2 or fold["a"] == fold["b"]
    with pytest.raises(OptionError, match="'c' is none of them"):
        cross_validate(both, 2, output_dir=tmp_path / "x", not_copies=["c"], **SETTINGS)


def test_pairs_are_found_across_groups_alone(records) -> None:
    seen = {i.image_id: look for i, look in zip(records, looks(records), strict=True)}
    first, second, other = (records[n].image_id for n in (0, 2, 9))
    seen[second] = seen[first]
    groups = group(replace(records, items=tuple(replace(i, patient_id=None) for i in records)))
    assert alike_pairs(groups, seen, progress=False) == ((first, second),)
    assert alike_pairs(groups, seen, not_copies=[first], progress=False) == ((first, second),)
    seen[other] = seen[first]._replace(digest="0" * 64)  # it looks alike, with other pixels
    found = alike_pairs(groups, seen, progress=False)
    assert {other} <= {name for pair in found for name in pair}
    assert alike_pairs(groups, seen, not_copies=[other], progress=False) == found
    every = [first, second, other]
    assert alike_pairs(groups, seen, not_copies=every, progress=False) == ((first, second),)
    assert alike_pairs(groups[:1], seen, progress=False) == ()


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    """The largest difference between a fold's share of a class and 1/k, on skewed lesions."""
    draws = np.random.default_rng(0)
    records = coloured_names(draws)
    target = np.asarray(records.targets())
    lesions = np.asarray([item.lesion_id for item in records])
    own = np.asarray([spread(target, [ids(each.val, records) for each in folds(records, 5, seed)])
                      for seed in range(3)])  # fmt: skip
    peer = np.asarray([
        spread(target, [test for _, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed)
                        .split(target, target, lesions)]) for seed in range(3)
    ])  # fmt: skip
    assert own.max() <= peer.max() and own.max() < 0.02


def spread(target: np.ndarray, parts: list[np.ndarray]) -> float:
    counts = np.asarray([np.bincount(target[part], minlength=3) for part in parts])
    return float(np.abs(counts / counts.sum(axis=0) - 1 / len(parts)).max())


def ids(part: Records, records: Records) -> np.ndarray:
    place = {item.image_id: n for n, item in enumerate(records)}
    return np.asarray([place[item.image_id] for item in part])


def coloured_names(draws: np.random.Generator) -> Records:
    """Lesions of one to five images, in classes of 60, 250 and 1000 lesions; no files."""
    from skinxai.data import Record
    from skinxai.labels import LabelSet

    items = []
    for code, lesions in (("red", 60), ("green", 250), ("blue", 1000)):
        for lesion in range(lesions):
            for image in range(int(draws.integers(1, 6))):
                name = f"{code}-{lesion}-{image}"
                items.append(Record(name, Path(name), code, f"{code}-{lesion}"))
    return Records(tuple(items), LabelSet(("red", "green", "blue")))


def test_settings_are_kept(done) -> None:
    state = json.loads((done.folder / "cross_validation.json").read_text())
    assert state["folds"] == 3 and state["settings"]["epochs"] == 2
    seeds = [json.loads((each / "train.json").read_text())["settings"]["seed"]
             for each in done.members]  # fmt: skip
    assert seeds == [0, 1, 2]


def test_rounds_say_how_long_is_left(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("skinxai.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    rounds = Rounds(8)
    assert rounds.begin(3) == "3 of 8"  # two were done before
    clock[0] += 60
    assert rounds.begin(4) == "4 of 8, about 05:00 left in all"  # five, a minute each
    clock[0] += 60  # another process has done one of two
    assert rounds.begin(6) == "6 of 8, about 02:00 left in all"  # 120 s / 3, three times
