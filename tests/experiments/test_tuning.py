"""A search: what it draws, what it keeps and how it goes on."""

import csv
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import BASE, coloured, model_folder

from skinxai.data import Splits, TrainedOn, pixel_hash, prepare, split
from skinxai.errors import (
    LeakageError,
    OptionError,
    TrainingError,
)
from skinxai.experiments import tune
from skinxai.experiments.search_space import USUAL, Choice, Range, parse_search, space_of
from skinxai.experiments.study import Study
from skinxai.experiments.trial_picture import COLOURS, drawn
from skinxai.experiments.tuning import Search
from skinxai.images.reading import read_image
from skinxai.training.callbacks import Callback
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS: dict[str, Any] = {n: v for n, v in BASE.items() if n != "learning_rate"} | {"epochs": 2}
SPACE = {"learning_rate": (1e-4, 1e-1), "loss": ["cross_entropy", "focal"]}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return split(coloured(tmp_path_factory.mktemp("colours") / "all", 10, 0))


def searched(parts: Splits, folder: Path, trials: int, **options: Any) -> Search:
    more = SETTINGS | {"search": SPACE} | options
    return tune(parts, trials, output_dir=folder, **more)


@pytest.fixture(scope="module")
def done(parts, tmp_path_factory) -> Search:
    return searched(parts, tmp_path_factory.mktemp("search") / "x", 7)


def drawn_values(found: Search) -> list[dict[str, Any]]:
    return [dict(each.drawn) for each in found.trials]


def test_trials_are_drawn_judged_and_written(done) -> None:
    with (done.folder / "trials.csv").open(newline="") as text:
        lines = list(csv.DictReader(text))
    assert done.run_folder == done.folder / f"trials/{done.best.number:04d}"
    for line in lines:  # one figure, once
        assert line["macro_f1"] in ("", line["reached"])
    assert [int(line["trial"]) for line in lines] == list(range(1, 8))
    for line, trial in zip(lines, done.trials, strict=True):
        assert line["state"] == trial.state and trial.state in ("complete", "pruned")
        assert 1e-4 <= float(line["learning_rate"]) <= 1e-1
        log = (done.folder / f"trials/{trial.number:04d}/log.csv").read_text().splitlines()[1:]
        reached = max(float(row.split(",")[4]) for row in log)
        assert trial.reached == pytest.approx(reached, abs=1e-5)
        if trial.state == "complete":
            assert trial.macro_f1 == pytest.approx(reached, abs=1e-5) and len(log) == 2
    best = max(each.macro_f1 for each in done.trials if each.macro_f1 is not None)
    assert done.best.macro_f1 == best
    assert done.settings["learning_rate"] == done.best.drawn["learning_rate"]
    assert "optimistic" in done.caution and "the test part" in done.caution
    assert not list(done.folder.glob("trials/*/checkpoints"))


def test_the_test_part_is_never_read(parts, tmp_path) -> None:
    for item in parts.test:
        item.path.rename(item.path.with_suffix(".away"))
    try:
        searched(parts, tmp_path / "x", 1)
    finally:
        for item in parts.test:
            item.path.with_suffix(".away").rename(item.path)


def test_the_seed_draws_the_same_and_going_on_draws_no_trial_twice(done, parts, tmp_path) -> None:
    first = searched(parts, tmp_path / "x", 3)
    again = searched(parts, tmp_path / "x", 7)
    assert drawn_values(first) == drawn_values(done)[:3]
    assert drawn_values(again) == drawn_values(done)
    assert [each.macro_f1 for each in again.trials] == [each.macro_f1 for each in done.trials]
    rates = [each["learning_rate"] for each in drawn_values(again)]
    assert len(set(rates)) == 7
    other = searched(parts, tmp_path / "y", 2, seed=1)
    assert drawn_values(other) != drawn_values(done)[:2]


