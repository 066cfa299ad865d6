"""`write_shards`: labelled images as WebDataset tars, each written once, whole or not at all."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from skinxai.configs import PreprocessConfig, canonical_json
from skinxai.data.claims import alone, check_attributes, check_originals, ordered, other, taken
from skinxai.data.prepared import file_sha256
from skinxai.data.preparing import config_of
from skinxai.data.records import Record, Records, check_records
from skinxai.data.tar_index import Index, Listed, is_indexed, read_index, write_index
from skinxai.data.tar_samples import read_shard
from skinxai.data.tar_shards import load_shards
from skinxai.data.tar_writer import TarWriter, png
from skinxai.disk.regular_files import (
    MAX_TEXT_BYTES,
    is_file,
    read_file,
    resolved,
)
from skinxai.disk.tar_members import read_stored
from skinxai.disk.writing import made_folder, make_folder, write_atomic
from skinxai.errors import DatasetError, DatasetImageError, OutputError, SkinxaiError
from skinxai.images.limits import MAX_BYTES, MAX_PIXELS, check_max_pixels
from skinxai.images.pixels import pixel_hash
from skinxai.images.reading import read_image
from skinxai.images.transforms import resize
from skinxai.numeric import whole
from skinxai.plain_text import quoted
from skinxai.progress import watched

SHARD_BYTES = 250_000_000
SEED = 0
PLAN = "plan"
_SUFFIXES = {
    "JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "GIF": "gif", "BMP": "bmp",
}  # fmt: skip


def write_shards(
    records: Records,
    folder: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | int | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: bool | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Records:
    """Decode and verify every image once, and write them to WebDataset tars.

    The samples are shuffled once, always in the same way, so that each shard is a fair sample of
    the classes; `load_shards` gives the records back in their own order. The folder appears when it
    is complete. A killed call leaves its finished shards in a hidden folder beside it, and the same
    call goes on behind them. Writing the same records again returns the existing folder, after
    checking it and the original files.

    Args:
        records: the records to write; their order is kept. Paths are not written.
        folder: a folder that is new, empty or written before from the same records and files.
        image_size: ``(height, width)`` in pixels, or one number for a square, 32 to 4096, to
            which each whole image is resized, bicubic and antialiased as the evaluation transform
            does it, and kept as PNG; ``None`` keeps the bytes of the files. An image that a plugin
            reads is kept as PNG, because nothing else could read it.
        shard_bytes: size of a shard, >= 1; a shard ends with the sample that reaches it.
        progress: ``True`` or ``False``; ``None`` shows a bar on a terminal.
        max_pixels: largest number of pixels of an image that is decoded.

    Returns:
        The records, as `load_shards` returns them.

    Raises:
        DatasetImageError: if images cannot be read. The message lists all of them; the folder is
            not written.
        DatasetError: if there are no records, attributes are not text, or shards of resized images
            are to be written from.
        OptionError: if an argument is outside its range.
        OutputError: if the folder holds something else, or cannot be written.
        IntegrityError: if the folder was written before and is damaged.
    """
    config = config_of(image_size)
    max_pixels = check_max_pixels(max_pixels)
    shard_bytes = whole("shard_bytes", shard_bytes)
    check_records(records, "write_shards()")
    check_originals(records)
    check_attributes(records, "JSON", str)
    records = replace(records, pixels=None)
    job = _Job(records, config, shard_bytes, progress, max_pixels)
    target = resolved(folder)
    if taken(target):
        return _existing(target, job)
    with made_folder(target.parent), alone(target):
        if taken(target):
            return _existing(target, job)
        part = target.with_name(f".{target.name}.shards.part")
        try:
            _write(part, job)
            if target.exists():
                target.rmdir()  # it was empty: Windows renames onto nothing else
            part.rename(target)
        except OSError as error:
            raise OutputError(
                f"writing to the folder {str(target)!r} failed: {error.strerror}; "
                f"the same call goes on behind the shards that are finished."
            ) from error
    return load_shards(target, verify=False, progress=progress)  # hashed while it was written


class _Job(NamedTuple):
    records: Records
    config: PreprocessConfig | None
    shard_bytes: int
    progress: bool | None
    max_pixels: int

    @property
    def plan(self) -> str:
        """Hash of all that decides what is written, but for the content of the files."""
        records, config = self.records, self.config
        rows: Any = [
            [i.image_id, i.label, i.lesion_id, i.patient_id, dict(i.attributes)] for i in records
        ]
        own = (records.name, records.licence, records.attribution, records.notes, records.part)
        size = None if config is None else (*config.image_size, config.interpolation)
        whole = [rows, own, records.leaked, records.labels.to_dict(), size, self.shard_bytes, SEED]
        return hashlib.sha256(canonical_json({"plan": whole})).hexdigest()

    @property
    def stem(self) -> str:
        """What the names of the shards begin with."""
        plain = (char if char.isascii() and char.isalnum() else "-" for char in self.records.name)
        return "-".join(filter(None, "".join(plain).lower().split("-")))[:40] or "images"

    def order(self) -> list[int]:
        """Positions of the records in the order of the samples."""
        found = list(range(len(self.records)))
        random.Random(SEED).shuffle(found)
        return found


class _Made(NamedTuple):
    position: int
    suffix: str = ""
    data: bytes = b""
    text: bytes = b""
    problem: SkinxaiError | None = None


def _write(part: Path, job: _Job) -> None:
    """Write all files of a folder of shards, behind what an earlier process finished."""
    order, plan = job.order(), job.plan
    shards = _finished(part, job, order, plan)
    done = sum(each.samples for each in shards.values())

    def make(place: int) -> _Made:
        return _made(order[place], job)

    problems: list[SkinxaiError] = []
    open_shard: TarWriter | None = None
    rest = range(done, len(order))
    stream = ordered(make, rest, workers=os.cpu_count() or 1)
    try:
        for place, made in zip(
            rest, watched(stream, len(rest), job.progress, "image", "prepare"), strict=True
        ):
            if made.problem is not None:
                problems.append(made.problem)
            if problems:
                continue
            if open_shard is None:
                open_shard = TarWriter(part, f"{job.stem}-{len(shards):06d}.tar")
            open_shard.add(f"{place:09d}", {made.suffix: made.data, "json": made.text})
            if open_shard.size >= job.shard_bytes or place == len(order) - 1:
                shards[open_shard.name] = open_shard.finish()
                open_shard = None
    finally:
        if open_shard is not None:
            open_shard.discard()
    if problems:
        shutil.rmtree(part, ignore_errors=True)
        raise DatasetImageError(
            f"{len(problems)} of {len(order)} images cannot be read:",
            tuple(problems),
        )
    write_index(part, job.records, job.config, shards, plan)
    (part / PLAN).unlink()
    _check_back(part, job.records)


def _made(position: int, job: _Job) -> _Made:
    """The two files of one sample."""
    item = job.records[position]
    try:
        data = read_stored(item.path, MAX_BYTES)
    except OSError:
        data = b""  # reading it as an image says what is wrong
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        read = read_image(item.path, max_pixels=job.max_pixels)
        if not data or sha256 != file_sha256(item.path):
            raise DatasetError("the file changed while it was read.")
    except SkinxaiError as error:
        return _Made(position, problem=error.prefixed(quoted(item.image_id)))
    suffix = _SUFFIXES.get(read.format or "", "")
    if job.config is not None or not suffix:
        pixels = read.pixels if job.config is None else resize(read.pixels, job.config)
        suffix, data = "png", png(pixels)
    values = {
        "attributes": dict(item.attributes),
        "file_sha256": sha256,
        "image_id": item.image_id,
        "label": item.label,
        "lesion_id": item.lesion_id,
        "patient_id": item.patient_id,
        "pixel_hash": pixel_hash(read.pixels),
        "position": position,
    }
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, default=repr)
    return _Made(position, suffix, data, text.encode("utf-8", "backslashreplace"))


def _finished(part: Path, job: _Job, order: list[int], plan: str) -> dict[str, Listed]:
    """The shards that an earlier process finished; everything else it left is removed."""
    found: dict[str, Listed] = {}
    same = is_file(part / PLAN) and read_file(part / PLAN, MAX_TEXT_BYTES) == plan.encode()
    for number in range(len(order) if same else 0):
        path = part / f"{job.stem}-{number:06d}.tar"
        done = sum(each.samples for each in found.values())
        count = _sound(path, job.records, order[done:])
        if not count:
            break
        found[path.name] = Listed(path.stat().st_size, count, file_sha256(path))
    for path in part.iterdir() if part.is_dir() else ():
        if path.name not in found:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    make_folder(part)
    write_atomic(part / PLAN, plan.encode())
    return found


def _sound(path: Path, records: Records, positions: list[int]) -> int:
    """Number of samples of a finished shard that are still those of the records; else 0."""
    if not path.is_file():
        return 0
    try:
        samples = read_shard(path).samples
    except SkinxaiError:
        return 0
    for sample, position in zip(samples, positions, strict=False):
        if sample.position != position or sample.file_sha256 != file_sha256(records[position].path):
            return 0
    return len(samples)


def _check_back(folder: Path, records: Records) -> None:
    """Refuse records that change when they are written and read."""
    back = load_shards(folder, verify=False, progress=False)
    changed = tuple(
        quoted(a.image_id)
        for a, b in zip(records, back, strict=True)
        if replace(a, path=b.path) != b
    )
    if changed:
        raise DatasetError(
            "ids and attributes must be text that JSON can hold, but these records change when "
            "they are written and read:",
            changed,
        )


def _existing(target: Path, job: _Job) -> Records:
    """The existing folder, if it is the one that would be written now."""
    if not is_indexed(target):
        raise other(target)
    index = read_index(target)
    found = load_shards(target, progress=job.progress)
    resizing = index.description.resizing
    size = None if resizing is None else resizing.image_size
    own = None if job.config is None else job.config.image_size
    if size != own:
        what = f"it was written with image_size={size}, not {own}"
    elif index.plan != job.plan:
        what = "it was written from other records"
    elif changed := next(_changed(target, index, job.records), None):
        what = f"original files have changed or are gone, {changed!r} first"
    else:
        return found
    raise other(target, "written", what)


def _changed(folder: Path, index: Index, records: Records) -> Iterator[str]:
    for name in index.shards:
        for sample in read_shard(folder / name).samples:
            item: Record = records[sample.position]
            if file_sha256(item.path) != sample.file_sha256:
                yield item.image_id
