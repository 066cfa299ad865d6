"""`Materials`: the objects that a new run and a resumed one are built of in the same way."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from skinxai import backbones, losses
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import PreprocessConfig
from skinxai.data.prepared import check_originals_of
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.errors import (
    CheckpointCorruptError,
    IntegrityError,
    ResumeMismatchError,
)
from skinxai.model_folders.tensors import Stored
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.predicting.devices import device_named
from skinxai.training.augmentation import Augmentation
from skinxai.training.data_checks import check_prepared
from skinxai.training.device_augmentation import DeviceAugmentation
from skinxai.training.divided_weights import blocks_of, copy_with, divide
from skinxai.training.free_memory import free_memory
from skinxai.training.inheriting import Origin, inherited_config
from skinxai.training.initial_weights import InitialWeights, load_initial_weights
from skinxai.training.joining import device_of
from skinxai.training.loaders import TrainingImages
from skinxai.training.optimising import frozen_norms, parameter_groups
from skinxai.training.randomness import seed_all
from skinxai.training.ranks import ALONE, Ranks
from skinxai.training.run import Run
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig
from skinxai.training.state import Progress, RunState
from skinxai.training.step import TrainingStep
from skinxai.training.stored_images import StoredImages
from skinxai.training.teaching import Teacher, load_teacher, only_unseen
from skinxai.training.watched_files import WatchedFiles


@dataclass(frozen=True)
class Materials:
    """The objects that a new run and a resumed one are built of in the same way.

    Args:
        config: settings of the run.
        splits: data of the run.
        device: device that it computes on.
        start: starting weights of the network.
        teacher: teacher that the run learns from besides the labels; ``None`` without one.
        preprocessing: preprocessing of the network's input.
        loss: loss, bound to the class counts of the training part.
        network: network, on the device; if it will be divided among ranks, on the CPU.
        average: moving average of its weights, which starts as a copy.
        groups: the network's parameters, as the optimiser takes them.
        images: images of the training part, augmented.
        checks: images of the validation part.
        ranks: the processes that train together.
    """

    config: TrainConfig
    splits: Splits
    device: torch.device
    start: InitialWeights
    teacher: Teacher | None
    preprocessing: PreprocessConfig
    loss: Callable[[Tensor, Tensor], Tensor]
    network: SkinClassifier
    average: SkinClassifier
    groups: list[dict[str, Any]]
    images: TrainingImages | StoredImages
    checks: TrainingImages | StoredImages
    ranks: Ranks

    @classmethod
    def of(
        cls, config: TrainConfig, splits: Splits, *, stored: dict[str, Stored] | None,
        known: Mapping[str, Any] | None = None, ranks: Ranks = ALONE,
    ) -> Self:  # fmt: skip
        """Build them from the settings and the seed.

        Of a run that is resumed, ``stored`` are the headers of the network's tensors in the newest
        checkpoint, and ``known`` is its ``train.json``.

        Raises:
            ResumeMismatchError: other starting weights or another teacher than the run began with.
        """
        train, val = splits.train, splits.val
        device = device_named(device_of(config.device, ranks))
        seed_all(config.seed)
        network = _build(config, len(train.labels), stored)
        start = load_initial_weights(network, config.backbone, config.init_weights, train.labels)
        _check_origin(known, "init_weights", start)
        preprocessing = PreprocessConfig(config.image_size, start.mean, start.std)
        teacher = None
        if config.teacher is not None:
            teacher = load_teacher(
                config.teacher, train.labels, preprocessing, config.teacher_temperature, device
            )
            _check_origin(known, "teacher", teacher)
            if config.teacher_answers == "unseen":
                teacher = only_unseen(teacher, train, config.max_pixels)
        check_prepared(train, config.image_size)
        if val.pixels is not None and not val.pixels.fits(preprocessing):
            check_originals_of(val)
        counts = train.class_counts()
        bound = losses.bind(config.loss, config.loss_options, counts)
        loss = losses.checked(config.loss, bound, len(counts))
        if not _is_divided(config, ranks):  # else it goes there block by block
            network.to(device).to(memory_format=torch.channels_last)
        average = copy.deepcopy(network)
        layers = [[name for name, _ in network.network.named_parameters()]]
        if config.layer_decay < 1 or config.frozen_groups:
            layers = backbones.layer_groups(network)
        groups = parameter_groups(network.network, layers, config)
        images, checks = _images(config, train, val, preprocessing, device, ranks.beside)
        return cls(
            config, splits, device, start, teacher, preprocessing, loss, network, average, groups,
            images, checks, ranks,
        )  # fmt: skip

    @property
    def origins(self) -> list[Origin]:
        """The starting weights and the teacher that the run learns from besides its images."""
        return [self.start, self.teacher] if self.teacher else [self.start]

    def run(
        self, folder: RunFolder, trained_on: TrainedOn | None, precision: torch.dtype | None,
        split_hash: str, files: WatchedFiles,
    ) -> Run:  # fmt: skip
        """The run before its first step, with the random states of its seed.

        ``trained_on`` is what its model will have learnt, ``split_hash`` the sha256 of
        ``splits.csv``, ``files`` tells whether images stay as they are.
        """
        config, train = self.config, self.splits.train
        average, groups = self.average, self.groups
        if _is_divided(config, self.ranks):
            average, groups = self._divided()
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, fused=self.device.type == "cuda"
        )
        scaler = torch.amp.GradScaler(self.device.type, enabled=precision is torch.float16)
        state = RunState(
            self.network, average, optimizer, scaler,
            Progress(accumulate=config.accumulate), splits_sha256=split_hash,
        )  # fmt: skip
        step = TrainingStep(
            state, self.loss, config, precision, self.device, frozen_norms(self.network),
            folder.note, self.teacher, self.ranks,
        )  # fmt: skip
        made = inherited_config(
            folder.path.name, config.backbone, train, self.preprocessing, self.origins,
            drop_rate=config.drop_rate, splits_sha256=split_hash,
        )  # fmt: skip
        seed_all(self.ranks.seed(config.seed))
        return Run(
            config, folder, train, self.splits.val, self.images, self.checks, state, step, made,
            trained_on, self.device, files, self.ranks,
        )  # fmt: skip

    def _divided(self) -> tuple[SkinClassifier, list[dict[str, Any]]]:
        """Divide the network among the ranks; its average and the optimiser's groups likewise."""
        names = {id(weight): name for name, weight in self.network.named_parameters()}
        blocks = blocks_of(self.network, self.config.image_size)
        divide(self.network, blocks, self.ranks, self.device)
        weights = dict(self.network.named_parameters())
        groups = [
            group | {"params": [weights[names[id(each)]] for each in group["params"]]}
            for group in self.groups
        ]
        average = copy_with(self.average, self.network.state_dict())
        for buffer in average.buffers():
            buffer.data = buffer.data.to(self.device)
        return average, groups


