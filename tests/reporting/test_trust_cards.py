"""The page's cards of decisions, another model, answers in doubt, groups and hard images."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinxai import Evaluation
from skinxai.assessment.decisions import decisions
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.hardest import hardest
from skinxai.assessment.paired import compare_probabilities
from skinxai.assessment.selective import selective_answers
from skinxai.labels import HAM10000_LABELS
from skinxai.reporting import read_evaluation, write_evaluation
from skinxai.reporting.trust_cards import decided
from skinxai.reporting.trust_charts import decision_chart, risk_chart
from skinxai.results import Figure, NetBenefit, SeenImages
from skinxai.trust.operating_points import OperatingPoint, Rate

HOSTILE = "<script>alert('x')</script>&\"'"
COUNT = 240


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """An evaluation with everything, whose texts are all hostile."""
    draws = np.random.default_rng(3)
    target = draws.choice(7, COUNT)
    models = []
    for skill in (1.5, 1.0):
        scores = draws.normal(size=(COUNT, 7))
        scores[np.arange(COUNT), target] += skill
        models.append(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    rows, other = models
    lesions = [str(n // 2) for n in range(COUNT)]
    attributes = [{"localization": (HOSTILE, "back")[n % 2], "sex": "male" if n > 9 else HOSTILE}
                  for n in range(COUNT)]  # fmt: skip
    found = evaluate_probabilities(
        target, rows, lesions, HAM10000_LABELS, model=f"{HOSTILE}@1", data=HOSTILE,
        attributes=attributes, resamples=50,
    )  # fmt: skip
    top, right = rows.max(1), rows.argmax(1) == target
    malignant = np.isin(target, [0, 1, 4])
    words = draws.choice(["refer", "routine", "abstain"], COUNT).tolist()
    point = OperatingPoint("x", HOSTILE, 0.25, Rate(0.95, 0.9, 0.98), Rate(0.6, 0.5, 0.7))
    return replace(
        found,
        calibrated_on=HOSTILE,
        not_known=(HOSTILE,),
        decisions={HOSTILE: decisions(words, malignant, lesions, point, default=True)},
        selective=selective_answers(
            top, right, lesions, {HOSTILE: draws.random(COUNT), "knowing": right.astype(float)},
            resamples=50,
        ),
        comparison=compare_probabilities(
            target, rows, other, lesions, HAM10000_LABELS, name=f"{HOSTILE}@2", leaked=True,
            resamples=50,
        ),
        hardest=hardest([f"{HOSTILE}{n}" for n in range(COUNT)], target, rows, HAM10000_LABELS, 1),
    )  # fmt: skip


def page_of(found: Evaluation, folder: Path, **more) -> str:
    return write_evaluation(found, folder, **more)[0].read_text()


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("<body>")[1]))


def test_foreign_text_is_escaped_everywhere(evaluation, tmp_path) -> None:
    pictures = {case.image_id: Image.new("RGB", (8, 8)) for case in evaluation.hardest}
    page = page_of(evaluation, tmp_path, pictures=pictures)
    assert "<script" not in page and "alert('x')" not in page
    assert page.count("&lt;script&gt;") > 15
    assert not re.search(r"(?<!\\)<script", evaluation.to_markdown())
    assert "http:" not in page and "https:" not in page and "url(" not in page


def test_every_figure_is_shown(evaluation, tmp_path) -> None:
    shown = words(page_of(evaluation, tmp_path))
    (point,) = evaluation.decisions.values()
    for tally in (point.referred, point.missed, point.missed_lesions, point.spared,
                  point.abstained):  # fmt: skip
        share = tally.share
        assert (
            f"{tally.count} of {tally.of} {share.value:.3f} {share.low:.3f}–{share.high:.3f}"
            in (shown)
        )
    for rate, text in ((point.sensitivity, "0.950"), (point.specificity, "0.600")):
        assert f"{rate.value:.3f} {rate.low:.3f}–{rate.high:.3f} calibration {text}" in shown
    low = replace(evaluation, decisions={"low": replace(point, threshold=0.0003)})
    assert "refer from 0.250 on" in shown and "refer from 0.0003 on" in decided(low)
    for pair in evaluation.comparison.figures.values():
        own = pair.difference
        assert f"{own.value:+.3f} ({own.low:+.3f} to {own.high:+.3f})" in shown
    assert f"p = {evaluation.comparison.mcnemar.p_value:.3g}" in shown
    for gap in evaluation.gaps:
        own = gap.difference
        assert f"{own.value:.3f} {own.low:.3f}–{own.high:.3f}" in shown
    for figure in evaluation.selective.accuracy_at.values():
        assert f"{figure.value:.3f} {figure.low:.3f}–{figure.high:.3f}" in shown
    assert "not shown to be better than the top probability" in shown or "is worse than" in shown
    assert "knowing is better than the top probability" in shown
    assert "no figures of groups with fewer than 20 images" in shown


def test_the_verdict_is_the_first_thing_said(evaluation, tmp_path) -> None:
    page = page_of(replace(evaluation, not_known=()), tmp_path)
    first = page.index("<section class='card")
    assert page[first:].startswith("<section class='card verdict'><p>No leak is known: none of")
    doubt = replace(evaluation, seen=SeenImages(notes=("this",)), not_known=("that",))
    page = page_of(doubt, tmp_path)
    assert "<section class='card verdict doubt'>" in page and "Not known: this; that." in page
    leaked = page_of(replace(evaluation, leaked=True), tmp_path)
    assert leaked.index("class='banner'") < leaked.index("<section class='card")


def test_pictures_are_only_those_that_are_given(evaluation, tmp_path) -> None:
    assert "<img" not in page_of(evaluation, tmp_path)
    name = evaluation.hardest[2].image_id
    given = {name: Image.new("RGB", (8, 8)), "of no case": Image.new("RGB", (8, 8))}
    page = page_of(evaluation, tmp_path, pictures=given)
    assert page.count("<img ") == page.count("src='data:image/jpeg;base64,") == 1
    assert "jpeg" not in (tmp_path / "evaluation.json").read_text()


def test_the_json_gives_the_same_page(evaluation, tmp_path) -> None:
    page = page_of(evaluation, tmp_path / "first")
    found, _ = read_evaluation(tmp_path / "first" / "evaluation.json")
    assert page_of(found, tmp_path / "second") == page
    assert found.to_markdown() == evaluation.to_markdown()


def test_without_calibration_the_curve_says_so(evaluation, tmp_path) -> None:
    assert "The model is not calibrated" in words(
        page_of(replace(evaluation, calibrated_on=None), tmp_path)
    )
    assert "The model is not calibrated" not in words(page_of(evaluation, tmp_path))


def numbers(drawing: str) -> list[float]:
    chart = ET.fromstring(drawing)
    keys = ("x", "y", "x1", "x2", "y1", "y2", "points")
    texts = " ".join(v for e in chart.iter() for k, v in e.attrib.items() if k in keys)
    return [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|nan|inf)", texts)]


def test_lines_are_drawn_where_their_points_are() -> None:
    drawing = risk_chart([(0.5, 0.1), (1.0, 0.2)])
    (line,) = (e for e in ET.fromstring(drawing).iter("polyline"))
    assert line.get("points") == "196.0,122.0 346.0,22.0"


@pytest.mark.parametrize("interval", [(math.nan, math.nan), (0.1, 0.3)])
@pytest.mark.parametrize("everybody", [0.2, -5.0])
def test_a_decision_curve_stays_inside_its_plot(interval, everybody) -> None:
    curve = [NetBenefit(0.02, Figure(0.2, *interval), 0.2),
             NetBenefit(0.5, Figure(0.2, *interval), everybody)]  # fmt: skip
    drawing = decision_chart(curve)
    for line in ET.fromstring(drawing).iter("polyline"):
        for place in line.get("points").split():
            x, y = map(float, place.split(","))
            assert 46 <= x <= 346 and 22 <= y <= 222
    assert all(math.isfinite(n) for n in numbers(drawing))
