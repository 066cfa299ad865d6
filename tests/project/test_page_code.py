"""The Python of the pages runs as it stands there, and prints what the pages show."""

import contextlib
import io
import re
import shutil
import sys
from pathlib import Path

import pytest
import warm
from places import ROOT

from skinxai import Classifier, explainers, plugins, samples

BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MELANOMA, MISSED = samples.paths()[:2]


@pytest.fixture
def only_own_names():
    """Takes away what a page registers."""
    before = set(explainers.names())
    yield
    plugins.explainers.remove(sorted(set(explainers.names()) - before))


@pytest.mark.parametrize(
    ("page", "lesion", "blocks"),
    [
        ("README.md", MISSED, 4),
        ("docs/index.md", MELANOMA, 1),
        ("docs/labels.md", MELANOMA, 1),
        ("docs/how-to/write-an-explainer.md", MELANOMA, 2),
        ("docs/how-to/run-without-torch.md", MELANOMA, 1),
        ("docs/how-to/prepare-data.md", MELANOMA, 1),
        ("docs/how-to/predict-a-million-images.md", MELANOMA, 1),
        ("docs/how-to/serve.md", MELANOMA, 1),
        ("docs/how-to/similar-lesions.md", MELANOMA, 1),
        ("docs/how-to/review-and-feed-back.md", MELANOMA, 1),
        ("docs/explanation/heatmaps.md", MELANOMA, 1),
        ("docs/explanation/which-method.md", MELANOMA, 1),
        ("docs/reference/classifier.md", MELANOMA, 1),
        ("docs/reference/errors.md", MELANOMA, 1),
        ("docs/reference/images.md", MELANOMA, 1),
        ("docs/reference/plugins.md", MELANOMA, 1),
        ("docs/reference/explainers.md", MELANOMA, 1),
        ("docs/tutorials/first-prediction.md", MELANOMA, 5),
    ],
)
def test_python_prints_what_the_page_shows(
    page: str, lesion: Path, blocks: int, tmp_path: Path, monkeypatch, only_own_names
) -> None:
    """All blocks of a page share their names; a text block is the output of the one above it."""
    shutil.copy(lesion, tmp_path / "lesion.jpg")
    monkeypatch.chdir(tmp_path)
    found = BLOCK.findall((ROOT / page).read_text())
    assert [kind for kind, _ in found].count("python") == blocks
    names: dict[str, object] = {}
    for (kind, code), (following, expected) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            if following == "text":
                assert printed.getvalue() == expected, code


def test_the_glossary_has_every_label_with_its_name_and_kind() -> None:
    page = (ROOT / "docs/labels.md").read_text()
    labels = Classifier.from_pretrained().config.labels
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (malignant|benign) \| .+ \|$", page, re.MULTILINE)
    assert [code for code, _, _ in rows] == list(labels)
    for code, name, kind in rows:
        assert name.startswith(labels.names[code])
        assert kind == ("malignant" if code in labels.malignant else "benign")


def test_the_home_pages_bars_are_the_models_answer() -> None:
    rows = re.findall(
        r'<th>(.+)</th><td class="track"><div style="width:(\d+)%"></div></td><td>(\S+)</td>',
        (ROOT / "docs/index.md").read_text(),
    )
    classifier = Classifier.from_pretrained()
    names = classifier.config.labels.names
    expected = classifier.predict(MELANOMA).top(7)
    assert len(rows) == 7
    for (name, width, shown), (code, value) in zip(rows, expected, strict=True):
        assert names[code].startswith(name) and float(shown) == pytest.approx(value, abs=6e-4)
        assert int(width) == max(1, round(100 * value))


def test_every_method_has_a_picture_with_an_alternative_text() -> None:
    page = (ROOT / "docs/reference/explainers.md").read_text()
    for name in explainers.names():
        (text,) = re.findall(rf"!\[(.+)\]\(\.\./images/methods/{re.escape(name)}\.jpg\)", page)
        assert len(text) > 20
        assert (ROOT / f"docs/images/methods/{name}.jpg").stat().st_size < 40_000


def test_the_script_of_the_pictures(tmp_path: Path) -> None:
    script = ROOT / "examples/method_pictures.py"
    methods = ["gradcam", "attention_rollout"]
    warm.run([sys.executable, str(script), str(tmp_path), *methods], check=True)
    assert {path.stem for path in tmp_path.glob("*.jpg")} == set(methods)


def test_the_site_has_the_demos_mark_and_asks_no_other_host() -> None:
    mark = (ROOT / "src/skinxai/demo/icon.svg").read_text()
    assert (ROOT / "docs/assets/logo.svg").read_text() == mark
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()
    assert "//" not in (ROOT / "docs/assets/site.css").read_text()


def test_what_is_shared_without_fingerprints_has_none(tmp_path: Path, monkeypatch) -> None:
    page = (ROOT / "docs/explanation/splits.md").read_text()
    code = page.split('title="with a classifier in memory"}\n')[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(code, {"classifier": Classifier.from_pretrained()})
    shared = {path.name for path in (tmp_path / "to-share").iterdir()}
    assert shared == {
        "model.safetensors",
        "config.json",
        "README.md",
        "probe.json",
        "manifest.json",
    }
    assert Classifier.from_pretrained(tmp_path / "to-share").trained_on is None
