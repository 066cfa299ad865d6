"""`Reliefs`: cosine transforms of images' textures, used to find copies of images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ORDERS = 20
SPECTRUM = np.asarray(
    1 / (1 + np.add.outer(np.arange(ORDERS) ** 2, np.arange(ORDERS) ** 2) / 94), np.float32
)
"""How strong each coefficient is in photographs of skin, fitted to HAM10000."""


@dataclass(frozen=True)
class Reliefs:
    """Cosine transforms of images' textures, the longer side of each image across.

    Args:
        values: coefficients divided by `SPECTRUM`, float32 ``(N, 20, 20)``.
        square: whether the sides of an image are so similar that a copy may have exchanged them,
            ``(N,)``.
    """

    values: npt.NDArray[np.float32]
    square: npt.NDArray[np.bool_]

    def __getitem__(self, rows: slice) -> "Reliefs":
        return Reliefs(self.values[rows], self.square[rows])


def cosines(places: npt.NDArray[np.float64], orders: int = ORDERS) -> npt.NDArray[np.float64]:
    """Cosine functions at places from 0 to 1, ``(N, orders)``; orthonormal over the interval."""
    waves = np.cos(np.pi * np.outer(places, np.arange(orders))) * 2**0.5
    waves[:, 0] = 1
    return np.asarray(waves)
