"""Split by lesion: no lesion, patient or near-duplicate pair is in two parts."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from skinxai.configs import as_tuple
from skinxai.data.cleaning import clean
from skinxai.data.records import Records, check_records
from skinxai.data.stratifying import Group, group, groups_with, place
from skinxai.data.tables import SAVE_ANEW, check_columns, check_encoding
from skinxai.disk.regular_files import MAX_TABLE_BYTES, read_file
from skinxai.disk.writing import escape_cell, unescape_cell, write_atomic
from skinxai.errors import DatasetError, DatasetSchemaError, LeakageError, OptionError, did_you_mean
from skinxai.flags import check_flags
from skinxai.images.sources import describe
from skinxai.numeric import whole, whole_seed
from skinxai.plain_text import agreeing, quoted

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """Three parts of one `Records`, disjoint by lesion and patient; `Splits.of` makes one.

    Args:
        train: records to learn from.
        val: records to choose on.
        test: records to evaluate on, once.
        left_out: number of images that are in no part.
    """

    train: Records
    val: Records
    test: Records
    left_out: int = 0

    @classmethod
    def of(
        cls,
        records: Records,
        image_ids: Mapping[str, Iterable[str]],
        *,
        allow_leakage: bool = False,
    ) -> "Splits":
        """Make parts of ``records``, each sorted by image id.

        Args:
            records: the records to split.
            image_ids: the ids of ``"train"``, ``"val"`` and ``"test"``; a part may be absent.
            allow_leakage: allow a lesion, patient or image in two parts, and mark every part and
                every figure that comes from it as leaked.

        Raises:
            LeakageError: a lesion, patient or image in two parts; or ``records`` are a test part,
                and images of it would come into another part.
            OptionError: a part of another name.
        """
        check_flags(allow_leakage=allow_leakage)
        if unknown := [part for part in image_ids if part not in PARTS]:
            hint = did_you_mean(str(unknown[0]), PARTS)
            raise OptionError(
                f"image_ids must name parts of {list(PARTS)}, got {unknown[0]!r}.{hint}"
            )
        ids = {part: sorted(image_ids.get(part, ())) for part in PARTS}
        if records.part == "test" and (ids["train"] or ids["val"]):
            raise LeakageError(
                f"the test part of {records.name} must stay a test part: what is learnt or chosen "
                f"on it says nothing about other images; split the records that it came from."
            )
        shared = _shared([records.subset(ids[part]) for part in PARTS])
        if shared and not allow_leakage:
            raise LeakageError(
                "parts must share no lesion, patient or image; figures would be worth nothing:",
                shared,
            )
        leaked = bool(shared)
        left_out = len(records) - len({name for names in ids.values() for name in names})
        train, val, test = (records.subset(ids[part], part=part, leaked=leaked) for part in PARTS)
        return cls(train, val, test, left_out)

    @property
    def leaked(self) -> bool:
        """Whether a lesion, patient or image is in two parts."""
        return self.train.leaked

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the reader of figures: parts without a class, images in no part."""
        codes = list(self.train.labels)
        counts = {part: getattr(self, part).class_counts() for part in PARTS}
        known = {code for row in counts.values() for code, n in zip(codes, row, strict=True) if n}
        found = []
        for part, row in counts.items():
            absent = [c for c, n in zip(codes, row, strict=True) if not n and c in known]
            if absent and any(row):
                found.append(f"the {part} part has no image of {', '.join(absent)}")
        if self.left_out:
            total = self.left_out + len({i.image_id for p in PARTS for i in getattr(self, p)})
            found.append(
                f"{self.left_out} of {total} images {agreeing(self.left_out, 'is', 'are')} in no "
                f"part of the split"
            )
        return tuple(found)

    def to_csv(self, path: str | Path) -> str:
        """Write ``image_id,part``, sorted by id, and return the file's sha256."""
        rows = sorted((item.image_id, part) for part in PARTS for item in getattr(self, part))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("image_id", "part"))
        writer.writerows((escape_cell(name), part) for name, part in rows)
        data = text.getvalue().encode("utf-8", "surrogateescape")  # names need not be UTF-8
        write_atomic(path, data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        records: Records,
        *,
        sha256: str | None = None,
        allow_leakage: bool = False,
    ) -> "Splits":
        """Read a file that `to_csv` wrote.

        Args:
            path: the file.
            records: the records that it splits.
            sha256: hash that the file must have; ``None`` accepts any.
            allow_leakage: as in `of`.

        Image ids are compared without blanks around them and in Unicode's composed form.

        Raises:
            DatasetError: if the hash differs, the file is not CSV in UTF-8, or ``records`` lacks an
                image.
            LeakageError: as in `of`.
        """
        try:
            data = read_file(path, MAX_TABLE_BYTES)
        except OSError as error:
            raise DatasetError(f"splits {str(path)!r} cannot be read: {error.strerror}.") from error
        found = hashlib.sha256(data).hexdigest()
        if sha256 is not None and found != sha256:
            raise DatasetError(f"sha256 of {str(path)!r} must be {sha256}, got {found}.")
        ids = _read_parts(data, Path(path).name, records)
        return cls.of(records, ids, allow_leakage=allow_leakage)


