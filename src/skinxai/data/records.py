"""`Records`: labelled images in a fixed order, whatever they were read from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai.data.cleaning import plain_id
from skinxai.errors import DatasetError, DatasetLabelError, DatasetSchemaError, OptionError
from skinxai.flags import check_flags
from skinxai.labels import LabelSet
from skinxai.plain_text import (
    MAX_CODE,
    MAX_LICENCE,
    MAX_LINE,
    MAX_NAME,
    agreeing,
    broken_rule,
    counted,
    one_line,
    printable,
    quoted,
)
from skinxai.readonly import ReadOnly

if TYPE_CHECKING:
    import pandas as pd

    from skinxai.data.shards import PreparedPixels
    from skinxai.data.tar_shards import ResizedImages

PART = "part"
"""Name of the attribute that holds the part of an image, if the data came with a split."""
SPLIT = "split"
"""Another name of that column in tables, if there is none called `PART`."""
PART_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of parts in folders and tables, in lower case."""
_OUTER = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
"""Tabs and line ends, which are stripped from the ends of a cell's text."""


@dataclass(frozen=True)
class Record:
    r"""One labelled image.

    Args:
        image_id: unique within its `Records`.
        path: the image file; text becomes a `Path`.
        label: a code of the label set.
        lesion_id: images of one lesion share it; defaults to ``image_id``. Blanks around it and the
            ``.0`` of a whole number are left out, and it is composed.
        patient_id: images of one patient share it, written as ``lesion_id`` is; ``None`` or empty
            text if unknown.
        attributes: further columns for subgroup tables; never an input to a network. Tabs and
            ends of lines around their names and texts are left out, and an escape such as ``\x1b``
            stands for each hidden character in them.

    Raises:
        OptionError: a path that is none, or attributes that are no mapping.
    """

    image_id: str
    path: Path
    label: str
    lesion_id: str = ""
    patient_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lesion = "" if self.lesion_id == self.image_id else _id(self.lesion_id)
        object.__setattr__(self, "lesion_id", self.image_id if lesion in ("", None) else lesion)
        patient = _id(self.patient_id)
        object.__setattr__(self, "patient_id", None if patient == "" else patient)
        if not isinstance(self.path, Path):
            if not isinstance(self.path, str | os.PathLike):
                raise OptionError(
                    f"path of {self.image_id!r:.80} must be the path of an image file, got "
                    f"{self.path!r:.80}."
                )
            object.__setattr__(self, "path", Path(self.path))
        if not isinstance(self.attributes, Mapping):
            raise OptionError(
                f"attributes of {self.image_id!r:.80} must be a mapping from names to values, got "
                f"{self.attributes!r:.80}; leave the argument out where there are none."
            )
        plain = {_plain(name): _plain(value) for name, value in self.attributes.items()}
        object.__setattr__(self, "attributes", ReadOnly(plain))


