"""The wheel as users get it, and what holds of the whole package."""

import email
import re
import runpy
import subprocess
import sys
import zipfile
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest
from long_files import LONG
from places import ROOT

import skinxai
from skinxai import errors
from skinxai.plugins import registry


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_licences(wheel) -> None:
    found = metadata(wheel)
    assert found["License-Expression"] == "MIT AND CC-BY-NC-4.0"
    assert found.get_all("License-File") == ["LICENSE", "LICENSE-CC-BY-NC-4.0"]
    texts = {
        Path(name).name: wheel.read(name).decode()
        for name in wheel.namelist()
        if "/licenses/" in name
    }
    assert "Permission is hereby granted" in texts["LICENSE"]
    assert "Attribution-NonCommercial 4.0 International" in texts["LICENSE-CC-BY-NC-4.0"]
    for part in ("src/skinxai/bundled", "src/skinxai/samples"):
        assert part.removeprefix("src/") in texts["LICENSE-CC-BY-NC-4.0"]
    card = wheel.read("skinxai/bundled/README.md").decode()
    assert "CC BY-NC 4.0" in card and "not a\nmedical device" in card


def test_metadata(wheel) -> None:
    found = metadata(wheel)
    assert found["Name"] == "skinxai" and found["Version"] == skinxai.__version__
    assert found["Requires-Python"] == ">=3.11"
    assert "not a medical device" in found["Summary"]
    needed = [line for line in found.get_all("Requires-Dist") if "extra ==" not in line]
    core = {re.split(r"[^\w-]", line)[0] for line in needed}
    assert core == {
        "albumentations", "captum", "filelock", "huggingface-hub", "numpy",
        "opencv-python-headless", "pandas", "pillow", "pluggy", "safetensors", "scikit-learn",
        "scipy", "simplejpeg", "timm", "torch", "torchvision", "tqdm", "typer",
    }  # fmt: skip
    assert "albumentations==2.0.8" in found.get_all("Requires-Dist")


def test_content(wheel) -> None:
    names = set(wheel.namelist())
    for name in ("py.typed", "bundled/manifest.json", "bundled/config.json", "samples/README.md"):
        assert f"skinxai/{name}" in names
    assert sum(name.startswith("skinxai/samples/ISIC_") for name in names) == 4
    assert not [n for n in names if not n.startswith(("skinxai/", "skinxai-"))]
    (scripts,) = (n for n in names if n.endswith("entry_points.txt"))
    assert "skinxai = skinxai.cli:main" in wheel.read(scripts).decode()


def test_size(wheel) -> None:
    sizes = {info.filename: info.file_size for info in wheel.infolist()}
    assert sizes["skinxai/bundled/model.safetensors"] <= 10 * 2**20
    assert sum(sizes.values()) <= 15 * 2**20
    data = {name: size for name, size in sizes.items() if not name.endswith((".py", "RECORD"))}
    assert sum(data.values()) <= 12.5 * 2**20


def test_the_installed_version() -> None:
    assert version("skinxai") == skinxai.__version__
    assert f"## {skinxai.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {skinxai.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_every_error_has_a_code_of_its_own_and_is_in_the_tree() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.SkinxaiError)
    ]
    assert len({cls.code for cls in classes}) == len(classes)
    rooms = (ROOT / "src/skinxai/errors").glob("*_errors.py")
    written = re.findall(
        r"^class (\w+)", "\n".join(room.read_text() for room in rooms), re.MULTILINE
    )
    assert {cls.__name__ for cls in classes} == {"SkinxaiError", *written}
    for cls in classes:
        assert re.search(rf"\b{cls.__name__}\b", errors.__doc__)
        assert cls.__doc__


def test_the_readme_shows_the_bundled_models_own_figures() -> None:
    readme = (ROOT / "README.md").read_text()
    card = (ROOT / "src/skinxai/bundled/README.md").read_text()
    tables = readme.split("## How good is it?")[1].split("Do its heatmaps")[0]
    figures = re.findall(r"\d\.\d{3} \(\d\.\d{3}–\d\.\d{3}\)", tables)
    assert len(figures) == 6 + 7 + 3
    for figure in figures:
        assert figure in card
    assert skinxai.Classifier.from_pretrained().model in readme


def test_links_in_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_each_script_that_is_named_is_there() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "scripts").iterdir()]
    for folder in ("benchmarks", "deploy", "docs", "examples", "src", "tests", "training"):
        found = (ROOT / folder).rglob("*")
        texts += [each for each in found if each.suffix in (".md", ".py", ".sh", ".yml")]
    named = {
        (path, name)
        for path in texts
        if path.is_file()
        for name in re.findall(r"sh (scripts/\w+)", path.read_text(errors="replace"))
    }
    assert len(named) > 10
    assert not [(path, name) for path, name in named if not (ROOT / name).exists()]


def test_the_picture_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "samples.jpg"
    monkeypatch.setattr(sys, "argv", ["overlays.py", str(out)])
    runpy.run_path(str(ROOT / "examples/overlays.py"), run_name="__main__")
    assert out.stat().st_size > 20_000


def test_importlib_stands_in_two_files_only() -> None:
    users = {
        path.name
        for path in (ROOT / "src/skinxai").rglob("*.py")
        if re.search(r"^\s*(import|from) importlib", path.read_text(), re.MULTILINE)
    }
    assert users == {"__init__.py", Path(registry.__file__).name}


def test_the_files_that_begin_are_there() -> None:
    there = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert {f"test_{name}" for name in LONG} <= there


def test_no_two_modules_have_one_name() -> None:
    root = Path(skinxai.__file__).parent
    modules = [path.stem for path in root.rglob("*.py") if path.stem != "__init__"]
    packages = [path.parent.name for path in root.rglob("__init__.py")]
    names = sorted(modules + packages)
    assert [name for name, other in pairwise(names) if name == other] == []
