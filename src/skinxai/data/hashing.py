"""Pixel hashes and fingerprints of labelled images, computed in threads."""

import os
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from skinxai.data.records import Record, Records
from skinxai.errors import OptionError, SkinxaiError
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.pixels import pixel_hash
from skinxai.images.reading import read_image
from skinxai.interruption import mapped
from skinxai.model_folders.trained_on import Look


def pixel_hashes(
    records: Records, *, cached: bool = True, max_pixels: int = MAX_PIXELS
) -> Iterator[str | SkinxaiError]:
    """The `pixel_hash` of each image, in order, or the error of an image that cannot be read.

    Where ``cached``, they are those that a prepared folder keeps; otherwise the files are read.
    """
    if cached and records.pixels is not None:
        yield from (records.pixels.hash_of(item.image_id) for item in records)
        return

    def one(item: Record) -> str | SkinxaiError:
        try:
            return pixel_hash(read_image(item.path, max_pixels=max_pixels).pixels)
        except SkinxaiError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from mapped(pool, one, records)


def looks(
    records: Records, *, cached: bool = True, max_pixels: int = MAX_PIXELS
) -> Iterator[Look | SkinxaiError]:
    """What each image is recognised by, in order, or the error of an image that cannot be read.

    Where ``cached``, the pixels of a prepared folder are read in the place of the files.
    """
    pixels = records.pixels if cached else None

    def one(item: Record) -> Look | SkinxaiError:
        try:
            if pixels is None:
                return Look.at(read_image(item.path, max_pixels=max_pixels).pixels)
            digest = pixels.hash_of(item.image_id)
            if (known := pixels.fingerprints.get(item.image_id)) is not None:
                return Look(digest, known)
            resized = pixels.image_size is not None
            return Look.at(pixels.read(item.image_id), digest, resized=resized)
        except SkinxaiError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from mapped(pool, one, records)


def check_ids(not_copies: Collection[str], images: Iterable[Record | str]) -> None:
    """Refuse ids in ``not_copies`` that belong to none of the images that are compared.

    Raises:
        OptionError: if ``not_copies`` is text or an iterator, which is read once, instead of a
            list, or holds an unknown id.
    """
    if isinstance(not_copies, str) or not isinstance(not_copies, Collection):
        raise OptionError(f"not_copies must be a list of image ids, got {not_copies!r:.200}.")
    ids = {each if isinstance(each, str) else each.image_id for each in images}
    if unknown := sorted(set(not_copies) - ids):
        raise OptionError(
            f"not_copies must be ids of the images that are compared, but {unknown[0]!r} is none "
            f"of them."
        )
