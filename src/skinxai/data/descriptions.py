"""What a prepared folder, or one of shards, says of its records: JSON that holds its own digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skinxai.configs import PreprocessConfig, canonical_json, strict_json
from skinxai.data.records import Record, Records
from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.disk.writing import write_atomic
from skinxai.errors import DatasetError, IntegrityError, SkinxaiError
from skinxai.labels import LabelSet

KEYS = frozenset({
    "attribution", "format", "image_size", "images", "interpolation", "labels", "leaked",
    "licence", "name", "notes", "part", "schema_version",
})  # fmt: skip
"""Of each description, besides the digest and what its kind adds."""


class Kind(NamedTuple):
    """A kind of folder.

    Args:
        file: name of the description.
        format: what it says that the folder is, of version 1.
        own: keys that this kind adds.
        rule: what a folder without the file breaks, and a remedy.
        remedy: against a damaged one.
    """

    file: str
    format: str
    own: frozenset[str]
    rule: tuple[str, str]
    remedy: str


class Description(NamedTuple):
    """A description whose values were checked, but for those that its kind adds.

    Args:
        content: all keys and values, without the digest.
        labels: the label set.
        resizing: size and interpolation that the images were resized to; ``None`` if they were not.
        digest: of the content; two folders with the same digest hold the same.
    """

    content: dict[str, Any]
    labels: LabelSet
    resizing: PreprocessConfig | None
    digest: str

    def records(self, items: tuple[Record, ...], notes: tuple[str, ...] = ()) -> Records:
        """Records with these names and labels; a `ValueError` for another number than it says."""
        value = self.content
        if value["images"] != len(items):
            raise ValueError(f"images must be {len(items)}, got {str(value['images'])[:20]}")
        return Records(
            items, self.labels, value["name"], value["licence"], value["attribution"],
            (*value["notes"], *notes), value["part"], value["leaked"],
        )  # fmt: skip


def write_description(
    folder: Path, kind: Kind, records: Records, resizing: PreprocessConfig | None, **own: Any
) -> None:
    """Write the description of a folder that holds all its other files; ``own`` are `Kind.own`."""
    content = {
        "attribution": records.attribution,
        "format": kind.format,
        "image_size": None if resizing is None else list(resizing.image_size),
        "images": len(records),
        "interpolation": None if resizing is None else resizing.interpolation,
        "labels": records.labels.to_dict(),
        "leaked": records.leaked,
        "licence": records.licence,
        "name": records.name,
        "notes": list(records.notes),
        "part": records.part,
        "schema_version": 1,
        **own,
    }
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    write_atomic(folder / kind.file, canonical_json(content | {"digest": digest}))


def read_description(folder: Path, kind: Kind) -> Description:
    """Read the description of a folder; a `DatasetError` if there is none.

    Raises:
        IntegrityError: if it is damaged, or of another version.
    """
    where = f"{kind.file} in {str(folder)!r}"
    try:
        data = read_file(folder / kind.file, MAX_TEXT_BYTES)
    except OSError as error:
        rule, remedy = kind.rule
        raise DatasetError(
            f"folder {str(folder)!r} must {rule}: {error.strerror}; {remedy}."
        ) from error
    damaged = IntegrityError(f"{where} must be whole and match its own digest; {kind.remedy}.")
    try:
        content = strict_json(data, MAX_TEXT_BYTES)
        canonical = canonical_json(content) == data
        digest = content.pop("digest")
        whole = hashlib.sha256(canonical_json(content)).hexdigest() == digest
        found, version = content["format"], content["schema_version"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise damaged from error
    if not canonical or not whole:
        raise damaged
    if (found, version) != (kind.format, 1) or type(version) is not int:
        raise IntegrityError(
            f"{where} must be of {kind.format!r}, version 1, but it is of {str(found)[:80]!r}, "
            f"version {str(version)[:20]}; update skinxai, or use a version that reads it."
        )
    try:
        return Description(content, *_checked(content, kind), digest)
    except (LookupError, TypeError, ValueError, AttributeError, SkinxaiError) as error:
        raise IntegrityError(
            f"{where} must be as skinxai writes it: {error}; {kind.remedy}."
        ) from error


def _checked(content: Mapping[str, Any], kind: Kind) -> tuple[LabelSet, PreprocessConfig | None]:
    """Labels and resizing; raises `ValueError` and others for a value outside its rule."""
    size, resized = content["image_size"], content["interpolation"]
    texts = [content[name] for name in ("attribution", "licence", "name", "part")]
    labels = content["labels"]
    if set(content) != (known := KEYS | kind.own):
        raise ValueError(f"its keys must be {sorted(known)}, got {sorted(content)}"[:600])
    if (size is None) != (resized is None):
        raise ValueError("image_size and interpolation must both be there, or neither")
    if type(content["images"]) is not int or type(content["leaked"]) is not bool:
        raise ValueError("images must be a number, and leaked true or false")
    if not all(isinstance(text, str) for text in texts) or not isinstance(content["notes"], list):
        raise ValueError("attribution, licence, name and part must be text, and notes a list")
    if not all(isinstance(note, str) for note in content["notes"]):
        raise ValueError("notes must be texts")
    if set(labels) != {"codes", "names", "malignant"} or not isinstance(labels["codes"], list):
        raise ValueError("labels must have codes, names and malignant")
    return (
        LabelSet(tuple(labels["codes"]), labels["names"], labels["malignant"]),
        None if size is None else PreprocessConfig(tuple(size), interpolation=resized),
    )
