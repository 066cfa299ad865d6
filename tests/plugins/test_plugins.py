"""Installed plugins: good ones work, broken ones are rows with a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import warm
from places import ROOT

HEAD = "from skinxai import Entry, hookimpl\n"
PLUGINS = {
    "a-good": HEAD
    + """
@hookimpl
def skinxai_losses():
    return [Entry("good_loss", "a_good:loss", "A loss")]

@hookimpl
def skinxai_read_image(image):
    import numpy
    if str(image).endswith(".raw"):
        return numpy.full((40, 50, 3), 7, numpy.uint8)
    if str(image).endswith(".odd"):
        return numpy.zeros((40, 50))
    if str(image).endswith(".bad"):
        raise ValueError("broken header")

def loss(logits, target):
    return logits.sum()
""",
    "b-import": "raise RuntimeError('no licence found')\n",
    "c-conflict": HEAD
    + """
@hookimpl
def skinxai_losses():
    return [Entry("first_of_two", "c_conflict:x")]

@hookimpl
def skinxai_explainers():
    return [Entry("gradcam", "c_conflict:x")]
""",
    "d-later": HEAD
    + """
@hookimpl
def skinxai_losses():
    return [Entry("good_loss", "d_later:loss")]
""",
    "e-misspelt": HEAD + "@hookimpl\ndef skinxai_explainer():\n    return []\n",
    "f-no-hook": "answer = 42\n",
    "g-tuples": HEAD + "@hookimpl\ndef skinxai_losses():\n    return [('x', 'y:z')]\n",
    "h-raises": HEAD + "@hookimpl\ndef skinxai_losses():\n    raise KeyError('table')\n",
    "i-absent": HEAD
    + "@hookimpl\ndef skinxai_explainers():\n    return [Entry('absent', 'i_absent.gone:X')]\n",
    "j-ends": "raise SystemExit('licence expired')\n",
    "j-ends-late": HEAD
    + """
@hookimpl
def skinxai_losses():
    raise SystemExit("no licence server")
""",
    "j-name": HEAD + "@hookimpl\ndef skinxai_losses():\n    return [Entry('Bad Name', 'a:b')]\n",
    "j-panics": """
class PanicException(BaseException):
    "As those of extensions in Rust."

raise PanicException("index out of range")
""",
    "k-ends": HEAD
    + "@hookimpl\ndef skinxai_explainers():\n    return [Entry('ends', 'j_ends:X')]\n",
    "k-leaves": HEAD
    + """
@hookimpl
def skinxai_explainers():
    return [Entry("leaves", "k_leaves:Leaves")]

def __getattr__(name):
    if name != "Leaves":
        raise AttributeError(name)
    import os
    from skinxai import Explainer

    class Leaves(Explainer):
        def attribute(self, images, target, *, options):
            os._exit(3)

    return Leaves
""",
}
REASONS = {
    "b-import": "RuntimeError: no licence found",
    "c-conflict": "explainer 'gradcam' of c-conflict must have a new name: skinxai already",
    "d-later": "loss 'good_loss' of d-later must have a new name: a-good already",
    "e-misspelt": "unknown hook 'skinxai_explainer'",
    "f-no-hook": "must implement a skinxai hook, found none",
    "g-tuples": "must return skinxai.Entry values, got tuple",
    "h-raises": "KeyError: 'table'",
    "j-name": "Entry name must be",
    "j-ends": "SystemExit: licence expired",
    "j-ends-late": "SystemExit: no licence server",
    "j-panics": "PanicException: index out of range",
}


SEVERAL = """
import contextlib, io, json, sys
from skinxai.cli import main

given = sys.argv[1:]

