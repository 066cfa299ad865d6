"""The index of a folder of shards: which tars belong to it, and what they have in common.

``index.json`` is written last. It lists the sha256, bytes and number of samples of each tar.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skinxai.configs import PreprocessConfig
from skinxai.data.descriptions import Description, Kind, read_description, write_description
from skinxai.data.records import Records
from skinxai.disk.regular_files import MAX_TEXT_BYTES, is_file, read_file
from skinxai.disk.tar_members import SUFFIX
from skinxai.errors import IntegrityError

INDEX = "index.json"
REMEDY = "copy the whole folder again, or write it anew with 'skinxai prepare --shards'"
KIND = Kind(
    INDEX, "webdataset shards", frozenset({"plan", "shards"}), (f"hold {INDEX}", REMEDY), REMEDY
)


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
        description: of the folder.
        plan: hash of what was to be written.
        shards: file name → what the index says of it, in order.
    """

    description: Description
    plan: str
    shards: dict[str, Listed]


def is_indexed(folder: Path) -> bool:
    """Whether a folder holds shards with an index of skinxai."""
    if not is_file(folder / INDEX):
        return False
    try:
        return f'"{KIND.format}"'.encode() in read_file(folder / INDEX, MAX_TEXT_BYTES)
    except OSError:
        return False


def write_index(
    folder: Path,
    records: Records,
    config: PreprocessConfig | None,
    shards: Mapping[str, Listed],
    plan: str,
) -> None:
    """Write the index of a folder that has its tars."""
    listed = {name: each._asdict() for name, each in shards.items()}
    write_description(folder, KIND, records, config, plan=plan, shards=listed)


def read_index(folder: Path) -> Index:
    """Read the index of a folder of shards; errors are those of `read_description`."""
    found = read_description(folder, KIND)
    try:
        return Index(found, *_checked(found.content))
    except (TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"{INDEX} in {str(folder)!r} must be as skinxai writes it: {error}; {REMEDY}."
        ) from error


def _checked(content: Mapping[str, Any]) -> tuple[str, dict[str, Listed]]:
    if not isinstance(content["plan"], str):
        raise ValueError("plan must be text")
    shards = {name: Listed(**each) for name, each in content["shards"].items()}
    for name, each in shards.items():
        plain = Path(name).name == name and name.endswith(SUFFIX) and "\\" not in name
        if not plain or type(each.bytes) is not int or type(each.samples) is not int:
            raise ValueError(f"{name!r} must be a tar with bytes, samples and sha256")
    if sum(each.samples for each in shards.values()) != content["images"]:
        raise ValueError("images must be the sum of the samples")
    return content["plan"], shards
