"""`prepare`: decode and verify every image once, and store the pixels for fast epochs."""

import glob
import os
import re
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig, as_size
from skinxai.data.claims import alone, check_attributes, check_originals, ordered, other, taken
from skinxai.data.prepared import (
    changed_files,
    describe_folder,
    file_sha256,
    is_prepared,
    load_prepared,
)
from skinxai.data.records import Record, Records, check_records
from skinxai.data.shards import Place, PreparedPixels, ShardWriter
from skinxai.disk.regular_files import (
    resolved,
)
from skinxai.disk.writing import made_folder
from skinxai.errors import (
    DatasetError,
    DatasetImageError,
    ModelConfigError,
    OptionError,
    OutputError,
    SkinxaiError,
)
from skinxai.images.limits import MAX_PIXELS, check_max_pixels
from skinxai.images.pixels import pixel_hash
from skinxai.images.reading import read_image
from skinxai.images.transforms import resize
from skinxai.plain_text import agreeing, counted, quoted
from skinxai.progress import watched


def prepare(
    records: Records,
    folder: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | int | None = None,
    progress: bool | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Records:
    """Decode and verify every image once, and write the pixels to a prepared folder.

    The folder appears whole or not at all. Preparing the same records again returns the existing
    folder, after checking it and the original files. Memory does not grow with the number of
    images. Absolute paths are stored.

    Args:
        records: the records to prepare; their order is kept.
        folder: a folder that is new, empty or prepared before from the same records and files.
        image_size: ``(height, width)`` in pixels, or one number for a square, 32 to 4096, to
            which each whole image is resized once, bicubic and antialiased as the evaluation
            transform does it, so that evaluating at this size is the same bit for bit; ``None``
            keeps all pixels.
        progress: ``True`` or ``False``; ``None`` shows a bar on a terminal.
        max_pixels: largest number of pixels of an image that is decoded.

    Returns:
        The records, as `load_prepared` returns them; their ``pixels`` are read from the folder.

    Raises:
        DatasetImageError: if images cannot be read. The message lists all of them; nothing is
            written.
        DatasetError: if there are no records, or attributes are neither text nor numbers.
        OptionError: if the image size is outside its range.
        OutputError: if the folder holds something else, or cannot be written.
        IntegrityError: if the folder was prepared before and is damaged.
    """
    config = config_of(image_size)
    max_pixels = check_max_pixels(max_pixels)
    check_records(records, "prepare()")
    check_originals(records)
    check_attributes(records, "a table", str, int, float, type(None))
    absolute = (replace(item, path=item.path.absolute()) for item in records)
    records = replace(records, items=tuple(absolute), pixels=None)
    target = resolved(folder)
    if taken(target):
        return _existing(target, records, config)
    with made_folder(target.parent), alone(target):
        if taken(target):
            return _existing(target, records, config)
        _remove_leftovers(target)
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        try:
            part.mkdir()
            _write(part, records, config, progress, max_pixels)
            if target.exists():
                target.rmdir()  # it was empty: Windows renames onto nothing else
            part.rename(target)
        except OSError as error:
            if is_prepared(target):  # another process was faster, where locks do not work
                return _existing(target, records, config)
            raise OutputError(
                f"writing to the folder {str(target)!r} failed: {error.strerror}."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return load_prepared(target, verify=False)  # hashed while it was written


class _Read(NamedTuple):
    item: Record
    pixels: npt.NDArray[np.uint8] | None
    pixel_hash: str
    file_sha256: str
    problem: SkinxaiError | None = None


def _write(
    folder: Path,
    records: Records,
    config: PreprocessConfig | None,
    progress: bool | None,
    max_pixels: int,
) -> None:
    """Write all files of a prepared folder."""

    def read(item: Record) -> _Read:
        sha256 = file_sha256(item.path)  # first: a file that changes meanwhile is noticed later
        try:
            pixels = read_image(item.path, max_pixels=max_pixels).pixels
        except SkinxaiError as error:
            return _Read(item, None, "", sha256, error.prefixed(quoted(item.image_id)))
        stored = pixels if config is None else resize(pixels, config)
        return _Read(item, stored, pixel_hash(pixels), sha256)

    problems: list[SkinxaiError] = []
    places: dict[str, Place] = {}
    with ShardWriter(folder) as shards:
        stream = ordered(read, records, workers=os.cpu_count() or 1)
        for found in watched(stream, len(records), progress, "image", "prepare"):
            if found.problem is not None:
                problems.append(found.problem)
            if found.pixels is None or problems:
                continue
            shard, offset = shards.add(found.pixels)
            height, width = found.pixels.shape[:2]
            places[found.item.image_id] = Place(
                shard, offset, height, width, found.pixel_hash, found.file_sha256
            )
        if problems:
            raise DatasetImageError(
                f"{len(problems)} of {len(records)} images cannot be read:",
                tuple(problems),
            )
        shards.finish()
    describe_folder(folder, records, places, shards.files, config)
    back = load_prepared(folder, verify=False)
    changed = (a.image_id for a, b in zip(records, back, strict=True) if a != b)
    if changed_ids := tuple(quoted(image_id) for image_id in changed):
        raise DatasetError(
            "ids and attributes must be text that a table can hold, but these records change when "
            "they are written and read:",
            changed_ids,
        )


def config_of(image_size: Any) -> PreprocessConfig | None:
    """Size and interpolation of the resizing, or an `OptionError`; ``None`` without one."""
    try:
        return None if image_size is None else PreprocessConfig(as_size(image_size))
    except (ModelConfigError, TypeError) as error:
        raise OptionError(
            f"image_size must be (height, width), or one number for a square, of 32 to 4096 "
            f"pixels, or left out, got {image_size!r}."
        ) from error


def _existing(target: Path, records: Records, config: PreprocessConfig | None) -> Records:
    """The existing prepared folder, if it is the one that would be written now."""
    if not is_prepared(target):
        raise other(target)
    found = load_prepared(target)
    pixels = found.pixels
    assert isinstance(pixels, PreparedPixels)  # load_prepared sets it
    size = None if config is None else config.image_size
    if replace(found, pixels=None) != records:
        what = "it was prepared from other records"
    elif pixels.image_size != size:
        what = f"it was prepared with image_size={pixels.image_size}, not {size}"
    elif changed := changed_files(found, gone=True):
        have, are = agreeing(len(changed), "has", "have"), agreeing(len(changed), "is", "are")
        files = f"{counted(len(changed), 'original file')} {have} changed or {are} gone"
        what = f"{files}, {changed[0]!r} first"
    else:
        return found
    raise other(target, "prepared", what)


def _remove_leftovers(target: Path) -> None:
    """Delete what killed processes left. The lock guarantees that none of them is alive."""
    own = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{16}\.part")
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if own.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
