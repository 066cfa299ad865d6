"""Pairs of images that look like copies of each other although nothing else joins them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from skinxai.data.stratifying import Group
from skinxai.model_folders.fingerprints import alike_places
from skinxai.model_folders.trained_on import Look
from skinxai.progress import Progress, counter


def alike_pairs(
    groups: Sequence[Group],
    looks: Mapping[str, Look],
    *,
    not_copies: Collection[str] = (),
    progress: Progress = None,
) -> tuple[tuple[str, str], ...]:
    """Pairs of image ids of two groups that look like copies, to be passed as ``linked``.

    They are what `Trainer` refuses in two parts: images with the same pixels, and images that look
    like copies by their fingerprints. Each image that is like some image of another group is in a
    pair; it is not in a pair with every image that it is like. Images of one group are not
    compared.

    Args:
        groups: images that stay together anyway, from `skinxai.data.stratifying.group`.
        looks: image id → what it is recognised by.
        not_copies: ids of images that look like copies but are not; pairs with the same pixels
            are found nevertheless.
        progress: as in `skinxai.progress.Progress`.
    """
    items = [(item.image_id, number) for number, own in enumerate(groups) for item in own]
    found = set(_identical(items, looks))
    excluded = set(not_copies)
    free = [(name, number) for name, number in items if name not in excluded]
    prints = [looks[name].fingerprint for name, _ in free]
    with counter(sum(map(bool, prints)) ** 2, progress, "comparison") as count:
        alike = alike_places(prints, [number for _, number in free], count)
    for (name, _), place in zip(free, alike, strict=True):
        if place is not None:
            found.add((name, free[place][0]))
    return tuple(sorted({(min(pair), max(pair)) for pair in found}))


def _identical(
    items: Sequence[tuple[str, int]], looks: Mapping[str, Look]
) -> Iterator[tuple[str, str]]:
    """Each image with the pixels of one of another group, with one such."""
    same: dict[str, list[tuple[str, int]]] = {}
    for name, number in items:
        same.setdefault(looks[name].digest, []).append((name, number))
    for own in same.values():
        first, group = own[0]
        other = next((name for name, number in own if number != group), None)
        if other is not None:
            yield from ((name, other if number == group else first) for name, number in own)
