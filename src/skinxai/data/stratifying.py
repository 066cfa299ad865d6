"""Place whole groups of images so that each part has its share of each class."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from skinxai.data.records import Record, Records
from skinxai.errors import DatasetError

BY = ("lesion", "image")
ORDERS = 20

Group = tuple[Record, ...]


def group(
    records: Records, linked: Iterable[tuple[str, str]] = (), by: str = "lesion"
) -> list[Group]:
    """Connected components of images under shared lesion, shared patient and links.

    By ``"image"``, only the linked pairs of image ids join images. The groups, and the images of
    each, are in the order of their image ids.

    Raises:
        DatasetError: if ``by`` is another, ``linked`` holds no pairs, or ``records`` lacks a linked
            id.
    """
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
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DatasetError(f"linked must hold pairs of image ids, got {pair!r:.200}.")
        if missing := [i for i in pair if f"image {i}" not in parent]:
            raise DatasetError(f"linked must name images of {records.name}, got {missing[0]!r}.")
        parent[find(f"image {pair[0]}")] = find(f"image {pair[1]}")
    groups: dict[str, list[Record]] = {}
    for item in ordered:
        groups.setdefault(find(f"image {item.image_id}"), []).append(item)
    return [tuple(items) for items in groups.values()]


def groups_with(groups: Sequence[Group], labels: Iterable[str]) -> dict[str, int]:
    """How many groups have an image of each label; labels without any image are left out."""
    counts = Counter(label for items in groups for label in {item.label for item in items})
    return {label: counts[label] for label in labels if counts[label]}


def place(
    groups: Sequence[Group],
    labels: Iterable[str],
    fractions: Sequence[float],
    seed: int,
    forced: Mapping[int, int] | None = None,
) -> list[int]:
    """Choose the part of each group.

    Groups are placed in the order of their rarest class, which is the one in the fewest groups.
    Within a class, large groups come first, and groups of about the same size come in random
    order. Each group goes where the squared differences between the parts' shares of its classes
    and ``fractions`` grow least, but the last groups with a class go into parts that lack it.
    This is the iterative stratification of Sechidis, Tsoumakas & Vlahavas (ECML PKDD 2011), with
    groups instead of single examples.

    If a part still lacks a class that is in enough groups, which can happen when groups have
    several rare classes, another order is tried, in which such classes come first.

    Args:
        groups: the groups to place.
        labels: the label set; its order breaks ties.
        fractions: shares of the images of each class for each part; each > 0, with sum 1.
        seed: seed of the random order.
        forced: the parts of groups whose part is fixed, by position in ``groups``.
    """
    draws = random.Random(seed)
    having = groups_with(groups, labels)
    rarest = sorted(having, key=having.__getitem__)
    best, fewest = [0] * len(groups), -1
    for _ in range(ORDERS):
        order = list(range(len(groups)))
        draws.shuffle(order)
        chosen, lacking = _placed(groups, having, rarest, fractions, order, forced or {})
        short = [c for c in rarest if lacking[c] and having[c] >= len(fractions)]
        if fewest < 0 or len(short) < fewest:
            best, fewest = chosen, len(short)
        if not short:
            break
        rarest.sort(key=lambda code: code not in short)
    return best


def _placed(
    groups: Sequence[Group],
    having: Mapping[str, int],
    rarest: Sequence[str],
    fractions: Sequence[float],
    order: Sequence[int],
    forced: Mapping[int, int],
) -> tuple[list[int], dict[str, set[int]]]:
    """The part of each group, and the parts without each class."""
    parts = range(len(fractions))
    rank = {label: n for n, label in enumerate(rarest)}
    counts = [Counter(item.label for item in items) for items in groups]
    total = sum(counts, Counter[str]())
    left = dict(having)  # groups that are not placed yet
    lacking = {label: set(parts) for label in having}
    missing = {label: list(fractions) for label in having}  # share of the class's images
    sizes = [0] * len(fractions)

    def turn(n: int) -> tuple[bool, int, int]:
        first = min(counts[n], key=rank.__getitem__)
        return n not in forced, rank[first], -counts[n][first].bit_length()

    def cost(n: int, part: int) -> tuple[int, float, float]:
        needed = sum(
            part in lacking[label] and left[label] <= len(lacking[label]) for label in counts[n]
        )
        rise = 0.0
        for label, count in counts[n].items():
            share = count / total[label]
            rise += share * (share - 2 * missing[label][part]) / fractions[part]
        return -needed, round(rise, 9), sizes[part] / fractions[part]

    chosen = [0] * len(groups)
    for n in sorted(order, key=turn):
        part = chosen[n] = forced[n] if n in forced else min(parts, key=lambda p: cost(n, p))
        sizes[part] += len(groups[n])
        for label, count in counts[n].items():
            left[label] -= 1
            lacking[label].discard(part)
            missing[label][part] -= count / total[label]
    return chosen, lacking
