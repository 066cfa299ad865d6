"""Pairs of images that look like copies of each other although nothing else joins them."""

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
    pair; it is not in a pair with every image that it is like. Images of one group, which stay
    together anyway, are not compared.

    A pair is left out if both of its images are in ``not_copies``: `Trainer` takes each image of
    two parts for a copy of the other, and either may come into the part that is judged. Pairs with
    the same pixels are found nevertheless.
    """
    items = [(item.image_id, number) for number, own in enumerate(groups) for item in own]
    found = set(_identical(items, looks))
    names = set(not_copies)
    excused = {place for place, (name, _) in enumerate(items) if name in names}
    prints = [looks[name].fingerprint for name, _ in items]
    compared = sum(map(bool, prints)) ** 2 - sum(bool(prints[place]) for place in excused) ** 2
    with counter(compared, progress, "comparison") as count:
        alike = alike_places(prints, [number for _, number in items], count, excused=excused)
    for (name, _), place in zip(items, alike, strict=True):
        if place is not None:
            found.add((name, items[place][0]))
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
