"""`cross_validate`: a model for each fold, the answers of each to its fold, and their ensemble."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skinxai.classifier import Classifier
from skinxai.configs import MAX_JSON_BYTES, SCHEMA_VERSION, check_schema, strict_json
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.disk.regular_files import (
    read_file,
    resolved,
)
from skinxai.disk.writing import write_atomic, write_json
from skinxai.errors import ModelConfigError, ResumeMismatchError, TrainingError
from skinxai.experiments import fold_plan
from skinxai.experiments.out_of_fold import (
    ANSWERS,
    FoldAnswers,
    answer,
    fold_result,
    joined,
    seen_of,
    table_of,
)
from skinxai.flags import check_flags
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.numeric import plain, whole
from skinxai.plain_text import MAX_NAME, agreeing, counted, markdown, printable
from skinxai.predicting.judging import judge_rows
from skinxai.progress import Rounds, say
from skinxai.reporting import card_of_members, read_log, write_evaluation
from skinxai.results import Evaluation, OutOfFold
from skinxai.training.callbacks import Callback
from skinxai.training.checking import check_names, check_teacher
from skinxai.training.data_checks import fingerprint
from skinxai.training.initial_weights import check_initial_weights
from skinxai.training.run_folder import (
    CROSS_VALIDATION,
    RunFolder,
    check_keys,
    held_in,
    taken,
)
from skinxai.training.settings import TrainConfig, changed_settings
from skinxai.training.trainer import Trainer

STATE, TABLE, ENSEMBLE = CROSS_VALIDATION, "out_of_fold.csv", "ensemble"
_KEYS = ("schema_version", "folds", "settings", "data", "splits_sha256")


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` wrote.

    Args:
        folder: its folder.
        evaluation: of the out-of-fold answers.
        members: run folder of each fold's model.
        ensemble: model folder of the mean of these models.
        table: ``out_of_fold.csv``, one line for each image.
        page: ``evaluation.html``.
    """

    folder: Path
    evaluation: Evaluation
    members: tuple[Path, ...]
    ensemble: Path
    table: Path
    page: Path


def cross_validate(
    records: Records | Splits, folds: int | None = None, *,
    backbone: str | None = None, output_dir: str | os.PathLike[str] = "runs/cross-validation",
    resume: bool = False, linked: Iterable[tuple[str, str]] = (),
    callbacks: Iterable[Callback] = (), resamples: int = 2000, **settings: Any,
) -> CrossValidation:  # fmt: skip
    """Train a model for each fold, and judge all images by the model that has not learnt them.

    Each fold's model learns 85 % of the images outside the fold; its epoch is chosen on the other
    15 %, which are grouped by lesion and patient as the folds are. Neither the weights nor the
    epoch depend on the fold, so its figures are not optimistic. Images of different lesions that
    look like copies are put into the same fold.

    Args:
        records: all images; or `Splits`, whose test part is left out and not looked at.
        folds: number of folds, >= 2; 5 by default.
        backbone: as in `Trainer`.
        output_dir: the folder to write, with a run folder ``fold-1``, ``fold-2``, … for each model.
        resume: go on with what ``output_dir`` holds: finished folds stay, a stopped one goes on
            after its last checkpoint. Settings that are not given are those it began with.
        linked: pairs of image ids that belong together whatever their lesions; one that is resumed
            keeps the folds that it began with.
        callbacks: as in `Trainer`; each run calls them.
        resamples: bootstrap resamples of the lesions, for the intervals, >= 1.
        **settings: as in `Trainer`. The folds are drawn with ``seed``, and the model of fold k has
            the seed ``seed + k − 1``, modulo 2⁶³.

    Raises:
        DatasetError: if there are fewer than two folds, or a class has fewer lesions than folds.
        LeakageError: if records are or hold a test part, or images that the starting weights or the
            teacher were trained on.
        TrainingError: if training fails, or the folder holds a run already.
        ResumeMismatchError: if a resumed cross-validation has other images, folds or settings, or
            its folds part a linked pair.
    """
    check_flags(resume=resume)
    folds, resamples = plain(folds), whole("resamples", resamples)
    folder, images = RunFolder(Path(output_dir)), fold_plan.pooled(records)
    given = settings | ({} if backbone is None else {"backbone": backbone})
    state = _read_state(folder.path) if resume else None
    if state is None:
        config = TrainConfig.of(given)
        check_names(config)
        check_teacher(config)
        changes: dict[str, Any] = {}
        _check_new(folder.path)
        check_initial_weights(config.backbone, config.init_weights, images.labels)
        splits = None
    else:
        if folds is not None and folds != state["folds"]:
            raise ResumeMismatchError(
                f"folds must be the {state['folds']} that the cross-validation began with, got "
                f"{folds}; leave it out, or start a new one in another folder."
            )
        values = state["settings"] | given
        changes = changed_settings(state["settings"], values)
        config = TrainConfig.of(values)
        for number in range(1, state["folds"] + 1):  # before any of them goes on
            RunFolder(folder.path / f"fold-{number}").check_epochs(config.epochs)
        splits = _read_splits(folder.path, images, state)
        fold_plan.check_linked(splits, linked)
    with folder.lock():
        if splits is None:
            splits = _begin(folder.path, images, 5 if folds is None else folds, linked, config)
        elif changes:
            _write_state(folder.path, state | {"settings": config.to_dict()})  # type: ignore[operator]
        rounds = Rounds(len(splits))
        runs = [_fold(folder.path, k, each, config, tuple(callbacks), rounds)
                for k, each in enumerate(splits, start=1)]  # fmt: skip
        return _finish(folder.path, images, splits, runs, resamples)


