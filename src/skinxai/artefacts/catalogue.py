"""Every artefact at its named strengths."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from skinxai.artefacts import erasing, hairs, ink, lens, photographing, rulers
from skinxai.artefacts.changed import Changed, Mask, Pixels
from skinxai.errors import (
    InputDtypeError,
    InputShapeError,
    OptionError,
    UnknownNameError,
    did_you_mean,
)
from skinxai.numeric import whole_seed

LEAST_SIDE = 32
"""Shortest side in pixels of an image that an artefact can be drawn on."""


@dataclass(frozen=True)
class Artefact:
    """One change of an image at one strength.

    Args:
        name: e.g. ``"ruler"``.
        strength: e.g. ``"paper"``; name and strength together are unique.
        meaning: what is done, in words.
        draw: function of pixels, mask and generator.
        needs_mask: whether it is put beside the lesion or in its place.
        local: whether it is somewhere; else the whole image changes.
    """

    name: str
    strength: str
    meaning: str
    draw: Callable[..., Changed | None] = field(repr=False, compare=False)
    needs_mask: bool = False
    local: bool = True

    def __call__(
        self, pixels: Pixels, mask: Mask | None = None, *, image_id: str = "", seed: int = 0
    ) -> Changed | None:
        """Change an image; the same id and seed give the same bits.

        Args:
            pixels: RGB uint8 ``(H, W, 3)``, each side of at least 32 pixels.
            mask: bool ``(H, W)``, true in the lesion.
            image_id: of the image, so that different images get different strokes.
            seed: of all draws.

        Returns:
            An image of the same shape; ``None`` where the lesion leaves no room for the artefact.

        Raises:
            InputDtypeError: pixels that are not uint8, or a mask that is not bool.
            InputShapeError: another shape, or a mask of another size.
            OptionError: no mask, or an empty one, where there must be one; or a seed that is no
                integer from 0 to 2⁶³ − 1.
        """
        _check(pixels, mask)
        if self.needs_mask and (mask is None or not mask.any()):
            missing = "none" if mask is None else "an empty one"
            raise OptionError(f"{self.name!r} needs a mask with the lesion, got {missing}.")
        seed = whole_seed(seed)
        words = hashlib.sha256(f"{seed}\0{self.name}\0{image_id}".encode()).digest()
        draws = np.random.default_rng(np.frombuffer(words, np.uint32))
        return self.draw(pixels, mask, draws)

    def __str__(self) -> str:
        return f"{self.name}, {self.strength}"


def _check(pixels: Pixels, mask: Mask | None) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        found = getattr(pixels, "dtype", type(pixels).__name__)
        raise InputDtypeError(f"pixels must be an array of dtype uint8, got {found}.")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < LEAST_SIDE:
        raise InputShapeError(
            f"pixels must have the shape (H, W, 3) with sides of at least {LEAST_SIDE}, got "
            f"{pixels.shape}."
        )
    if mask is None:
        return
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        found = getattr(mask, "dtype", type(mask).__name__)
        raise InputDtypeError(f"mask must be an array of dtype bool, got {found}.")
    if mask.shape != pixels.shape[:2]:
        raise InputShapeError(
            f"mask must have the image's height and width {pixels.shape[:2]}, got {mask.shape}."
        )


def _of(
    name: str, strength: str, meaning: str, draw: Callable[..., Changed | None], *,
    needs_mask: bool = False, local: bool = True, **options: Any,
) -> Artefact:  # fmt: skip
    return Artefact(
        name, strength, meaning, partial(draw, **options) if options else draw, needs_mask, local
    )


_masked: Any = partial(_of, needs_mask=True)
_photographed: Any = partial(_of, local=False)

CATALOGUE: tuple[Artefact, ...] = (
    _masked("lesion erased", "inpainted", "the skin's colour and texture continue over the lesion",
            erasing.lesion_inpainted),
    _masked("lesion erased", "mean", "the lesion is filled with the skin's median colour",
            erasing.lesion_by_mean),
    _masked("lesion erased", "box", "so is the box around it, which hides the outline",
            erasing.lesion_by_box),
    _masked("skin erased", "mean", "all but the lesion is filled with the skin's median colour",
            erasing.skin_by_mean),
    _masked("skin erased", "black", "all but the lesion is black", erasing.skin_by_black),
    _masked("ink", "one stroke", "a violet stroke of a skin marker beside the lesion",
            ink.ink, strokes=1, opacity=0.75),
    _masked("ink", "circle", "four thick strokes around the lesion",
            ink.ink, strokes=4, opacity=0.95),
    _masked("ruler", "glass", "a black millimetre scale along an edge, as on a faceplate",
            rulers.ruler, paper=False),
    _masked("ruler", "paper", "a white paper ruler along an edge", rulers.ruler, paper=True),
    _of("hair", "few", "8 dark hairs", hairs.hairs, count=8),
    _of("hair", "dense", "40 dark hairs", hairs.hairs, count=40),
    _of("dark corners", "small", "black outside a circle that only cuts the corners",
        lens.dark_corners, radius=0.86),
    _of("dark corners", "large", "black outside a circle as high as the image",
        lens.dark_corners, radius=0.62),
    _of("gel bubbles", "few", "8 air bubbles", lens.bubbles, count=8),
    _of("gel bubbles", "many", "40 air bubbles", lens.bubbles, count=40),
    _photographed("colour cast", "yellow", "red × 1.04, blue × 0.8",
                  photographing.colour_cast, gains=(1.04, 1.0, 0.8)),
    _photographed("colour cast", "blue", "red × 0.86, blue × 1.1",
                  photographing.colour_cast, gains=(0.86, 0.98, 1.1)),
    _photographed("hue", "to yellow", "turned by 10° from red towards yellow",
                  photographing.hue, degrees=10.0),
    _photographed("hue", "to violet", "turned by 10° from red towards violet",
                  photographing.hue, degrees=-10.0),
    _photographed("exposure", "brighter", "gamma 0.7", photographing.exposed, gamma=0.7),
    _photographed("exposure", "darker", "gamma 1.5", photographing.exposed, gamma=1.5),
    _photographed("uneven light", "slight", "× 1.15 in one corner to × 0.85 in the opposite one",
                  photographing.uneven_light, fall=0.3),
    _photographed("uneven light", "strong", "× 1.4 in one corner to × 0.6 in the opposite one",
                  photographing.uneven_light, fall=0.8),
    _photographed("noise", "slight", "normal, σ 6 of 256 grey levels",
                  photographing.sensor_noise, sigma=6.0),
    _photographed("noise", "strong", "normal, σ 18 of 256 grey levels",
                  photographing.sensor_noise, sigma=18.0),
    _photographed("blur", "slight", "Gaussian, σ 0.6 % of the shorter side",
                  photographing.blur, sigma=0.006),
    _photographed("blur", "strong", "Gaussian, σ 1.5 % of the shorter side",
                  photographing.blur, sigma=0.015),
    _photographed("JPEG", "quality 70", "stored at this quality, 4:2:0",
                  photographing.jpeg, quality=70),
    _photographed("JPEG", "quality 30", "stored at this quality, 4:2:0",
                  photographing.jpeg, quality=30),
    _photographed("JPEG", "quality 10", "stored at this quality, 4:2:0",
                  photographing.jpeg, quality=10),
    _photographed("WebP", "quality 80", "stored at this quality, lossy",
                  photographing.webp, quality=80),
    _photographed("WebP", "quality 50", "stored at this quality, lossy",
                  photographing.webp, quality=50),
    _photographed("rotation", "180°", "turned upside down", photographing.turned, degrees=180.0),
    _photographed("rotation", "30°", "turned, the corners mirrored in",
                  photographing.turned, degrees=30.0),
    _photographed("scale", "1.25", "enlarged, its edges cut off",
                  photographing.turned, degrees=0.0, enlarged=1.25),
    _photographed("scale", "0.8", "made smaller, its surroundings mirrored in",
                  photographing.turned, degrees=0.0, enlarged=0.8),
)  # fmt: skip
"""All artefacts, in the order of tables."""

GROUPS = MappingProxyType({name: tuple(a for a in CATALOGUE if a.name == name)
                           for name in dict.fromkeys(a.name for a in CATALOGUE)})  # fmt: skip
"""Name → its strengths, weakest first."""


def named(names: Iterable[str] | None = None) -> tuple[Artefact, ...]:
    """The artefacts of some names, each at all of its strengths, in the catalogue's order.

    Args:
        names: e.g. ``["ink", "ruler"]``; all by default.

    Raises:
        UnknownNameError: no such artefact.
        OptionError: no name.
    """
    if names is None:
        return CATALOGUE
    asked = list(names)
    if not asked:
        raise OptionError(f"artefacts must name at least one of {list(GROUPS)}, got none.")
    for name in asked:
        if name not in GROUPS:
            raise UnknownNameError(
                f"Unknown artefact {name!r}; there are {list(GROUPS)}.{did_you_mean(name, GROUPS)}"
            )
    return tuple(artefact for artefact in CATALOGUE if artefact.name in asked)
