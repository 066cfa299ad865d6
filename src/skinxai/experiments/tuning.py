"""`tune`: a search for settings; each trial is a run of `Trainer`."""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinxai.configs import PreprocessConfig
from skinxai.data.records import Records
from skinxai.data.splits import Splits, check_splits
from skinxai.disk.writing import write_atomic
from skinxai.errors import (
    LeakageError,
    NonFiniteLossError,
    OptionError,
    OutOfMemoryError,
    SkinxaiError,
    TrainingError,
)
from skinxai.experiments.search_space import Choice, ends, setting, space_of
from skinxai.experiments.study import RUNS, Study, Trial, Turn
from skinxai.experiments.trial_picture import drawn
from skinxai.flags import check_flags
from skinxai.numeric import whole
from skinxai.plain_text import counted
from skinxai.predicting.devices import device_named
from skinxai.progress import Rounds, say
from skinxai.reporting import read_log
from skinxai.training.callbacks import Callback
from skinxai.training.checking import check_names, check_teacher
from skinxai.training.data_checks import check_parts, check_prepared, fingerprint
from skinxai.training.initial_weights import check_initial_weights
from skinxai.training.run_folder import STUDY, RunFolder, as_logged, held_in, taken
from skinxai.training.settings import OF_TEACHER, TrainConfig
from skinxai.training.teaching import load_teacher, only_unseen
from skinxai.training.trainer import Trainer

MACHINE = ("device", "workers", "keep_checkpoints", "checkpoint_minutes", "max_pixels")
"""Settings in which processes of one search may differ."""
NAMES = ("backbone", "init_weights", "loss", "augmentation", "teacher")
"""Settings whose values are names of things that must exist."""
ORIGINS = ("init_weights", "teacher")
"""Settings that name models, which may have been trained on validation images."""


@dataclass(frozen=True)
class Search:
    """What `tune` found.

    Args:
        folder: folder of the search.
        trials: all trials so far, in order.
        best: the complete trial with the highest validation macro-F1.
        settings: all settings of the best trial that are not the defaults.
        run_folder: run folder of the best trial.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    settings: Mapping[str, Any]
    run_folder: Path

    @property
    def caution(self) -> str:
        """What the best figure is worth, in a sentence."""
        complete = sum(each.state == "complete" for each in self.trials)
        return (
            f"macro-F1 {self.best.macro_f1:.3f} is the best of "
            f"{counted(complete, 'complete trial')} on the same validation images, so it is "
            f"optimistic; only images that no trial was chosen on, such as the test part, can "
            f"judge the best model"
        )


class _Stopped(Exception):
    """A trial is given up."""


class _Reports(Callback):
    """Reports each epoch's best macro-F1 so far, and ends a trial that is hopeless."""

    def __init__(self, turn: Turn, epochs: int, best: float) -> None:
        self._turn, self._epochs, self._best = turn, epochs, best

    def on_epoch(self, row: Mapping[str, float]) -> None:
        """Report it."""
        if row["macro_f1"] > self._best:
            self._best = row["macro_f1"]
        if self._turn.is_hopeless(max(self._best, 0.0), row["epoch"] / self._epochs):
            raise _Stopped