def number_of_folds(folder: Path) -> int | None:
    """Number of folds of the cross-validation in a folder; ``None`` if there is none."""
    return int(_read_state(folder)["folds"]) if (folder / STATE).exists() else None


def _check_new(path: Path) -> None:
    if (held := held_in(path)) is not None:
        again = "go on with resume=True, or pass another output_dir"
        raise taken(path, held, STATE, python=again)


def _begin(
    path: Path, images: Records, k: int, linked: Iterable[tuple[str, str]], config: TrainConfig
) -> tuple[Splits, ...]:
    """Draw the folds and write them down; what is wrong with them costs no training."""
    own = tuple(linked)
    fold_plan.fold_splits(images, k, config.seed, own)  # too many folds cost no reading
    copies = fold_plan.copies_among(images, config)
    splits = fold_plan.fold_splits(images, k, config.seed, (*own, *copies))
    hashes = []
    (path / "splits").mkdir(exist_ok=True)
    for number, each in enumerate(splits, start=1):
        hashes.append(each.to_csv(path / "splits" / f"fold-{number}.csv"))
    _write_state(path, {
        "schema_version": SCHEMA_VERSION, "folds": k, "settings": config.to_dict(),
        "data": fingerprint(images, images.subset([])), "splits_sha256": hashes,
    })  # fmt: skip
    if copies:
        say(f"{counted(len(copies), 'pair')} of images of different lesions "
            f"{agreeing(len(copies), 'looks', 'look')} like copies: each pair is in one "
            f"fold")  # fmt: skip
    for text in fold_plan.notes_on(splits):
        say(f"note: {text}")
    return splits


def _write_state(path: Path, values: dict[str, Any]) -> None:
    write_json(path / STATE, values)


def _read_state(path: Path) -> dict[str, Any]:
    place = path / STATE
    try:
        values: dict[str, Any] = strict_json(read_file(place, MAX_JSON_BYTES))
        check_keys(values, _KEYS, STATE)
        check_schema(values["schema_version"], STATE)
        check_keys(values["settings"], TrainConfig.names(), "settings")
        if len(values["splits_sha256"]) != values["folds"]:
            raise ValueError("splits_sha256 must have one hash for each fold")
    except FileNotFoundError:
        raise TrainingError(
            f"{str(path)!r} must hold a cross-validation to resume, but it has no {STATE}",
            python="leave resume out to begin one",
            command="leave --resume out to begin one, or --folds to resume a single run",
        ) from None
    except (OSError, ValueError, TypeError, ModelConfigError) as error:
        reason = str(error).rstrip(".")
        raise TrainingError(
            f"{str(place)!r} must hold a cross-validation's settings: {reason}; start it again in "
            f"a new folder."
        ) from error
    return values