def split(
    records: Records,
    fractions: Sequence[float] = (0.70, 0.15, 0.15),
    seed: int = 0,
    *,
    by: str = "lesion",
    allow_leakage: bool = False,
    linked: Iterable[tuple[str, str]] = (),
    keep_in_test: Iterable[str] = (),
) -> Splits:
    """Split into train, validation and test parts, grouped by lesion and stratified by class.

    Images that share a lesion, a patient or a linked pair form one group, which goes into one
    part as a whole. Groups are placed in the order of their rarest class, the rarest first, and
    otherwise in random order; each goes into the part whose share of its classes is furthest below
    the fraction. If possible, every part gets each class that is in three groups or more;
    ``notes`` of the result names the parts that lack a class. The result depends on the seed and on
    the set of records, not on their order.

    Args:
        records: the records to split.
        fractions: shares of the images of each class for train, validation and test; each > 0,
            with sum 1.
        seed: seed of the random order, 0 to 2⁶³ − 1.
        by: ``"lesion"``, or ``"image"``, which puts images of one lesion into several parts.
        allow_leakage: needed for ``by="image"`` where lesions or patients have several images;
            every figure from such a split is marked as leaked.
        linked: pairs of image ids that show the same skin (near duplicates).
        keep_in_test: image ids whose groups go into the test part.

    Raises:
        DatasetError: if an argument is outside its range, ``records`` lacks an id, or there are
            too few lesions for three parts.
        LeakageError: if images of one lesion would be in several parts, or ``records`` are a test
            part.
        OptionError: if ``records`` are none.
    """
    check_records(records, "split()")
    shares = as_tuple(fractions)
    numbers = isinstance(shares, tuple) and all(type(each) in (int, float) for each in shares)
    # NaN is neither above 0 nor below it
    if not (numbers and len(shares) == 3 and min(shares) > 0 and abs(sum(shares) - 1) <= 1e-9):
        raise DatasetError(f"fractions must be three numbers > 0 with sum 1, got {fractions!r}.")
    seed = whole_seed(seed, error=DatasetError)
    groups = group(records, linked, by)
    forced = dict.fromkeys(_positions(records, groups, keep_in_test), PARTS.index("test"))
    if max(groups_with(groups, records.labels).values(), default=0) < len(PARTS):
        raise DatasetError(
            f"{records.name} must have at least {len(PARTS)} lesions of some class, one for each "
            f"part; it has {len(groups)} in all, fewer than {len(PARTS)} of any class."
        )
    chosen = place(groups, records.labels, shares, seed, forced)
    ids = {part: _ids(groups, chosen, n) for n, part in enumerate(PARTS)}
    if empty := [part for part in PARTS if not ids[part]]:
        raise DatasetError(
            f"each part must have an image, but the {empty[0]} part of {records.name} would be "
            f"empty; keep fewer images in the test part."
        )
    return Splits.of(records, ids, allow_leakage=allow_leakage)


