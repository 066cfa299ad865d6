"""`StoredImages`: decoded images kept in memory for a whole run, and batches of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.configs import PreprocessConfig
from skinxai.data.claims import ordered
from skinxai.data.records import Records
from skinxai.errors import OutOfMemoryError
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.transforms import resize
from skinxai.interruption import mapped
from skinxai.plain_text import counted
from skinxai.training.augmentation import neutral_gains
from skinxai.training.chance import Draws
from skinxai.training.device_augmentation import DeviceAugmentation
from skinxai.training.free_memory import Free, free_memory, is_pinned_for
from skinxai.training.loaders import Batch, Failure, Item, Key, read_pixels
from skinxai.training.transfers import to_device

SHARE = 0.5
"""Largest share of the free memory that images may take."""
BLOCK = 64
"""Images that are read at once."""
LARGEST = 4096
"""Largest height and width of the images that are kept."""
Pixels = npt.NDArray[np.uint8]


class Stored(NamedTuple):
    """What `StoredImages` keeps.

    Args:
        pixels: RGB uint8 ``(N, H, W, 3)``; those of failures are 0.
        gains: float32 ``(N, 3)``: factors that make each image's lighting neutral, on the device.
        failures: position → failure, of images that cannot be read.
    """

    pixels: Tensor
    gains: Tensor | None
    failures: dict[int, Failure]


class StoredImages:
    """Images by (position, seed), decoded once, on first use, and then kept in memory as uint8.

    They are kept on the device if they take at most half of its free memory, otherwise in the
    host's memory under the same rule, page-locked for a CUDA device.

    All training images have one size: the size that they were prepared at, or else the size that
    most of them have, at most 4096 pixels a side. Whole images of another size are resized to it,
    antialiased, so that their aspect ratio may change; nothing is cropped. Validation images have
    the size of the network's input, resized by the evaluation transform.

    Args:
        records: records to read, from their prepared pixels if they have them; for the evaluation
            transform, only if that gives the same bits.
        preprocessing: preprocessing of the network.
        device: device that the batches are computed on.
        augmentation: augmentation of the images; ``None`` for validation images.
        neutral: whether some images' lighting is going to be made neutral.
        max_pixels: largest number of pixels of an image that is decoded.
        free: gives the free bytes of the device, ``None`` if it is the CPU, and of the host.
    """

    def __init__(
        self,
        records: Records,
        preprocessing: PreprocessConfig,
        device: torch.device,
        augmentation: DeviceAugmentation | None = None,
        *,
        neutral: bool = False,
        max_pixels: int = MAX_PIXELS,
        free: Callable[[torch.device], Free] = free_memory,
    ) -> None:
        self.records, self.preprocessing = records, preprocessing
        self.targets = records.targets()
        self._device, self._augmentation, self._neutral = device, augmentation, neutral
        self._max_pixels, self._free, self._known = max_pixels, free, False

    def __len__(self) -> int:
        return len(self.targets)

    def has_read_files(self) -> bool:
        """Whether files may have been read since this was asked before, not prepared pixels."""
        known, self._known = self._known, "stored" in vars(self)
        cache = self.records.pixels
        unfit = self._augmentation is None and cache and not cache.fits(self.preprocessing)
        return not known and (cache is None or bool(unfit))

    def __getitem__(self, key: Key) -> Item:
        batch = self._batch([key], self._drawn([key]))
        if batch.failures:
            return batch.failures[0]
        return key[0], batch.pixels[0], self.targets[key[0]]

    def batches(self, keys: Sequence[Sequence[Key]]) -> Iterator[Batch]:
        """Yield a batch of the images of each list of (position, seed), on the device."""
        drawn = ordered(self._drawn, keys, workers=1)  # while the step before is computed
        for each, draws in zip(keys, drawn, strict=True):
            yield self._batch(each, draws)

    @cached_property
    def stored(self) -> Stored:
        """The images; they are read on first use."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = self._read_all(pool)
            failures = {n: each for n, each in enumerate(found) if isinstance(each, Failure)}
            size = self._size(found)
            pixels = self._room(len(self), size)
            config = replace(self.preprocessing, image_size=size)
            gains = np.ones((len(self), 3), np.float32)

            def fitted(position: int) -> Pixels:
                image, found[position] = found[position], None  # its memory can go
                if image is None or isinstance(image, Failure):
                    return np.zeros((*size, 3), np.uint8)
                if self._neutral:
                    gains[position] = neutral_gains(image)
                return resize(image, config)

            for start in range(0, len(self), BLOCK):
                block = np.stack(
                    list(mapped(pool, fitted, range(len(self))[start : start + BLOCK]))
                )
                pixels[start : start + BLOCK] = torch.from_numpy(block)
        made = to_device(gains, pixels.new_empty(0, device=self._device)) if self._neutral else None
        return Stored(pixels, made, failures)

    def _read_all(self, pool: ThreadPoolExecutor) -> list[Pixels | Failure | None]:
        """The images; those of a prepared folder are mapped into memory and not read yet."""
        cache, free = self.records.pixels, self._free(self._device)
        limit = SHARE * free.host
        if self._augmentation is None and cache is not None and not cache.fits(self.preprocessing):
            cache = None
        taken = [0, 0]

        def read(position: int) -> Pixels | Failure:
            cached = cache is not None
            pixels = read_pixels(self.records, position, self._max_pixels, cached=cached)
            if cached or self._augmentation or isinstance(pixels, Failure):
                return pixels
            return resize(pixels, self.preprocessing)

        found: list[Pixels | Failure | None] = []
        for start in range(0, len(self), BLOCK):
            found += mapped(pool, read, range(len(self))[start : start + BLOCK])
            if cache is None or not cache.mapped:
                some = [each.nbytes for each in found[start:] if isinstance(each, np.ndarray)]
                taken = [taken[0] + len(some), taken[1] + sum(some)]
            if taken[1] > limit:
                what = f"the first {taken[0]} of {len(self)} images"
                raise _too_large(what, taken[1], limit, free.among)
        return found

    def _size(self, images: Sequence[Pixels | Failure | None]) -> tuple[int, int]:
        if self._augmentation is None:
            return self.preprocessing.image_size
        cache = self.records.pixels
        if cache is not None and cache.image_size is not None:
            return cache.image_size
        shapes = [each.shape[:2] for each in images if isinstance(each, np.ndarray)]
        sizes = Counter((min(h, LARGEST), min(w, LARGEST)) for h, w in shapes)
        most = max(sizes.values(), default=0)  # of two sizes equally often, the larger one
        return max(
            (s for s, n in sizes.items() if n == most), default=self.preprocessing.image_size
        )

    def _room(self, count: int, size: tuple[int, int]) -> Tensor:
        """Memory for the images, on the device or on the host."""
        shape, free = (count, *size, 3), self._free(self._device)
        needed = count * size[0] * size[1] * 3
        if free.device is not None and needed <= SHARE * free.device:
            return torch.empty(shape, dtype=torch.uint8, device=self._device)
        pinned = is_pinned_for(self._device)
        if (2 ** (needed - 1).bit_length() if pinned else needed) <= SHARE * free.host:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        what = f"{counted(count, 'image')} of {size[0]} × {size[1]} pixels"
        raise _too_large(what, needed, SHARE * max(free.device or 0, free.host), free.among)

    def _drawn(self, keys: Sequence[Key]) -> Draws | None:
        """What happens to the images that can be read; ``None``: nothing."""
        pixels, _, failed = self.stored
        seeds = [seed for position, seed in keys if position not in failed and seed is not None]
        if self._augmentation is None or not seeds:
            return None
        return self._augmentation.draw(seeds, (pixels.shape[1], pixels.shape[2]))

    def _batch(self, keys: Sequence[Key], draws: Draws | None) -> Batch:
        pixels, gains, failed = self.stored
        failures = [failed[position] for position, _ in keys if position in failed]
        keys = [key for key in keys if key[0] not in failed]
        positions = [position for position, _ in keys]
        target = torch.tensor([self.targets[n] for n in positions], dtype=torch.int64)
        if is_pinned_for(self._device):
            target = target.pin_memory()
        if not positions:
            return Batch(pixels[:0], target, positions, failures)
        images = self._gathered(pixels, positions)
        if self._augmentation is not None and draws is not None:
            places = to_device(np.asarray(positions), images)
            some = None if gains is None else gains[places]
            images = self._augmentation(images, draws, some)
        return Batch(images, target, positions, failures)

    def _gathered(self, pixels: Tensor, positions: list[int]) -> Tensor:
        on_device = pixels.device.type == self._device.type  # one may say cuda, the other cuda:0
        if on_device or not is_pinned_for(self._device):
            return pixels[to_device(np.asarray(positions), pixels)].to(self._device)
        images = torch.empty(
            (len(positions), *pixels.shape[1:]), dtype=torch.uint8, device=self._device
        )
        for place, position in enumerate(positions):  # straight from page-locked memory
            images[place].copy_(pixels[position], non_blocking=True)
        return images


def _too_large(what: str, needed: float, limit: float, among: int) -> OutOfMemoryError:
    gib, each = 2**30, f" for each of {among} ranks" if among > 1 else ""
    return OutOfMemoryError(
        f"with augment_on 'device' decoded images stay in memory, but {what} take "
        f"{needed / gib:.1f} GiB, and only {limit / gib:.1f} GiB, half of what is free{each}, "
        f"may hold them",
        python="prepare them at a smaller size with skinxai.data.prepare(…, image_size=…), or "
        "pass augment_on='cpu'",
        command="prepare them at a smaller size with skinxai prepare --size, or give "
        "--augment-on cpu",
    )
