"""Cards of an evaluation's page: decisions, another model, answers in doubt, the hardest images."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skinxai.plain_text import agreeing, counted
from skinxai.reporting import trust_charts
from skinxai.reporting.blocks import card, figure_cell, figure_text, table, tile, tiles
from skinxai.reporting.charts import legend
from skinxai.reporting.map_pictures import data_url, jpeg
from skinxai.results import Evaluation, Tally
from skinxai.results.evaluation_tables import signed
from skinxai.trust.operating_points import threshold_text

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """
.case { margin: 1rem 0 0 } .case img { max-width: 100%; height: auto; display: block;
  border-radius: .3rem; background: #fff }
.shift { white-space: nowrap } .chart svg.whisker { max-width: 9rem; margin: .1rem 0 0 }
"""


def decided(evaluation: Evaluation) -> str:
    """What each operating point decides; empty of a model without any."""
    if not evaluation.decisions:
        return ""
    rows: list[list[str | int]] = []
    for name, each in evaluation.decisions.items():
        default = " <span class='tag'>default</span>" if each.default else ""
        first = (
            f"<span class='code'>{html.escape(name)}</span>{default}<br><span class='soft'>refer "
            f"from {threshold_text(each.threshold)} on</span>"
        )
        tallies = (each.referred, each.missed, each.missed_lesions, each.spared, each.abstained)
        rates = (
            (each.sensitivity, each.calibrated_sensitivity),
            (each.specificity, each.calibrated_specificity),
        )
        cells = [
            f"{figure_cell(rate, 'no lesion')}<span class='interval'>calibration "
            f"{promised.value:.3f}</span>"
            for rate, promised in rates
        ]
        rows.append([first, *map(_tally, tallies), *cells])
    heads = ("operating point", "referred", "missed", "missed lesions", "spared", "abstained",
             "sensitivity", "specificity")  # fmt: skip
    return card(
        "What would be decided",
        "Missed are malignant images and lesions that would be called routine; spared are other "
        "images that would be. Sensitivity and specificity are of lesions that are decided about, "
        "each counting once; below them what they were on the calibration lesions.",
        f"<div class='scroll'>{table(heads, rows)}</div>",
    )


def _tally(tally: Tally) -> str:
    return (
        f"<b>{tally.count}</b> <span class='soft'>of {tally.of}</span><br>"
        f"{figure_text(tally.share, 'none')}"
    )


def compared(evaluation: Evaluation) -> str:
    """The differences to another model; empty where none was given."""
    other = evaluation.comparison
    if other is None:
        return ""
    rows = [
        [html.escape(name), _plain(pair.model), _plain(pair.against),
         f"<span class='shift'>{signed(pair.difference)}</span>"]
        for name, pair in other.figures.items()
    ]  # fmt: skip
    overall = [row for row, name in zip(rows, other.figures, strict=True) if " of " not in name]
    single = [row for row, name in zip(rows, other.figures, strict=True) if " of " in name]
    heads = ("figure", "this model", "the other", "difference")
    test = other.mcnemar
    leaked = (
        "<p class='warning'><b>LEAKED: the other model was trained on these images. The comparison "
        "is worth nothing.</b></p>"
        if other.leaked
        else ""
    )
    return card(
        f"Against {html.escape(other.against)}",
        f"The same images and the same draws of lesions for both. McNemar test on lesions: "
        f"{counted(test.model, 'lesion')} {agreeing(test.model, 'is', 'are')} answered better by "
        f"this model, {test.against} by the other, p = {test.p_value:.3g}.",
        f"{leaked}{table(heads, overall)}<details><summary>Each class</summary>"
        f"{table(heads, single)}</details>",
    )


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def decision_curve(evaluation: Evaluation) -> str:
    """Areas and the decision curve of the malignant classes; empty where there are none."""
    found = evaluation.malignancy
    if found is None or not found.decision_curve:
        return ""
    shown = [
        tile("AUC, malignant", found.auc),
        tile("partial AUC, 0–0.2", found.partial_auc, note="above 80 % sensitivity"),
    ]
    words = (
        "How many malignant images per image are rightly referred, less the false alarms at the "
        "price that the threshold sets: who refers from 10 % on takes 9 false alarms for 1 hit. "
        "A model is worth using where its curve is above both others."
    )
    if evaluation.calibrated_on is None:
        words += " The model is not calibrated, so its thresholds are no probabilities."
    names = ("this model", "refer all", "refer nobody")
    chart = trust_charts.decision_chart(found.decision_curve)
    return card("Decision curve", words, f"{tiles(shown)}{legend(names)}{chart}", "chart")


def selective(evaluation: Evaluation) -> str:
    """Accuracy where only the surest images are answered; empty where it was not computed."""
    found = evaluation.selective
    if found is None:
        return ""
    rows = [
        [f"{float(coverage):.0%} of images", figure_cell(figure)]
        for coverage, figure in found.accuracy_at.items()
    ]
    warned = "".join(f"<p class='warning'>{html.escape(text)}.</p>" for text in found.notes)
    better = "".join(
        f"<p class='note'>{html.escape(name)} is better than the top probability: AURC "
        f"{each.aurc:.4f} against {each.top_aurc:.4f}, difference {signed(each.difference)}.</p>"
        for name, each in found.scores.items()
        if each.better
    )
    return card(
        "Answering only the surest",
        f"Share of wrong answers where the model answers the images with the highest top "
        f"probability only. Area under the curve (AURC): {found.aurc}.",
        f"{trust_charts.risk_chart(found.curve)}{table(('answered', 'accuracy'), rows)}"
        f"{warned}{better}",
        "chart",
    )


def hard_cases(evaluation: Evaluation, pictures: Mapping[str, Image]) -> str:
    """The hardest images with their pictures; empty where they were not asked for."""
    if not evaluation.hardest:
        return ""
    cases = "".join(
        f"<figure class='case'><figcaption><span class='code'>{html.escape(case.image_id)}</span>: "
        f"{html.escape(case.label)}, answered {html.escape(case.answered)} with "
        f"{case.probability:.3f}; the true class has {case.true_probability:.3f}</figcaption>"
        f"{_picture(pictures, case.image_id)}</figure>"
        for case in evaluation.hardest
    )
    return card(
        "Hardest images",
        "Of each class the images whose true class has the smallest probability. They may be wrong "
        "labels.",
        cases,
    )


def _picture(pictures: Mapping[str, Image], name: str) -> str:
    if name not in pictures:
        return ""
    shown = data_url(jpeg(pictures[name].convert("RGB"), 85, 2))
    return f"<img alt='Maps of {html.escape(name)}' src='{shown}'>"
