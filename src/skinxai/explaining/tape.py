"""`Tape`: scores of network passes that the maps of all classes share."""

import hashlib
from collections.abc import Callable

from torch import Tensor


class Tape:
    """Answers again what it has answered before, in the order of the first time.

    A perturbation method asks for the scores of the same images, whichever class it explains. Their
    hashes are compared, so that what a method asks for others is computed.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[bytes, Tensor]] = []
        self._place = 0

    def rewind(self) -> None:
        """Begin again, for the next class."""
        self._place = 0

    def __call__(self, images: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Scores ``(N, K)``, from memory or from the network.

        Args:
            images: ``(N, 3, H, W)``.
            network: images → scores.
        """
        mark = _mark(images)
        if self._place < len(self._kept) and self._kept[self._place][0] == mark:
            self._place += 1
            return self._kept[self._place - 1][1].clone()
        del self._kept[self._place :]  # other images, or smaller parts of them
        scores = network(images)
        self._kept.append((mark, scores.clone()))
        self._place += 1
        return scores


def _mark(images: Tensor) -> bytes:
    return hashlib.sha256(images.detach().cpu().contiguous().numpy().data).digest()
