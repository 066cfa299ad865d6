"""Every install line of the pages works from a clone or a wheel; the README holds anywhere."""

import email
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from places import ROOT

from skinxai import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = set(PROJECT["project"]["optional-dependencies"])
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "examples").rglob("*.md")), ROOT / "examples/space/Dockerfile"]
WHEEL_LINE = "pip wheel --no-deps --wheel-dir examples/space ."
LATER = "from its first release on, `pip install skinxai` will do"
OTHERS = {"torch", "torchvision"}  # from the index that the line names


def pip(*arguments: str, folder: Path = ROOT, index: bool = False) -> str:
    """What pip says; without an index it can take nothing but what lies here."""
    options = [] if index else ["--no-index"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, *options, "--disable-pip-version-check"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout + done.stderr


def resolves(*requirements: str, folder: Path = ROOT) -> None:
    """Refuse what pip cannot find here, and extras that there are not."""
    said = pip(
        "install", "--dry-run", "--no-deps", "--no-build-isolation", *requirements, folder=folder
    )
    assert "does not provide the extra" not in said, said


def install_lines() -> set[str]:
    """What stands after each ``pip install`` of the pages."""
    found = set()
    for page in PAGES:
        text = page.read_text().replace(LATER, "")
        for line in re.findall(r"pip install ([^`\n]+)", text):
            found.add(line.split("#")[0].split("&&")[0].rstrip("\\ "))
    return found


def test_the_lines_are_found() -> None:
    found = install_lines()
    assert {".", '".[demo]"', '".[openvino]"', "./examples/skinxai-shap"} <= found
    assert "-r examples/space/requirements.txt" in found
    assert LATER in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("line", sorted(install_lines()))
def test_an_install_line_works_in_a_clone(line: str, tmp_path: Path) -> None:
    arguments = [word for word in shlex.split(line) if word != "--no-cache-dir"]
    if "--index-url" in arguments:
        names = set(arguments[: arguments.index("--index-url")])
        assert names <= OTHERS and arguments[-1].startswith("https://")
    elif arguments[0] == "-r":
        assert (ROOT / arguments[1]).is_file() or (ROOT / "examples/space" / arguments[1]).is_file()
    else:
        resolves(*arguments)


def test_the_space_installs_the_wheel_that_lies_in_it(tmp_path: Path) -> None:
    """And the wheel has the long description of this address, which is none."""
    assert WHEEL_LINE in (ROOT / "docs/how-to/space.md").read_text()
    space = tmp_path / "space"
    shutil.copytree(ROOT / "examples/space", space, ignore=shutil.ignore_patterns("*.whl"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(space), str(ROOT))
    (wheel,) = space.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = f"skinxai-{__version__}.dist-info/METADATA"
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text()
    resolves("--ignore-installed", "-r", str(space / "requirements.txt"), folder=tmp_path)
    assert f"skinxai[demo,openvino]=={__version__}\n" in (space / "requirements.txt").read_text()
    assert "COPY . ./" in (space / "Dockerfile").read_text()


def test_the_remedies_of_errors_name_extras_that_there_are() -> None:
    """And pip needs no index to see that skinxai itself is installed."""
    named = set()
    for path in [*(ROOT / "src").rglob("*.py"), *PAGES]:
        for extras in re.findall(r"skinxai\[([a-z,]+)\]", path.read_text()):
            named |= set(extras.split(","))
    for line in install_lines():
        for extras in re.findall(r"\.\[([a-z,]+)\]", line):
            named |= set(extras.split(","))
    assert named | {"ray"} == EXTRAS  # a page names that one in words
    tested = EXTRAS - {"ray"}  # too large for each run of the tests
    said = pip("install", "--dry-run", *(f"skinxai[{extra}]" for extra in sorted(tested)))
    assert "Would install" not in said


# what an index of packages shows


@pytest.fixture
def description(tmp_path: Path):
    """The long description of the project, built with an address of the repository."""

    def built(address: str) -> str:
        shutil.copytree(ROOT / "scripts", tmp_path / "scripts", dirs_exist_ok=True)
        shutil.copy(ROOT / "README.md", tmp_path)
        (tmp_path / "src/skinxai").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "src/skinxai/version.py", tmp_path / "src/skinxai")
        text = (ROOT / "pyproject.toml").read_text()
        assert text.count('\naddress = ""') == 1
        text = text.replace('\naddress = ""', f'\naddress = "{address}"')
        (tmp_path / "pyproject.toml").write_text(text)
        return ProjectMetadata(str(tmp_path), PluginManager()).core.readme

    return built


def targets(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)", text)


def test_without_an_address_the_readme_is_as_it_is(description) -> None:
    assert description("") == (ROOT / "README.md").read_text()


def test_with_an_address_every_link_leads_there(description) -> None:
    address = "https://example.org/people/skinxai"
    before = (ROOT / "README.md").read_text()
    after = description(address + "/")
    pairs = list(zip(targets(before), targets(after), strict=True))
    assert len(pairs) > 20
    for old, new in pairs:
        if old.startswith(("http", "#")):
            assert new == old
        else:
            kind = "raw" if old.endswith(".jpg") else "blob"
            assert new == f"{address}/{kind}/HEAD/{old}"
            assert (ROOT / old.partition("#")[0]).exists()
    assert {new.split("/")[5] for _, new in pairs if new.startswith(address)} == {"raw", "blob"}
    assert re.sub(r"\]\([^)]*\)", "", after) == re.sub(r"\]\([^)]*\)", "", before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md#b)", "[a](A/blob/HEAD/docs/a.md#b)"),
        ("[a](./docs/a.md)", "[a](A/blob/HEAD/docs/a.md)"),
        ("![a](b.PNG 'title')", "![a](A/raw/HEAD/b.PNG 'title')"),
        ("[![a](b.svg)](LICENSE)", "[![a](A/raw/HEAD/b.svg)](A/blob/HEAD/LICENSE)"),
        ("[a]: docs/a.md", "[a]: A/blob/HEAD/docs/a.md"),
        ('<img alt="a" src="b.webp">', '<img alt="a" src="A/raw/HEAD/b.webp">'),
        ("[a](https://b.org/c) [a](mailto:b@c) [a](#b)", None),
        ("[a]: https://b.org", None),
        ("f(x)[0](y)", "f(x)[0](A/blob/HEAD/y)"),
    ],
)
def test_each_kind_of_link(description, text: str, expected: str | None) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from long_description import absolute
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    assert absolute(text, "A") == (text if expected is None else expected)
    assert absolute(text, "") == text
