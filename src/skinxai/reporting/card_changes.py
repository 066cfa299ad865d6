"""A generated model card, with what was measured since it was written."""

import re

from skinxai.reporting.model_cards import (
    calibration_rows,
    figures_of_test,
    grid,
    operating_points,
    subgroups_row,
)
from skinxai.results import Evaluation
from skinxai.trust.calibration import Calibration

_POINTS = re.compile(
    r"^Operating points(: Not measured\.\n|, with their rates.*\n\n(\|.*\n)+)", re.MULTILINE
)
_TEST = re.compile(
    r"^Test (on images that took no part in training: Not measured\.\n|"
    r"of (?s:.)+?\nConfusion matrix, rows true, columns predicted:\n\n(\|.*\n)+)", re.MULTILINE
)  # fmt: skip


def with_calibration(text: str, calibration: Calibration) -> str:
    """A card with what it says of a calibration; cards of another form stay as they are."""
    for name, value in calibration_rows(calibration):
        text = _with_row(text, name, value)
    return _POINTS.sub(lambda _: operating_points(calibration), text, count=1)


def with_evaluation(text: str, evaluation: Evaluation) -> str:
    """A card with the figures of a test, in the place of earlier ones.

    Args:
        text: Markdown. A card that `skinxai.reporting.card_of` did not write gets them at its end.
        evaluation: of the card's model, on images that took no part in training.
    """
    test = figures_of_test(evaluation)
    if _TEST.search(text) is None:
        return f"{text.rstrip()}\n\n## Evaluation\n\n{test}"
    text = _with_row(text, *subgroups_row(evaluation))
    return _TEST.sub(lambda _: test, text, count=1)


def _with_row(text: str, name: str, value: str) -> str:
    row = grid((), [(name, value)])
    return re.sub(rf"^\| {name} \|.*\n", lambda _: row, text, flags=re.MULTILINE)
