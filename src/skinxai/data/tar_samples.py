"""One tar of samples, as WebDataset has them: ``KEY.jpg`` and ``KEY.json`` make one sample."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skinxai.configs import unique_keys
from skinxai.data.records import Record
from skinxai.data.tables import check_columns
from skinxai.disk.regular_files import open_file
from skinxai.disk.tar_members import MAX_TAR_BYTES, members
from skinxai.errors import DatasetLabelError, DatasetPathError, DatasetSchemaError, SkinxaiError
from skinxai.images.listing import SUFFIXES
from skinxai.plain_text import quoted

MAX_SAMPLE_BYTES = 2**20
WORDS = ("image_id", "label", "lesion_id", "patient_id")
OWN = ("attributes", "file_sha256", "pixel_hash", "position")
"""What skinxai writes besides; a label set of shards without an index has no use for it."""


@dataclass(frozen=True)
class Sample:
    """One labelled image in a tar.

    Args:
        record: its record; the path leads into the tar.
        position: place among all records, where skinxai wrote the tar; else -1.
        pixel_hash: of the original image, where skinxai wrote the tar; else empty.
        file_sha256: of the original file, likewise.
    """

    record: Record
    position: int
    pixel_hash: str
    file_sha256: str


@dataclass
class Shard:
    """The samples of one tar, and what is wrong with it.

    Args:
        path: the tar.
        samples: those that are sound, in order.
        problems: the errors of the others.
        left: suffix → how many files are not read.
    """

    path: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[SkinxaiError] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def read_shard(path: Path) -> Shard:
    """The samples of a plain tar; images are not decoded.

    Raises:
        DatasetPathError: the tar cannot be read, is torn, or holds a name twice, a path that leads
            out of it, a link or a device.
    """
    found = Shard(path)
    try:
        places = members(path)
        with open_file(path, MAX_TAR_BYTES) as file:
            for key, parts in _grouped(places).items():
                try:
                    image, text = _image_and_text(key, parts, found.left)
                    data = b""
                    if text is not None:
                        offset, size = places[text]
                        if size > MAX_SAMPLE_BYTES:
                            raise DatasetSchemaError(
                                f"{text!r} must have at most {MAX_SAMPLE_BYTES} bytes, got {size}."
                            )
                        file.seek(offset)
                        data = file.read(size)
                    found.samples.append(_sample(path, key, image, text, data))
                except SkinxaiError as error:
                    found.problems.append(error.prefixed(path.name))
    except OSError as error:
        raise DatasetPathError(
            f"shard {quoted(str(path))} must be a whole tar of images: {error.strerror}; copy it "
            f"again from where it was written."
        ) from error
    return found


def _grouped(places: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, str]]:
    """Key → suffix → name, split at the first dot of the file's name, as WebDataset does it."""
    found: dict[str, dict[str, str]] = {}
    for name in places:
        folder, slash, last = name.rpartition("/")
        if last.startswith("."):
            continue  # of the system that packed it
        stem, _, suffix = last.partition(".")
        found.setdefault(folder + slash + stem, {})[suffix] = name
    return found


def _image_and_text(
    key: str, parts: Mapping[str, str], left: Counter[str]
) -> tuple[str, str | None]:
    """The names of the image and of the JSON or class file of one sample."""
    images = [name for suffix, name in parts.items() if f".{suffix.lower()}" in SUFFIXES]
    if len(images) != 1:
        had = sorted(f".{suffix}" for suffix in parts)
        raise DatasetSchemaError(
            f"sample {quoted(key)} must have one image, but it has {len(images)} among {had}."
        )
    text = parts.get("json", parts.get("cls"))
    for suffix, name in parts.items():
        if name not in (images[0], text):
            left[f".{suffix}"] += 1
    return images[0], text


def _sample(path: Path, key: str, image: str, text: str | None, data: bytes) -> Sample:
    values = _values(key, text, data)
    label = _word(values.get("label"))
    if not label:
        raise DatasetLabelError(
            f"sample {quoted(key)} must have a label in {key}.json or a {key}.cls, but it has none."
        )
    attributes = values.get("attributes", {})
    if not isinstance(attributes, dict):
        raise DatasetSchemaError(f"attributes of sample {quoted(key)} must be names with values.")
    others = {name: value for name, value in values.items() if name not in (*WORDS, *OWN)}
    plain = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in (attributes | others).items()
        if value is not None and not isinstance(value, dict | list)
    }
    position = values.get("position", -1)
    return Sample(
        Record(
            _word(values.get("image_id")) or key,
            path / image,
            label,
            _word(values.get("lesion_id")),
            _word(values.get("patient_id")) or None,
            plain,
        ),
        position if type(position) is int else -1,
        _word(values.get("pixel_hash")),
        _word(values.get("file_sha256")),
    )


def _values(key: str, text: str | None, data: bytes) -> dict[str, Any]:
    """What the JSON of a sample says; of a class file, its label."""
    if text is None:
        return {}
    try:
        if text.endswith(".cls"):
            return {"label": data.decode().strip()}
        values = json.loads(data, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DatasetSchemaError(f"{text!r} must be JSON in UTF-8: {error}.") from error
    if not isinstance(values, dict):
        raise DatasetSchemaError(f"{text!r} must be names with values, got {str(values)[:40]!r}.")
    check_columns(values, repr(text), "name")
    return values


def _word(value: object) -> str:
    """An id or label as text; numbers are written out."""
    return "" if value is None or isinstance(value, bool | dict | list) else str(value)


def tars_of(folder: str | os.PathLike[str]) -> list[Path]:
    """The tars of a folder, sorted; not those of folders below it."""
    with os.scandir(folder) as found:
        names = [e.name for e in found if e.name.endswith(".tar") and not e.name.startswith(".")]
    return [Path(folder) / name for name in sorted(names)]
