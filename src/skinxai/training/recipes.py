"""`Recipe`: ranges and probabilities of the augmentation recipes, for both ways to compute them."""

from dataclasses import dataclass

Range = tuple[float, float]
FLIP = 0.5
"""Probability of a mirror image, for each axis, and of a draw among the four right angles."""
RATIO = 0.75
"""Least aspect ratio of a crop, as a factor on that of the result; the largest is its inverse."""
JITTER = 0.8
"""Probability of a change of colour."""
HUE = 1 / 8
"""Largest shift of the hue, in turns, as a factor on the strength of the colour changes."""


@dataclass(frozen=True)
class Damage:
    """What a camera and a file can do to an image, one of four, and boxes that are left out.

    Args:
        probability: of one of blur, compression, fewer pixels and noise, each equally often.
        kernel: sides of the Gaussian kernel in pixels; an even one counts as the next odd one.
        sigma: standard deviation of the Gaussian in pixels.
        quality: quality of the JPEG compression.
        scale: share of the rows and columns that is left.
        noise: standard deviation of the Gaussian noise of a sensor, of 255.
        boxes: probability of boxes that are left out.
        count: number of boxes.
        side: height and width of a box as shares of the image's.
    """

    probability: float = 1 / 3
    kernel: tuple[int, int] = (3, 5)
    sigma: Range = (0.5, 3.0)
    quality: tuple[int, int] = (50, 90)
    scale: Range = (0.5, 0.9)
    noise: Range = (1.0, 10.0)
    boxes: float = 0.25
    count: tuple[int, int] = (1, 2)
    side: Range = (0.1, 0.3)


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Args:
        strength: brightness, contrast and saturation are multiplied by 1 − strength to
            1 + strength, and the hue moves by up to `HUE` of it.
        area: least share of the area that a crop keeps.
        turned: probability of a rotation by any angle, with shear.
        angle: largest rotation in degrees, to both sides.
        shear: largest shear in degrees, to both sides, along both axes.
        damage: damage, if the recipe has any.
    """

    strength: float
    area: float
    turned: float = 0.0
    angle: float = 45.0
    shear: float = 0.0
    damage: Damage | None = None


RECIPES = {
    "light": Recipe(strength=0.1, area=0.7),
    "standard": Recipe(strength=0.2, area=0.45, turned=0.5),
    "heavy": Recipe(strength=0.3, area=0.45, turned=0.5, shear=8.0, damage=Damage()),
}
"""Name → recipe, from the weakest to the strongest."""
