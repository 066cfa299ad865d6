"""`Run`: data, networks and progress of one run while it goes on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from skinxai import checkpoints
from skinxai.configs import ModelConfig
from skinxai.data.records import Record, Records
from skinxai.errors import DatasetImageError, NonFiniteLossError
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import agreeing, quoted
from skinxai.training.card import write_card
from skinxai.training.divided_weights import copy_with, each_whole, piece
from skinxai.training.free_memory import is_pinned_for
from skinxai.training.loaders import (
    Batch,
    TrainingImages,
    batches,
    epoch_order,
    keys_of,
    network_input,
    plan,
)
from skinxai.training.randomness import RandomStates
from skinxai.training.ranks import Ranks
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig
from skinxai.training.state import RunState
from skinxai.training.step import TrainingStep
from skinxai.training.stored_images import StoredImages
from skinxai.training.watched_files import WatchedFiles


@dataclass(frozen=True)
class Run:
    """One run: its data, networks and progress.

    Args:
        config: settings of the run.
        folder: the run folder.
        train: images to learn from.
        val: images to choose the epoch on.
        images: ``train``, augmented.
        checks: ``val``, as the evaluation transform shows it.
        state: networks, optimiser and progress.
        step: one optimiser step.
        model_config: config of the resulting model.
        trained_on: hashes of the training images, and of those of the starting weights;
            ``None`` if these do not say, because a part would pass for the whole.
        device: device that it computes on.
        files: whether its image files stay as they are.
        ranks: the processes that train together.
    """

    config: TrainConfig
    folder: RunFolder
    train: Records
    val: Records
    images: TrainingImages | StoredImages
    checks: TrainingImages | StoredImages
    state: RunState
    step: TrainingStep
    model_config: ModelConfig
    trained_on: TrainedOn | None
    device: torch.device
    files: WatchedFiles
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def steps_each(self) -> int:
        """Number of optimiser steps in one epoch."""
        return len(plan(range(len(self.train)), self.config.batch_size))

    def training_batches(self) -> Iterator[Batch]:
        """This rank's share of the remaining batches of the present epoch."""
        config, progress = self.config, self.state.progress
        order = epoch_order(self.train, config.sampler, config.seed, progress.epoch)
        steps, seed = plan(order, config.batch_size), (config.seed, progress.epoch)
        return self._batches(self.images, steps, seed, progress.step)

    def validation_batches(self) -> Iterator[Batch]:
        """This rank's share of the batches of all validation images."""
        return self._batches(self.checks, plan(range(len(self.val)), self.config.batch_size))

    def _batches(
        self, images: TrainingImages | StoredImages, steps: list[list[int]],
        seed: tuple[int, int] | None = None, first: int = 0,
    ) -> Iterator[Batch]:  # fmt: skip
        part = self.ranks.part
        if isinstance(images, StoredImages):
            keys = keys_of(steps, augment_seed=seed, first=first)
            return images.batches([step[part] for step in keys])
        workers = workers_of(self.config, self.ranks.beside)
        return batches(
            images, steps, workers, augment_seed=seed, first=first, part=part,
            pinned=is_pinned_for(self.device),
        )  # fmt: skip

    def input_of(self, batch: Batch) -> torch.Tensor:
        """Network input of a batch, also of one without images."""
        if not len(batch.target):
            size = self.model_config.preprocessing.image_size
            return torch.empty(0, 3, *size, device=self.device)
        return network_input(batch.pixels, self.model_config.preprocessing, self.device)

    def checkpoint(self) -> None:
        """Write the state to disk, from the first rank; all ranks call it at the same step.

        Raises:
            DatasetImageError: if image files were exchanged; what was learnt is not written.
            NonFiniteLossError: if weights are not finite; they are not written.
            CheckpointWriteError: if the disk is full or cannot be written.
        """
        if found := self.ranks.from_first(self._exchanged):
            raise DatasetImageError(
                f"images must stay as they are while training, but {len(found)} of them "
                f"{agreeing(len(found), 'was', 'were')} exchanged, e.g. "
                f"{quoted(found[0].image_id)} ({found[0].path}); put them back and resume the run, "
                f"which goes on from its last checkpoint, or start a new run."
            )
        progress = self.state.progress
        for network in (self.state.network, self.state.average):
            weights = {
                n: piece(t) for n, t in network.state_dict().items() if t.is_floating_point()
            }
            wrong = torch.stack([~torch.isfinite(each).all() for each in weights.values()])
            every = self.ranks.largest(*wrong.int().tolist())  # one wait for all
            for name, unsound in zip(weights, every, strict=True):
                if unsound:
                    raise NonFiniteLossError(
                        f"weights must stay finite, but {name!r} is not after epoch "
                        f"{progress.epoch}, step {progress.step}",
                        python="resume from the checkpoint before with a lower learning_rate",
                        command="give the same command with --resume and a lower --learning-rate",
                    )
        each = self.steps_each + 1  # the end of an epoch has a number of its own
        number = progress.epoch * each + progress.step
        random = self.ranks.gather(RandomStates.now())
        first = self.ranks.first
        data = self.state.to_bytes(random, keep=first) if first or self.state.divided else b""
        if first:
            self.folder.checkpoints.write(number, data)

    def _exchanged(self) -> list[Record]:
        """Images whose files hold others than when the run began, of files that it has read."""
        most = self.config.max_pixels
        parts = [each.records for each in (self.images, self.checks) if each.has_read_files()]
        return [item for part in parts for item in self.files.exchanged(part, most)]

    def write_model(self) -> None:
        """Write the model folder of the best epoch so far, from the first rank; all call it."""
        weights = dict(each_whole(self.state.best_weights))
        if not self.ranks.first:
            return
        progress = self.state.progress
        best = copy_with(self.state.average, weights)
        card = write_card(
            self.model_config, self.config, progress.log, progress.best[1],
            self.trained_on,
        )  # fmt: skip
        checkpoints.save(
            str(self.folder.path), best, self.model_config, card, self.trained_on, half=True
        )


def workers_of(config: TrainConfig, beside: int = 1) -> int:
    """Number of decoding processes of a rank; ``"auto"`` leaves one core to its network.

    There are none if the device augments.
    """
    if config.augment_on == "device":
        return 0
    if config.workers == "auto":
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        return max(0, min(8, (usable or os.cpu_count() or 1) // beside - 1))
    return int(config.workers)
