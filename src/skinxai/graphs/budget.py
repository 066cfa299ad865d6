"""How much a graph may compute and keep for one image, told from the sizes of its values."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from skinxai.errors import IntegrityError

LEAST, MOST, OF_A_PIXEL = 2**24, 2**28, 256
"""Elements of the largest value: as many as `OF_A_PIXEL` for each pixel, within these bounds."""
KEPT, MOST_KEPT = 3, 2**27
"""All values that are kept at one time: as many as `KEPT` of the largest, or `MOST_KEPT`."""
PRODUCTS, SHARE = 2**35, 8
"""Multiplications: as many as each weight once for every `SHARE` pixels, or `PRODUCTS`."""
OF_AN_ELEMENT = 16
"""Multiplications that take as long as reading or writing one element."""


class Step(NamedTuple):
    """What one node reads and computes.

    Args:
        reads: names of values of other nodes.
        writes: name → elements.
        products: multiplications, of convolutions and matrices.
        constant: whether it is the same for every image, so that a runtime may keep it.
    """

    reads: Sequence[Hashable]
    writes: Mapping[Any, int]
    products: int = 0
    constant: bool = False


def largest(height: int, width: int) -> int:
    """Elements that a value of a network may have for one image."""
    return min(MOST, max(LEAST, OF_A_PIXEL * height * width))


def check_budget(steps: Sequence[Step], image: tuple[int, int], weights: int, name: str) -> None:
    """Refuse a graph that computes longer, or keeps more at a time, than networks do.

    In a convolutional network or a transformer, a weight takes part in at most one multiplication
    for each position, and there are far fewer positions than pixels.

    Args:
        steps: in order.
        image: ``(height, width)``.
        weights: elements of all constants.
        name: of the graph, for messages.

    Raises:
        IntegrityError: more multiplications, or more elements at one time.
    """
    pixels = math.prod(image)
    most = max(PRODUCTS, weights * pixels // SHARE)
    most_kept = max(MOST_KEPT, KEPT * largest(*image))
    last = {each: place for place, step in enumerate(steps) for each in step.reads}
    sizes: dict[Hashable, int] = {}
    forever: set[Hashable] = set()
    products = kept = peak = 0
    for place, step in enumerate(steps):
        sizes |= step.writes
        forever |= set(step.writes) if step.constant else set()
        moved = sum(sizes.get(each, 0) for each in (*step.reads, *step.writes))
        products += step.products + OF_AN_ELEMENT * moved
        kept += sum(step.writes.values())
        peak = max(peak, kept)
        done = {each for each in (*step.reads, *step.writes) if last.get(each, place) == place}
        kept -= sum(sizes.get(each, 0) for each in done - forever)
    if products > most:
        raise IntegrityError(
            f"{name} must compute at most {most} multiplications for an image, but it would "
            f"compute {products}; export the model again."
        )
    if peak > most_kept:
        raise IntegrityError(
            f"{name} must keep at most {most_kept} elements at a time for an image, but it would "
            f"keep {peak}; export the model again."
        )
