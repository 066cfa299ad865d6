"""`answer_versions`: of all that decides an answer beside the image, the model and the options."""

from functools import cache

import numpy as np
from PIL import features

from skinxai import plugins
from skinxai.images.jpegs import SIMPLEJPEG
from skinxai.plugins.registry import installed_version
from skinxai.version import __version__

DECODERS = ("pil", "jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif", "libtiff", "littlecms2")
"""Pillow, and what it decodes and converts colours with."""
NETWORKS = ("torch", "timm")
"""What builds networks and lets them answer; other backends say their version themselves."""


@cache
def answer_versions() -> tuple[str, ...]:
    """``"name version"`` of each; ``"name None"`` of a decoder that is not installed.

    Plugins that were loaded are among them: they may read images and build networks.
    """
    found = [f"{name} {features.version(name)}" for name in DECODERS]
    found += [f"{name} {installed_version(name)}" for name in NETWORKS]
    found += [f"{each.name} {each.version}" for each in plugins.statuses() if each.error is None]
    return (f"skinxai {__version__}", *found, f"numpy {np.__version__}", SIMPLEJPEG)
