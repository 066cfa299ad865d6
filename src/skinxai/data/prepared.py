"""The prepared folder: its table and manifest, written and read back. See `skinxai.data.prepare`.

``pixels-00000.bin``, … hold RGB uint8, image after image; ``records.csv`` says what and where each
image is; ``manifest.json`` is written last and lists the sha256 of the other files.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from skinxai.configs import PreprocessConfig
from skinxai.data.descriptions import Description, Kind, read_description, write_description
from skinxai.data.records import Record, Records
from skinxai.data.shards import (
    MAX_SHARD_BYTES,
    REMEDY,
    Place,
    PreparedPixels,
    check_file_size,
    shard_name,
)
from skinxai.disk.regular_files import (
    MAX_TABLE_BYTES,
    is_file,
    is_folder,
    open_file,
    read_file,
    resolved,
)
from skinxai.disk.tar_members import read_stored
from skinxai.disk.writing import escape_cell, unescape_cell, write_atomic
from skinxai.errors import DatasetError, IntegrityError, SkinxaiError
from skinxai.flags import check_flags
from skinxai.images.limits import MAX_BYTES
from skinxai.interruption import mapped
from skinxai.plain_text import agreeing, quoted

MANIFEST, TABLE = "manifest.json", "records.csv"
MAX_ROWS_BYTES = 2**28
WORDS = ("image_id", "path", "label", "lesion_id", "patient_id", "attributes")
KIND = Kind(
    MANIFEST, "prepared images", frozenset({"files"}),
    (f"be a prepared one with {MANIFEST}", "write it with 'skinxai prepare'"), REMEDY,
)  # fmt: skip
COLUMNS = (*WORDS, *Place._fields)


def is_prepared(folder: Path) -> bool:
    """Whether a folder looks like a prepared one, also if damaged, but not if half-written."""
    return (
        is_folder(folder)
        and (folder / MANIFEST).is_file()
        and ((folder / TABLE).is_file() or (folder / shard_name(0)).is_file())
    )


def load_prepared(folder: str | os.PathLike[str], *, verify: bool = True) -> Records:
    """Load the records of a prepared folder; ``records.pixels`` reads their pixels.

    Args:
        folder: a folder that `prepare` wrote.
        verify: check the sha256 of the pixels, which reads all of them once. The manifest, the
            table and all sizes are checked in any case.

    Raises:
        DatasetError: if the folder is not a prepared one, or half-written.
        IntegrityError: if a file is missing, truncated or changed.
    """
    check_flags(verify=verify)
    target = resolved(folder)
    found, files = _read_manifest(target)
    for name, listed in files.items():
        check_file_size(target / name, listed["bytes"])
    if files[TABLE]["bytes"] > MAX_ROWS_BYTES:
        raise IntegrityError(
            f"{TABLE} in {str(target)!r} must have at most {MAX_ROWS_BYTES} bytes; {REMEDY}."
        )
    _check_hashes(target, {TABLE: files[TABLE]})
    try:
        items, places = _read_table(target / TABLE)
        records = found.records(items)
        resizing = found.resizing
        size, resized = (resizing.image_size, resizing.interpolation) if resizing else (None, None)
        sizes = tuple(files[shard_name(n)]["bytes"] for n in range(len(files) - 1))
        for name, own in places.items():
            own.check(name, sizes, size)
        if sum(own.nbytes for own in places.values()) != sum(sizes):
            raise ValueError("the shards must hold the pixels of the images and nothing else")
        pixels = PreparedPixels(target, found.digest, size, resized, places, sizes)
    except (LookupError, TypeError, ValueError, csv.Error, SkinxaiError) as error:
        raise IntegrityError(
            f"{TABLE} and {MANIFEST} in {str(target)!r} must be as prepare() writes them: {error}; "
            f"{REMEDY}."
        ) from error
    if verify:
        _check_hashes(target, {name: listed for name, listed in files.items() if name != TABLE})
    return replace(records, pixels=pixels)


def _check_hashes(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `IntegrityError` where a file has another sha256 than the manifest lists."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = list(mapped(pool, file_sha256, (folder / name for name in files)))
    for (name, listed), found in zip(files.items(), hashes, strict=True):
        if found != listed["sha256"]:
            raise IntegrityError(
                f"{name} in {str(folder)!r} must have the sha256 that its manifest lists, "
                f"{listed['sha256'][:12]}…, but it has another; {REMEDY}."
            )


def describe_folder(
    folder: Path,
    records: Records,
    places: Mapping[str, Place],
    shards: Mapping[str, Mapping[str, int | str]],
    config: PreprocessConfig | None,
) -> None:
    """Write the table and, last, the manifest of a folder that has its shards.

    The places are by image id; of each shard, by file name, the size in bytes and the sha256 are
    listed.
    """
    data = _table(records, places)
    write_atomic(folder / TABLE, data)
    listed = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_description(folder, KIND, records, config, files={**shards, TABLE: listed})


def file_sha256(path: Path) -> str:
    """The sha256 of a regular file, or of a file in a tar; empty if it cannot be read."""
    try:
        if is_file(path):
            with open_file(path, MAX_SHARD_BYTES) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(read_stored(path, MAX_BYTES)).hexdigest()
    except OSError:
        pass
    return ""


def changed_files(records: Records, *, gone: bool = False) -> list[str]:
    """Ids of images whose original files are no longer those that were prepared.

    Of records that are of no prepared folder none is named. Files that cannot be read are named
    where they count as ``gone``.
    """
    pixels = records.pixels
    if not isinstance(pixels, PreparedPixels):
        return []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = mapped(pool, file_sha256, [item.path for item in records])
        return [
            item.image_id
            for item, now in zip(records, hashes, strict=True)
            if now != pixels.place(item.image_id).file_sha256 and (now or gone)
        ]


def check_originals_of(records: Records) -> None:
    """Refuse, by a `DatasetError`, to read original files that are no longer what was prepared.

    It is for whoever reads the originals because the prepared pixels have another size, and finds
    out by itself that a file cannot be read.
    """
    if changed := changed_files(records):
        raise DatasetError(
            f"{len(changed)} of {len(records)} original files, which are read because the prepared "
            f"pixels have another size, {agreeing(len(changed), 'has', 'have')} changed since they "
            f"were prepared, {quoted(changed[0])} first; {REMEDY}."
        )


def _table(records: Records, places: Mapping[str, Place]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in records:
        # What is no plain value becomes text, and prepare() sees that it does not come back.
        plain = {
            name: value if value is None or isinstance(value, str | int | float) else repr(value)
            for name, value in item.attributes.items()
        }
        attributes = json.dumps(plain, ensure_ascii=False)
        own = (item.image_id, str(item.path), item.label, item.lesion_id, item.patient_id or "")
        words = (escape_cell(word) for word in (*own, attributes))
        writer.writerow((*words, *places[item.image_id]))
    return text.getvalue().encode("utf-8", "surrogatepass")  # paths need not be UTF-8


def _read_table(path: Path) -> tuple[tuple[Record, ...], dict[str, Place]]:
    text = read_file(path, MAX_TABLE_BYTES).decode("utf-8", "surrogatepass")
    rows = csv.reader(io.StringIO(text, newline=""))
    if tuple(next(rows, ())) != COLUMNS:
        raise ValueError(f"the columns of {TABLE} must be {COLUMNS}")
    items, places = [], {}
    for row in rows:
        name, source, label, lesion, patient, attributes = map(unescape_cell, row[: len(WORDS)])
        items.append(
            Record(name, Path(source), label, lesion, patient or None, _attributes(attributes))
        )
        shard, offset, height, width, *hashes = row[len(WORDS) :]
        places[name] = Place(int(shard), int(offset), int(height), int(width), *hashes)
    return tuple(items), places


def _attributes(text: str) -> dict[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict) or any(isinstance(v, dict | list) for v in found.values()):
        raise ValueError(f"attributes must be names with values, got {text[:80]!r}")
    return found


def _read_manifest(folder: Path) -> tuple[Description, dict[str, dict[str, Any]]]:
    """The manifest, and the bytes and sha256 of each file that it lists."""
    found = read_description(folder, KIND)
    files = found.content["files"]
    sound = isinstance(files, dict) and all(
        isinstance(each, dict)
        and set(each) == {"bytes", "sha256"}
        and type(each["bytes"]) is int
        and isinstance(each["sha256"], str)
        for each in files.values()
    )
    if not sound or set(files) != {TABLE, *map(shard_name, range(len(files) - 1))}:
        raise IntegrityError(
            f"{MANIFEST} in {str(folder)!r} must list {TABLE} and its shards, with the bytes and "
            f"sha256 of each file, got {str(files)[:200]}; update skinxai, or {REMEDY}."
        )
    return found, files
