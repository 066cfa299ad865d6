"""Splitting by lesion: no lesion, patient or near-duplicate pair is in two parts."""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinxai.data.records import Record, Records
from skinxai.errors import DatasetError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """Three parts of one `Records`, disjoint by lesion, patient and linked pairs."""

    train: Records
    val: Records
    test: Records

    def to_csv(self, path: str | Path) -> str:
        """Write ``image_id,part``, sorted by id, and return the file's sha256."""
        rows = sorted((item.image_id, part) for part in PARTS for item in getattr(self, part))
        text = "image_id,part\n" + "".join(f"{image_id},{part}\n" for image_id, part in rows)
        Path(path).write_bytes(text.encode())
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_csv(cls, path: str | Path, records: Records, *, sha256: str | None = None) -> Splits:
        """Read a file of `to_csv`.

        Raises:
            DatasetError: another hash than ``sha256``, or images that ``records`` lacks.
        """
        data = Path(path).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if sha256 is not None and found != sha256:
            raise DatasetError(f"sha256 of {str(path)!r} must be {sha256}, got {found}.")
        rows = list(csv.DictReader(data.decode().splitlines()))
        ids = {p: [row["image_id"] for row in rows if row["part"] == p] for p in PARTS}
        return cls(*(records.subset(ids[part]) for part in PARTS))


def split(
    records: Records,
    fractions: Sequence[float] = (0.70, 0.15, 0.15),
    seed: int = 0,
    *,
    linked: Iterable[tuple[str, str]] = (),
    keep_in_test: Iterable[str] = (),
) -> Splits:
    """Split into train, validation and test part, grouped by lesion, stratified by class.

    Images that share a lesion, a patient or a linked pair form one group, which goes into one
    part as a whole. Class by class, groups in random order go where most images are missing.

    Args:
        records: what to split.
        fractions: of images for train, validation and test; each > 0, their sum is 1.
        seed: of the random order.
        linked: pairs of image ids that show the same skin (near duplicates).
        keep_in_test: image ids whose groups go into the test part.

    Raises:
        DatasetError: fractions outside their rule, or ids that ``records`` lacks.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise DatasetError(f"fractions must be three numbers > 0 with sum 1, got {fractions}.")
    groups = _groups(records, linked)
    group_of = {item.image_id: g for g, items in groups.items() for item in items}
    forced = set(keep_in_test)
    if unknown := sorted(forced - set(group_of)):
        raise DatasetError(f"keep_in_test must name images of {records.name}, got {unknown[0]!r}.")
    in_test = {group_of[image_id] for image_id in forced}
    by_class: dict[str, list[str]] = {code: [] for code in records.labels}
    for name, items in groups.items():
        by_class[_majority(items)].append(name)

    order = random.Random(seed)
    parts: dict[str, list[Record]] = {part: [] for part in PARTS}
    for names in by_class.values():
        total = sum(len(groups[name]) for name in names)
        missing = {p: f * total for p, f in zip(PARTS, fractions, strict=True)}
        order.shuffle(names)
        names.sort(key=lambda name: name not in in_test)  # stable: forced groups first
        for name in names:
            part = "test" if name in in_test else max(PARTS, key=missing.__getitem__)
            parts[part].extend(groups[name])
            missing[part] -= len(groups[name])
    return Splits(*(records.subset(sorted(i.image_id for i in parts[p])) for p in PARTS))


def _majority(items: Sequence[Record]) -> str:
    counts = Counter(item.label for item in items)
    return min(counts, key=lambda label: (-counts[label], label))


def _groups(records: Records, linked: Iterable[tuple[str, str]]) -> Mapping[str, list[Record]]:
    """Connected components of images under shared lesion, shared patient and links."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for item in records:
        parent[find(f"image {item.image_id}")] = find(f"lesion {item.lesion_id}")
        if item.patient_id is not None:
            parent[find(f"image {item.image_id}")] = find(f"patient {item.patient_id}")
    for pair in linked:
        if missing := [i for i in pair if f"image {i}" not in parent]:
            raise DatasetError(f"linked must name images of {records.name}, got {missing[0]!r}.")
        parent[find(f"image {pair[0]}")] = find(f"image {pair[1]}")
    groups: dict[str, list[Record]] = {}
    for item in records:
        groups.setdefault(find(f"image {item.image_id}"), []).append(item)
    return groups
