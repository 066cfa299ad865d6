"""Probabilities as they come in: refused unless every row is a distribution over the classes."""

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputRangeError, InputShapeError

Floats = npt.NDArray[np.float64]
SUM_TOLERANCE = 1e-3
"""Most by which a row's sum may differ from 1: half precision stays below, logits do not."""


def probability_rows(values: npt.ArrayLike, ndim: int = 2, name: str = "probabilities") -> Floats:
    """Probabilities as float64, not copied where they are already.

    Args:
        values: ``(..., K)``: each row over the last axis finite, in [0, 1] and with sum 1 within
            0.001, K ≥ 2.
        ndim: how many axes it must have.
        name: what the error calls it.

    Raises:
        InputShapeError: another number of axes, no row at all, or a single class.
        InputRangeError: a row that is not finite or not a distribution.
    """
    shape = "(N, K)" if ndim == 2 else "(P, N, K)"
    try:
        rows = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputShapeError(f"{name} must be an array of numbers {shape}: {error}.") from error
    if rows.ndim != ndim or not rows.size or rows.shape[-1] < 2:
        raise InputShapeError(
            f"{name} must have the shape {shape}, with at least one row and two classes, got "
            f"{rows.shape}."
        )
    sums = rows.sum(axis=-1)
    bad = ~((rows >= 0) & (rows <= 1)).all(axis=-1) | ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        row = ", ".join(f"{value:.4g}" for value in rows[place][:8])
        raise InputRangeError(
            f"each row of {name} must be finite, in [0, 1] and have the sum 1, row "
            f"{place[0] if ndim == 2 else place} is [{row}{', …' if rows.shape[-1] > 8 else ''}]; "
            f"{int(bad.sum())} of {bad.size} rows break this."
        )
    return rows
