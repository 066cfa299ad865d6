"""What size an image may have, checked before anything is decoded."""

from skinxai.errors import (
    ImageTooLargeError,
    ImageTooSmallError,
    UnsupportedImageError,
)
from skinxai.numeric import whole

MAX_PIXELS = 40_000_000
MAX_BYTES = 256 * 1024**2
MAX_ASPECT = 20
MIN_SIDE = 32


def check_size(
    width: int, height: int, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE
) -> None:
    """Refuse images that are too large, too elongated or too small.

    Raises:
        ImageTooLargeError: more than ``max_pixels``.
        UnsupportedImageError: one side more than 20 times the other.
        ImageTooSmallError: a side below ``min_side``.
    """
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"image must have at most {max_pixels} pixels, got {width}×{height}",
            python=f"shrink it or pass max_pixels={width * height}",
            command=f"shrink it or give --max-pixels {width * height}",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnsupportedImageError(
            f"image must have an aspect ratio of at most {MAX_ASPECT}, got {width}×{height}."
        )
    if min(width, height) < min_side:
        raise ImageTooSmallError(
            f"image must have at least {min_side} pixels a side, got {width}×{height}; enlarging a "
            f"smaller one would make up details."
        )


def check_max_pixels(max_pixels: object) -> int:
    """Refuse a ``max_pixels`` that is no whole number of at least 1; as Python's own integer."""
    return whole("max_pixels", max_pixels)


def check_bytes(count: int) -> None:
    """Refuse more encoded bytes than any image within `MAX_PIXELS` needs."""
    if count > MAX_BYTES:
        raise ImageTooLargeError(f"image data must be at most {MAX_BYTES} bytes, got {count}.")
