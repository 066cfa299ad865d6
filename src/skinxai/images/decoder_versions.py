"""`decoder_versions`: of what decides the pixels that an encoded image becomes."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import features

from skinxai.images.jpegs import SIMPLEJPEG

LIBRARIES = ("pil", "jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif", "libtiff", "littlecms2")
"""Pillow, and what it decodes and converts colours with."""


@cache
def decoder_versions() -> tuple[str, ...]:
    """``"name version"`` of each; ``"name None"`` of one that this installation does not have."""
    found = [f"{name} {features.version(name)}" for name in LIBRARIES]
    return (*found, f"numpy {np.__version__}", SIMPLEJPEG)
