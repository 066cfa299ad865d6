"""Batches for training and validation. Each image depends only on seed, epoch and position."""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skinxai.configs import PreprocessConfig
from skinxai.data.records import Records
from skinxai.errors import SkinxaiError, WorkerCrashError
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.reading import read_image
from skinxai.images.transforms import resize
from skinxai.memory import is_out_of_memory
from skinxai.training.augmentation import Augmentation

WORKER_SECONDS = 300  # without a batch, then a worker hangs
LOOKS = 10  # that these seconds are divided into: a run that was suspended loses one of them


class Failure(NamedTuple):
    """Position of an image that could not be read, and the error's message."""

    position: int
    reason: str


class Batch(NamedTuple):
    """A batch of images from a worker, or from memory.

    Args:
        pixels: RGB ``(N, h, w, 3)``, 0–255, uint8, or float32 if they were augmented on the device.
        target: int64 ``(N,)``.
        positions: positions of the images in their records.
        failures: images that are missing because they could not be read.
    """

    pixels: Tensor
    target: Tensor
    positions: list[int]
    failures: list[Failure]


Key = tuple[int, int | None]
Item = tuple[int, Tensor, int] | Failure


class TrainingImages(Dataset[Item]):
    """Images by (position, seed): augmented, or only resized if the seed is ``None``.

    Args:
        records: records to read, from their prepared pixels if they have them; for the evaluation
            transform, only if that gives the same bits.
        preprocessing: preprocessing of the network.
        augmentation: augmentation of images with a seed.
        max_pixels: largest number of pixels of an image that is decoded.
    """

    def __init__(
        self,
        records: Records,
        preprocessing: PreprocessConfig,
        augmentation: Augmentation | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.records = records
        self.targets = records.targets()
        self.preprocessing = preprocessing
        self._augmentation, self._max_pixels = augmentation, max_pixels

    def __len__(self) -> int:
        return len(self.targets)

    def has_read_files(self) -> bool:
        """Whether images come from their files, not from prepared pixels."""
        cache = self.records.pixels
        return cache is None or (self._augmentation is None and not cache.fits(self.preprocessing))

    def __getitem__(self, key: Key) -> Item:
        position, seed = key
        cache = self.records.pixels
        cached = cache is not None and (seed is not None or cache.fits(self.preprocessing))
        pixels = read_pixels(self.records, position, self._max_pixels, cached=cached)
        if isinstance(pixels, Failure):
            return pixels
        if seed is None or self._augmentation is None:
            pixels = resize(pixels, self.preprocessing)
        else:
            pixels = self._augmentation(pixels, seed)
        array = torch.from_numpy(np.array(pixels))  # a copy: sources may be read-only
        return position, array, self.targets[position]


def read_pixels(
    records: Records, position: int, most: int, *, cached: bool
) -> npt.NDArray[np.uint8] | Failure:
    """An image, from prepared pixels where ``cached``, or why it cannot be read."""
    record = records[position]
    try:
        if cached and records.pixels is not None:
            return records.pixels.read(record.image_id)
        return read_image(record.path, max_pixels=most).pixels
    except SkinxaiError as error:
        return Failure(position, str(error))


def network_input(pixels: Tensor, preprocessing: PreprocessConfig, device: torch.device) -> Tensor:
    """Make network input, float32 ``(N, 3, h, w)``, of RGB ``(N, h, w, 3)``, 0–255.

    It is on ``device``, and its memory has the channels last. For uint8 it is bit-equal to that of
    `skinxai.images.transforms.normalise`.
    """
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32)
    mean, std = (_channels(values, device) for values in (preprocessing.mean, preprocessing.std))
    return (images / 255).sub_(mean).div_(std)


@lru_cache(maxsize=8)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """``(1, 3, 1, 1)``; kept, because a new copy would wait for the device."""
    with torch.inference_mode(mode=False):  # training may use what validation made
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def epoch_order(records: Records, sampler: str | None, seed: int, epoch: int) -> list[int]:
    """Choose the positions of one epoch, in order; epochs count from 0.

    Without a sampler it is each image once. ``"balanced"`` draws with replacement, each class
    equally often, and ``"square_root"`` each class in proportion to the square root of its count.
    """
    order = np.random.default_rng([seed, epoch])
    if sampler is None:
        return [int(i) for i in order.permutation(len(records))]
    counts = np.asarray(records.class_counts(), np.float64)
    each = np.asarray(records.targets())
    weight = counts[each] ** (-1.0 if sampler == "balanced" else -0.5)
    return [int(i) for i in order.choice(len(records), len(records), p=weight / weight.sum())]


