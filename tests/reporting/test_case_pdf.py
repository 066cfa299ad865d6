"""The case report as PDF: one sheet on which everything fits, with the sentences of the page."""

import datetime
import re
from dataclasses import replace

import numpy as np
import pytest
from small_runs import model_folder

from skinxai import Classifier
from skinxai.labels import LabelSet
from skinxai.reporting import CaseReport, case_words
from skinxai.results import Neighbour, Novelty, Uncertainty
from skinxai.testing import colour_classifier

pytest.importorskip("reportlab")

from skinxai.reporting.pdf_sheets import A4, PdfSheet

LETTER_HEIGHT = 279.4
DAY = datetime.date(2026, 2, 3)
LONG = "a very long name of a class, as some data sets have them, that fits nowhere on a page " * 2
pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def report() -> CaseReport:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    methods = ["gradcam", "saliency", "integrated_gradients"]
    return colour_classifier().report(pixels, methods=methods, date=DAY, budget=2)


@pytest.fixture
def drawn(monkeypatch):
    """Lines of text, each with its left, upper and right end in millimetres."""
    found: list[tuple[str, float, float, float]] = []
    draw = PdfSheet.text

    def text(self, x, y, words, size, *, bold=False, right=False, **how):
        width = self.width(words, size, bold)
        left = x - width if right else x
        found.append((words, left, y, left + width))
        draw(self, x, y, words, size, bold=bold, right=right, **how)

    monkeypatch.setattr(PdfSheet, "text", text)
    return found


def words_of(drawn: list) -> str:
    return " ".join(" ".join(line for line, *_ in drawn).split())


def crowded(report: CaseReport) -> CaseReport:
    """All that a page can have, as long as it can be."""
    labels = LabelSet(
        tuple(f"c{k}" for k in range(30)), {f"c{k}": f"{k} {LONG}"[:200] for k in range(30)},
        frozenset({"c0", "c3"}),
    )  # fmt: skip
    codes = dict.fromkeys(labels, 1 / 30)
    prediction = replace(
        report.prediction, labels=labels, probabilities=codes, label="c0", decision="abstain",
        operating_point="sensitivity 0.90", reasons=(LONG, LONG), calibrated_on=LONG,
        malignant_probability=2 / 30, novelty=Novelty(0.9, True), warnings=(f"note: {LONG}",) * 3,
        uncertainty=Uncertainty(1.0, 0.5, 0.5, 0.2, 20, "members and views"), model="m" * 200,
    )  # fmt: skip
    maps = tuple(replace(each, target="c0") for each in report.maps)
    return replace(
        report, prediction=prediction, maps=maps, title="x" * 200, quality=(LONG,) * 5,
        against=replace(report.against, target="c0", against="c1"), training_data=(LONG,),
        prediction_set=tuple(labels), nearest=(Neighbour("0" * 40, "c1", 0.1, None),) * 5,
        versions={"skinxai": "1" * 90, "torch": "2" * 90}, trained_on_it=True,
        trained_on_copy=False,
    )  # fmt: skip


def test_one_sheet_with_embedded_fonts_and_the_same_bytes(report) -> None:
    data = report.pdf()
    assert data.startswith(b"%PDF-") and len(re.findall(rb"/Type /Page\b(?!s)", data)) == 1
    fonts = set(re.findall(rb"/BaseFont /([\w+-]+)", data))
    assert {name.partition(b"+")[2] for name in fonts} == {
        b"BitstreamVeraSans-Roman", b"BitstreamVeraSans-Bold",
    }  # fmt: skip
    assert data.count(b"/FontFile2") == len(fonts) == data.count(b"/ToUnicode")
    assert b"/MediaBox [ 0 0 595.2756 841.8898 ]" in data
    assert report.pdf() == data
    other = replace(report, date=datetime.date(2026, 2, 4))
    assert other.pdf() != data


def test_it_has_the_sentences_of_the_page(report, drawn) -> None:
    report.pdf()
    shown = words_of(drawn)
    title, rests_on = case_words.verdict(report)
    sentences = [
        case_words.heading(report), title, rests_on, *case_words.limits(report),
        *case_words.about_classes(report), case_words.about_against(report),
        case_words.against_title(report), case_words.AGREEMENT, *case_words.about_image(report),
        case_words.missing(report, "nearest"), *map(case_words.about_method, report.maps),
        "2026-02-03", report.pixels_sha256,
    ]  # fmt: skip
    for sentence in sentences:
        assert sentence in shown
    for row in case_words.class_rows(report):
        assert row.name in shown and f"{100 * row.value:.1f} %" in shown
    for pair, value in case_words.agreement(report):
        assert f"{value} {pair}" in shown


@pytest.mark.parametrize("full", [False, True])
def test_nothing_leaves_the_sheet(report, drawn, full) -> None:
    made = crowded(report) if full else report
    assert len(re.findall(rb"/Type /Page\b(?!s)", made.pdf())) == 1
    margin = (A4[1] - LETTER_HEIGHT) / 2
    for line, left, top, right in drawn:
        assert left >= 10 and right <= A4[0] - 10, line
        assert margin + 5 <= top <= A4[1] - margin - 5, line
    assert case_words.TOOL in {line for line, *_ in drawn}
    assert made.prediction.model[:60] in words_of(drawn)


def test_no_line_is_drawn_over_another(report, drawn) -> None:
    crowded(report).pdf()
    for k, (line, left, top, right) in enumerate(drawn):
        for other, left2, top2, right2 in drawn[:k]:
            apart = abs(top - top2) >= 2.2 or right <= left2 + 0.2 or right2 <= left + 0.2
            assert apart, (line, other)


def test_characters_that_the_font_lacks_are_escapes(report, drawn) -> None:
    labels = LabelSet(("red", "green", "blue"), {"red": "Läsion 病变", "green": "<b>&amp;"})
    replace(report, prediction=replace(report.prediction, labels=labels)).pdf()
    sheet = PdfSheet("")
    assert sheet._known("Läsion 病变 −1 ≥ 0", False) == r"Läsion \u75c5\u53d8 −1 ≥ 0"
    assert "<b>&amp; (green)" in words_of(drawn)  # as it is: nothing parses it


@pytest.mark.parametrize("count", [2, 10, 11])
def test_more_classes_than_are_listed_are_summed(tmp_path, drawn, count) -> None:
    labels = LabelSet(tuple(f"c{k}" for k in range(count)))
    pixels = np.full((60, 90, 3), 90, np.uint8)
    model = Classifier.from_pretrained(model_folder(tmp_path / "m", labels, seed=1))
    made = model.report(pixels, methods=["gradcam"], date=DAY)
    made.pdf()
    rest = case_words.rest_of_classes(made)
    assert (rest != "") == (count > 10) and rest in words_of(drawn)
    listed = [line for line, *_ in drawn if re.fullmatch(r"c\d+", line)]
    assert len(listed) == min(count, 10)


def test_words_are_cut_into_lines_that_fit() -> None:
    sheet = PdfSheet("")
    lines = sheet.lines(f"short {'x' * 300} end", 40.0, 8.0)
    assert all(sheet.width(line, 8.0) <= 40.0 for line in lines)
    assert "".join(lines).replace(" ", "") == f"short{'x' * 300}end"
    (one,) = sheet.lines("y" * 300, 40.0, 8.0, most=1)
    assert one.endswith("…") and sheet.width(one, 8.0) <= 40.0
    assert sheet.lines("   ", 40.0, 8.0) == []
