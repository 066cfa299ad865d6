"""Images to frozen features, each computed once, with a look at each to recognise it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.data.prepared import check_originals_of
from skinxai.data.records import Records
from skinxai.data.shards import PreparedPixels
from skinxai.data.tar_shards import ResizedImages
from skinxai.errors import DatasetImageError, OutOfMemoryError
from skinxai.model_folders.trained_on import Look
from skinxai.plain_text import counted, quoted
from skinxai.predicting.inputs import InputOptions, prepared_batches
from skinxai.probing.feature_cache import FeatureCache
from skinxai.probing.frozen_network import FrozenNetwork
from skinxai.progress import watched
from skinxai.results import ItemError
from skinxai.training.free_memory import free_memory

Rows = npt.NDArray[np.float32]
BYTES_EACH = 16
"""Bytes of memory for each feature: itself, its float64 copy to fit on, and that of a comparison
of neighbours."""


@dataclass(frozen=True, eq=False)
class Features:
    """The frozen features of some records, in their order.

    Args:
        rows: V views of each image, float32 ``(N, V, D)``; the first is the image as it is.
        looks: image id -> what the image is recognised by.
        computed: images whose features were computed now; the others' were in the cache.
    """

    rows: Rows
    looks: dict[str, Look]
    computed: int


def check_memory(network: FrozenNetwork, images: int, views: int) -> None:
    """Refuse features that do not fit into memory, before any is computed.

    Raises:
        OutOfMemoryError: features of more bytes than are free.
    """
    needed = BYTES_EACH * images * views * network.width
    free = free_memory(network.predictor.device).host
    if needed > free:
        flips = f" in {views} views" if views > 1 else ""
        raise OutOfMemoryError(
            f"features of {counted(images, 'image')}{flips} with "
            f"{counted(network.width, 'number')} each need {needed / 1e9:.1f} GB of memory, but "
            f"{free / 1e9:.1f} GB are free",
            python="leave flips out, pass fewer images, or fine-tune with Trainer",
            command="leave --flips out, give fewer images, or fine-tune with skinxai train",
        )


def compute_features(
    network: FrozenNetwork, records: Records, what: str, options: InputOptions, *, views: int,
    cache: Path | None,
) -> Features:  # fmt: skip
    """Read every image once, and compute the features that the cache does not have.

    Raises:
        DatasetError: original files that are read in the place of prepared pixels have changed.
        DatasetImageError: images that cannot be read; the message names all of them.
        NonFiniteOutputError: features that are not finite.
        OutputError: the cache cannot be written.
    """
    shape = (views, network.width)
    if records.pixels is not None and _prepared(records, network.config.preprocessing) is None:
        check_originals_of(records)
    kept = None if cache is None else FeatureCache(cache, network.key(views), shape, network.answer)
    rows = np.empty((len(records), *shape), np.float32)
    seen = _Seen(records, network.config.preprocessing)
    options = replace(options, on_error="return")  # all images that cannot be read are named
    wanted: dict[str, list[int]] = {}
    problems, computed = [], 0
    images = watched(
        source_images(records, network.config.preprocessing), len(records), options.progress,
        "image", f"features of {what} images",
    )  # fmt: skip
    for batch in prepared_batches(images, [network.config.preprocessing], options, look=seen.look):
        missing = []
        for item in batch:
            if isinstance(item, ItemError):
                record = records[item.index]
                problems.append(item.error.prefixed(f"{quoted(record.image_id)} ({record.path})"))
            elif kept is not None and (digest := seen.digests[item.index]) in kept:
                wanted.setdefault(digest, []).append(item.index)
            else:
                missing.append(item)
        computed += len(missing)
        made = network.features(missing, views) if missing else ()
        for item, own in zip(missing, made, strict=True):
            rows[item.index] = own
            if kept is not None:
                kept.add(seen.digests[item.index], own)
    if kept is not None:
        kept.flush()
        if lost := sorted(kept.read(wanted, rows)):  # deleted meanwhile
            again = records.subset([records[place].image_id for place in lost])
            found = compute_features(network, again, what, options, views=views, cache=None)
            rows[lost] = found.rows
            computed += len(lost)
    if problems:
        raise DatasetImageError(
            f"{len(problems)} of {len(records)} {what} images cannot be read:",
            sorted(problems, key=str),
        )
    looks = {record.image_id: seen.looks[place] for place, record in enumerate(records)}
    return Features(rows, looks, computed)


class _Seen:
    """What is noted of each image while it is read, by several threads.

    A `pixel_hash` is the same for an image and its mirror image, whose features differ. So features
    are known by a hash of the pixels in their order.
    """

    def __init__(self, records: Records, preprocessing: PreprocessConfig) -> None:
        self._records, self._prepared = records, _prepared(records, preprocessing)
        self.digests: dict[int, str] = {}
        self.looks: dict[int, Look] = {}

    def look(self, index: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Note what an image is recognised by."""
        own = hashlib.sha256(repr(pixels.shape).encode())
        own.update(np.ascontiguousarray(pixels).data)
        self.digests[index] = own.hexdigest()
        if (prepared := self._prepared) is None:
            self.looks[index] = Look.at(pixels)
        else:
            digest = prepared.hash_of(self._records[index].image_id)
            resized = prepared.image_size is not None
            self.looks[index] = Look.at(pixels, digest, resized=resized)


def source_images(records: Records, preprocessing: PreprocessConfig) -> Iterable[Any]:
    """The files, or prepared pixels or resized shards where they give the same bits."""
    if (prepared := _prepared(records, preprocessing)) is not None:
        return (prepared.read(item.image_id) for item in records)
    return [item.path for item in records]


def _prepared(
    records: Records, preprocessing: PreprocessConfig
) -> PreparedPixels | ResizedImages | None:
    pixels = records.pixels
    return pixels if pixels is not None and pixels.fits(preprocessing) else None