def answer(words):
    out, problems, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["skinxai", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(problems):
        try: main()
        except SystemExit as end: code = int(end.code or 0)
    return {"code": code, "out": out.getvalue(), "err": problems.getvalue()}

found = [answer(words) for words in json.loads(given[0])]
"""
LEAVES = """
from skinxai import Classifier
from skinxai.errors import PluginError
classifier, photo = Classifier.from_pretrained(), given[1]
try: classifier.explain(photo, "leaves", isolate="process")
except PluginError as error: said = str(error)
found.append({"said": said, "classes": len(classifier.predict(photo).probabilities)})
"""
SHOW = "print(json.dumps(found), flush=True)"


def installed_into(site: Path, name: str, code: str) -> None:
    """A plugin of one module, as pip would have left it."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    about = site / f"{module}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[skinxai]\n{module} = {module}\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of processes that see the plugins, as pip would have left them."""
    site = tmp_path_factory.mktemp("site")
    for name, code in PLUGINS.items():
        installed_into(site, name, code)
    return dict(os.environ) | {"PYTHONPATH": with_own_path(site)}


@pytest.fixture(scope="module")
def answers(installed, photos, tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Of several commands in one process, and of an explainer that ends its own process."""
    photo, out = str(photos[0]), str(tmp_path_factory.mktemp("out"))
    commands = {
        "json": ["plugins", "--json"],
        "table": ["plugins"],
        "predict": ["predict", photo],
        "absent": ["explain", photo, "--method", "absent", "--out", out],
        "ends": ["explain", photo, "--method", "ends", "--out", out],
        "check": ["plugins", "--check", "--json"],
    }
    words = json.dumps([*commands.values()])
    found = json.loads(python(installed, SEVERAL + LEAVES + SHOW, words, photo))
    return dict(zip([*commands, "leaves"], found, strict=True))


def with_own_path(site: Path) -> str:
    return os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))


def skinxai(environment: dict[str, str], **commands: list[str]) -> dict[str, dict[str, Any]]:
    """The exit code and what is printed of commands that one new process works through."""
    found = json.loads(python(environment, SEVERAL + SHOW, json.dumps([*commands.values()])))
    return dict(zip(commands, found, strict=True))


def python(environment: dict[str, str], code: str, *arguments: str) -> str:
    return warm.run(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True,
        env=environment, check=True,
    ).stdout  # fmt: skip


def test_each_broken_plugin_is_a_row_with_its_reason(answers) -> None:
    listed = json.loads(answers["json"]["out"])
    errors = {row["name"]: row["error"] for row in listed["plugins"]}
    assert list(errors) == list(PLUGINS)
    for name, words in REASONS.items():
        assert words in errors[name], name
    assert not any(errors[name] for name in ("a-good", "i-absent", "k-leaves"))
    good = next(e for e in listed["entries"] if e["name"] == "good_loss")
    assert good == {
        "kind": "loss", "name": "good_loss", "help": "A loss", "source": "a-good",
        "version": "1.2",
    }  # fmt: skip


def test_a_plugin_comes_in_as_a_whole_or_not_at_all(answers) -> None:
    names = {entry["name"] for entry in json.loads(answers["json"]["out"])["entries"]}
    assert "good_loss" in names and "first_of_two" not in names  # its other entry conflicts


def test_the_table_and_the_exit_code(answers) -> None:
    lines = answers["table"]["out"].splitlines()
    assert answers["table"]["code"] == 0 and answers["check"]["code"] == 1
    assert sum(line.startswith("broken") for line in lines) == len(REASONS)


def test_what_a_check_finds_of_each_explainer(answers) -> None:
    """In a process for each: one that ends its own does not end the command."""
    absent, ends, leaves = json.loads(answers["check"]["out"])["failed_checks"].values()
    assert "'absent' of plugin i-absent cannot be loaded" in absent["run"]
    assert "'ends' of plugin k-ends cannot be loaded" in ends["run"]
    assert "the process of explainer 'leaves' of k-leaves ended with exit code 3" in (leaves["run"])


def test_predictions_go_on(answers) -> None:
    found = answers["predict"]
    assert found["code"] == 0 and "photo_00.png" in found["out"]


def test_a_target_that_is_gone_is_an_error_when_it_is_used(answers) -> None:
    found = answers["absent"]
    assert found["code"] == 2
    assert "'absent' of plugin i-absent cannot be loaded from 'i_absent.gone:X'" in found["err"]


def test_a_target_that_ends_the_program_when_it_is_imported_is_an_error(answers) -> None:
    found = answers["ends"]
    assert found["code"] == 2
    assert "loaded from 'j_ends:X': SystemExit: licence expired" in found["err"]


