"""Turn the rows of a table into `Records`; all problems are reported at once."""

import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skinxai.data.cleaning import NO_LABEL, alike, clean, fold, known_attributes, known_id
from skinxai.data.given import unread_parts
from skinxai.data.hints import Remedy
from skinxai.data.masks import grey_strays
from skinxai.data.records import Record, Records
from skinxai.data.tables import ImageFiles
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    did_you_mean,
)
from skinxai.labels import LabelSet
from skinxai.plain_text import MAX_CODE, MAX_NAME, broken_rule, composed, counted, printable, quoted

LEAK_COLUMNS = frozenset(
    {
        "benign_malignant", "concomitant_biopsy", "dataset", "diagnosis", "diagnosis_1",
        "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5", "diagnosis_confirm_type",
        "dx_type", "mel_class", "mel_mitotic_index", "mel_thick_mm", "mel_type", "mel_ulcer",
        "melanocytic", "nevus_type",
    }
)  # fmt: skip
"""Columns of HAM10000 and the ISIC archive that hold the label or say how it was found."""


@dataclass(frozen=True)
class Listed:
    """What one row of a table says of one image.

    Args:
        line: line number in the table.
        image: file name or image id.
        label: the label as it stands in the table.
        lesion_id: empty where it is not known.
        patient_id: empty where it is not known.
        attributes: further columns.
    """

    line: int
    image: str
    label: str
    lesion_id: str = ""
    patient_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def without_leaks(rows: Iterable[Listed]) -> Iterator[Listed]:
    """Rows of a table of HAM10000 or the ISIC archive without the columns that leak the label."""
    for row in rows:
        kept = {name: value for name, value in row.attributes.items() if name not in LEAK_COLUMNS}
        yield replace(row, attributes=kept)


def assemble(
    rows: Iterable[Listed],
    files: ImageFiles,
    *,
    table: str,
    labels: LabelSet | None,
    label_map: Mapping[str, str] | None = None,
    dedupe: bool = False,
    name: str = "private data",
    licence: str = "",
    attribution: str = "",
) -> Records:
    """Check all rows, find their files and build `Records`, sorted by image id, as `load_csv` does.

    Raises:
        DatasetError: the subclass of the first problem; the message lists all problems.
    """
    known = None if labels is None else list(labels)
    work = _Assembly(files, known, label_map or {}, dedupe)
    for row in rows:
        work.take(row)
    work.check(table)
    work.count_alone()
    notes = [f"{counted(count, 'row')} {what}" for what, count in work.counted.items() if count]
    notes += [f"no row has the label {raw!r}, which was to be renamed" for raw in work.unused]
    for kind in ("lesion_id", "patient_id"):
        for group in alike(getattr(item, kind) or "" for item in work.items):
            notes.append(f"{kind} {' and '.join(map(repr, group))} differ by blanks, case or zeros "
                         f"alone, and count as different")  # fmt: skip
    notes += files.notes()
    notes += filter(None, [unread_parts(work.items)])
    if labels is None:
        labels = LabelSet(tuple(sorted({item.label for item in work.items})))
        notes.append("no label order was declared: labels are sorted")
    items = sorted(work.items, key=lambda item: item.image_id)
    return Records(tuple(items), labels, name, licence, attribution, tuple(notes))


