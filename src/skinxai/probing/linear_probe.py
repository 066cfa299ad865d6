"""`probe`: labelled images to a model folder, without training the backbone."""

import json
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from skinxai.classifier import Classifier
from skinxai.data.hashing import check_ids
from skinxai.data.linking import alike_pairs
from skinxai.data.records import Records, check_records
from skinxai.data.splits import Splits
from skinxai.data.stratifying import group
from skinxai.disk.writing import check_folder, write_atomic
from skinxai.errors import OptionError
from skinxai.flags import check_flags
from skinxai.model_folders.trained_on import SILENT, TrainedOn
from skinxai.numeric import plain, whole, whole_seed
from skinxai.plain_text import agreeing, counted
from skinxai.predicting.inputs import InputOptions, Inputs
from skinxai.predicting.judging import judge_rows
from skinxai.predicting.network_passes import FLIPS
from skinxai.probing.fitted_model import RESULT, Fitted, check_answers, fitted_classifier
from skinxai.probing.frozen_features import Features, check_memory, compute_features
from skinxai.probing.frozen_network import FrozenNetwork, freeze
from skinxai.probing.logistic import fit_head
from skinxai.probing.probed import Probed
from skinxai.probing.selecting import answers_for, best, out_of_fold
from skinxai.probing.voting import vote
from skinxai.progress import say
from skinxai.reporting import write_evaluation
from skinxai.results import Evaluation
from skinxai.training.data_checks import check_alone, check_parts
from skinxai.training.membership import known_images

FEATURES = "features"
FOLDS = 5
"""Where there is no validation part, and no number was given."""


