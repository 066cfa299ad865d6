"""Cross-validation: who answered which image, resumed runs, and what is refused."""

import csv
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score
from small_runs import BASE, coloured, differences, rows

from skinxai import Classifier
from skinxai.data import Records, Splits
from skinxai.errors import DatasetError, LeakageError, TrainingError
from skinxai.experiments import CrossValidation, cross_validate
from skinxai.experiments.out_of_fold import FoldAnswers, answer, joined
from skinxai.reporting import read_evaluation, read_log
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


def test_the_largest_seed_is_followed_by_the_smallest(records, tmp_path) -> None:
    settings = BASE | {"epochs": 1, "seed": 2**63 - 1}
    found = cross_validate(records, 2, output_dir=tmp_path / "x", resamples=2, **settings)
    told = [json.loads((member / "train.json").read_text()) for member in found.members]
    assert [each["settings"]["seed"] for each in told] == [2**63 - 1, 0]


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


def test_the_ensemble_is_the_mean_of_the_members(done, records) -> None:
    paths = [item.path for item in records][:5]
    members = [rows(Classifier.from_pretrained(each).predict(paths)) for each in done.members]
    ensemble = Classifier.from_pretrained(done.ensemble)
    np.testing.assert_allclose(rows(ensemble.predict(paths)), np.mean(members, axis=0), atol=1e-6)
    assert ensemble.evaluate(records, progress=False).leaked  # it has learnt them all


def test_the_weights_of_each_member_are_written_once(done, records) -> None:
    written: list[str] = []
    watched = [True]

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and watched[0] and given[2] & os.O_CREAT:
            written.append(str(given[0]))

    sys.addaudithook(look)
    cross_validate(records, output_dir=done.folder, resume=True, resamples=20)
    watched[0] = False  # a hook stays for as long as the process
    assert len([path for path in written if path.endswith("model.safetensors")]) == 3
    card = (done.ensemble / "README.md").read_text()
    assert "An ensemble of 3 models" in card and card.count("weight 0.3333") == 3
    assert "| version | whole |" in card  # no revision, which no folder would have


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


def test_settings_are_kept(done) -> None:
    state = json.loads((done.folder / "cross_validation.json").read_text())
    assert state["folds"] == 3 and state["settings"]["epochs"] == 2
    seeds = [json.loads((each / "train.json").read_text())["settings"]["seed"]
             for each in done.members]  # fmt: skip
    assert seeds == [0, 1, 2]
