"""`begin`: a run from its settings, or again from its folder."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import cv2
import numpy
import PIL
import torch

from skinxai import backbones, losses
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data.hashing import check_ids
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.disk.writing import write_atomic
from skinxai.errors import (
    CheckpointCorruptError,
    IntegrityError,
    OptionError,
    ResumeMismatchError,
    SkinxaiWarning,
)
from skinxai.memory import is_out_of_memory
from skinxai.model_folders.files import read_part
from skinxai.model_folders.parts import TRAINING_FINGERPRINTS, TRAINING_PIXELS
from skinxai.model_folders.tensors import Stored
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import MAX_NAME, printable
from skinxai.predicting.devices import device_named
from skinxai.training.augmentation import ALBUMENTATIONS, Augmentation
from skinxai.training.data_checks import check_images, check_unseen, fingerprint, most_skipped
from skinxai.training.initial_weights import InitialWeights, load_initial_weights
from skinxai.training.loaders import Failure, TrainingImages, network_input
from skinxai.training.optimising import frozen_norms, parameter_groups
from skinxai.training.precision import choose_precision, precision_name
from skinxai.training.randomness import seed_all
from skinxai.training.run import Run
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig
from skinxai.training.state import Progress, RunState
from skinxai.training.step import TrainingStep
from skinxai.training.teaching import Teacher, load_teacher

Origin = InitialWeights | Teacher


def begin(config: TrainConfig, folder: RunFolder, splits: Splits, *, resumed: bool) -> Run:
    """Build a run, or build it again and take over its newest checkpoint.

    Args:
        config: its settings.
        folder: where it is, or will be.
        splits: train and validation part; the test part is only written down.
        resumed: whether the folder holds the run already.

    Raises:
        TrainingError: starting weights that do not fit, or a resumed run with other data.
        DatasetImageError: images that cannot be read.
        LeakageError: validation images that the starting weights were trained on.
    """
    train, val = splits.train, splits.val
    known = folder.read_settings() if resumed else {}
    if resumed:
        _check_same(known, fingerprint(train, val))
    device = device_named(config.device)
    seed_all(config.seed)
    model = _build(config, len(train.labels), folder.checkpoints.network() if resumed else None)
    start = load_initial_weights(model, config.backbone, config.init_weights, train.labels)
    if resumed and start.source != known["init_weights"]:
        raise ResumeMismatchError(
            f"init_weights must be what the run began with, {known['init_weights']!r}, got "
            f"{start.source!r}; put them back or start a new run."
        )
    preprocessing = PreprocessConfig(config.image_size, start.mean, start.std)
    teacher = None
    if config.teacher is not None:
        teacher = load_teacher(
            config.teacher, train.labels, preprocessing, config.teacher_temperature, device
        )
    if resumed and teacher and teacher.source != known["teacher"]:
        raise ResumeMismatchError(
            f"teacher must be what the run began with, {known['teacher']!r}, got "
            f"{teacher.source!r}; put it back or start a new run."
        )
    origins: list[Origin] = [start, teacher] if teacher else [start]
    _check_prepared(train, config.image_size)
    loss = losses.bind(config.loss, config.loss_options, train.class_counts())
    model.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    layers = [[name for name, _ in model.network.named_parameters()]]
    if config.layer_decay < 1 or config.frozen_groups:
        layers = backbones.layer_groups(model)
    groups = parameter_groups(model.network, layers, config)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    augmentation = Augmentation(
        config.image_size, config.augmentation, hair=config.hair,
        colour_constancy=config.colour_constancy,
    )  # fmt: skip
    images = TrainingImages(train, preprocessing, augmentation, config.max_pixels)
    checks = TrainingImages(val, preprocessing, max_pixels=config.max_pixels)
    if resumed:
        paths = [folder.path / name for name in (TRAINING_PIXELS, TRAINING_FINGERPRINTS)]
        trained_on = TrainedOn.from_files({p.name: read_part(p) for p in paths if p.exists()})
        precision = getattr(torch, known["precision"])
        split_hash = known["splits_sha256"]
    else:
        trained_on = _membership(config, train, val, origins, preprocessing)
        precision_or_none = _measured(config, model, images, device)
        precision = precision_or_none or torch.float32
        split_hash = splits.to_csv(folder.path / "splits.csv")
        for name in (TRAINING_PIXELS, TRAINING_FINGERPRINTS):  # of a try before
            (folder.path / name).unlink(missing_ok=True)
        for name, data in (trained_on.files() if trained_on is not None else {}).items():
            write_atomic(folder.path / name, data)
        if trained_on is not None and trained_on.without_fingerprint:
            folder.note(
                f"{trained_on.without_fingerprint} of the {len(trained_on)} images that this model "
                f"was trained on have no fingerprint: of these only exact copies can be found"
            )
        if trained_on is None:
            folder.note(
                "the starting weights, or the teacher, do not say which images they were trained "
                "on, so this model will not say it either"
            )
        folder.write_settings(
            {
                "settings": config.to_dict(),
                "precision": precision_name(precision_or_none),
                "init_weights": start.source,
                "teacher": teacher.source if teacher else None,
                "data": {
                    "name": train.name, "train": train.class_counts(), "val": val.class_counts(),
                    "sha256": fingerprint(train, val),
                },
                "splits_sha256": split_hash,
                "versions": _versions(),
            }
        )  # fmt: skip
        folder.note(f"training in {precision_name(precision_or_none)} on {device}")
        if start.note:
            folder.note(start.note)
    chosen = None if precision is torch.float32 else precision
    scaler = torch.amp.GradScaler(device.type, enabled=chosen is torch.float16)
    state = RunState(
        model,
        average,
        optimizer,
        scaler,
        Progress(accumulate=config.accumulate),
        splits_sha256=split_hash,
    )
    run = Run(
        config, folder, train, val, images, checks, state,
        TrainingStep(
            state, loss, config, chosen, device, frozen_norms(model), folder.note, teacher
        ),
        _model_config(config, folder.path, train, preprocessing, origins, split_hash),
        trained_on, device,
    )  # fmt: skip
    seed_all(config.seed)
    if resumed:
        if found := folder.checkpoints.newest(state.most_bytes):
            state.restore(found[1])
        if config.accumulate != known["settings"]["accumulate"]:
            state.progress.accumulate = config.accumulate
            run.checkpoint()  # before the settings say so: a kill in between loses nothing
        if state.best_weights:  # a kill may have left these half written, or not written
            run.write_model()
            folder.write_log(state.progress.log)
        folder.write_settings(known | {"settings": config.to_dict()})
    return run


def _build(config: TrainConfig, classes: int, stored: dict[str, Stored] | None) -> SkinClassifier:
    """The run's network, no larger than the one that its newest checkpoint holds."""
    options = {"drop_path_rate": config.drop_path_rate}
    if stored is None:
        return backbones.build(config.backbone, classes, config.drop_rate, **options)
    try:
        backbones.check_fit(config.backbone, classes, stored)
        with backbones.no_more_than(stored, config.backbone):
            return backbones.build(config.backbone, classes, config.drop_rate, **options)
    except IntegrityError as error:
        raise CheckpointCorruptError(
            f"the newest checkpoint must be of the network that train.json names, "
            f"{config.backbone!r}, and is of another; start the run again in a new folder."
        ) from error