def probe(
    train: Records | Splits, val: Records | None = None, *, backbone: str | None = None,
    init_weights: str | os.PathLike[str] | None = "imagenet",
    image_size: int | tuple[int, int] | None = None, flips: bool = False,
    class_weights: str | None = None, folds: int | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None, seed: int = 0, device: str = "auto",
    resamples: int = 2000, not_copies: Collection[str] = (), **inputs: Unpack[Inputs],
) -> Probed:  # fmt: skip
    """Fit a linear head and compare nearest neighbours on features of a frozen backbone.

    The features are the backbone's pooled features of the whole image. They are computed once and
    kept in the cache; another image, weight, preprocessing or number of views is noticed.

    Args:
        train: images to fit on; or `Splits`, whose test part is not used.
        val: images to choose on and to judge by; they share no lesion or patient with ``train``.
        backbone: name in `skinxai.backbones`; by default that of the model which ``init_weights``
            names, or else ``"efficientnet_b0"``.
        init_weights: as in `Trainer`: ``"imagenet"``, ``"bundled"``, a ``.safetensors`` path, a
            model folder, or ``None`` for random weights.
        image_size: ``(height, width)``, or one number for a square; by default that of the model
            which ``init_weights`` names, or else ``(192, 256)``.
        flips: fit the linear head on the four flips of each training image, each with a quarter of
            its weight; four times the time. Neighbours are compared as they are.
        class_weights: ``"balanced"``: each class has the same weight in the linear head's loss.
        folds: choose C and k by so many folds of the training part, grouped by lesion and
            patient, with images that look like copies in one fold, so that the validation part is
            independent of the choice. By default they are chosen on the validation part, and by 5
            folds where there is none; then the figures are of the answers for each image by heads
            that were fitted without its fold.
        output_dir: folder for the model, ``evaluation.html`` and ``probing.json``; an earlier
            probe in it is replaced. Nothing is written where it is ``None``.
        cache: folder of features; by default ``features`` in ``output_dir``, or none.
        seed: of random weights, of folds and of the intervals.
        device: as in `Classifier.from_pretrained`.
        resamples: bootstrap resamples of the lesions.
        not_copies: as in `Classifier.evaluate`; without a validation part, ids of ``train``.
        **inputs: input options; ``on_error`` must be ``"raise"``.

    Returns:
        The figures and the `Classifier`.

    Raises:
        LeakageError: the parts share lesions or patients, one is a test part, or validation images
            are, or look like copies of, training images of this probe or of its starting weights.
        DatasetImageError: images that cannot be read; all are named.
        DatasetError: a class with fewer lesions than folds, or an image id that is that of one
            file in ``train`` and of another in ``val``.
        TrainingError: a part without images, or a class without training images; starting weights
            that do not exist or fit the backbone.
        ModelError: a backbone without a linear head.
        OptionError: an argument outside its rule.
        OutOfMemoryError: features that do not fit into memory.
        UnknownNameError: no such backbone.
        OutputError: a folder that cannot be written.
    """
    check_flags(flips=flips)
    folds, seed, resamples = plain(folds), whole_seed(seed), whole("resamples", resamples)
    options, _ = InputOptions.take(inputs)
    _check_options(class_weights, folds, options)
    splits = _splits(train, val)
    train, val = splits.train, splits.val if len(splits.val) else None
    if val is None:
        check_alone(train)
    else:
        check_parts(train, val)
    check_ids(not_copies, val if val is not None else train)
    out = None if output_dir is None else Path(output_dir)
    if out is not None:
        _check_output(out)
    kept = Path(cache) if cache is not None else None if out is None else out / FEATURES
    if kept is not None:
        check_folder(kept)
    weights = os.fspath(init_weights) if isinstance(init_weights, os.PathLike) else init_weights
    name = "linear-probe" if out is None else out.name
    network = freeze(train, backbone, weights, image_size, name, device, seed)
    views, balanced = len(FLIPS) if flips else 1, class_weights == "balanced"
    check_memory(network, len(train) + (0 if val is None else len(val)), views)
    learnt = compute_features(network, train, "training", options, views=views, cache=kept)
    judged = None
    if val is not None:
        judged = compute_features(network, val, "validation", options, views=1, cache=kept)
    trained_on = known_images(
        learnt.looks, {} if judged is None else judged.looks, [network.start],
        leaked=val is not None and train.leaked and val.leaked, not_copies=not_copies,
    )  # fmt: skip
    fitted = _fit(train, val, learnt, judged, folds, balanced, seed, not_copies, options)
    classifier = fitted_classifier(
        network, splits, fitted, trained_on, balanced, flips, out, device
    )
    check_answers(classifier, network, train, learnt, fitted.head, options)
    found = _probed(
        classifier, network, train, val, fitted, learnt, judged, trained_on, resamples, seed,
        not_copies,
    )  # fmt: skip
    if not found.converged:
        say("note: the linear head's optimiser did not come to its end", error=True)
    if out is not None:
        write_evaluation(found.linear, out)
        write_atomic(out / RESULT, json.dumps(found.to_dict(), indent=2).encode() + b"\n")
    return found


def _fit(
    train: Records, val: Records | None, learnt: Features, judged: Features | None,
    folds: int | None, balanced: bool, seed: int, not_copies: Collection[str],
    options: InputOptions,
) -> Fitted:  # fmt: skip
    """Choose C and k, fit the head on the whole training part, and answer for what is judged."""
    target, classes = np.asarray(train.targets()), len(train.labels)
    progress = options.progress if isinstance(options.progress, bool) else None
    if val is not None and judged is not None and folds is None:
        linear, votes, heads = answers_for(
            learnt.rows, target, judged.rows[:, 0], classes, balanced=balanced, progress=progress
        )
        own = np.asarray(val.targets())
        one, other = best(linear, own, classes), best(votes, own, classes)
        words = val.described
        of_val = f"{agreeing(len(val), 'this', 'these')} {counted(len(val), 'image')}"
        return Fitted(
            heads[one.value], one, other, (one.rows, other.rows), of_val,
            words, False,
        )  # fmt: skip
    number = FOLDS if folds is None else folds
    copies = alike_pairs(group(train), learnt.looks, not_copies=not_copies, progress=progress)
    if copies:
        say(f"note: {counted(len(copies), 'pair')} of images of different lesions "
            f"{agreeing(len(copies), 'looks', 'look')} like copies: each pair is in one fold",
            error=True)  # fmt: skip
    linear, votes = out_of_fold(
        train, learnt.rows, number, linked=copies, balanced=balanced, seed=seed, progress=progress
    )
    one, other = best(linear, target, classes), best(votes, target, classes)
    head = fit_head(learnt.rows, target, classes, one.value, balanced=balanced)
    if val is None or judged is None:
        return Fitted(
            head, one, other, (one.rows, other.rows), "the same answers",
            f"{train.described}, each image answered by heads fitted on other folds of {number}",
            False,
        )  # fmt: skip
    asked, k = judged.rows[:, 0], int(other.value)
    answers = head.probabilities(asked), vote(learnt.rows[:, 0], target, asked, classes, [k])[k]
    return Fitted(
        head, one, other, answers, f"{number} folds of the training part", val.described, True
    )


