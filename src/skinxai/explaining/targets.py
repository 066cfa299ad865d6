"""Which class of each image is explained. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError
from skinxai.labels import LabelSet
from skinxai.plain_text import agreeing, counted


@dataclass(frozen=True)
class Targets:
    """Which class of each image is explained.

    Args:
        labels: the label set.
        chosen: ``None``: each image's own top class; a label for all; or one label an image. Long
            names and other case are taken (`LabelSet.code_of`), and become codes.
        every: explain every class instead.
        against: what the class is compared with, so that it cannot be that itself.

    Raises:
        UnknownNameError: no such label.
        OptionError: a target together with ``all_classes``, or one that is ``against``.
    """

    labels: LabelSet
    chosen: str | tuple[str, ...] | None
    every: bool
    against: str | None = None

    def __post_init__(self) -> None:
        if self.every and (self.chosen is not None or self.against is not None):
            raise OptionError("target and against must be None with all_classes=True.")
        if not isinstance(self.chosen, str | tuple | None):
            raise OptionError(
                f"target must be a label, a list of labels, or None, got {self.chosen!r}."
            )
        chosen = (self.chosen,) if isinstance(self.chosen, str) else self.chosen or ()
        codes = tuple(self.labels.code_of(label) for label in chosen)
        if self.chosen is not None:
            object.__setattr__(self, "chosen", codes[0] if isinstance(self.chosen, str) else codes)
        if self.against is not None:
            object.__setattr__(self, "against", self.labels.code_of(self.against))
        if self.against in codes:
            raise OptionError(f"against must be another label than target, got {self.against!r}.")

    def positions(
        self, indices: Sequence[int], rows: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Class positions ``(N,)`` for images at ``indices`` with probabilities ``(N, K)``."""
        if self.chosen is None:
            if self.against is not None:  # why this one rather than that: never that itself
                rows = rows.copy()
                rows[:, self.labels.position(self.against)] = -1
            return np.asarray(rows.argmax(axis=1), np.int64)
        if isinstance(self.chosen, str):
            return np.full(len(indices), self.labels.position(self.chosen), np.int64)
        self.check_count(max(indices) + 1, at_least=True)
        return np.array([self.labels.position(self.chosen[i]) for i in indices], np.int64)

    def check_count(self, images: int, *, at_least: bool = False) -> None:
        """A list of targets must have one label for each image."""
        if isinstance(self.chosen, tuple):
            given = len(self.chosen)
            if given < images or (given > images and not at_least):
                raise OptionError(
                    f"target must be one label, or one for each image; {counted(given, 'label')} "
                    f"{agreeing(given, 'was', 'were')} given for "
                    f"{counted(images, 'image')}{' or more' if at_least else ''}."
                )
