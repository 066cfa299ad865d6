"""The pages know every public name, command, option, variable, extra and room of the code."""

import dataclasses
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest
import typer
from places import ROOT

import skinxai
from skinxai import explainers
from skinxai.cli import app
from skinxai.plugins import hookspecs

DOCS = "\n".join(p.read_text() for p in sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("name", [n for n in skinxai.__all__ if n != "__version__"])
def test_public_names_are_there_and_in_the_docs(name: str) -> None:
    assert getattr(skinxai, name) is not None
    assert re.search(rf"\b{name}\b", DOCS), f"{name} is in no page of docs/"


def test_every_name_that_a_page_imports_is_in_the_reference() -> None:
    listed = set(re.findall(r"^::: (\S+)$", DOCS, re.MULTILINE))
    names, asked = {name.rpartition(".")[2] for name in listed}, set()
    for place, found in re.findall(r"(?m)^ *from (skinxai[\w.]*) import ([\w, ]+)$", DOCS):
        folder = ROOT / "src" / place.replace(".", "/")
        if place not in listed:  # else the whole module is there
            asked |= {name for name in found.split(", ") if not (folder / name).is_dir()}
    assert len(asked) > 40 and not asked - names - {"hookimpl"}  # which has a section


@pytest.mark.parametrize(
    "package",
    ["data", "experiments", "manifests", "monitoring", "probing", "reporting", "results", "review"],
)
def test_every_class_and_function_of_a_public_package_is_in_the_reference_once(
    package: str,
) -> None:
    listed = re.findall(r"^::: (\S+)$", DOCS, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    module = importlib.import_module(f"skinxai.{package}")
    own = {name for name in module.__all__ if inspect.isroutine(getattr(module, name))}
    own |= {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    own -= {"entries", "get", "names", "register"}  # of each registry: the page of plugins
    assert own and not own - {name.rpartition(".")[2] for name in listed}


def test_every_hook_is_in_the_docs() -> None:
    hooks = [name for name in dir(hookspecs) if name.startswith("skinxai_")]
    assert len(hooks) == 5
    for name in hooks:
        assert name in DOCS
        assert "Example::" in getattr(hookspecs, name).__doc__


def test_every_method_its_options_and_its_test_are_in_the_docs() -> None:
    page = (ROOT / "docs/reference/explainers.md").read_text()
    for entry in explainers.entries():
        assert f"| `{entry.name}` |" in page
        options = entry.load().options_type
        if dataclasses.fields(options):
            assert f"::: {options.__module__}.{options.__name__}\n" in page


def test_every_command_and_its_options_are_in_the_docs() -> None:
    group = typer.main.get_command(app)
    page = (ROOT / "docs/reference/command-line.md").read_text()
    overview = page.split("These rules hold")[0]
    sections = dict(re.findall(r"(?ms)^## skinxai ([\w -]+)\n(.*?)(?=^## |\Z)", page))
    settings, columns = (
        set(re.findall(r"`(--[a-z-]+)", text))
        for text in (
            sections["train"].split("* **Settings**")[1].split("`--config`")[0],
            page.split("## Table options")[1].split("## ")[0],
        )
    )
    commands = dict(group.commands)
    for name in [name for name, each in commands.items() if hasattr(each, "commands")]:
        own = commands.pop(name)
        commands |= {f"{name} {inner}": command for inner, command in own.commands.items()}
    assert set(sections) == set(commands)
    for name, command in commands.items():
        shown = "".join(re.findall(r"(?m)^\$ skinxai .*$", sections[name]))
        given = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown))
        given |= settings if "--SETTING" in shown else set()
        given |= columns if "[TABLE OPTIONS]" in shown else set()
        known = {option for each in command.params for option in each.opts + each.secondary_opts}
        known = {option for option in known if option.startswith("-")} - {"--quiet", "-q"}
        assert given == known, name
        assert f"](#skinxai-{name.split()[0]}" in overview, name


def test_every_extra_is_in_the_docs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs/faq.md").read_text().split("### Which extras")[1].split("### ")[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \|", table)
    assert sorted(rows) == sorted(project["optional-dependencies"])


def test_every_environment_variable_is_in_the_docs() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    source = "".join(p.read_text() for p in (ROOT / "src/skinxai").rglob("*.py"))
    named = set(re.findall(r"\bSKINXAI_[A-Z_]+\b", source))
    own = {f"SKINXAI_DEMO_{name}" for name in ("REVIEW", "REVIEW_IMAGES", "TRAINING_IMAGES")}
    named -= own  # which the demo sets for its own pages
    assert len(named) >= 5
    rows = "".join(re.findall(r"(?m)^\| `[A-Z].*$", page.split("## Environment variables")[1]))
    for name in named:
        assert f"`{name}`" in rows or (name.startswith("SKINXAI_SERVE_") and "_SERVE_…`" in rows)


def test_the_rooms_of_the_architecture_are_those_of_the_contract() -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text().split("## Rooms")[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    expected = [set(re.findall(r"\w+", layer)) for layer in layers]
    shown = page.split("```text\n")[1].split("```")[0].splitlines()
    assert [set(line.split(" | ")) for line in shown] == expected[1:]  # above it: `__main__`
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+) \|$", page.split("## Where")[0])
    rooms = {name: what for cell, what in rows for name in re.findall(r"`(\w+)`", cell)}
    assert set(rooms) == set().union(*expected[1:])
    names = {path.name for path in (ROOT / "src/skinxai").rglob("*.py")}
    for what in rooms.values():
        assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", what)} <= names


def test_each_script_of_a_page_is_given_its_arguments() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    shown = [
        line.split()
        for page in pages
        for line in re.findall(r"python ((?:benchmarks|examples)/\w+\.py[^\n`]*)", page.read_text())
    ]
    assert len(shown) > 20
    for script, *words in shown:
        source = (ROOT / script).read_text()
        needed = re.findall(r'add_argument\(\s*"\w+"(?![^)]*nargs)', source)
        options = {word for word in words if word.startswith("--")}
        assert not words or len([w for w in words if not w.startswith("-")]) >= len(needed), script
        assert words or not needed, script
        for option in options:
            assert f'"{option}"' in source, (script, option)