def folds(
    records: Records, k: int = 5, seed: int = 0, *, linked: Iterable[tuple[str, str]] = ()
) -> tuple[Splits, ...]:
    """K-fold cross-validation, grouped by lesion and stratified by class.

    Args:
        records: the records to split, e.g. train and validation part of a `Splits`.
        k: number of folds, >= 2.
        seed: seed of the random order, 0 to 2⁶³ − 1.
        linked: as in `split`.

    Returns:
        K splits with an empty test part; each image is in the validation part of one split.

    Raises:
        DatasetError: if an argument is outside its range, or a class is in fewer groups than there
            are folds.
        LeakageError: if ``records`` are a test part.
        OptionError: if ``records`` are none.
    """
    check_records(records, "folds()")
    k, seed = whole("k", k, 2, error=DatasetError), whole_seed(seed, error=DatasetError)
    groups = group(records, linked)
    for code, count in groups_with(groups, records.labels).items():
        if count < k:
            raise DatasetError(
                f"each class must have at least {k} lesions for {k} folds, but {code!r} has "
                f"{count}{_joined(groups, code, count)}; use fewer folds or merge classes."
            )
    chosen = place(groups, records.labels, [1 / k] * k, seed)
    parts = [_ids(groups, chosen, fold) for fold in range(k)]
    return tuple(
        Splits.of(
            records,
            {"val": own, "train": [i for other in parts if other is not own for i in other]},
        )
        for own in parts
    )


def check_splits(splits: object, wanted_by: str) -> None:
    """Refuse what is no `Splits`, such as `Records` that are not split; an `OptionError`."""
    if not isinstance(splits, Splits):
        raise OptionError(
            f"{wanted_by} needs Splits, which skinxai.data.split(records) and "
            f"given_split(records) return, got {type(splits).__name__} {splits!r:.80}."
        )


def _read_parts(data: bytes, name: str, records: Records) -> dict[str, list[str]]:
    """Image ids of each part, as ``records`` has them."""
    check_encoding(data, name)
    known = {clean(item.image_id): item.image_id for item in records}
    known |= {item.image_id: item.image_id for item in records}
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    text = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
    try:
        rows = csv.DictReader(text, strict=True)
        check_columns(rows.fieldnames or (), name)
        for row in rows:
            part, image = clean(row.get("part") or ""), row.get("image_id")
            if part not in ids or image is None:
                raise DatasetSchemaError(
                    f"{name} must have the columns image_id and part, each part one of "
                    f"{list(PARTS)}, {_found(row)}",
                    python="correct it, or make a split with split()",
                    command="correct it, or leave --splits out",
                )
            image = unescape_cell(image)
            found = known.get(image, known.get(clean(image), image))
            if found not in known and not _is_utf8(found):
                raise DatasetSchemaError(
                    f"{name} must be CSV in UTF-8, but {describe(found)} is not; {SAVE_ANEW}."
                )
            ids[part].append(found)
    except csv.Error as error:
        raise DatasetSchemaError(f"{name} must be CSV in UTF-8: {error}.") from error
    return ids


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ids(groups: Sequence[Group], chosen: Sequence[int], part: int) -> list[str]:
    return [i.image_id for items, n in zip(groups, chosen, strict=True) if n == part for i in items]


def _positions(records: Records, groups: Sequence[Group], image_ids: Iterable[str]) -> set[int]:
    """Where in ``groups`` the images are."""
    place_of = {item.image_id: n for n, items in enumerate(groups) for item in items}
    wanted = set(image_ids)
    if unknown := sorted(wanted - set(place_of)):
        raise DatasetError(f"keep_in_test must name images of {records.name}, got {unknown[0]!r}.")
    return {place_of[image_id] for image_id in wanted}


def _joined(groups: Sequence[Group], code: str, count: int) -> str:
    """Addition to a message for a class whose lesions share patients or are linked."""
    lesions = {item.lesion_id for items in groups for item in items if item.label == code}
    if len(lesions) == count:
        return ""
    return f" (its {len(lesions)} lesions share patients or are linked)"


def in_two_parts(parts: Iterable[Records], key: str) -> list[str]:
    """The ids, of the field ``key``, that images of two of the parts have, sorted."""
    sets = [{getattr(item, key) for item in part} - {None} for part in parts]
    return sorted({name for a, b in combinations(sets, 2) for name in a & b})


def _shared(parts: Sequence[Records]) -> tuple[str, ...]:
    """What is in two of the parts, as text."""
    kinds = (("image", "image_id"), ("lesion", "lesion_id"), ("patient", "patient_id"))
    return tuple(
        f"{kind} {quoted(name)}" for kind, key in kinds for name in in_two_parts(parts, key)
    )


def _found(row: Mapping[str | None, object]) -> str:
    """What is wrong with the first such row of a file of parts."""
    if "image_id" in row and "part" in row:
        return f"got {row['part']!r} for {row['image_id']!r}"
    return f"but it has {[name for name in row if name is not None]}"