def tune(
    splits: Splits, trials: int = 20, *, search: Mapping[str, Any] | None = None,
    output_dir: str | os.PathLike[str] = "runs/search", prune: bool = True,
    callbacks: Iterable[Callback] = (), **settings: Any,
) -> Search:  # fmt: skip
    """Search settings with the highest macro-F1 on the validation part, by Optuna's TPE sampler.

    The test part is never looked at. The same call goes on with what ``output_dir`` holds: ended
    trials stay, and a trial whose process died goes on after its last checkpoint. Several
    processes may call it at the same time with the same folder.

    Args:
        splits: what is learnt and what is chosen on.
        trials: number of trials of the whole search, by all processes; failed ones count, such as
            those whose drawn settings exclude each other.
        search: setting → ``(low, high)`` or a list of values; by default the usual settings,
            `skinxai.experiments.search_space.USUAL`, except those that are given, and except
            image sizes above that of prepared images.
        output_dir: folder of the search.
        prune: give up trials that are below the median of earlier ones at the same tenth of their
            epochs.
        callbacks: as in `Trainer`; each trial's run calls them.
        **settings: as in `Trainer`, the same for all trials; ``seed`` is also that of the draws.

    Raises:
        OptionError: if Optuna is not installed, or the space or a setting is wrong.
        ResumeMismatchError: if the folder holds another search.
        LeakageError: if the starting weights or the teacher were trained on validation images;
            where they are searched, only the trials that draw such a model fail.
        TrainingError: if starting weights are absent or do not fit a backbone of the search, a
            teacher has other labels or cannot give the ``teacher_answers`` of the search, no trial
            is complete, or the study is damaged or locked.
    """
    check_flags(prune=prune)
    check_splits(splits, "tune()")
    trials = whole("trials", trials)
    config = TrainConfig.of(settings)
    check_names(config)
    space = space_of(search, settings)
    check_teacher(config, space)
    for name in (each for each in NAMES if each in space):
        for value in ends(space[name]):
            check_names(TrainConfig.of({**settings, **setting(name, value)}))
    check_parts(splits.train, splits.val)
    space = _prepared(space, splits.train, config, usual=search is None)
    folder = Path(output_dir)
    if (held := held_in(folder)) not in (None, STUDY):
        raise taken(folder, held, STUDY)
    if held is None:
        _check_weights(space, config, splits.train)
    plain = {n: v for n, v in config.to_dict().items() if n not in MACHINE and n not in space}
    identity = {
        "space": {name: vars(values) for name, values in space.items()},
        "settings": plain, "images": fingerprint(splits.train, splits.val),
    }  # fmt: skip
    study = Study(folder, space, config.seed, identity, prune)
    splits.to_csv(folder / "splits.csv")
    rounds = Rounds(trials)
    while (turn := study.turn(trials)) is not None:
        say(f"trial {rounds.begin(turn.number)}: {_words(turn.settings)}")
        _run(study, turn, splits, settings, folder, tuple(callbacks))
        _write(study, folder)
    return _found(study, folder, settings)


def _prepared(
    space: dict[str, Any], train: Records, config: TrainConfig, *, usual: bool
) -> dict[str, Any]:
    """The space without image sizes that prepared images are too small for.

    Raises:
        OptionError: if they are too small for one that is asked for, or for all of the usual ones.
    """
    sizes = space.get("image_size")
    if not isinstance(sizes, Choice):
        check_prepared(train, config.image_size)
        return space
    fitting = []
    for text in sizes.values:
        try:
            check_prepared(train, setting("image_size", text)["image_size"])
            fitting.append(text)
        except OptionError:
            if not usual:
                raise
    if not fitting:
        check_prepared(train, setting("image_size", sizes.values[0])["image_size"])
    return {**space, "image_size": Choice(tuple(fitting))}


def _run(
    study: Study, turn: Turn, splits: Splits, fixed: Mapping[str, Any], folder: Path,
    callbacks: tuple[Callback, ...],
) -> None:  # fmt: skip
    """Train a trial, or go on with it as this process has the settings, and record how it ended."""
    run = RunFolder(folder / RUNS / f"{turn.number:04d}")
    values = _settings(fixed, turn.settings)
    best = max(_figures(run.path), default=-1.0)
    try:
        config = TrainConfig.of(values)
        reports = _Reports(turn, config.epochs, best)
        each = (*callbacks, reports)
        if run.begun:
            trainer = Trainer.resume(run.path, callbacks=each, **config.changeable())
        else:
            trainer = Trainer(**values, output_dir=run.path, callbacks=each)
        trainer.fit(splits)
    except (NonFiniteLossError, OutOfMemoryError, OptionError) as error:
        _failed(study, turn, error)
    except LeakageError as error:
        if not turn.settings.keys() & ORIGINS:  # of the fixed settings: no trial can do better
            raise
        _failed(study, turn, error)
    except TrainingError as error:
        if not isinstance(error.__cause__, _Stopped):
            raise
        say(f"trial {turn.number} was given up: below the median of earlier trials")
        study.end(turn, None)
    else:
        study.end(turn, max(_figures(run.path)))
    finally:
        turn.release()
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # an ended trial never goes on