class Dies(Callback):
    """Kills its process at the step, without a word."""

    def __init__(self, at: int) -> None:
        self._left = at

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def child(
    parts: Splits, folder: Path, trials: int, at: int | None, **options: Any
) -> multiprocessing.Process:
    def work() -> None:
        callbacks = [] if at is None else [Dies(at)]
        searched(parts, folder, trials, callbacks=callbacks, checkpoint_minutes=1e-9, **options)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_killed_trial_goes_on_after_its_checkpoint_and_counts_once(done, parts, tmp_path) -> None:
    steps = 2 * -(-len(parts.train) // 8)
    process = child(parts, tmp_path / "x", 4, steps + steps // 2 + 1)  # within the second trial
    process.join()
    assert process.exitcode == -signal.SIGKILL
    counts = [0]

    class Counts(Callback):
        def on_step(self, step: int, loss: float, learning_rate: float) -> None:
            counts[0] += 1

    found = searched(parts, tmp_path / "x", 2, callbacks=[Counts()])
    assert drawn_values(found) == drawn_values(done)[:2] and len(found.trials) == 2
    assert [each.macro_f1 for each in found.trials] == [e.macro_f1 for e in done.trials[:2]]
    assert 0 < counts[0] < steps  # what was done before the kill is not done again


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_share_a_study(parts, tmp_path) -> None:
    processes = [child(parts, tmp_path / "x", 6, None) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    found = searched(parts, tmp_path / "x", 6)
    assert [each.number for each in found.trials] == list(range(1, 7))
    assert all(each.state in ("complete", "pruned") for each in found.trials)
    assert len({str(each) for each in drawn_values(found)}) == 6


def test_a_running_trial_is_not_taken_from_its_process(parts, tmp_path) -> None:
    space = space_of(SPACE, SETTINGS)
    first, second = (Study(tmp_path, space, 0, {"x": {}}, True) for _ in range(2))
    one = first.turn(2)
    two = second.turn(2)
    assert (one.number, two.number) == (1, 2) and first.turn(2) is None
    one.release()  # as the end of a process does
    assert second.turn(2).number == 1


def test_a_trial_that_diverges_is_kept_as_failed(parts, tmp_path) -> None:
    with pytest.raises(TrainingError, match="no trial of 1 is complete yet"):
        searched(parts, tmp_path / "x", 1, search={"learning_rate": (1e29, 1e30)})
    line = (tmp_path / "x/trials.csv").read_text().splitlines()[1]
    assert line.startswith("1,failed,,") and "NonFiniteLossError" in line


def test_a_trial_whose_settings_exclude_each_other_is_kept_as_failed(parts, tmp_path) -> None:
    search = {"batch_size": ["4", "6", "8"], "accumulate": ["1", "4"]}
    fixed = {n: v for n, v in SETTINGS.items() if n != "batch_size"} | {"epochs": 1}
    found = tune(parts, 6, search=search, output_dir=tmp_path / "x", prune=False, **fixed)
    assert {each.state for each in found.trials} == {"complete", "failed"}
    for each in found.trials:
        exclude = 2 * int(each.drawn["accumulate"]) > int(each.drawn["batch_size"])
        assert (each.state == "failed") == exclude
        assert each.reason.startswith("OptionError: accumulate must") == exclude
    with pytest.raises(TrainingError, match="the last that failed did so with OptionError: froz"):
        searched(parts, tmp_path / "y", 1, search={"frozen_groups": (90, 99)})


def test_images_are_not_larger_than_they_were_prepared(parts, tmp_path) -> None:
    def prepared(size: tuple[int, int]) -> Splits:
        folder = tmp_path / str(size[0])
        return split(prepare(whole, folder, image_size=size, progress=False))

    whole = replace(parts.train, part="")
    given = {n: v for n, v in TrainConfig().to_dict().items() if n in USUAL and n != "image_size"}
    given |= {n: v for n, v in SETTINGS.items() if n != "image_size"} | {"epochs": 1}
    found = tune(prepared((150, 200)), 3, output_dir=tmp_path / "x", **given)
    assert drawn_values(found) == [{"image_size": "144x192"}] * 3
    small = prepared((100, 120))
    for asked in ({}, {"search": {"image_size": ["64x96", "112x112"]}}, {"image_size": (192, 256)}):
        if "image_size" in asked:
            asked["search"] = SPACE
        more = {n: v for n, v in given.items() if n not in asked.get("search", ())}
        with pytest.raises(OptionError, match=r"at most what the images were prepared at"):
            tune(small, 1, output_dir=tmp_path / "y", **more | asked)
    assert not (tmp_path / "y").exists()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_trial_goes_on_as_the_process_that_takes_it_up(parts, tmp_path) -> None:
    def same(pixels: np.ndarray) -> np.ndarray:
        return pixels

    stopped = child(parts, tmp_path / "x", 1, 3, augmentation=same)
    stopped.join()
    assert stopped.exitcode == -signal.SIGKILL
    searched(parts, tmp_path / "x", 1, augmentation=same, max_pixels=10**6)
    assert RunFolder(tmp_path / "x/trials/0001").read_settings()["settings"]["max_pixels"] == 10**6


def test_a_hopeless_trial_is_given_up(tmp_path) -> None:
    study = Study(tmp_path, space_of(SPACE, SETTINGS), 0, {"x": {}}, True)
    for _ in range(5):
        turn = study.turn(6)
        assert not turn.is_hopeless(0.5, 0.4)
        study.end(turn, 0.6)
        turn.release()
    turn = study.turn(6)
    assert turn.is_hopeless(0.4, 0.4) and not turn.is_hopeless(0.4, 0.4)  # reported once
    study.end(turn, None)
    assert study.trials()[5].state == "pruned" and study.trials()[5].macro_f1 is None


def test_a_trial_that_draws_weights_of_validation_images_is_kept_as_failed(parts, tmp_path) -> None:
    hashes = tuple(pixel_hash(read_image(item.path).pixels) for item in parts.val)
    saw = str(model_folder(tmp_path / "saw", trained_on=TrainedOn.from_hashes(hashes)))
    new = str(model_folder(tmp_path / "new", seed=1))
    fixed = {name: value for name, value in SETTINGS.items() if name != "init_weights"}
    search = {"init_weights": [saw, new]}
    found = tune(parts, 6, search=search, output_dir=tmp_path / "x", prune=False, **fixed)
    assert {each.drawn["init_weights"] for each in found.trials} == {saw, new}
    for each in found.trials:
        leaks = each.drawn["init_weights"] == saw
        assert each.state == ("failed" if leaks else "complete")
        assert each.reason.startswith("LeakageError: val must hold no image of") == leaks
    with pytest.raises(LeakageError, match="val must hold no image of what the starting weights"):
        searched(parts, tmp_path / "y", 1, init_weights=saw)  # no trial could draw another


def test_the_space_as_text() -> None:
    assert parse_search(["learning-rate=1e-4..1e-2", "image_size=96x128,192x256"]) == {
        "learning_rate": Range(1e-4, 1e-2, log=True), "image_size": Choice(("96x128", "192x256")),
    }  # fmt: skip
    for text in ("loss", "loss=", "=1..2"):
        with pytest.raises(OptionError):
            space_of(parse_search([text]), {})
    assert set(space_of(None, {"loss": "focal"})) == set(USUAL) - {"loss"}
    assert space_of({"epochs": (2, 5)}, {})["epochs"] == Range(2, 5, whole=True)
    with pytest.raises(OptionError, match="numbers with low < high"):
        parse_search(["mixup=a..b"])
    for again in ("drop-rate=0.2,0.3", "drop_rate=0..1"):
        with pytest.raises(OptionError, match="must name each setting once, got 'drop_rate' twice"):
            parse_search(["drop_rate=0..0.5", again])
    assert parse_search(["epochs=2..5"]) == {"epochs": Range(2, 5, whole=True)}
    with pytest.raises(OptionError, match="must give 'epochs' integers with low < high"):
        parse_search(["epochs=2.5..5"])


def test_a_space_that_is_made_by_hand_has_the_rules_of_the_others() -> None:
    for name, own, words in (
        ("epochs", Range(2.7, 5.2, whole=True), "'epochs' integers with low < high, got .2.7, 5.2"),
        ("epochs", Range(5, 2, whole=True), "integers with low < high, got .5, 2"),
        ("drop_rate", Range(0.4, 0.1), "'drop_rate' numbers with low < high"),
        ("drop_rate", Range(float("nan"), 0.1), "numbers with low < high, got .nan"),
        ("drop_rate", Range(None, 0.1), "numbers with low < high, got .None"),
        ("mixup", Range(0, float("inf")), "numbers with low < high, got .0, inf"),
        ("mixup", Range(0, 0.4, log=True), "numbers with 0 < low < high, got .0, 0.4"),
        ("mixup", Range(0, 0.4, log="no"), "log must be True or False, got 'no'"),
        ("mixup", Range(False, True), "numbers with low < high, got .False, True"),
        ("epochs", Choice("12"), "a pair .low, high. or a list of values, got Choice"),
        ("epochs", Choice(()), "'epochs' a value, got none"),
    ):
        with pytest.raises(OptionError, match=words):
            space_of({name: own}, {})
    assert space_of({"epochs": Range(2, 5, whole=True)}, {}) == space_of({"epochs": (2, 5)}, {})
    assert space_of({"mixup": Range(0.1, 0.4, log=True)}, {})["mixup"].log
    assert space_of({"epochs": Choice((2, "5"))}, {}) == {"epochs": Choice(("2", "5"))}


def test_the_picture_has_a_dot_at_each_height(done) -> None:
    page = drawn(done.trials)
    colours = {page.getpixel((x, y)) for x in range(60, 760) for y in range(60, 340)}
    assert COLOURS["complete"] in colours
    assert drawn([]).size == page.size