def _check_same(known: dict[str, Any], now: dict[str, str]) -> None:
    before = known["data"]["sha256"]
    if changed := [name for name in now if before.get(name) != now[name]]:
        raise ResumeMismatchError(
            f"a resumed run must have the images and labels it began with, {changed} changed; "
            f"give the same ones or start a new run."
        )
    versions = _versions()
    if changed := [name for name in versions if known["versions"].get(name) != versions[name]]:
        warnings.warn(
            f"the run began with {known['versions']} and goes on with other versions of "
            f"{changed}: its bits may differ from an uninterrupted run's.",
            SkinxaiWarning,
            stacklevel=5,
        )


def _versions() -> dict[str, str]:
    """Of all that has a part in the bits of a run."""
    modules = (cv2, numpy, PIL, torch)
    found = {module.__name__: str(module.__version__) for module in modules}
    return found | {"albumentations": ALBUMENTATIONS}


def _check_prepared(train: Records, image_size: tuple[int, int]) -> None:
    size = train.pixels.image_size if train.pixels is not None else None
    if size is not None and (size[0] < image_size[0] or size[1] < image_size[1]):
        raise OptionError(
            f"image_size must be at most what the images were prepared at, {size}, got "
            f"{image_size}; prepare them larger, or without a size."
        )


