"""`Share`: which images of a batch each rank has. No torch."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Share:
    """Which images of a batch each rank has.

    Args:
        counts: number of images of each rank.
        rank: the rank that asks.
        failures: images of the batch that could not be read, on any rank.
    """

    counts: tuple[int, ...]
    rank: int
    failures: list[Any]

    @property
    def count(self) -> int:
        """Number of images in the whole batch."""
        return sum(self.counts)

    @property
    def own(self) -> int:
        """Number of images of this rank."""
        return self.counts[self.rank]

    def rows(self, where: slice) -> slice:
        """This rank's rows that lie in a part, given by its places, of the whole batch."""
        places = places_of(self.counts)[self.rank]
        return slice(bisect_left(places, where.start), bisect_left(places, where.stop))


def places_of(counts: Sequence[int]) -> list[list[int]]:
    """Place of each image of each rank in the whole batch: the ranks take turns."""
    places: list[list[int]] = [[] for _ in counts]
    for place, (rank, _) in enumerate(homes(counts)):
        places[rank].append(place)
    return places


def homes(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Rank and row of each place in the whole batch."""
    turns = sorted((row, rank) for rank, number in enumerate(counts) for row in range(number))
    return [(rank, row) for row, rank in turns]