def _id(value: Any) -> Any:
    """A lesion or patient id; what is not text stays."""
    return plain_id(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """An attribute's name or value; what is not text stays."""
    return printable(value.strip(_OUTER)) if isinstance(value, str) else value


@dataclass(frozen=True, repr=False)
class Records(Sequence[Record]):
    """Labelled images in a fixed order.

    Args:
        items: the records; image ids must be unique and labels known.
        labels: the label set, or its codes in logit order.
        name: name of the data set.
        licence: licence of the data set, as an SPDX expression if there is one.
        attribution: who must be named.
        notes: remarks on these records, e.g. values that were left out on loading.
        part: ``"train"``, ``"val"`` or ``"test"`` once they were split, otherwise empty.
        leaked: whether images of one lesion or patient are in another part as well.
        pixels: the pixels in a prepared folder, where ``path`` is the original, or in shards of
            resized images.

    Raises:
        DatasetSchemaError: if an image id occurs twice, or a name or id is not printable text on
            one line, of bounded length.
        DatasetLabelError: if a label is outside the label set.
        OptionError: items that are no records, or labels without an order, such as those of a set.
    """

    items: tuple[Record, ...]
    labels: LabelSet
    name: str = "private data"
    licence: str = ""
    attribution: str = ""
    notes: tuple[str, ...] = ()
    part: str = ""
    leaked: bool = False
    pixels: PreparedPixels | ResizedImages | None = None

    def __post_init__(self) -> None:
        check_flags(leaked=self.leaked)
        object.__setattr__(self, "leaked", bool(self.leaked))
        object.__setattr__(self, "items", _records(self.items))
        object.__setattr__(self, "labels", LabelSet.of(self.labels))
        object.__setattr__(self, "notes", tuple(map(one_line, self.notes)))
        if broken := next(filter(None, self._broken()), ""):
            raise DatasetSchemaError(broken)
        counts = Counter(item.image_id for item in self.items)
        if doubled := tuple(quoted(name) for name, count in counts.items() if count > 1):
            raise DatasetSchemaError("image_id must be unique, but these occur twice:", doubled)
        known = set(self.labels)
        if wrong := tuple(
            f"{quoted(item.image_id)} has {item.label!r}"
            for item in self.items
            if item.label not in known
        ):
            raise DatasetLabelError(f"labels must be one of {list(self.labels)};", wrong)

    def _broken(self) -> Iterator[str]:
        """The rules of text that names and ids break."""
        yield broken_rule("name of the data set", self.name, MAX_NAME)
        yield broken_rule(f"licence of {self.name}", self.licence, MAX_LICENCE)
        yield broken_rule(f"attribution of {self.name}", self.attribution, MAX_LINE)
        yield broken_rule(f"part of {self.name}", self.part, MAX_CODE)
        for item in self.items:
            yield broken_rule("image_id", item.image_id, MAX_LINE)
            name = quoted(item.image_id)
            yield broken_rule(f"lesion_id of {name}", item.lesion_id, MAX_LINE)
            if item.patient_id is not None:
                yield broken_rule(f"patient_id of {name}", item.patient_id, MAX_NAME)

    @property
    def described(self) -> str:
        """Name of the data set, and of the part where these are one: ``"HAM10000, val part"``."""
        return ", ".join(filter(None, (self.name, self.part and f"{self.part} part")))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def __repr__(self) -> str:
        counts = zip(self.labels, self.class_counts(), strict=True)
        shown = ", ".join(f"{code} {count}" for code, count in counts)
        lesions = len({item.lesion_id for item in self.items})
        part = f", {self.part} part" if self.part else ""
        leaked = ", LEAKED" if self.leaked else ""
        prepared = "" if self.pixels is None else f", {self.pixels.describe()}"
        return (
            f"Records({self.name}{part}: {counted(len(self), 'image')} of "
            f"{counted(lesions, 'lesion')}; {shown}{leaked}{prepared})"
        )

    def subset(
        self, image_ids: Iterable[str], *, part: str | None = None, leaked: bool = False
    ) -> Records:
        """The records with these ids, in this order.

        Args:
            image_ids: the ids.
            part: part of the result; ``None``: that of these records, so that some images of the
                test part are test images still.
            leaked: mark the result as leaked; records that are leaked stay so.

        Raises:
            DatasetError: an unknown id.
            OptionError: one text instead of several ids.
        """
        check_flags(leaked=leaked)
        if isinstance(image_ids, str):
            raise OptionError(f"image_ids must be a list of image ids, got {image_ids!r:.80}.")
        image_ids = tuple(image_ids)
        by_id = {item.image_id: item for item in self.items}
        if missing := tuple(repr(i) for i in image_ids if i not in by_id):
            raise DatasetError(
                f"{self.name} must hold every image asked for; {len(missing)} "
                f"{agreeing(len(missing), 'is', 'are')} missing:",
                missing,
            )
        chosen = tuple(by_id[i] for i in image_ids)
        part = self.part if part is None else part
        return replace(self, items=chosen, part=part, leaked=leaked or self.leaked)

    def targets(self) -> list[int]:
        """Class position of each record."""
        position = {code: k for k, code in enumerate(self.labels)}
        return [position[item.label] for item in self.items]

    def class_counts(self) -> list[int]:
        """Images of each class, in label order."""
        counts = Counter(self.targets())
        return [counts[k] for k in range(len(self.labels))]

    def to_frame(self) -> pd.DataFrame:
        """The records as a pandas table, one row for each image, in order.

        Returns:
            Columns ``image_id``, ``label``, ``lesion_id``, ``patient_id``, ``path``, and one for
            each attribute, in order of first occurrence; an attribute with one of these names
            becomes ``attribute_NAME``.
        """
        import pandas as pd

        own = ("image_id", "label", "lesion_id", "patient_id", "path")
        names = dict.fromkeys(name for item in self for name in item.attributes)
        columns = {name: f"attribute_{name}" if name in own else name for name in names}
        rows = [
            {name: getattr(item, name) for name in own}
            | {columns[name]: value for name, value in item.attributes.items()}
            for item in self
        ]
        return pd.DataFrame(rows, columns=[*own, *columns.values()])


def _records(items: object) -> tuple[Record, ...]:
    found = tuple(items) if isinstance(items, Iterable) else (items,)
    wrong = [each for each in found if not isinstance(each, Record)]
    if wrong:
        raise OptionError(
            f"items of Records must be a list of Record, got {type(wrong[0]).__name__} "
            f"{wrong[0]!r:.80}."
        )
    return found


def check_records(records: object, wanted_by: str) -> None:
    """Refuse what is no `Records`, such as a folder's name.

    Raises:
        OptionError: it is not.
    """
    if not isinstance(records, Records):
        raise OptionError(
            f"{wanted_by} needs Records, which skinxai.data.load_folder(folder) and "
            f"load_csv(csv, images) return, got {type(records).__name__} {records!r:.80}."
        )