def _membership(
    config: TrainConfig, train: Records, val: Records, origins: Sequence[Origin],
    preprocessing: PreprocessConfig,
) -> TrainedOn | None:  # fmt: skip
    check_ids(config.not_copies, val)
    fits = val.pixels is not None and val.pixels.fits(preprocessing)  # else validation reads files
    most = config.max_pixels
    checked = check_images(
        val, "validation", spare=_spare(config, val), cached=fits, max_pixels=most
    )
    learnt = check_images(train, "training", spare=_spare(config, train), max_pixels=most)
    own = TrainedOn.of_looks(learnt.values())
    found = [own]
    for origin in origins:
        found += [origin.trained_on] if origin.trained_on is not None else []
    if not (train.leaked and val.leaked):
        for known in [known for origin in origins for known in origin.known]:
            # each: a silent member hides none of the others'
            check_unseen(
                checked, known, "what the starting weights or the teacher were trained on",
                "take other images, or start from 'imagenet' without a teacher",
                config.not_copies,
            )  # fmt: skip
        check_unseen(
            checked, own, "the training part",
            "find them with skinxai.data.audit() and put both copies into one part (linked= of "
            "split())",
            config.not_copies,
        )  # fmt: skip
    return reduce(or_, found) if len(found) == 1 + len(origins) else None


def _spare(config: TrainConfig, records: Records) -> int:
    return most_skipped(records) if config.unreadable == "skip" else 0


def _measured(
    config: TrainConfig, model: Any, images: TrainingImages, device: torch.device
) -> torch.dtype | None:
    if config.amp is not True or device.type != "cpu":
        return choose_precision(config.amp, device)
    count = min(config.batch_size // config.accumulate, len(images))
    items = [images[position, 0] for position in range(count)]
    sound = [item[1] for item in items if not isinstance(item, Failure)]
    if not sound:
        return None
    batch = network_input(torch.stack(sound), images.preprocessing, device)
    while True:
        try:
            return choose_precision(config.amp, device, model.train(), batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(batch) < 4:
                raise
            batch = batch[: len(batch) // 2]


def _model_config(
    config: TrainConfig, folder: Path, train: Records, preprocessing: PreprocessConfig,
    origins: Sequence[Origin], split_hash: str,
) -> ModelConfig:  # fmt: skip
    named = dict.fromkeys(filter(None, (part.attribution for part in (train, *origins))))
    data = {
        "name": train.name,
        "licence": train.licence,
        "attribution": "; ".join(named),
        "splits_sha256": split_hash,
    } | dict(zip(("init_weights", "teacher"), (origin.source for origin in origins), strict=False))
    if train.leaked:
        data["leaked"] = "images of one lesion or patient are in several parts"
    elif leaks := [origin.leaked for origin in origins if origin.leaked]:
        data["leaked"] = f"of what it learnt from: {'; '.join(leaks)}"
    licences = dict.fromkeys(filter(None, (part.licence for part in (train, *origins))))
    return ModelConfig(
        name=printable(folder.name, MAX_NAME),
        backbone=config.backbone,
        labels=train.labels,
        preprocessing=preprocessing,
        drop_rate=config.drop_rate,
        training_data=data,
        licence=" AND ".join(licences),
    )
