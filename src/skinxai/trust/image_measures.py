"""What is measured on the pixels of an image to judge its quality, and where each measure is from.

The numbers are computed on small copies of fixed size, so that they hardly depend on the image's
resolution.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.errors import InputDtypeError, InputShapeError
from skinxai.readonly import ReadOnly

DETAIL_SIDE = 192
"""Longest side in pixels of the copy of the green channel on which detail and noise are measured.

Green shows pigment and vessels with the most contrast.
"""
COLOUR_SIDE = 64
"""Longest side in pixels of the sampled copy on which light and colour are measured."""
USUAL_COLOUR = (0.28, 0.045)
"""ln(red/green) and ln(blue/green) of the median colour: medians of dermatoscopic images."""
COLOUR_SPREAD = (0.15, 0.075)
"""Standard deviations of the same two numbers."""
BLOCK = 4  # pixels of the sampled copy; hairs vanish in the mean, lesions do not
DARK_OFFSET = 8.0  # added before logarithms, so that noise in dark pixels does not count
BLACK = 50.0  # level below which no channel of a black border is
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Check:
    """One check of the quality gate.

    Args:
        measured: what the number is, in words and with its unit.
        bad: ``"low"`` or ``"high"``, the side of the limit on which the flag is raised.
        tolerated: no fitted limit is stricter than this value.
        source: where the measure comes from.
        words: the flag as a person reads it.
        short: the number's name in a sentence.
    """

    measured: str
    bad: str
    tolerated: float
    source: str
    words: str
    short: str

    def breaks(self, value: float, limit: float) -> bool:
        """Whether ``value`` is on the bad side of ``limit``; the limit itself is allowed."""
        return value < limit if self.bad == "low" else value > limit


MEASURES: Mapping[str, Check] = ReadOnly(
    {
        "too_small": Check(
            "shorter side of the image, in pixels", "low", 100.0,
            "a fixed rule: structures of a lesion need about 100 pixels",
            "too small", "shorter side in pixels",
        ),
        "blurred": Check(
            "standard deviation of the Laplacian of the green channel, in percent of its mean",
            "low", 3.0,
            "Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000",
            "blurred", "sharpness",
        ),
        "noisy": Check(
            "standard deviation of the noise in the green channel, in levels of 0-255", "high", 4.0,
            "Immerkær, Fast noise variance estimation, CVIU 64(2), 1996",
            "noise or dense hair", "noise level",
        ),
        "too_dark": Check(
            "90th percentile of the luminance, in levels of 0-255", "low", 80.0,
            "ITU-R BT.601 luminance", "too dark", "brightness",
        ),
        "overexposed": Check(
            "share of pixels in which at least two channels are 250 or more", "high", 0.02,
            "clipped pixels carry no colour", "overexposed", "share of clipped pixels",
        ),
        "border": Check(
            "share of pixels in black or white runs that start at an edge of the image; black is "
            "below 50 of 255 in all channels", "high", 0.1,
            "runs along rows and columns, as far as the colour stays black or white",
            "dark or white border, or vignette", "share of border",
        ),
        "colour_cast": Check(
            "distance of the median colour from the usual one in the plane of ln(red/green) and "
            "ln(blue/green), in standard deviations", "high", 3.5,
            "log-chromaticity: Finlayson and Hordley, Color constancy at a pixel, JOSA A 18(2), "
            "2001", "colour cast", "colour distance",
        ),
        "no_lesion": Check(
            "standard deviation of the logarithm of green over blocks of a sixteenth of the "
            "longer side, after a plane was subtracted", "low", 0.06,
            "multiplicative light becomes a plane, which is removed", "no lesion visible",
            "lesion contrast",
        ),
        "uniform": Check(
            "standard deviation of the channel that varies most, in levels of 0-255", "low", 4.0,
            "a fixed rule: a single colour has 0", "nearly uniform image", "variation",
        ),
    }
)  # fmt: skip


def measure(pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Every measure of one image.

    Args:
        pixels: upright RGB of shape (H, W, 3) and dtype uint8.

    Returns:
        A finite number for each name in `MEASURES`.

    Raises:
        InputDtypeError: another dtype than uint8.
        InputShapeError: another shape, or no pixels.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        found = getattr(pixels, "dtype", type(pixels).__name__)
        raise InputDtypeError(f"pixels must be an array of dtype uint8, got {found}.")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputShapeError(f"pixels must have the shape (H, W, 3), got {pixels.shape}.")
    green = _reduced(pixels[..., 1])
    colours = _sampled(pixels)
    luminance = np.tensordot(LUMINANCE, colours, 1)
    brightness = _quantile(luminance, 0.9)
    black = colours.max(axis=0) < min(BLACK, brightness / 2)  # half: a dark image is no border
    clipped = np.count_nonzero(colours >= 250, axis=0) >= 2
    return {
        "too_small": float(min(pixels.shape[:2])),
        "blurred": _sharpness(green),
        "noisy": _noise(green),
        "too_dark": brightness,
        "overexposed": float(clipped.mean()),
        "border": _reached(black | (colours.min(axis=0) > 245)),
        "colour_cast": _cast(colours),
        "no_lesion": _contrast(colours[1]),
        "uniform": float(colours.reshape(3, -1).std(axis=1).max()),
    }


def _sides(shape: Sequence[int], longest: int, least: int) -> tuple[int, int]:
    height, width = shape[:2]
    scale = longest / max(height, width)
    return max(least, round(height * scale)), max(least, round(width * scale))


def _reduced(channel: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    height, width = _sides(channel.shape, DETAIL_SIDE, 8)
    image = Image.fromarray(np.ascontiguousarray(channel))
    # Averaging whole blocks of pixels first takes a fraction of the time of one antialiased step.
    small = image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=1.0)
    return np.asarray(small, dtype=np.float32)


def _sampled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels at the centres of a regular grid: (3, h, w), h and w multiples of `BLOCK`."""
    at = []
    for length, side in zip(
        pixels.shape[:2], _sides(pixels.shape, COLOUR_SIDE, 4 * BLOCK), strict=True
    ):
        points = side // BLOCK * BLOCK
        at.append(((np.arange(points) + 0.5) * length / points).astype(np.intp))
    found = pixels[at[0][:, None], at[1]]
    return np.ascontiguousarray(found.transpose(2, 0, 1), dtype=np.float32)


