"""The evaluation page: every figure as text, hostile names, no request, and the way back."""

import csv
import json
import math
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from typer.testing import CliRunner

from skinxai import Classifier, Evaluation, samples
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.cli import app
from skinxai.data import Record, Records, Splits, load_csv, prepare
from skinxai.errors import LeakageError, OptionError
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.reporting import read_evaluation, read_log, write_evaluation
from skinxai.reporting.charts import ticks
from skinxai.results import Figure

CODES = ("nv", "nv", "mel", "bcc")  # of the samples
HOSTILE = "<script>alert('x')</script>&\"'"
LOG = [
    {"epoch": 1, "loss": 1.5, "learning_rate": 1e-3, "accuracy": 0.5, "balanced_accuracy": 0.4,
     "macro_f1": 0.3, "images_per_second": 40.0, "note": "warm-up"},
    {"epoch": "2", "loss": "0.875", "learning_rate": "5e-4", "accuracy": "0.625",
     "balanced_accuracy": "nan", "macro_f1": "0.4375", "images_per_second": "41.5", "note": ""},
]  # fmt: skip


def made(labels: LabelSet = HAM10000_LABELS, absent: int = -1, count: int = 300) -> Evaluation:
    draws = np.random.default_rng(3)
    target = draws.choice([k for k in range(len(labels)) if k != absent], count)
    scores = draws.normal(size=(count, len(labels)))
    scores[np.arange(count), target] += 1
    attributes = [
        {"sex": ("male", "female")[n % 2], "age": str(n % 90), "localization": HOSTILE}
        for n in range(count)
    ]
    return evaluate_probabilities(
        target, np.exp(scores) / np.exp(scores).sum(1, keepdims=True),
        [str(n // 2) for n in range(count)], labels, model="net@0123", data="made up, val part",
        attributes=attributes, resamples=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return made()


class Elements(HTMLParser):
    """Every element's name and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))


def page_of(evaluation: Evaluation, folder: Path, log=()) -> str:
    path, _ = write_evaluation(evaluation, folder, log=log)
    return path.read_text()


def figures(evaluation: Evaluation) -> list[Figure]:
    tables = (evaluation.precision, evaluation.recall, evaluation.f1, evaluation.auc)
    return [
        evaluation.accuracy, evaluation.balanced_accuracy, evaluation.macro_f1,
        evaluation.expected_calibration_error, evaluation.brier_score,
        *(figure for table in tables for figure in table.values()),
        *(point.figure for point in evaluation.roc_points.values()),
        *(f for g in evaluation.subgroups for f in (g.accuracy, g.balanced_accuracy, g.macro_f1)),
    ]  # fmt: skip


def words(page: str) -> str:
    """What a reader sees, without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("<body>")[1]))


def test_every_figure_is_there_as_text(evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path, LOG)
    shown = words(page)
    assert len(figures(evaluation)) == 5 + 4 * 7 + 4 + 3 * 7
    for figure in figures(evaluation):
        assert f"{figure.value:.3f} {figure.low:.3f}–{figure.high:.3f}" in shown
    for each in evaluation.calibration:
        share = each.accuracy
        interval = f"{share.low:.3f}–{share.high:.3f}"
        assert f"{each.confidence:.3f} {share.value:.3f} {interval} {each.count}" in shown
    counts = [e.text for e in drawings(page)[1].iter("text") if "count" in e.get("class", "")]
    assert counts == [str(n) for row in evaluation.confusion for n in row]
    for group in evaluation.subgroups:
        assert f"{group.images} images of {group.lesions} lesions, {group.classes} classes" in shown
    for fact in ("net@0123", "made up, val part", "300 of 150 lesions"):
        assert fact in shown
    assert "A research tool, not a medical device." in shown and "LEAKED" not in page
    assert "Highest macro-F1: 0.438 in epoch 2" in shown
    assert "2 0.875 0.0005 0.625 – 0.4375 41.5 –" in shown and "warm-up" in shown


def drawings(page: str) -> list[ET.Element]:
    """The charts of a page, in order, but not the whiskers and the samples in a legend."""
    parsed = [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    return [ET.Element("none"), *(e for e in parsed if e.get("role") == "img")]


def test_every_drawing_is_well_formed_and_says_what_it_is(evaluation, tmp_path: Path) -> None:
    charts = drawings(page_of(evaluation, tmp_path, LOG))[1:]
    assert [chart.get("aria-label") for chart in charts] == [
        "Confusion matrix", "Reliability diagram", "Decision curve",
        *(f"ROC curve of {code}" for code in evaluation.labels),
        "loss by epoch", "learning rate by epoch",
        "macro-F1, balanced accuracy, accuracy by epoch",
    ]  # fmt: skip
    for chart in charts:
        numbers = re.findall(r"-?(?:\d+\.?\d*|nan|inf)", " ".join(
            value for e in chart.iter() for key, value in e.attrib.items()
            if key in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "points")
        ))  # fmt: skip
        assert numbers and all(math.isfinite(float(n)) for n in numbers)


def test_the_curve_is_drawn_where_its_points_are(evaluation, tmp_path: Path) -> None:
    charts = drawings(page_of(evaluation, tmp_path))
    (chart,) = (c for c in charts if c.get("aria-label") == "ROC curve of mel")
    (line,) = (e for e in chart.iter("polyline"))
    places = [tuple(map(float, place.split(","))) for place in line.get("points").split()]
    expected = [(30 + 150 * x, 18 + 150 * (1 - y)) for x, y in evaluation.roc["mel"]]
    np.testing.assert_allclose(places, expected, atol=0.051)


def test_cells_are_coloured_by_their_share_of_the_row(evaluation, tmp_path: Path) -> None:
    cells = [e for e in drawings(page_of(evaluation, tmp_path))[1].iter("rect")]
    drawn = [
        (e.get("class"), float(e.get("fill-opacity"))) for e in cells if e.get("class") != "empty"
    ]
    confusion = np.array(evaluation.confusion)
    shares = confusion / confusion.sum(1, keepdims=True)
    kinds = np.where(np.eye(7, dtype=bool), "right", "wrong")
    assert [kind for kind, _ in drawn] == kinds.ravel().tolist()
    np.testing.assert_allclose([share for _, share in drawn], shares.ravel(), atol=5e-4)


def test_no_request_and_no_script(evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path, LOG)
    assert (
        "http" not in page.replace("http-equiv=", "")
        and "url(" not in page
        and "@import" not in page
    )
    for tag, attributes in Elements(page).found:
        assert tag not in ("script", "iframe", "object", "embed", "img", "base")
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert attributes.get("href", "data:,") == "data:,"


def test_hostile_texts_are_escaped(tmp_path: Path) -> None:
    labels = LabelSet((HOSTILE, "mel"), {"mel": f"melanoma {HOSTILE}"}, frozenset({HOSTILE}))
    found = replace(made(labels), model=f"{HOSTILE}@1", data=HOSTILE)
    page = page_of(found, tmp_path, [{"epoch": 1, "loss": 1.0, HOSTILE: HOSTILE, "x_loss": 2.0}])
    assert "<script" not in page and "alert('x')" not in page
    assert "&lt;script&gt;" in page
    names = {tag for tag, _ in Elements(page).found}
    assert names == {tag for tag, _ in Elements(page_of(made(), tmp_path, LOG)).found}
    assert drawings(page)[1:]


def test_leaked_is_said_loudly(evaluation, tmp_path: Path) -> None:
    page = page_of(replace(evaluation, leaked=True), tmp_path)
    assert "<title>LEAKED: " in page
    banner = page.split("<div class='banner' role='alert'>")[1].split("</div>")[0]
    assert "LEAKED" in banner and "worth nothing" in banner
    assert page.index("class='banner'") < page.index("class='tile'")


def test_what_is_not_defined_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    found = made(absent=4)  # no melanoma
    page = page_of(found, tmp_path)
    shown = words(page)
    assert math.isnan(found.recall["mel"].value) and found.roc["mel"] == ()
    for text in (page, found.to_markdown()):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    # recall, F1 and AUC in the table, recall and AUC elsewhere, four operating points
    assert shown.count("– no images of this class") == 9
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert values["recall"]["mel"] == {"value": None, "low": None, "high": None}
    assert read_evaluation(tmp_path / "evaluation.json")[0].to_dict() == found.to_dict()
    single = made(LabelSet(("nv", "mel")), absent=0)
    assert words(page_of(single, tmp_path)).count("– no images of another class") == 6


@pytest.mark.parametrize("log", [[], LOG[:1], [{"epoch": 1}], [{"epoch": 1, "loss": 0.0}]])
def test_short_logs(evaluation, tmp_path: Path, log) -> None:
    page = page_of(evaluation, tmp_path, log)
    assert ("Log of the run" in page) == bool(log)
    lines = {0: 0, 1: 0, 2: 1}.get(len(log and log[0]), 3)  # loss, learning rate, validation
    assert len(drawings(page)) == 1 + 3 + 7 + lines


def test_a_row_needs_an_epoch(evaluation, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="row 2 has None"):
        write_evaluation(evaluation, tmp_path / "new", log=[{"epoch": 1}, {"loss": 1}])
    assert not (tmp_path / "new").exists()


def test_the_page_is_made_again_from_its_json(evaluation, tmp_path: Path) -> None:
    page = page_of(evaluation, tmp_path / "first", LOG)
    found, log = read_evaluation(tmp_path / "first" / "evaluation.json")
    assert found == evaluation
    assert page_of(found, tmp_path / "second", log) == page
    broken = tmp_path / "broken.json"
    for text in ("", "[]", "{}", '{"log": 1}'):
        broken.write_text(text)
        with pytest.raises(OptionError, match=r"must be an evaluation\.json"):
            read_evaluation(broken)
    with pytest.raises(OptionError, match=r"must be an evaluation\.json"):
        read_evaluation(tmp_path / "nowhere.json")


def test_the_log_of_a_run_folder(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    with (tmp_path / "log.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, LOG[1])
        writer.writeheader()
        writer.writerow(LOG[1])
    assert read_log(tmp_path) == [
        {"epoch": 2.0, "loss": 0.875, "learning_rate": 5e-4, "accuracy": 0.625,
         "balanced_accuracy": None, "macro_f1": 0.4375, "images_per_second": 41.5, "note": None}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1.79, [0, 0.5, 1, 1.5, 2]),
        (0.58, 0.83, [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks(low, high, expected) -> None:
    np.testing.assert_allclose(ticks(low, high), expected)


@pytest.fixture
def private(tmp_path: Path) -> list[str]:
    """Two crops of each sample, a table of them, and splits: arguments of the command."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rows, parts = ["image,label,lesion_id,sex"], ["image_id,part"]
    for number, (path, code) in enumerate(zip(samples.paths(), CODES, strict=True)):
        with Image.open(path) as image:
            for copy in range(2):
                name = f"{number}{copy}.png"
                image.crop((copy, 0, *image.size)).save(pictures / name, compress_level=1)
                rows.append(f"{name},{code},lesion{number},male")
                parts.append(f"{name},{'val' if number else 'train'}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    (tmp_path / "splits.csv").write_text("\n".join(parts))
    return ["evaluate", str(tmp_path / "table.csv"), "--images", str(pictures),
            "--out", str(tmp_path / "out")]  # fmt: skip


def test_the_command(private, classifier: Classifier, tmp_path: Path) -> None:
    run = tmp_path / "run"
    classifier.save_pretrained(run)
    logs = ROOT / "training/logs/small.csv"
    shutil.copy(logs, run / "log.csv")
    arguments = [*private, "--model", str(run), "--splits", str(tmp_path / "splits.csv"),
                 "--part", "val"]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "6 images of 3 lesions\n" in result.stdout and "| mel | 2 | " in result.stdout
    found, log = read_evaluation(tmp_path / "out" / "evaluation.json")
    records = load_csv(tmp_path / "table.csv", tmp_path / "pictures", labels=HAM10000_LABELS)
    part = Splits.from_csv(tmp_path / "splits.csv", records).val
    assert found.to_dict() == Classifier.from_pretrained(run).evaluate(part).to_dict()
    assert len(log) == 6 and found.data == "private data, val part"
    assert "Highest macro-F1" in (tmp_path / "out" / "evaluation.html").read_text()


def test_a_prepared_folder_is_judged_by_the_labels_of_the_model(tmp_path: Path) -> None:
    items = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (300, 240), (200 - 20 * number, 90, 80)).save(path)
        items.append(Record(f"{number}", path, ("mel", "nv")[number % 2], lesion_id=f"l{number}"))
    own = Records(tuple(items), LabelSet(("mel", "nv")))
    prepare(own, tmp_path / "prepared", progress=False)
    arguments = ["evaluate", str(tmp_path / "prepared"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    found, _ = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert found.labels == HAM10000_LABELS


def test_the_command_on_all_images(private, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, private)
    assert result.exit_code == 0 and "8 images of 4 lesions\n" in result.stdout
    assert read_evaluation(tmp_path / "out" / "evaluation.json")[1] == []


def test_leaked_splits_are_refused_or_marked(private, tmp_path: Path) -> None:
    torn = tmp_path / "splits.csv"
    torn.write_text(torn.read_text().replace("00.png,train", "00.png,val"))
    arguments = [*private, "--splits", str(torn), "--part", "val"]
    assert isinstance(CliRunner().invoke(app, arguments).exception, LeakageError)
    result = CliRunner().invoke(app, [*arguments, "--allow-leakage"])
    assert result.exit_code == 0 and "**LEAKED" in result.stdout
    assert "class='banner'" in (tmp_path / "out" / "evaluation.html").read_text()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--part", "val"], "--part goes with --splits, or with data that comes in parts"),
        (["--splits", "splits.csv"], "--splits needs --part val or --part test"),
    ],
)
def test_splits_and_part_go_together(private, option, words) -> None:
    result = CliRunner().invoke(app, [*private, *option])
    assert result.exit_code == 2 and words in result.output
    assert CliRunner().invoke(app, [*private, "--part", "train"]).exit_code == 2


def test_an_interval_without_width_is_not_left_unsaid(tmp_path) -> None:
    """Three lesions of a class are all right, and so they are in each resample that has any."""
    target = [HAM10000_LABELS.position(code) for code in ("df",) * 3 + ("nv",) * 20]
    rows = np.full((23, 7), 0.05)
    rows[np.arange(23), target] = 0.7
    found = evaluate_probabilities(
        target, rows, [str(n) for n in range(23)], HAM10000_LABELS, model="", data="", resamples=50
    )
    assert str(found.recall["df"]) == "1.000 (0.439–1.000)"  # Wilson's of 3 of 3
    page = write_evaluation(found, tmp_path)[0].read_text()
    assert "1.000–1.000" not in page
    assert "0.439–1.000" in page and "Where no resample has another value" in page
