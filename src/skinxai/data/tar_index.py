"""The index of a folder of shards: which tars belong to it, and what they have in common.

``index.json`` is written last. It lists the sha256, bytes and number of samples of each tar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skinxai.configs import PreprocessConfig, canonical_json, strict_json
from skinxai.data.records import Records
from skinxai.disk.regular_files import MAX_TEXT_BYTES, is_file, read_file
from skinxai.disk.tar_members import SUFFIX
from skinxai.disk.writing import write_atomic
from skinxai.errors import DatasetError, IntegrityError, SkinxaiError
from skinxai.labels import LabelSet

INDEX = "index.json"
FORMAT, FORMAT_VERSION = "webdataset shards", 1
REMEDY = "copy the whole folder again, or write it anew with 'skinxai prepare --shards'"
KEYS = {
    "attribution", "digest", "format", "image_size", "images", "interpolation", "labels", "leaked",
    "licence", "name", "notes", "part", "plan", "schema_version", "shards",
}  # fmt: skip


class Listed(NamedTuple):
    """What the index says of one tar.

    Args:
        bytes: size of the file.
        samples: number of images.
        sha256: of the file.
    """

    bytes: int
    samples: int
    sha256: str


class Index(NamedTuple):
    """The content of an index.

    Args:
        values: name, licence and so on, as they stand in the file.
        labels: the label set.
        config: size and interpolation that the images were resized to; ``None`` if they were not.
        shards: file name → what the index says of it, in order.
        digest: of the index; two folders with the same digest hold the same.
    """

    values: dict[str, Any]
    labels: LabelSet
    config: PreprocessConfig | None
    shards: dict[str, Listed]
    digest: str

    def records(self, items: tuple[Any, ...], notes: tuple[str, ...] = ()) -> Records:
        """Records with the index's names and labels."""
        value = self.values
        return Records(
            items, self.labels, value["name"], value["licence"], value["attribution"],
            (*value["notes"], *notes), value["part"], value["leaked"],
        )  # fmt: skip


def is_indexed(folder: Path) -> bool:
    """Whether a folder holds shards with an index of skinxai."""
    if not is_file(folder / INDEX):
        return False
    try:
        return b'"webdataset shards"' in read_file(folder / INDEX, MAX_TEXT_BYTES)
    except OSError:
        return False


def write_index(
    folder: Path,
    records: Records,
    config: PreprocessConfig | None,
    shards: Mapping[str, Listed],
    plan: str,
) -> None:
    """Write the index of a folder that has its tars.

    Args:
        folder: where the tars are.
        records: what they hold.
        config: size and interpolation of the resizing; ``None`` without one.
        shards: file name → what to say of it.
        plan: hash of what was to be written.
    """
    content = {
        "attribution": records.attribution,
        "format": FORMAT,
        "image_size": None if config is None else list(config.image_size),
        "images": len(records),
        "interpolation": None if config is None else config.interpolation,
        "labels": records.labels.to_dict(),
        "leaked": records.leaked,
        "licence": records.licence,
        "name": records.name,
        "notes": list(records.notes),
        "part": records.part,
        "plan": plan,
        "schema_version": FORMAT_VERSION,
        "shards": {name: each._asdict() for name, each in shards.items()},
    }
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    write_atomic(folder / INDEX, canonical_json(content | {"digest": digest}))


def read_index(folder: Path) -> Index:
    """Read the index of a folder of shards.

    Raises:
        DatasetError: if there is none.
        IntegrityError: if it is damaged, or of another version.
    """
    path = folder / INDEX
    try:
        data = read_file(path, MAX_TEXT_BYTES)
    except OSError as error:
        raise DatasetError(
            f"folder {str(folder)!r} must hold {INDEX}: {error.strerror}; {REMEDY}."
        ) from error
    damaged = f"{INDEX} in {str(folder)!r} must be whole and match its own digest; {REMEDY}."
    try:
        content = strict_json(data, MAX_TEXT_BYTES)
        digest = content.pop("digest")
        whole = hashlib.sha256(canonical_json(content)).hexdigest() == digest
        kind, version = content["format"], content["schema_version"]
    except (ValueError, KeyError, AttributeError, TypeError, SkinxaiError) as error:
        raise IntegrityError(damaged) from error
    if not whole:
        raise IntegrityError(damaged)
    if (kind, version) != (FORMAT, FORMAT_VERSION) or type(version) is not int:
        raise IntegrityError(
            f"{INDEX} in {str(folder)!r} must be of {FORMAT!r}, version {FORMAT_VERSION}, but it "
            f"is of {str(kind)[:80]!r}, version {str(version)[:20]}; update skinxai, or use a "
            f"version that reads it."
        )
    try:
        return _checked(content, digest)
    except (LookupError, TypeError, ValueError, AttributeError, SkinxaiError) as error:
        raise IntegrityError(
            f"{INDEX} in {str(folder)!r} must be as skinxai writes it: {error}; {REMEDY}."
        ) from error


def _checked(content: dict[str, Any], digest: str) -> Index:
    if set(content) | {"digest"} != KEYS:
        raise ValueError(f"its keys must be {sorted(KEYS)}")
    texts = [content[name] for name in ("attribution", "licence", "name", "part", "plan")]
    if not all(isinstance(each, str) for each in (*texts, *content["notes"])):
        raise ValueError("attribution, licence, name, part, plan and notes must be text")
    if type(content["leaked"]) is not bool:
        raise ValueError("leaked must be true or false")
    size, how = content["image_size"], content["interpolation"]
    if (size is None) != (how is None):
        raise ValueError("image_size and interpolation must both be there, or neither")
    labels = content["labels"]
    shards = {name: Listed(**each) for name, each in content["shards"].items()}
    for name, each in shards.items():
        plain = Path(name).name == name and name.endswith(SUFFIX) and "\\" not in name
        if not plain or type(each.bytes) is not int or type(each.samples) is not int:
            raise ValueError(f"{name!r} must be a tar with bytes, samples and sha256")
    if sum(each.samples for each in shards.values()) != content["images"]:
        raise ValueError("images must be the sum of the samples")
    return Index(
        content,
        LabelSet(tuple(labels["codes"]), labels["names"], labels["malignant"]),
        None if size is None else PreprocessConfig(tuple(size), interpolation=how),
        shards,
        digest,
    )