def _settings(fixed: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """All of a trial's, without those of a teacher where none is drawn."""
    values = {**fixed, **drawn}
    left_out = OF_TEACHER if values.get("teacher") is None else ()
    return {name: value for name, value in values.items() if name not in left_out}


def _failed(study: Study, turn: Turn, error: SkinxaiError) -> None:
    say(f"trial {turn.number} failed: {error}")
    study.end(turn, None, reason=f"{type(error).__name__}: {error}")


def _check_weights(space: Mapping[str, Any], config: TrainConfig, train: Records) -> None:
    """Refuse a new search whose starting weights are absent, or do not fit a network it may draw.

    The same holds for a teacher of other labels, and for one that cannot answer by the members
    that did not learn an image where a trial may ask for that.

    It has written nothing, and no trial has been trained that the refusal of another would end.
    """
    each: dict[str, tuple[Any, ...]] = {
        name: (getattr(config, name),) for name in ("backbone", "teacher_answers", *ORIGINS)
    }
    for name in each:
        if isinstance(values := space.get(name), Choice):
            each[name] = tuple(setting(name, text)[name] for text in values.values)
    for backbone in each["backbone"]:
        for weights in each["init_weights"]:
            check_initial_weights(str(backbone), weights, train.labels)
    input_of, device = PreprocessConfig(config.image_size), device_named("cpu")
    for name in filter(None, each["teacher"]):
        teacher = load_teacher(name, train.labels, input_of, config.teacher_temperature, device)
        if "unseen" in each["teacher_answers"]:
            only_unseen(teacher, train, config.max_pixels)


def _figures(run_folder: Path) -> list[float]:
    rows = read_log(run_folder)
    return [row["macro_f1"] for row in rows if isinstance(row["macro_f1"], float)]


def _words(settings: Mapping[str, Any]) -> str:
    texts = {n: "x".join(map(str, v)) if isinstance(v, tuple) else v for n, v in settings.items()}
    shown = {n: f"{v:.3g}" if isinstance(v, float) else v for n, v in texts.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _write(study: Study, folder: Path) -> None:
    """Write ``trials.csv`` and ``trials.png`` of all trials so far."""
    with study.locked():
        trials = study.trials()
        names = list(dict.fromkeys(name for each in trials for name in each.drawn))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", "state", "macro_f1", "reached", *names, "reason"])
        for each in trials:
            own = [each.drawn.get(name, "") for name in names]
            figures = [
                None if figure is None else as_logged(figure)
                for figure in (each.macro_f1, each.reached)
            ]
            writer.writerow([each.number, each.state, *figures, *own, each.reason])
        write_atomic(folder / "trials.csv", text.getvalue().encode())
        picture = io.BytesIO()
        drawn(trials).save(picture, "PNG")
        write_atomic(folder / "trials.png", picture.getvalue())


def _found(study: Study, folder: Path, fixed: Mapping[str, Any]) -> Search:
    trials = study.trials()
    complete = [each for each in trials if each.macro_f1 is not None]
    if not complete:
        reasons = [each.reason.rstrip(".") for each in trials if each.reason]
        last = f"; the last that failed did so with {reasons[-1]}" if reasons else ""
        raise TrainingError(
            f"no trial of {len(trials)} is complete yet{last}; see "
            f"{str(folder / 'trials.csv')!r}, and give more trials or other ranges."
        )
    best = max(complete, key=lambda each: (each.macro_f1 or 0.0, -each.number))
    own = TrainConfig.of(_settings(fixed, best.settings)).to_dict()
    usual = TrainConfig().to_dict()
    settings = {name: value for name, value in own.items() if value != usual[name]}
    return Search(folder, trials, best, settings, folder / RUNS / f"{best.number:04d}")
