"""`given_split`: the split that a data set comes with, in folders or in a column."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from skinxai.data.records import PART, PART_NAMES, SPLIT, Record, Records, check_records
from skinxai.data.splits import PARTS, Splits
from skinxai.data.stratifying import group, place
from skinxai.disk.tar_members import read_stored, stored_size
from skinxai.errors import DatasetError, LeakageError
from skinxai.flags import check_flags
from skinxai.images.limits import MAX_BYTES
from skinxai.numeric import whole_seed
from skinxai.plain_text import quoted

VAL_SHARE = 0.15
"""Share of the training images that become the validation part if there is none."""


def has_parts(records: Records) -> bool:
    """Whether every image names its part, and ``train`` is one of several parts."""
    parts = {_part(item) for item in records}
    return "" not in parts and "train" in parts and len(parts) > 1


def names_parts(records: Records) -> bool:
    """Whether images name several parts, or only some of the images name one."""
    return len({_part(item) for item in records}) > 1


def has_part_names(records: Records) -> bool:
    """Whether any image names its part."""
    return any(_part(item) for item in records)


def given_part(records: Records, part: str, *, allow_leakage: bool = False) -> Records:
    """One part of the split that the data came with, to evaluate a model on.

    Unlike `given_split`, it needs no training part and never makes a missing part.

    Args:
        records: records with parts, as in `given_split`.
        part: ``"train"``, ``"val"`` or ``"test"``.
        allow_leakage: as in `Splits.of`.

    Raises:
        DatasetError: if an image has no part, or this part has no image.
        LeakageError: a lesion, patient, image or file in two parts.
    """
    check_records(records, "given_part()")
    ids = _ids_of_parts(records)
    if not ids.get(part):
        has = ", ".join(f"{name} {len(of)}" for name, of in ids.items() if of)
        raise DatasetError(
            f"{records.name} must hold images in its {part} part to be judged on it, but it has "
            f"images in: {has}."
        )
    found: Records = getattr(_split_of(records, ids, allow_leakage=allow_leakage), part)
    return found


def given_split(records: Records, seed: int = 0, *, allow_leakage: bool = False) -> Splits:
    """The split that the data came with, for example folders ``train``, ``val`` and ``test``.

    Of a table, it is the column ``part`` or ``split``. If there is no validation part, 15% of the
    training images become it, grouped by lesion and patient and stratified by class, as in `split`.

    Args:
        records: records whose attribute ``part``, or else ``split``, is ``train``, ``val`` or
            ``test``, or one of their longer names; the attribute's name and these in any case.
        seed: seed of the random choice of validation images, 0 to 2⁶³ − 1.
        allow_leakage: as in `Splits.of`.

    Raises:
        DatasetError: if an image has no part, the training part is the only one, or the seed is
            outside its range.
        LeakageError: a lesion, patient, image or file in two parts.
    """
    check_records(records, "given_split()")
    seed = whole_seed(seed, error=DatasetError)
    ids = _ids_of_parts(records)
    if not has_parts(records):
        raise _no_parts(records, ", and some must be of 'train'")
    if not ids["val"]:
        ids["train"], ids["val"] = in_two(records.subset(ids["train"]), seed)
    return _split_of(records, ids, allow_leakage=allow_leakage)


def _ids_of_parts(records: Records) -> dict[str, list[str]]:
    """The image ids of each part."""
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    for item in records:
        if not (part := _part(item)):
            raise _no_parts(records)
        ids[part].append(item.image_id)
    return ids


def _no_parts(records: Records, more: str = "") -> DatasetError:
    found = sorted({_written(item) for item in records})
    return DatasetError(
        f"every image of {records.name} must have the attribute {PART!r} or {SPLIT!r}, one of "
        f"{list(PARTS)}{more}, got {found}",
        python="make a split with split()",
        command="correct it, or give --splits",
    )


def _split_of(records: Records, ids: dict[str, list[str]], *, allow_leakage: bool) -> Splits:
    check_flags(allow_leakage=allow_leakage)
    doubled = _same_files(records)
    if doubled and not allow_leakage:
        raise LeakageError(
            "parts must share no file; figures would be worth nothing:",
            doubled,
            python="remove the copies, or mark every figure with allow_leakage=True",
            command="remove the copies",
        )
    splits = Splits.of(records, ids, allow_leakage=allow_leakage)
    if doubled:
        train, val, test = (replace(getattr(splits, p), leaked=True) for p in PARTS)
        splits = replace(splits, train=train, val=val, test=test)
    return splits


def unread_parts(records: Iterable[Record]) -> str:
    """A remark on a column that is called as one of parts but names none; else empty."""
    items = list(records)
    names = sorted({text for item in items if (text := _written(item))})
    if not names or any(_part(item) for item in items):
        return ""
    shown = ", ".join(map(quoted, names[:3])) + (", …" if len(names) > 3 else "")
    return (
        f"the column {PART!r} or {SPLIT!r} is not read as a split, because it holds {shown} and "
        f"none of {list(PARTS)}"
    )


def _written(item: Record) -> str:
    """What the image's part is called; the second column counts where the first names no part."""
    columns = {name.lower(): str(value).strip() for name, value in item.attributes.items()}
    found = [columns[name] for name in (PART, SPLIT) if name in columns]
    return next((text for text in found if text.lower() in PART_NAMES), "".join(found[:1]))


def _part(item: Record) -> str:
    return PART_NAMES.get(_written(item).lower(), "")


def in_two(
    train: Records, seed: int, linked: Iterable[tuple[str, str]] = ()
) -> tuple[list[str], list[str]]:
    """Ids of the images that stay in the training part, and of the new validation part.

    Raises:
        DatasetError: if there are too few lesions for both.
    """
    groups = group(train, linked)
    if len(groups) < 2:
        raise DatasetError(
            f"{train.name} must have a val part, or two lesions in its train part, to choose on."
        )
    chosen = place(groups, train.labels, (1 - VAL_SHARE, VAL_SHARE), seed)
    ids: tuple[list[str], list[str]] = ([], [])
    for items, part in zip(groups, chosen, strict=True):
        ids[part].extend(item.image_id for item in items)
    if not all(ids):
        raise DatasetError(
            f"{train.name} must have a val part, or some class in two lesions of its train part, "
            f"to choose on."
        )
    return ids


def _same_files(records: Records) -> tuple[str, ...]:
    """Pairs of identical files in two parts; only files of one length are read."""
    by_size: dict[int, list[Record]] = defaultdict(list)
    for item in records:
        with suppress(OSError):  # reading it says what is wrong
            by_size[stored_size(item.path)].append(item)
    found = []
    for items in by_size.values():
        if _in_several(items):
            by_hash: dict[str, list[Record]] = defaultdict(list)
            for item in items:
                by_hash[_sha256(item.path)].append(item)
            found += [same for same in by_hash.values() if _in_several(same)]
    return tuple(" and ".join(quoted(item.image_id) for item in same) for same in found)


def _in_several(items: Sequence[Record]) -> bool:
    return len({_part(item) for item in items}) > 1


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_stored(path, MAX_BYTES)).hexdigest()