def _is_divided(config: TrainConfig, ranks: Ranks) -> bool:
    return config.strategy == "fsdp" and not ranks.alone


def _build(config: TrainConfig, classes: int, stored: dict[str, Stored] | None) -> SkinClassifier:
    """The run's network, no larger than the one that its newest checkpoint holds."""
    options: dict[str, Any] = {"drop_path_rate": config.drop_path_rate}
    if stored is None:
        return backbones.build(config.backbone, classes, config.drop_rate, **options)
    try:
        backbones.check_fit(config.backbone, classes, stored)
        with backbones.no_more_than(stored, config.backbone):
            return backbones.build(config.backbone, classes, config.drop_rate, **options)
    except IntegrityError as error:
        raise CheckpointCorruptError(
            f"the newest checkpoint must be of the network that train.json names, "
            f"{config.backbone!r}, but it is of another; start the run again in a new folder."
        ) from error


def _images(
    config: TrainConfig, train: Records, val: Records, preprocessing: PreprocessConfig,
    device: torch.device, beside: int,
) -> tuple[TrainingImages, TrainingImages] | tuple[StoredImages, StoredImages]:  # fmt: skip
    """The images of the training part, augmented, and of the validation part."""
    size, recipe, most = config.image_size, config.augmentation, config.max_pixels
    hair, constancy = config.hair, config.colour_constancy
    if config.augment_on == "cpu":
        augmentation = Augmentation(size, recipe, hair=hair, colour_constancy=constancy)
        return (
            TrainingImages(train, preprocessing, augmentation, most),
            TrainingImages(val, preprocessing, max_pixels=most),
        )
    on_device = DeviceAugmentation(size, recipe, hair=hair, colour_constancy=constancy)
    free = partial(free_memory, among=beside)
    return (
        StoredImages(
            train, preprocessing, device, on_device, neutral=constancy > 0, max_pixels=most,
            free=free,
        ),
        StoredImages(val, preprocessing, device, max_pixels=most, free=free),
    )  # fmt: skip


def _check_origin(known: Mapping[str, Any] | None, name: str, found: Origin) -> None:
    if known is not None and found.source != known[name]:
        raise ResumeMismatchError(
            f"{name} must be what the run began with, {known[name]!r}, got {found.source!r}; put "
            f"it back or start a new run."
        )
