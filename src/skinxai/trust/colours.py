"""`colours`: twelve numbers about the colours of an image and how they change across it."""

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputDtypeError, InputShapeError

ROWS, COLUMNS = 48, 64
SAMPLES = 4  # pixels across one cell of the grid, at least, where an image has them
FLOOR = 1 / 255  # added before a logarithm is taken


def colours(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Describe an image on a grid of 48 × 64 cells, whatever its size and aspect ratio.

    Each cell has the mean of its pixels, as lightness ``(R + G + B) / 3``, red against green
    ``R - G`` and yellow against blue ``(R + G) / 2 - B``, with R, G and B from 0 to 1. For these
    three the description has the mean over all cells, and the logarithms of the standard
    deviation and of the mean absolute difference between neighbours, across and down. From 384
    rows or 512 columns on, every second is read, then every third and so on.

    Args:
        pixels: uint8 ``(H, W, 3)``, RGB.

    Returns:
        float32 ``(12,)``: three means, three deviations, three differences across, three down.

    Raises:
        InputShapeError: another shape, or no pixel.
        InputDtypeError: another dtype.
    """
    if pixels.dtype != np.uint8:
        raise InputDtypeError(f"pixels must be uint8, got {pixels.dtype}.")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputShapeError(f"pixels must be (H, W, 3) and not empty, got {pixels.shape}.")
    height, width = (
        max(1, side // (SAMPLES * cells))
        for side, cells in zip(pixels.shape, (ROWS, COLUMNS), strict=False)
    )
    red, green, blue = np.moveaxis(_cells(pixels[::height, ::width]), -1, 0)
    opponents = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue])
    changes = (
        opponents.std(axis=(1, 2)),
        np.abs(np.diff(opponents, axis=2)).mean(axis=(1, 2)),
        np.abs(np.diff(opponents, axis=1)).mean(axis=(1, 2)),
    )
    means = opponents.mean(axis=(1, 2))
    return np.concatenate([means, np.log(np.concatenate(changes) + FLOOR)]).astype(np.float32)


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean of each cell, 0–1, ``(48, 64, 3)``; of few pixels some stand in several cells."""
    height, width = pixels.shape[:2]
    rows, columns = np.arange(ROWS) * height // ROWS, np.arange(COLUMNS) * width // COLUMNS
    sums = np.add.reduceat(pixels, rows, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns, axis=1)
    tall = np.maximum(1, np.diff(np.append(rows, height)))
    wide = np.maximum(1, np.diff(np.append(columns, width)))
    return np.asarray(sums / (255.0 * tall[:, None, None] * wide[None, :, None]), np.float64)
