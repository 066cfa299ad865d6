"""The images of each class that a model finds hardest."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError
from skinxai.labels import LabelSet
from skinxai.numeric import plain
from skinxai.results import HardCase


def hardest(
    image_ids: Sequence[str], target: npt.ArrayLike, probabilities: npt.NDArray[np.float64],
    labels: LabelSet, count: int,
) -> tuple[HardCase, ...]:  # fmt: skip
    """The images with the largest loss, which is ``−ln`` of the true class's probability.

    Returns:
        In label order, the hardest image of each class first; of equal ones by id.

    Raises:
        OptionError: a count below 0.
    """
    check_count(count)
    truth, codes = np.asarray(target, np.int64), labels.codes
    own = probabilities[np.arange(len(truth)), truth]
    found = []
    for k, code in enumerate(codes):
        rows = sorted(np.flatnonzero(truth == k).tolist(), key=lambda n: (own[n], image_ids[n]))
        for n in rows[:count]:
            top = int(probabilities[n].argmax())
            found.append(
                HardCase(image_ids[n], code, codes[top], float(probabilities[n, top]),
                         float(own[n]))
            )  # fmt: skip
    return tuple(found)


def check_count(count: int) -> None:
    """Refuse what is no number of images.

    Raises:
        OptionError: a count below 0, or no whole number.
    """
    if type(plain(count)) is not int or count < 0:
        raise OptionError(f"hardest must be a whole number >= 0, got {count!r}.")
