"""Batches for training and validation, each image a function of (seed, epoch, position) alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skinxai.configs import PreprocessConfig
from skinxai.data.records import Records
from skinxai.errors import OptionError
from skinxai.images import read_image
from skinxai.training.augmentation import Augmentation
from skinxai.transforms import evaluation_transform, normalise

SAMPLERS = ("balanced", "square_root")


class TrainingImages(Dataset[tuple[Tensor, int]]):
    """Images by (position, seed), augmented; a seed of ``None`` gives the evaluation transform."""

    def __init__(self, records: Records, preprocessing: PreprocessConfig) -> None:
        self._paths = [item.path for item in records]
        self._targets = records.targets()
        self._preprocessing = preprocessing
        self._augmentation = Augmentation(preprocessing.image_size)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: tuple[int, int | None]) -> tuple[Tensor, int]:
        position, seed = key
        pixels = read_image(self._paths[position]).pixels
        if seed is None:
            array = evaluation_transform(pixels, self._preprocessing)
        else:
            array = normalise(self._augmentation(pixels, seed), self._preprocessing)
        return torch.from_numpy(array), self._targets[position]


def epoch_order(records: Records, sampler: str | None, seed: int, epoch: int) -> list[int]:
    """Positions of one epoch, in order.

    Args:
        records: the training part.
        sampler: ``None``: each image once. ``"balanced"``: with replacement, each class equally
            often; ``"square_root"``: each class in proportion to the square root of its count.
        seed: of the run.
        epoch: 0 for the first.
    """
    order = np.random.default_rng([seed, epoch])
    if sampler is None:
        return [int(i) for i in order.permutation(len(records))]
    if sampler not in SAMPLERS:
        raise OptionError(f"sampler must be None or one of {SAMPLERS}, got {sampler!r}.")
    counts = np.asarray(records.class_counts(), np.float64)
    each = np.asarray(records.targets())
    weight = counts[each] ** (-1.0 if sampler == "balanced" else -0.5)
    return [int(i) for i in order.choice(len(records), len(records), p=weight / weight.sum())]


def batches(
    images: TrainingImages,
    positions: list[int],
    batch_size: int,
    workers: int,
    *,
    augment_seed: tuple[int, int] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of ``(N, 3, h, w)`` float32 and ``(N,)`` int64, in the order of ``positions``.

    Args:
        images: the data.
        positions: which images, in which order.
        batch_size: N of each batch but the last.
        workers: decoding processes besides this one.
        augment_seed: ``(seed, epoch)``; ``None`` gives the evaluation transform.
    """
    seeds: list[int | None] = [None] * len(positions)
    if augment_seed is not None:
        drawn = np.random.default_rng([*augment_seed, 1]).integers(0, 2**32, len(positions))
        seeds = [int(value) for value in drawn]
    keys = list(zip(positions, seeds, strict=True))
    steps = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
    loader: DataLoader[tuple[Tensor, int]] = DataLoader(
        images,
        batch_sampler=steps,
        num_workers=workers,
    )
    yield from loader
