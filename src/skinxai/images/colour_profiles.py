"""Colours of an image in sRGB, by the ICC profile of its file."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

NEUTRAL = 4
"""Levels by which a profile of sRGB may move a colour: its tables are rounded otherwise."""
_STEPS = np.arange(0, 256, 15, dtype=np.uint8)
_PROBE = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(1, -1, 3)


def in_srgb(image: Image.Image, notes: dict[str, None]) -> Image.Image:
    """An RGB or CMYK image by its colour profile, where it has one that is not sRGB.

    Args:
        image: whose ``info`` has the profile.
        notes: gets a note where colours were converted, or the profile is damaged.
    """
    if not (profile := image.info.get("icc_profile")):
        return image
    try:
        if _is_srgb(profile):
            return image
        converted = _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes["colour_profile: damaged, ignored"] = None
        return image
    notes["colour_profile: converted to sRGB"] = None
    return converted


def lab_in_srgb(image: Image.Image) -> Image.Image:
    """A Lab image."""
    return _convert(image, ImageCms.createProfile("LAB"))


@lru_cache(maxsize=8)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile is called sRGB and leaves colours as they are.

    The name alone does not say so: profiles of linear light are called sRGB, too.
    """
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" not in ImageCms.getProfileDescription(own).lower():
        return False
    moved = np.asarray(_convert(Image.fromarray(_PROBE), own)).astype(np.int16) - _PROBE
    return bool(np.abs(moved).max() <= NEUTRAL)


def _convert(image: Image.Image, profile: Any) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    assert converted is not None
    return converted
