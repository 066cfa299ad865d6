"""`SeenImages`: which of the judged images a model was trained on, or calibrated on."""

from dataclasses import dataclass

from skinxai.plain_text import agreeing

SHOWN = 5


@dataclass(frozen=True)
class SeenImages:
    """Which images a model was trained on, or calibrated on.

    Args:
        exact: ids of images whose pixels are those of such an image, turned, flipped or not.
        copies: ids of images that look like a copy of one: re-encoded, resized, turned, cropped or
            of another brightness.
        notes: what could not be looked for.
    """

    exact: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.exact) + len(self.copies)

    def describe(self) -> str:
        """How many training images there are of both kinds, and the first ids of each."""
        kinds = (
            (self.exact, "has the pixels of a training", "have the pixels of training"),
            (self.copies, "looks like a copy of a training", "look like copies of training"),
        )
        return " and ".join(
            f"{len(names)} {agreeing(len(names), f'{one} image', f'{many} images')} "
            f"({_some(names)})"
            for names, one, many in kinds
            if names
        )


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
