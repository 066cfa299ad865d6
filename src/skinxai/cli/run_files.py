"""The file of ``skinxai train --config``: a run's own ``train.json``, or one written by hand."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from skinxai.cli.table_options import ROLES, TableOptions
from skinxai.configs import MAX_JSON_BYTES, strict_json, unique_keys
from skinxai.disk.regular_files import read_file
from skinxai.disk.writing import write_atomic
from skinxai.errors import OptionError, did_you_mean
from skinxai.training.callbacks import Callback
from skinxai.training.settings import TrainConfig

COMMAND = "command"
_TEXTS = ("data", "out", "splits", "images", "delimiter", *ROLES)
_LISTS = ("labels", "malignant", "track")
_TABLES = ("column", "label")
_SETTINGS = TrainConfig.names()


@dataclass(frozen=True)
class Images:
    """Which labelled images a run learns from, as the command line has it."""

    data: Path
    table: TableOptions
    labels: list[str] | None = None
    malignant: list[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `read_run_file` gives it back; folders as absolute paths."""
        table, names = self.table, {role: name for name, role in ROLES.items()}
        values = {
            "data": str(self.data.absolute()),
            "images": None if table.images is None else str(table.images.absolute()),
            "delimiter": table.delimiter,
            "label": None if table.label_map is None else dict(table.label_map),
            "labels": self.labels,
            "malignant": self.malignant,
        } | {names[role]: column for role, column in (table.columns or {}).items()}
        return {name: value for name, value in values.items() if value is not None}


@final
class NoteImages(Callback):
    """Adds to a run's ``train.json`` which images it learns from, so that it can be repeated."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def on_start(self, run_folder: Path, settings: Mapping[str, Any]) -> None:
        """Write it."""
        path = run_folder / "train.json"
        known = json.loads(read_file(path, MAX_JSON_BYTES))
        data = json.dumps(known | {COMMAND: self._images.to_dict()}, indent=2).encode()
        write_atomic(path, data + b"\n")


def read_run_file(path: Path, *, split: bool = True) -> dict[str, Any]:
    """Names of options → values; names may be written with ``-`` or ``_``.

    Of a run's own ``train.json`` come its settings, what the command line noted in it, and the
    ``splits.csv`` beside it.

    Args:
        path: JSON, or TOML by its suffix.
        split: whether a run's own split is taken, which fits its own images alone.

    Raises:
        OptionError: no such file, no JSON or TOML, an unknown name, or a value of another kind.
    """
    try:
        data = read_file(path, MAX_JSON_BYTES)
        toml = path.suffix.lower() == ".toml"
        values = tomllib.loads(data.decode()) if toml else strict_json(data)
    except OSError as error:
        raise OptionError(f"config {str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise OptionError(f"config {str(path)!r} must be JSON or TOML: {error}.") from error
    if not isinstance(values, dict):
        raise OptionError(f"config {str(path)!r} must hold names and values, got a list.")
    if "settings" in values and "versions" in values:
        own = values["settings"] | values.get(COMMAND, {})
        splits = path.parent / "splits.csv"
        values = own | ({"splits": str(splits)} if split and splits.exists() else {})
    pairs = [(_known(path, name), _checked(path, name, value)) for name, value in values.items()]
    try:
        return unique_keys(pairs)  # as 'image-size' beside 'image_size'
    except ValueError as error:
        raise OptionError(f"config {str(path)!r} must have each option once: {error}.") from error


def images_of(
    values: Mapping[str, Any], data: Path | None, table: TableOptions, labels: list[str] | None,
    malignant: list[str] | None,
) -> Images:  # fmt: skip
    """What was given as options, and the values of a file where nothing was.

    Raises:
        OptionError: no data.
    """
    found = data or path_of(values, "data")
    if found is None:
        raise OptionError("--data must be given: a folder of labelled images, or a table.")
    single = {ROLES[name]: values[name] for name in ROLES if name in values}
    columns = {**values.get("column", {}), **single} or None
    written = TableOptions(
        path_of(values, "images"), columns, values.get("label"), values.get("delimiter")
    )
    return Images(
        found, table.over(written),
        values.get("labels") if labels is None else labels,
        values.get("malignant") if malignant is None else malignant,
    )  # fmt: skip


def path_of(values: Mapping[str, Any], name: str) -> Path | None:
    """A path of a file's values, or ``None``."""
    return Path(values[name]) if name in values else None


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `TrainConfig`, of the values of a file; text means what an option's text does."""
    chosen = {name: values[name] for name in _SETTINGS if name in values}
    texts = {name: value for name, value in chosen.items() if isinstance(value, str)}
    return chosen | TrainConfig.parse(texts)


def _known(path: Path, name: str) -> str:
    known = [*_TEXTS, *_LISTS, *_TABLES, "folds", *_SETTINGS]
    plain = name.replace("-", "_")
    if plain in known:
        return plain
    hint = did_you_mean(plain, known) or " 'skinxai train --help' lists the options."
    raise OptionError(f"config {str(path)!r} has an unknown option {name!r}.{hint}")


def _checked(path: Path, name: str, value: Any) -> Any:
    plain, rule = name.replace("-", "_"), ""
    if isinstance(value, str) and "\0" in value:  # no path can have it
        rule = "text without the character NUL"
    elif plain in _TEXTS and not isinstance(value, str):
        rule = "text"
    elif plain in _LISTS:
        value = value.split(",") if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            rule = "a list of names" if plain == "track" else "a list of labels"
        else:
            value = [each.strip() for each in value if each.strip()]
    elif plain in _TABLES and not (
        isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    ):
        rule = "names with their values"
    elif plain == "folds" and type(value) is not int:
        rule = "a whole number"
    elif plain == "augmentation" and not isinstance(value, str):
        raise OptionError(
            f"augmentation in {str(path)!r} is a pipeline of Python, which no file can hold; "
            f"give --augmentation light, standard or heavy."
        )
    if rule:
        raise OptionError(f"{name} in {str(path)!r} must be {rule}, got {value!r}.")
    return value