class _Assembly:
    """Takes the rows of one table one by one and keeps their records and problems."""

    def __init__(
        self,
        files: ImageFiles,
        known: Sequence[str] | None,
        label_map: Mapping[str, str],
        dedupe: bool,
    ) -> None:
        self.items: list[Record] = []
        self.counted: Counter[str] = Counter()
        self._files, self._known, self._dedupe = files, known, dedupe
        self._mapped = {clean(raw): composed(code) for raw, code in label_map.items()}
        self._problems: list[tuple[type[DatasetError], str]] = []
        self._seen: dict[str | Path, Listed] = {}  # by name and by file
        self._by_stem: dict[Path, int] = {}
        self._without: set[str] = set()  # images without a lesion id
        self._codes: Counter[str] = Counter()
        self._raw: set[str] = set()
        self._renames: dict[str, str] = {}

    def take(self, raw: Listed) -> None:
        """Check one row and make its record."""
        row = self._cleaned(raw)
        if not row.image:
            self._problems.append((DatasetSchemaError, f"line {row.line}: it names no image"))
            return
        self._raw.add(row.label)
        code = self._mapped.get(row.label, row.label)
        if self._repeats(row.image, row):
            return
        self._codes[code] += 1
        if wrong := self._wrong_label(row.label, code):
            self._problems.append((DatasetLabelError, f"line {row.line}: {wrong}"))
        for role in ("lesion_id", "patient_id"):
            if broken := broken_rule(role, getattr(row, role), MAX_NAME):
                text = f"line {row.line}: {broken.rstrip('.')}"
                self._problems.append((DatasetSchemaError, text))
        path = self._find(row)
        if path is None or self._repeats(path, row):
            return
        attributes = known_attributes(row.attributes, self.counted)
        name = row.image.replace("\\", "/")
        if name.startswith(("/", "./")) or name[1:2] == ":":
            name = self._files.short_name(path)
        elif "/" not in name:
            self._by_stem[path] = row.line
        else:
            name = row.image
        item = Record(
            printable(name), path, code, row.lesion_id, row.patient_id or None, attributes
        )
        self.items.append(item)
        if not row.lesion_id:
            self._without.add(item.image_id)

    def count_alone(self) -> None:
        """Count the rows without a lesion id, apart from images that others have as their lesion.

        These are the first of their lesion, or images and lesions are both numbered; nobody knows.
        """
        named = {item.lesion_id for item in self.items if item.image_id not in self._without}
        joined = sorted(self._without & named)
        alone = len(self._without) - len(joined)
        self.counted["without a lesion id, each counted as its own lesion"] = alone
        if joined:
            self.counted[
                f"without a lesion id whose image is the lesion_id of other rows, as "
                f"{quoted(joined[0])}, counted as of that lesion; give each a lesion id of its own "
                f"if it is another"
            ] = len(joined)

    @property
    def unused(self) -> list[str]:
        """Labels that were to be renamed and are in no row."""
        return [raw for raw in self._mapped if raw not in self._raw]

    def _beside_renamed(self) -> dict[str, str]:
        """Labels that would stay, although one that is spelt alike is renamed, and that one."""
        stay = sorted(self._raw.difference(self._mapped, self._known or ()))
        return {
            found: raw
            for found in stay
            for raw, code in self._mapped.items()
            if fold(found) == fold(raw) and found != code
        }

    def check(self, table: str) -> None:
        """Raise the error of the first problem; its message lists all of them."""
        for path in grey_strays(item.path for item in self.items):
            if path in self._by_stem:
                text = (
                    f"line {self._by_stem[path]}: {str(path)!r} has one channel and lies in "
                    f"another folder than the rest, so it looks like a mask; give its path below "
                    f"the folder if it is a lesion"
                )
                self._problems.append((DatasetPathError, text))
        if groups := alike(
            code for code in self._codes if self._known is None or code in self._known
        ):
            texts = tuple(
                " and ".join(f"{code!r} ({counted(self._codes[code], 'row')})" for code in group)
                for group in groups
            )
            renames = {code: group[0] for group in groups for code in group[1:]}
            raise DatasetLabelError(
                f"labels of {table} must not differ by blanks, case or zeros alone:",
                texts,
                **_rename(renames),
            )
        if near := self._beside_renamed():
            raise DatasetLabelError(
                f"labels of {table} must not differ from renamed ones by blanks, case or zeros "
                f"alone:",
                tuple(f"{found!r} differs from {raw!r}" for found, raw in near.items()),
                **_rename({found: self._mapped[raw] for found, raw in near.items()}),
            )
        if self._problems:
            several = len(self._problems) > 1
            raise self._problems[0][0](
                f"{table} must list each image once, with a known label and a file"
                + (f"; it breaks this {len(self._problems)} times:" if several else ";"),
                tuple(text for _, text in self._problems),
                **self._remedy(),
            )
        if not self.items:
            raise DatasetSchemaError(f"{table} must list at least one image, but it lists none.")

    def _remedy(self) -> Remedy:
        if self._renames:
            return _rename(self._renames)
        if all("is in line" in text for _, text in self._problems) and not self._dedupe:
            return {
                "python": "dedupe=True keeps the first of rows that agree",
                "command": "leave the repeated rows out of the table",
            }
        return {}

    def _cleaned(self, row: Listed) -> Listed:
        """The row without outer blanks; ids that mean "unknown" are empty."""
        made = {}
        for role in ("image", "label", "lesion_id", "patient_id"):
            text = getattr(row, role)
            made[role] = clean(text)
            if made[role] != unicodedata.normalize("NFC", text):
                self.counted[f"with blanks around the {role}, which were removed"] += 1
            if role.endswith("_id"):
                made[role] = known_id(text)
                short = made[role] and made[role] != clean(text)
                self.counted[f"with .0 after the number of the {role}, which was removed"] += bool(
                    short
                )
        if made["patient_id"] == "" and clean(row.patient_id):
            self.counted[f"whose patient is {clean(row.patient_id)!r}, which means unknown"] += 1
        return Listed(row.line, attributes=row.attributes, **made)

    def _repeats(self, key: str | Path, row: Listed) -> bool:
        """Whether an earlier row has this name or file; if none has, remember them."""
        earlier = self._seen.setdefault(key, row)
        if earlier is row:
            return False
        other = "" if row.image == earlier.image else f" as {earlier.image!r}"
        what = f"line {row.line}: image {row.image!r} is in line {earlier.line} already{other}"
        if row.label != earlier.label:
            self._problems.append((DatasetLabelError, f"{what}, with another label"))
        elif (row.lesion_id, row.patient_id) != (earlier.lesion_id, earlier.patient_id):
            self._problems.append((DatasetSchemaError, f"{what}, with another lesion or patient"))
        elif not self._dedupe:
            self._problems.append((DatasetSchemaError, what))
        self.counted["repeating another"] += 1
        return True

    def _find(self, row: Listed) -> Path | None:
        try:
            path = self._files.find(row.image)
        except DatasetPathError as error:
            self._problems.append((DatasetPathError, f"line {row.line}: {error}".rstrip(".")))
            return None
        if path is None:
            text = f"line {row.line}: no file {row.image!r}{self._files.why_not(row.image)}"
            self._problems.append((DatasetPathError, text))
        return path

    def _wrong_label(self, raw: str, code: str) -> str | None:
        known = self._known
        if known is not None and code in known:
            return None
        if broken := broken_rule("a label", code, MAX_CODE):
            return broken.rstrip(".")
        if raw.lower() in NO_LABEL and raw not in self._mapped:
            return "the label is empty"
        if known is None:
            return None
        allowed = sorted({*known, *self._mapped})
        for near in known:
            if fold(near) == fold(code):
                self._renames[raw] = near
                return (
                    f"label {raw!r} must be one of {allowed}; it differs from {near!r} by blanks, "
                    f"case or zeros alone"
                )
        hint = did_you_mean(code, allowed)
        return f"label {raw!r} must be one of {allowed}{hint and f'.{hint}'}"


def _rename(codes: Mapping[str, str]) -> Remedy:
    """The remedy for other labels, in Python and on the command line."""
    options = " ".join(f"--label {shlex.quote(f'{raw}={code}')}" for raw, code in codes.items())
    return {
        "python": f"say which is meant with label_map={dict(codes)}",
        "command": f"give {options}",
    }
