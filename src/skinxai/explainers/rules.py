"""Rules that options of several methods share."""

from numbers import Real

from skinxai.errors import OptionError
from skinxai.numeric import plain, whole


def check_budget(value: object, *, least: int = 1) -> None:
    """A number of network passes for each image.

    Raises:
        OptionError: not an integer >= ``least``.
    """
    whole("budget", value, least)


def check_seed(value: object) -> None:
    """A seed of random numbers.

    Raises:
        OptionError: not an integer from 0 to 2³¹ − 1.
    """
    seed = plain(value)
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise OptionError(f"seed must be an integer from 0 to 2147483647, got {value!r}.")


def check_share(name: str, value: float) -> None:
    """A part of a whole, e.g. of the image's shorter side.

    Raises:
        OptionError: outside 0–1, or one of both ends.
    """
    if not (isinstance(value, Real) and 0 < value < 1):
        raise OptionError(f"{name} must be > 0 and < 1, got {value!r}.")
