"""The card of an evaluation's page that shows a cross-validation fold by fold."""

import html
import math

from skinxai.plain_text import counted
from skinxai.reporting.blocks import card, table
from skinxai.reporting.charts import whisker
from skinxai.results import Evaluation
from skinxai.results.cross_validation import SPREAD


def by_fold(evaluation: Evaluation) -> str:
    """Each fold's figures and their spread; empty of an evaluation of one model."""
    found = evaluation.out_of_fold
    if found is None:
        return ""
    rows: list[list[str | int]] = [
        [f"<span class='code'>fold {each.fold}</span><br><span class='soft'>"
         f"{html.escape(each.model)}: epoch {each.epoch}, chosen on "
         f"{counted(each.chosen_on, 'image')}; {each.learnt} learnt</span>",
         f"{each.images} of {counted(each.lesions, 'lesion')}",
         *(_cell(f"{value:.3f}", value) for value in _figures(each))]
        for each in found.folds
    ]  # fmt: skip
    last: list[str | int] = ["<span class='code'>mean ± standard deviation</span>", ""]
    for name in SPREAD:
        mean, deviation = found.spread(name)
        last.append(_cell(f"{mean:.3f} ± {deviation:.3f}", mean, deviation))
    names = [name.replace("_", " ").replace("macro f1", "macro-F1") for name in SPREAD]
    return card(
        "Fold by fold",
        "How much the figures change with the images learnt and judged. The folds' models share "
        "most of their training images, so the standard deviation is not an interval of the mean; "
        "the intervals above resample all lesions.",
        table(("fold", "images", *names), [*rows, last]),
    )


def _figures(each: object) -> list[float]:
    return [float(getattr(each, name)) for name in SPREAD]


def _cell(text: str, value: float, deviation: float = math.nan) -> str:
    low, high = max(0.0, value - deviation), min(1.0, value + deviation)
    ends = (math.nan, math.nan) if math.isnan(deviation) else (low, high)
    return f"<span>{text}</span>{whisker(value, *ends)}"