@pytest.mark.parametrize(
    ("raised", "said"),
    [("KeyboardInterrupt", "KeyboardInterrupt"), ("SignalExit(143)", "SignalExit 143")],
)
def test_a_load_that_was_interrupted_begins_again(tmp_path, raised: str, said: str) -> None:
    """As by Ctrl-C in a notebook, after which the next cell finds every plugin."""
    for name, code in {
        "a": HEAD + "@hookimpl\ndef skinxai_losses():\n    return [Entry('one', 'a:x')]\n",
        "b": HEAD
        + f"""
from skinxai.interruption import SignalExit
calls = []

@hookimpl
def skinxai_losses():
    calls.append(0)
    if len(calls) == 1:
        raise {raised}
    return [Entry("two", "b:x")]
""",
    }.items():
        installed_into(tmp_path, name, code)
    code = """
import skinxai
from skinxai import losses, plugins
try: losses.names()
except BaseException as error: print(type(error).__name__, *error.args)
losses.register("three")(len)
print({"one", "two", "three", "cross_entropy"} <= set(losses.names()))
print([(each.name, each.error) for each in plugins.statuses()])
"""
    lines = python(dict(os.environ) | {"PYTHONPATH": with_own_path(tmp_path)}, code).splitlines()
    assert lines == [said, "True", "[('a', None), ('b', None)]"]


def test_a_plugin_that_ends_its_own_process_is_an_error(answers) -> None:
    found = answers["leaves"]
    said = "the process of explainer 'leaves' of k-leaves ended with exit code 3"
    assert said in found["said"]
    assert found["classes"] == 7


def test_listing_imports_no_target(installed) -> None:
    code = "import sys, skinxai.losses as losses; losses.entries(); "
    code += "print('a_good' in sys.modules, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=installed, text=True).split() == ["True", "False"]


def test_plugins_read_what_skinxai_does_not(installed, tmp_path) -> None:
    (tmp_path / "a.raw").write_bytes(b"raw data")
    (tmp_path / "a.odd").write_bytes(b"odd data")
    (tmp_path / "a.bad").write_bytes(b"bad data")
    code = f"""
from skinxai import read_image
from skinxai.errors import *
found = read_image({str(tmp_path / "a.raw")!r})
print(found.pixels.shape, found.pixels.max(), found.format)
for name, error in (
    ("a.odd", PluginError), ("a.none", InputNotFoundError), ("a.bad", PluginError)
):
    try: read_image({str(tmp_path)!r} + "/" + name)
    except error as caught: print(caught)
"""
    lines = python(installed, code).splitlines()
    assert lines[0] == "(40, 50, 3) 7 plugin"
    assert "must return RGB uint8 (H, W, 3), got array (40, 50) float64" in lines[1]
    assert "found no image file" in lines[2]
    assert "skinxai_read_image of a plugin raised ValueError for " in lines[3]
    assert "a.bad" in lines[3] and lines[3].endswith(": broken header")


@pytest.mark.parametrize(
    ("value", "blocked"), [("1", 15), ("True", 15), ("b-import, A-Good", 2), ("B_Import,a.good", 2)]
)
def test_blocking(installed, value: str, blocked: int) -> None:
    found = skinxai(installed | {"SKINXAI_BLOCK_PLUGINS": value}, json=["plugins", "--json"])
    rows = json.loads(found["json"]["out"])["plugins"]
    assert sum("blocked by" in (row["error"] or "") for row in rows) == blocked


def test_the_example_plugins(photos, tmp_path) -> None:
    """Installed by pip and found through their entry points; each runs its own tests."""
    folders = [ROOT / "examples" / name for name in ("skinxai-mcdropout", "skinxai-shap")]
    site = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site)]
    subprocess.run([*command, *map(str, folders)], check=True)
    environment = dict(os.environ) | {"PYTHONPATH": with_own_path(site)}
    own = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    own += ["-W", "ignore::PendingDeprecationWarning"]  # of matplotlib, which shap imports
    tests = [str(folder / "tests") for folder in folders]
    warm.run([*own, *tests], env=environment, cwd=tmp_path, check=True)
    found = skinxai(
        environment,
        explain=[
            "explain", str(photos[0]), "--method", "mc_dropout", "--budget", "4",
            "--out", str(tmp_path / "out"),
        ],
    )  # fmt: skip
    assert found["explain"]["code"] == 0
    written = json.loads((tmp_path / "out/photo_00.mc_dropout/explanation.json").read_text())
    assert written["options"] == {"budget": 4, "seed": 0}
    assert written["versions"]["skinxai-mcdropout"] == "0.1.0"
    assert written["scores"]["mutual_information"] > 0
