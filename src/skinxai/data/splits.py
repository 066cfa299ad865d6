"""Splitting by lesion: no lesion, patient or near-duplicate pair is in two parts."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from skinxai.data.records import Record, Records
from skinxai.errors import DatasetError, DatasetSchemaError, LeakageError
from skinxai.writing import escape_cell, unescape_cell, write_atomic

PARTS = ("train", "val", "test")
BY = ("lesion", "image")


@dataclass(frozen=True)
class Splits:
    """Three parts of one `Records`, disjoint by lesion and patient; `Splits.of` makes one.

    Args:
        train: to learn from.
        val: to choose on.
        test: to judge on, once.
    """

    train: Records
    val: Records
    test: Records

    @classmethod
    def of(
        cls,
        records: Records,
        image_ids: Mapping[str, Iterable[str]],
        *,
        allow_leakage: bool = False,
    ) -> Splits:
        """Parts of ``records``, each sorted by image id.

        Args:
            records: what is split.
            image_ids: the ids of ``"train"``, ``"val"`` and ``"test"``; a part may be absent.
            allow_leakage: let a lesion, patient or image be in two parts, and mark every part,
                and every figure that comes from it, as leaked.

        Raises:
            LeakageError: a lesion, patient or image in two parts.
        """
        ids = {part: sorted(image_ids.get(part, ())) for part in PARTS}
        shared = _shared([records.subset(ids[part]) for part in PARTS])
        if shared and not allow_leakage:
            raise LeakageError(
                "parts must share no lesion, patient or image; figures would be worth nothing:",
                shared,
            )
        leaked = bool(shared)
        return cls(*(records.subset(ids[part], part=part, leaked=leaked) for part in PARTS))

    @property
    def leaked(self) -> bool:
        """Whether a lesion, patient or image is in two parts."""
        return self.train.leaked

    def to_csv(self, path: str | Path) -> str:
        """Write ``image_id,part``, sorted by id, and return the file's sha256."""
        rows = sorted((item.image_id, part) for part in PARTS for item in getattr(self, part))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("image_id", "part"))
        writer.writerows((escape_cell(name), part) for name, part in rows)
        data = text.getvalue().encode()
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
    ) -> Splits:
        """Read a file of `to_csv`.

        Args:
            path: the file.
            records: what it splits.
            sha256: what the file's hash must be.
            allow_leakage: as in `of`.

        Raises:
            DatasetError: another hash, or images that ``records`` lacks.
            LeakageError: as in `of`.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise DatasetError(
                f"splits {str(path)!r} must be readable: {error.strerror}."
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if sha256 is not None and found != sha256:
            raise DatasetError(f"sha256 of {str(path)!r} must be {sha256}, got {found}.")
        ids: dict[str, list[str]] = {part: [] for part in PARTS}
        for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")):
            if row.get("part") not in ids or row.get("image_id") is None:
                raise DatasetSchemaError(
                    f"{Path(path).name} must have the columns image_id and part, each part one of "
                    f"{list(PARTS)}, got {row}."
                )
            ids[row["part"]].append(unescape_cell(row["image_id"]))
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
    """Split into train, validation and test part, grouped by lesion, stratified by class.

    Images that share a lesion, a patient or a linked pair form one group, which goes into one
    part as a whole. Class by class, groups in random order go where most images are missing.
    The result depends on the seed and on the set of records, not on their order.

    Args:
        records: what to split.
        fractions: of images for train, validation and test; each > 0, their sum is 1.
        seed: of the random order.
        by: ``"lesion"``, or ``"image"``, which puts images of one lesion into several parts.
        allow_leakage: needed for ``by="image"`` where lesions or patients have several images;
            every figure from such a split is marked as leaked.
        linked: pairs of image ids that show the same skin (near duplicates).
        keep_in_test: image ids whose groups go into the test part.

    Raises:
        DatasetError: arguments outside their rule, ids that ``records`` lacks, or too few
            lesions for three parts.
        LeakageError: images of one lesion would be torn apart.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise DatasetError(f"fractions must be three numbers > 0 with sum 1, got {fractions}.")
    groups = _groups(records, linked, by)
    in_test = _groups_of(records, groups, keep_in_test)
    order = random.Random(seed)
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    for names in _by_class(records, groups).values():
        total = sum(len(groups[name]) for name in names)
        missing = {p: f * total for p, f in zip(PARTS, fractions, strict=True)}
        order.shuffle(names)
        names.sort(key=lambda name: name not in in_test)  # stable: forced groups first
        for name in names:
            part = "test" if name in in_test else max(PARTS, key=missing.__getitem__)
            ids[part].extend(item.image_id for item in groups[name])
            missing[part] -= len(groups[name])
    if empty := [part for part in PARTS if not ids[part]]:
        raise DatasetError(
            f"{records.name} must have enough lesions of some class for three parts; with "
            f"{len(groups)} in all the {empty[0]} part would be empty."
        )
    return Splits.of(records, ids, allow_leakage=allow_leakage)