def _quantile(values: npt.NDArray[np.float32], share: float) -> float:
    """The value that at most ``share`` of the values are smaller than."""
    place = int(share * (values.size - 1))
    return float(np.partition(values, place, axis=None)[place])


def _sharpness(green: npt.NDArray[np.float32]) -> float:
    laplacian = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]
    laplacian -= 4 * green[1:-1, 1:-1]
    return float(100 * laplacian.std() / (green.mean() + 1))


def _noise(green: npt.NDArray[np.float32]) -> float:
    """Immerkær's estimate: the mean of |N * image| is 6 σ √(2/π) for white noise of σ."""
    rows = green[:-2] - 2 * green[1:-1] + green[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(math.sqrt(math.pi / 2) / 6 * np.abs(both).mean())


def _reached(frame: npt.NDArray[np.bool_]) -> float:
    """Share of the pixels from which a straight run of ``frame`` leads to an edge."""
    run = np.logical_and.accumulate
    found = run(frame, axis=0) | run(frame[::-1], axis=0)[::-1]
    found |= run(frame, axis=1) | run(frame[:, ::-1], axis=1)[:, ::-1]
    return float(found.mean())


def _cast(colours: npt.NDArray[np.float32]) -> float:
    red, green, blue = (_quantile(channel, 0.5) + 1 for channel in colours)
    found = (math.log(red / green), math.log(blue / green))
    return math.hypot(*((np.array(found) - USUAL_COLOUR) / COLOUR_SPREAD))


def _contrast(green: npt.NDArray[np.float32]) -> float:
    rows, columns = green.shape[0] // BLOCK, green.shape[1] // BLOCK
    bands = np.log(green + DARK_OFFSET).reshape(rows, BLOCK, -1).mean(axis=1)
    blocks = bands.reshape(rows, columns, BLOCK).mean(axis=2)
    # On a full grid the coordinates are orthogonal: the plane is two separate regressions.
    rest = blocks - blocks.mean()
    down, across = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None]
    for axis in (down, across):
        rest = rest - axis * ((rest * axis).mean() / (axis * axis).mean())
    return float(rest.std())