def _read_splits(path: Path, images: Records, state: dict[str, Any]) -> tuple[Splits, ...]:
    now = fingerprint(images, images.subset([]))
    if changed := [name for name in now if state["data"].get(name) != now[name]]:
        what = "labels" if "labels" in changed else "images"
        raise ResumeMismatchError(
            f"a resumed cross-validation must have the images and labels it began with, but its "
            f"{what} changed; give the same ones or start a new one in another folder."
        )
    return tuple(
        Splits.from_csv(path / "splits" / f"fold-{number}.csv", images, sha256=digest,
                        allow_leakage=images.leaked)
        for number, digest in enumerate(state["splits_sha256"], start=1)
    )  # fmt: skip


def _fold(
    path: Path, number: int, splits: Splits, config: TrainConfig, callbacks: tuple[Callback, ...],
    rounds: Rounds,
) -> FoldAnswers:  # fmt: skip
    """Train, or go on with, the model of a fold and let it answer; a finished one stays.

    A fold goes on with the settings of the cross-validation, whatever its own run began with: a
    kill may have come between the change of the one and of the other.
    """
    run = RunFolder(path / f"fold-{number}")
    val = {item.image_id for item in splits.val}
    own = replace(
        config, seed=(config.seed + number - 1) % 2**63,
        not_copies=tuple(name for name in config.not_copies if name in val),
    )  # fmt: skip
    if run.begun:
        found = FoldAnswers.read(run.path)
        if found is not None and _is_finished(run, own, found):
            say(f"fold {number} of {rounds.total} is finished")
            return found
        (run.path / ANSWERS).unlink(missing_ok=True)  # of a model that is going to change
        trainer = Trainer.resume(run.path, callbacks=callbacks, **own.changeable())
    else:
        values = {name: getattr(own, name) for name in TrainConfig.names()}
        trainer = Trainer(**values, output_dir=run.path, callbacks=callbacks)
    say(f"fold {rounds.begin(number)}: {counted(len(splits.train), 'image')} to learn, "
        f"{len(splits.val)} to choose the epoch on, {len(splits.test)} to answer")  # fmt: skip
    classifier = trainer.fit(splits)
    rows = [row for row in read_log(run.path) if isinstance(row["macro_f1"], float)]
    best = max(rows, key=lambda row: float(row["macro_f1"] or 0))
    made = answer(classifier, number, splits, int(float(best["epoch"] or 0)), config)
    made.write(run.path)
    return made


def _is_finished(run: RunFolder, config: TrainConfig, found: FoldAnswers) -> bool:
    """Whether a fold's present model gave the answers, and no setting asks for more epochs."""
    known = TrainConfig.of(run.read_settings()["settings"])
    if known.to_dict() != config.to_dict():
        return False
    return found.model == Classifier.from_pretrained(run.path).model


def _finish(
    path: Path, images: Records, splits: tuple[Splits, ...], runs: list[FoldAnswers],
    resamples: int,
) -> CrossValidation:  # fmt: skip
    """Put the answers together, judge them, and write table, page and ensemble."""
    rows, fold_of = joined(images, splits, runs)
    name = printable(resolved(path).name, MAX_NAME)
    found = judge_rows(
        images, rows, images.labels, model=f"{name}, {len(runs)} folds", leaked=images.leaked,
        seen=seen_of(runs), attributes=[item.attributes for item in images], scores={},
        resamples=resamples, seed=0,
    )  # fmt: skip
    results = tuple(fold_result(parts, own) for parts, own in zip(splits, runs, strict=True))
    found = replace(found, out_of_fold=OutOfFold(results))
    write_atomic(path / TABLE, table_of(images, rows, fold_of, runs))
    members = tuple(path / f"fold-{own.fold}" for own in runs)
    _write_ensemble(path / ENSEMBLE, members, name, found)
    page, _ = write_evaluation(found, path)
    return CrossValidation(path, found, members, path / ENSEMBLE, path / TABLE, page)


def _write_ensemble(folder: Path, members: tuple[Path, ...], name: str, found: Evaluation) -> None:
    """The mean of the members, whose card says what the out-of-fold figures are of."""
    figures = (
        f"\n## Out-of-fold figures of the members\n\n{markdown(found.verdict)}\n\nAccuracy "
        f"{found.accuracy}, balanced accuracy {found.balanced_accuracy}, macro-F1 "
        f"{found.macro_f1}; {counted(found.images, 'image')} of "
        f"{counted(found.lesions, 'lesion')}.\n"
    )
    write_ensemble(folder, members, name=name, card=card_of_members(members, name) + figures)