def folds(
    records: Records, k: int = 5, seed: int = 0, *, linked: Iterable[tuple[str, str]] = ()
) -> tuple[Splits, ...]:
    """K-fold cross-validation, grouped by lesion and stratified by class.

    Args:
        records: what to split, e.g. train and validation part of a `Splits`.
        k: number of folds, >= 2.
        seed: of the random order.
        linked: as in `split`.

    Returns:
        K splits with an empty test part; each image is in the validation part of one of them.

    Raises:
        DatasetError: a class with fewer groups than folds, which some fold would lack.
    """
    if type(k) is not int or k < 2:
        raise DatasetError(f"k must be an integer >= 2, got {k!r}.")
    groups = _groups(records, linked, "lesion")
    order = random.Random(seed)
    parts: list[list[str]] = [[] for _ in range(k)]
    for code, names in _by_class(records, groups).items():
        if 0 < len(names) < k:
            raise DatasetError(
                f"each class must have at least {k} lesions for {k} folds, {code!r} has "
                f"{len(names)}; use fewer folds or merge classes."
            )
        counts = [0] * k
        order.shuffle(names)
        for name in names:
            fold = min(range(k), key=counts.__getitem__)
            parts[fold].extend(item.image_id for item in groups[name])
            counts[fold] += len(groups[name])
    return tuple(
        Splits.of(
            records,
            {"val": own, "train": [i for other in parts if other is not own for i in other]},
        )
        for own in parts
    )


Groups = Mapping[str, list[Record]]


def _groups(records: Records, linked: Iterable[tuple[str, str]], by: str) -> Groups:
    """Connected components of images under shared lesion, shared patient and links."""
    if by not in BY:
        raise DatasetError(f"by must be one of {BY}, got {by!r}.")
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    ordered = sorted(records, key=lambda item: item.image_id)
    for item in ordered:
        own = find(f"image {item.image_id}")
        if by == "lesion":
            parent[own] = find(f"lesion {item.lesion_id}")
            if item.patient_id is not None:
                parent[find(own)] = find(f"patient {item.patient_id}")
    for pair in linked:
        if missing := [i for i in pair if f"image {i}" not in parent]:
            raise DatasetError(f"linked must name images of {records.name}, got {missing[0]!r}.")
        parent[find(f"image {pair[0]}")] = find(f"image {pair[1]}")
    groups: dict[str, list[Record]] = {}
    for item in ordered:
        groups.setdefault(find(f"image {item.image_id}"), []).append(item)
    return groups


def _groups_of(records: Records, groups: Groups, image_ids: Iterable[str]) -> set[str]:
    group_of = {item.image_id: name for name, items in groups.items() for item in items}
    wanted = set(image_ids)
    if unknown := sorted(wanted - set(group_of)):
        raise DatasetError(f"keep_in_test must name images of {records.name}, got {unknown[0]!r}.")
    return {group_of[image_id] for image_id in wanted}


def _by_class(records: Records, groups: Groups) -> dict[str, list[str]]:
    """Names of the groups whose images mostly have each label."""
    names: dict[str, list[str]] = {code: [] for code in records.labels}
    for name, items in groups.items():
        counts = Counter(item.label for item in items)
        names[min(counts, key=lambda label: (-counts[label], label))].append(name)
    return names


def _shared(parts: Sequence[Records]) -> tuple[str, ...]:
    """What is in two of the parts, as text."""
    found = []
    for kind, key in (("image", "image_id"), ("lesion", "lesion_id"), ("patient", "patient_id")):
        sets = [{value for item in part if (value := getattr(item, key)) is not None}
                for part in parts]  # fmt: skip
        names = sorted({name for a, b in combinations(sets, 2) for name in a & b})
        found += [f"{kind} {name!r}" for name in names]
    return tuple(found)
