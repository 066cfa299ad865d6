"""`Classifier.report`: the page says what the model answers, and what the model has not."""

import datetime
import html
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign_text import wrong_html
from PIL import Image
from scipy.stats import spearmanr
from small_runs import BASE, COLOURS, LABELS, coloured, model_folder
from typer.testing import CliRunner

from skinxai import Classifier, Trainer
from skinxai.cli import app
from skinxai.data import TrainedOn, pixel_hash
from skinxai.errors import ModelError, OptionError, OutputError, SkinxaiError, UnknownNameError
from skinxai.labels import LabelSet
from skinxai.reporting import CaseReport
from skinxai.results import Novelty, Uncertainty
from skinxai.results.sheets import cells

pytestmark = pytest.mark.usefixtures("small_networks")
DAY = datetime.date(2026, 2, 3)
QUICK = {"budget": 60, "date": DAY, "progress": False}
MALIGNANT = LabelSet(LABELS.codes, {"red": "rubor"}, frozenset({"red"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt the colours, calibrated, with its training lesions."""
    place = tmp_path_factory.mktemp("models")
    train, val = (
        replace(coloured(place / name, 8, k), labels=MALIGNANT)
        for k, name in enumerate(("train", "val"))
    )
    settings = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 3}
    Trainer(**settings, output_dir=place / "run").fit(train, val)
    made = Classifier.from_pretrained(place / "run").index(train, dimensions=4)
    odd = {"red": "red", "green": "blue", "blue": "green"}
    mixed = coloured(place / "calibration", 12, 5)
    items = [replace(i, label=odd[i.label]) if k % 3 == 0 else i for k, i in enumerate(mixed)]
    made.calibrate(replace(mixed, items=tuple(items), labels=MALIGNANT)).save_pretrained(
        place / "whole"
    )
    return place / "whole"


@pytest.fixture(scope="module")
def whole(folder: Path) -> Classifier:
    return Classifier.from_pretrained(folder)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draws = np.random.default_rng(9)
    path = tmp_path_factory.mktemp("pictures") / "Jane Doe 1970.png"
    pixels = np.array(COLOURS["red"]) + draws.integers(-50, 50, (40, 56, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def report(whole: Classifier, picture: Path) -> CaseReport:
    return whole.report(picture, **QUICK)


def text(page: str) -> str:
    """What a reader of the page sees."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_numbers_are_those_of_the_answers(whole, picture, report) -> None:
    prediction, page = whole.predict(picture), text(report.html())
    assert report.prediction.probabilities == prediction.probabilities
    for code, value in prediction.probabilities.items():
        name = {"red": "rubor red ▲ malignant"}.get(code, code)
        assert f"{name} {100 * value:.1f} %" in page
    assert prediction.decision in ("refer", "routine")
    assert f" {prediction.decision.capitalize()} Decision at the operating point " in page
    assert prediction.operating_point == "screening" and "point 'screening'" in page
    for reason in prediction.reasons:
        assert reason[1:] in page
    point = whole.calibration.one_view.operating_points["screening"]
    assert f"{point.threshold:.3f}" in page
    for rate in (point.sensitivity, point.specificity):
        assert f"{rate.value:.3f} (95 % interval {rate.low:.3f}–{rate.high:.3f})" in page
    inside = prediction.prediction_set(0.9)
    assert report.prediction_set == inside
    assert f"Prediction set (•), {len(inside)} of 3 classes: " in page
    assert report.html().count("<td class='dot'>•</td>") == len(inside)
    assert f"Malignant classes together: {100 * prediction.malignant_probability:.1f} %." in page


def test_the_maps_are_those_of_explain_and_their_agreement_is_spearmans(
    whole, picture, report
) -> None:
    first, second = (code for code, _ in report.prediction.top(2))
    assert [each.method for each in report.maps] == ["gradcam", "smoothgrad", "occlusion"]
    for made in report.maps:
        keywords = {} if made.method == "gradcam" else {"budget": 60}
        right = whole.explain(picture, made.method, target=first, **keywords)
        np.testing.assert_array_equal(made.heatmap, right.heatmap)
    against = whole.explain(picture, "gradcam", target=first, against=second)
    np.testing.assert_array_equal(report.against.heatmap, against.heatmap)
    page, names = text(report.html()), dict(zip(("g", "s", "o"), report.maps, strict=True))
    for one, two, shown in (("g", "s", "Grad-CAM and SmoothGrad"),
                            ("g", "o", "Grad-CAM and Occlusion"),
                            ("s", "o", "SmoothGrad and Occlusion")):  # fmt: skip
        pair = names[one], names[two]
        value = report.agreement[pair[0].method, pair[1].method]
        right = spearmanr(*(cells(each.heatmap).ravel() for each in pair)).statistic
        assert value == pytest.approx(right, nan_ok=True)
        words = "–, one is constant" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
        assert f"{shown} {words}" in page


def test_neighbours_and_where_it_comes_from(whole, picture, report) -> None:
    found, page = whole.nearest(picture, 5), text(report.html())
    assert list(report.nearest) == found
    for each in found:
        name = {"red": "rubor"}.get(each.label, each.label)
        assert f"{name} {each.id} {each.distance:.2f}" in page
    pixels = np.asarray(Image.open(picture))
    for fact in (whole.model, whole.backend, f"56 × 40 pixels, SHA-256 of the pixels "
                 f"{pixel_hash(pixels)}", "2026-02-03", "skinxai 0.", "smoothgrad budget=60",
                 "Research tool, not a medical device. Do not use it for diagnosis"):  # fmt: skip
        assert fact in page


def test_the_file_is_not_named(report, picture) -> None:
    everything = report.html() + json.dumps(report.to_dict()) + repr(report)
    assert "Jane" not in everything and str(picture.parent) not in everything
    assert report.prediction.source == "" and {each.source for each in report.maps} == {""}


def test_the_dict_is_json_and_has_the_same_numbers(report) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["prediction"]["probabilities"] == dict(report.prediction.probabilities)
    assert values["prediction_set"] == list(report.prediction_set)
    assert values["operating_point"]["name"] == "screening"
    assert [each["method"] for each in values["maps"]] == [each.method for each in report.maps]
    for row in values["agreement"]:
        right = report.agreement[tuple(row["methods"])]
        assert row["rank_correlation"] == (None if math.isnan(right) else right)
    assert values["image"]["pixels_sha256"] == report.pixels_sha256 and values["date"] == str(DAY)


def test_the_page_and_its_frame_are_whole_and_fetch_nothing(report) -> None:
    page = report.html()
    assert wrong_html(page) == []
    assert "default-src 'none'; img-src data:;" in page
    assert not re.search(r"(src|href)='(?!data:)", page)
    frame = report._repr_html_()
    assert html.unescape(frame.split("srcdoc='")[1].split("'></iframe>")[0]) == page
    assert "<iframe sandbox title" in frame


def test_another_point_coverage_and_flips(whole, picture) -> None:
    asked = dict(operating_point="balanced", coverage=0.5, tta=True, methods=["gradcam"])
    made = whole.report(picture, **asked, date=DAY)
    right = whole.predict(picture, tta=True, operating_point="balanced")
    assert made.prediction.probabilities == right.probabilities
    assert made.prediction_set == right.prediction_set(0.5) and made.coverage == 0.5
    point = whole.calibration.four_views.operating_points["balanced"]
    assert made.operating_point == point
    assert made.agreement == {} and "Do several methods agree" not in made.html()
    assert "at least 50 %" in text(made.html())


def test_flags_novelty_and_uncertainty_are_on_the_page(whole, report) -> None:
    black = whole.report(np.zeros((60, 90, 3), np.uint8), methods=["gradcam"], date=DAY)
    page, limits = text(black.html()), whole.calibration.quality
    assert black.prediction.decision == "abstain" and " Abstain Decision " in page
    assert black.prediction.quality
    for flag, value in black.prediction.quality.items():
        assert limits.sentence(flag, value)[1:] in page
    doubted = replace(
        report.prediction, novelty=Novelty(0.73, True),
        uncertainty=Uncertainty(1.25, 0.75, 0.5, 0.4, 5, "members"),
    )  # fmt: skip
    page = text(replace(report, prediction=doubted).html())
    assert "Novelty: 0.73, above the limit of 0.5: the image is hardly of the kind" in page
    assert (
        "Uncertainty of 5 answers (members), in nats: total 1.25, aleatoric 0.75, epistemic 0.50; "
        "40 % of the answers, by weight, have another top class." in page
    )


@pytest.mark.parametrize(
    ("novelty", "said"),
    [
        (Novelty(0.5003, True), "Novelty: 0.5003, above the limit of 0.5"),
        (Novelty(0.4997, False), "Novelty: 0.4997, within the limit of 0.5"),
        (Novelty(0.5, False), "Novelty: 0.50, within the limit of 0.5"),
    ],
)
def test_novelty_is_not_rounded_to_its_limit(report, novelty, said) -> None:
    prediction = replace(report.prediction, novelty=novelty)
    assert said in text(replace(report, prediction=prediction).html())


def test_uncertainty_where_it_was_asked_for(whole, picture) -> None:
    made = whole.report(picture, methods=["gradcam"], dropout_passes=6, date=DAY)
    found = made.prediction.uncertainty
    assert found == whole.predict(picture, dropout_passes=6).uncertainty
    assert found.by.startswith("dropout")
    shown = f"Uncertainty of 6 answers ({found.by}), in nats: total {found.total:.2f}, "
    assert shown in text(made.html())
    assert "Uncertainty of" not in text(whole.report(picture, methods=["gradcam"]).html())
    novelty = made.prediction.novelty
    assert f"Novelty: {novelty.score:.2f}, within the limit of 0.5" in text(made.html())


@pytest.mark.parametrize(
    "foreign", ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "&lt;b&gt; {0} %s"]
)
def test_foreign_text_is_text(report, foreign) -> None:
    labels = LabelSet(LABELS.codes, dict.fromkeys(LABELS.codes, foreign), frozenset({"red"}))
    prediction = replace(
        report.prediction, labels=labels, model=foreign, warnings=(f"x: {foreign}",),
        reasons=(foreign,), calibrated_on=foreign, backend=foreign,
    )  # fmt: skip
    made = replace(
        report, prediction=prediction, title=foreign, absent={"nearest": foreign}, nearest=(),
        training_data=(foreign,), versions={foreign: foreign}, quality=(foreign,),
    )  # fmt: skip
    page = made.html()
    assert wrong_html(page) == [] and foreign not in page.replace(html.escape(foreign), "")
    assert text(page).count(" ".join(foreign.split())) >= 10


def test_wrong_arguments(whole, picture, folder) -> None:
    for keywords, start in (
        ({"methods": []}, "methods must be one to 3 different names, got []"),
        ({"methods": "gradcam"}, "methods must be one to 3 different names, got 'gradcam'"),
        ({"methods": iter(["gradcam"])}, "methods must be one to 3 different names, got <list_"),
        ({"methods": 3}, "methods must be one to 3 different names, got 3"),
        ({"methods": ["gradcam"] * 2}, "methods must be one to 3 different names"),
        ({"methods": ["gradcam", "rise", "lime", "saliency"]}, "methods must be one to 3"),
        ({"coverage": 1}, "coverage must be in (0, 1), got 1."),
        ({"coverage": math.nan}, "coverage must be in (0, 1), got nan."),
        ({"neighbours": -1}, "neighbours must be an integer >= 0, got -1."),
        ({"neighbours": True}, "neighbours must be an integer >= 0, got True."),
        ({"date": "today"}, "date must be a datetime.date, got 'today'."),
        ({"title": "a\x1b[2J"}, "title must be printable text on one line"),
        ({"target": "red"}, "Unknown option 'target'"),
        ({"budgets": 4}, "Unknown option 'budgets'"),
        ({"on_error": "return"}, "Unknown option 'on_error'"),
    ):
        with pytest.raises(OptionError) as caught:
            whole.report(picture, **keywords)
        assert str(caught.value).startswith(start)
    with pytest.raises(UnknownNameError, match="gradcan"):
        whole.report(picture, methods=["gradcan"])
    with pytest.raises(UnknownNameError, match="screning"):
        whole.report(picture, operating_point="screning")
    for several in ([picture, picture], picture.parent):
        with pytest.raises(OptionError, match="image must be a single one in report"):
            whole.report(several)
    plain = Classifier.from_pretrained(model_folder(folder.parent / "plain", seed=1))
    with pytest.raises(ModelError, match="operating point"):
        plain.report(picture, operating_point="screening")
    assert plain.report(picture, methods=["gradcam"], neighbours=0).absent == {}


def test_saved_by_its_suffix(report, tmp_path) -> None:
    report.save(tmp_path / "case.HTML")
    assert (tmp_path / "case.HTML").read_text() == report.html()
    with pytest.raises(OutputError, match=r"must end in \.html or \.pdf, got '.*case\.docx'"):
        report.save(tmp_path / "case.docx")
    with pytest.raises(OutputError):
        report.save(tmp_path / "missing" / "case.html")


def test_without_reportlab_a_sentence_says_what_to_install(
    report, folder, picture, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "reportlab", None)
    right = "a PDF needs the package reportlab: pip install 'skinxai[pdf]'."
    with pytest.raises(OptionError) as caught:
        report.save(tmp_path / "case.pdf")
    assert str(caught.value) == right
    out = tmp_path / "case.pdf"
    words = ["report", str(picture), "--model", str(folder), "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, SkinxaiError) and str(result.exception) == right
    assert not out.exists()


def test_the_command_writes_a_page_for_each_image(folder, picture, tmp_path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:200])
    words = ["report", str(picture), str(broken), "--model", str(folder), "--methods", "gradcam"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--coverage", "0.8"])
    assert result.exit_code == 1 and f"{broken}  failed: " in result.stdout
    (page,) = (tmp_path / "out").iterdir()
    assert page.name == "Jane_Doe_1970.html" and "Jane" not in page.read_text()
    assert "at least 80 %" in text(page.read_text())
    single = ["--out", str(tmp_path / "one.html"), "--file-names"]
    assert CliRunner().invoke(app, [*words[:2], *words[3:], *single]).exit_code == 0
    assert "Case report: Jane Doe 1970.png" in text((tmp_path / "one.html").read_text())
    for more, sentence in (
        (["--out", str(tmp_path / "two.html")], "--out must be a folder for 2 images"),
        (["--out", str(tmp_path / "two.pdf"), "--format", "html"], "--format is for a folder"),
    ):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code == 2 and sentence in result.stderr


def test_the_same_report_has_the_same_page(whole, picture, report) -> None:
    again = whole.report(picture, **QUICK)
    assert again.html() == report.html() and again.to_dict() == report.to_dict()
    assert TrainedOn.from_hashes([report.pixels_sha256])  # a whole hash of pixels