def plan(positions: Sequence[int], batch_size: int) -> list[list[int]]:
    """Divide positions into batches; a single image left over joins the batch before it.

    BatchNorm cannot compute statistics of some batches of one image.
    """
    steps = [list(positions[i : i + batch_size]) for i in range(0, len(positions), batch_size)]
    if len(steps) > 1 and len(steps[-1]) == 1:
        steps[-2:] = [steps[-2] + steps[-1]]
    return steps


def keys_of(
    steps: Sequence[Sequence[int]], *, augment_seed: tuple[int, int] | None = None, first: int = 0
) -> list[list[Key]]:
    """Position and seed of each image of each batch of `plan`.

    The seeds come from ``(seed, epoch)``; without these no image has one. The ``first`` batches,
    which were done before, are left out.
    """
    total = sum(map(len, steps))
    seeds: list[int | None] = [None] * total
    if augment_seed is not None:
        drawn = np.random.default_rng([*augment_seed, 1]).integers(0, 2**32, total)
        seeds = [int(value) for value in drawn]
    seed = iter(seeds)
    return [[(position, next(seed)) for position in step] for step in steps][first:]


def batches(
    images: TrainingImages,
    steps: Sequence[Sequence[int]],
    workers: int,
    *,
    augment_seed: tuple[int, int] | None = None,
    first: int = 0,
    part: slice = slice(None),
    pinned: bool = False,
) -> Iterator[Batch]:
    """Yield batches in the order of ``steps``, from `plan`, by so many processes besides this one.

    Without ``augment_seed`` images are only resized, as the evaluation transform does it. ``first``
    and ``part`` choose batches, and images of each, which do not depend on the others. Batches that
    are ``pinned`` are in page-locked memory, from which a GPU copies while it computes.

    Raises:
        WorkerCrashError: if a worker died, raised, or did not answer for some minutes.
    """
    keys = [step[part] for step in keys_of(steps, augment_seed=augment_seed, first=first)]
    loader: DataLoader[Item] = DataLoader(
        images,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collate,
        timeout=WORKER_SECONDS / LOOKS if workers else 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_quiet_worker,
        pin_memory=pinned,
        generator=torch.Generator(),  # else each epoch draws from the generator of the network
    )
    others = set(multiprocessing.active_children())
    stream = iter(loader)
    own = set(multiprocessing.active_children()) - others
    try:
        for waited in keys:
            try:
                batch = _next(stream)
            except Exception as error:  # a pipeline of one's own may raise anything
                _end(own)
                if isinstance(error, SkinxaiError) or is_out_of_memory(error):
                    raise
                ids = [images.records[position].image_id for position, _ in waited]
                raise WorkerCrashError(
                    f"a decoding process died, raised an error or did not answer within "
                    f"{WORKER_SECONDS} s, near the images {ids[:8]}: {type(error).__name__}: "
                    f"{error}",
                    python="resume the run, with workers=0 to find the image",
                    command="give the same command with --resume, and with --workers 0 to find "
                    "the image",
                ) from error
            yield batch
    finally:
        del stream  # tells its workers to end, and waits some seconds
        _end(own)  # as one that hangs would be waited for when this process ends


def _next(stream: Iterator[Batch]) -> Batch:
    """The next batch. Time also passes for a process that is stopped, as by Ctrl-Z: look again."""
    for _ in range(LOOKS):
        try:
            return next(stream)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
    raise TimeoutError("no batch came")


def _end(workers: Iterable[BaseProcess]) -> None:
    for worker in workers:
        worker.kill()
        worker.join()


def _collate(items: list[Item]) -> Batch:
    sound = [item for item in items if not isinstance(item, Failure)]
    failures = [item for item in items if isinstance(item, Failure)]
    pixels = torch.stack([item[1] for item in sound]) if sound else torch.empty(0, 0, 0, 3)
    target = torch.tensor([item[2] for item in sound], dtype=torch.int64)
    return Batch(pixels, target, [item[0] for item in sound], failures)


def _quiet_worker(number: int) -> None:
    cv2.setNumThreads(0)  # each worker is one thread: the others belong to the network
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # sent to all: the one that trains decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