def _probed(
    classifier: Classifier, network: FrozenNetwork, train: Records, val: Records | None,
    fitted: Fitted, learnt: Features, judged: Features | None, trained_on: TrainedOn | None,
    resamples: int, seed: int, not_copies: Collection[str],
) -> Probed:  # fmt: skip
    records, looks = train, learnt.looks
    known = network.start.trained_on  # a fold's head has not seen its images, the weights may have
    if val is not None and judged is not None:
        records, looks, known = val, judged.looks, trained_on
    seen = SILENT if known is None else known.seen(looks, not_copies=not_copies)
    k, strength = int(fitted.neighbours.value), fitted.linear.value
    computed = learnt.computed + (0 if judged is None else judged.computed)
    names = (classifier.model, f"{counted(k, 'nearest neighbour')} on {network.config.backbone}")
    linear, neighbours = (
        _noted(
            judge_rows(
                records, rows, records.labels, model=name, seen=seen,
                leaked=bool(network.start.leaked or records.leaked or seen),
                attributes=[item.attributes for item in records], scores={}, resamples=resamples,
                seed=seed,
            ),
            fitted.note,
        )
        for rows, name in zip(fitted.rows, names, strict=True)
    )  # fmt: skip
    return Probed(
        classifier=classifier, linear=linear, neighbours=neighbours, strength=strength, k=k,
        chosen_on=fitted.chosen_on, judged_on=fitted.judged_on, independent=fitted.independent,
        note=fitted.note, tried_strengths=fitted.linear.tried, tried_k=fitted.neighbours.tried,
        converged=fitted.head.converged, computed=computed,
        cached=len(train) + (0 if val is None else len(val)) - computed,
    )  # fmt: skip


def _noted(evaluation: Evaluation, note: str) -> Evaluation:
    return replace(evaluation, notes=(*evaluation.notes, note))


def _check_options(class_weights: str | None, folds: int | None, options: InputOptions) -> None:
    if class_weights not in (None, "balanced"):
        raise OptionError(f"class_weights must be None or 'balanced', got {class_weights!r}.")
    if folds is not None and (type(folds) is not int or folds < 2):
        raise OptionError(f"folds must be an integer >= 2, or None, got {folds!r}.")
    options.check_raises("in probe()")


def _check_output(out: Path) -> None:
    check_folder(out)
    if not (out / RESULT).exists() and any(
        (out / each).exists() for each in ("train.json", "manifest.json")
    ):
        raise OptionError(
            f"output_dir must be a new folder or that of an earlier probe, but {str(out)!r} holds "
            f"another model",
            python="pass another output_dir",
            command="give another --out",
        )


def _splits(train: Records | Splits, val: Records | None) -> Splits:
    if isinstance(train, Splits):
        if val is not None:
            raise OptionError("val must be left out where splits are passed.")
        return train
    for each in (train, *(() if val is None else (val,))):
        check_records(each, "probe()")
    none = train.subset([], part="")
    return Splits(train, none if val is None else val, none)
