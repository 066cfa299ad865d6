"""Superpixels: k-means on colour and place, the idea of SLIC. The only file that clusters."""

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError

COMPACTNESS = 0.5
"""Distance between neighbouring centres, in standard deviations of the image's colour."""
LONGEST = 96
"""Pixels along the longer side at which the clusters are found."""


def superpixels(pixels: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Segment an image into about ``count`` compact patches of like colour.

    k-means over colour and position from a regular grid of centres (Achanta et al., "SLIC
    Superpixels", PAMI 2012, without its restriction to the neighbourhood), on a smaller copy.

    Args:
        pixels: float ``(H, W, 3)``, any range.
        count: of patches, >= 2.

    Returns:
        ``(H, W)``, 0 … S − 1, each number present; S may differ a little from ``count``.

    Raises:
        OptionError: more patches than places at which they are found.
    """
    from sklearn.cluster import KMeans

    height, width = pixels.shape[:2]
    step = max(1, round(max(height, width) / LONGEST))
    small = pixels[step // 2 :: step, step // 2 :: step]
    if count > (most := small.shape[0] * small.shape[1]):
        raise OptionError(
            f"segments must be <= {most} for an image of {height} x {width}, got {count}."
        )
    y, x = np.mgrid[: small.shape[0], : small.shape[1]]
    spacing = np.sqrt(small.shape[0] * small.shape[1] / count)  # pixels between centres
    colour = small / max(float(small.std()), 1e-6)
    place = np.stack([y, x], axis=-1) * (COMPACTNESS / spacing)
    points = np.concatenate([colour, place], axis=-1, dtype=np.float64)

    rows = max(1, round(small.shape[0] / spacing))
    columns = max(1, round(small.shape[1] / spacing))
    ys = ((np.arange(rows) + 0.5) * small.shape[0] / rows).astype(int)
    xs = ((np.arange(columns) + 0.5) * small.shape[1] / columns).astype(int)
    centres = points[np.ix_(ys, xs)].reshape(-1, points.shape[-1])
    found = KMeans(len(centres), init=centres, n_init=1, max_iter=10).fit(
        points.reshape(-1, points.shape[-1])
    )
    labels = np.unique(found.labels_, return_inverse=True)[1].reshape(small.shape[:2])
    rows_of = np.minimum(np.arange(height) // step, small.shape[0] - 1)
    columns_of = np.minimum(np.arange(width) // step, small.shape[1] - 1)
    return labels[np.ix_(rows_of, columns_of)].astype(np.int64)
