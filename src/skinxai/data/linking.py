"""Pairs of images that look like copies of each other although nothing else joins them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from skinxai.data.stratifying import Group
from skinxai.model_folders.trained_on import Look, TrainedOn
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
    found: list[tuple[str, str]] = []
    names = [[item.image_id for item in items] for items in groups]
    with counter(max(0, len(groups) - 1), progress, "comparison") as count:
        waiting = [names] if len(names) > 1 else []
        while waiting:
            some = waiting.pop()
            halves = some[: len(some) // 2], some[len(some) // 2 :]
            first, second = ([name for each in half for name in each] for half in halves)
            for asked, known in ((first, second), (second, first)):
                found += _alike(asked, known, looks, not_copies)
            waiting += [half for half in halves if len(half) > 1]
            count(1)
    return tuple(sorted({(min(pair), max(pair)) for pair in found}))


def _alike(
    asked: Sequence[str], known: Sequence[str], looks: Mapping[str, Look],
    not_copies: Collection[str],
) -> list[tuple[str, str]]:  # fmt: skip
    """Each asked image that is like a known one, with one such."""
    others = [name for name in known if name not in not_copies]
    seen = TrainedOn.of_looks(looks[name] for name in known).seen(
        {name: looks[name] for name in asked}, not_copies=asked
    )
    pairs = [(name, _one_like(name, known, looks)) for name in seen.exact]
    free = {name: looks[name] for name in asked if name not in {*not_copies, *seen.exact}}
    copies = TrainedOn.of_looks(looks[name] for name in others).seen(free)
    return pairs + [(name, _one_like(name, others, looks)) for name in copies.copies]


def _one_like(name: str, among: Sequence[str], looks: Mapping[str, Look]) -> str:
    """One of the images that this one passes for a copy of, by halving."""
    while len(among) > 1:
        half = among[: len(among) // 2]
        inside = TrainedOn.of_looks(looks[other] for other in half).seen({name: looks[name]})
        among = half if inside else among[len(half) :]
    return among[0]
