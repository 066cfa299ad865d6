"""Installed plugins, made by pip: good ones work, broken ones are rows with a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
    "j-name": HEAD + "@hookimpl\ndef skinxai_losses():\n    return [Entry('Bad Name', 'a:b')]\n",
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
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of processes that see the plugins."""
    root = tmp_path_factory.mktemp("plugins")
    folders = []
    for name, code in PLUGINS.items():
        module = name.replace("-", "_")
        folder = root / name
        folder.mkdir()
        (folder / f"{module}.py").write_text(code)
        (folder / "pyproject.toml").write_text(
            f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            f'[project]\nname = "{name}"\nversion = "1.2"\n'
            f'[project.entry-points.skinxai]\n{module} = "{module}"\n'
            f'[tool.hatch.build.targets.wheel]\ninclude = ["{module}.py"]\n'
        )
        folders.append(str(folder))
    return dict(os.environ) | {"PYTHONPATH": str(pip_install(root / "site", *folders))}


def pip_install(target: Path, *folders: str) -> Path:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    subprocess.run([*command, *folders], check=True)
    return target


def skinxai(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from skinxai.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def python(environment: dict[str, str], code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True
    ).stdout


def test_each_broken_plugin_is_a_row_with_its_reason(installed) -> None:
    listed = json.loads(skinxai(installed, "plugins", "--json").stdout)
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


def test_a_plugin_comes_in_as_a_whole_or_not_at_all(installed) -> None:
    names = {
        e["name"] for e in json.loads(skinxai(installed, "plugins", "--json").stdout)["entries"]
    }
    assert "first_of_two" not in names  # its other entry conflicts


def test_the_table_and_the_exit_code(installed) -> None:
    shown = skinxai(installed, "plugins")
    assert shown.returncode == 0
    assert sum(line.startswith("broken") for line in shown.stdout.splitlines()) == len(REASONS)
    assert skinxai(installed, "plugins", "--check").returncode == 1


def test_predictions_go_on(installed, photos) -> None:
    found = skinxai(installed, "predict", str(photos[0]))
    assert found.returncode == 0 and "photo_00.png" in found.stdout


def test_a_target_that_is_gone_is_an_error_when_it_is_used(installed, photos, tmp_path) -> None:
    found = skinxai(
        installed, "explain", str(photos[0]), "--method", "absent", "--out", str(tmp_path)
    )
    assert found.returncode == 2
    assert "'absent' of plugin i-absent cannot be loaded from 'i_absent.gone:X'" in found.stderr


def test_a_plugin_that_ends_its_process_PLG04(installed, photos) -> None:
    """Only a process of its own contains that."""
    code = f"""
from skinxai import Classifier
from skinxai.errors import PluginError
classifier = Classifier.from_pretrained()
try: classifier.explain({str(photos[0])!r}, "leaves", isolate="process")
except PluginError as error: print(error)
print(len(classifier.predict({str(photos[0])!r}).probabilities), flush=True)
classifier.explain({str(photos[0])!r}, "leaves")
print("not reached")
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=installed
    )
    said, count = found.stdout.splitlines()
    assert "'leaves' of k-leaves must answer, its process ended with the exit code 3" in said
    assert count == "7" and found.returncode == 3


def test_listing_imports_no_target(installed) -> None:
    code = "import sys, skinxai.losses as losses; losses.entries(); "
    code += "print('a_good' in sys.modules, 'torch' in sys.modules)"
    assert python(installed, code).split() == ["True", "False"]


def test_plugins_read_what_skinxai_does_not(installed, tmp_path) -> None:
    (tmp_path / "a.raw").write_bytes(b"raw data")
    (tmp_path / "a.odd").write_bytes(b"odd data")
    code = f"""
from skinxai import read_image
from skinxai.errors import *
found = read_image({str(tmp_path / "a.raw")!r})
print(found.pixels.shape, found.pixels.max(), found.format)
for name, error in (("a.odd", PluginError), ("a.none", InputNotFoundError)):
    try: read_image({str(tmp_path)!r} + "/" + name)
    except error as caught: print(caught)
"""
    lines = python(installed, code).splitlines()
    assert lines[0] == "(40, 50, 3) 7 plugin"
    assert "must return RGB uint8 (H, W, 3), got array (40, 50) float64" in lines[1]
    assert "must exist" in lines[2]


@pytest.mark.parametrize(("value", "blocked"), [("1", 11), ("b-import, A-Good", 2)])
def test_blocking(installed, value: str, blocked: int) -> None:
    environment = installed | {"SKINXAI_BLOCK_PLUGINS": value}
    rows = json.loads(skinxai(environment, "plugins", "--json").stdout)["plugins"]
    assert sum("blocked by" in (row["error"] or "") for row in rows) == blocked


def test_the_example_plugins(photos, tmp_path) -> None:
    """Installed by pip and found through their entry points; each runs its own tests."""
    folders = [ROOT / "examples" / name for name in ("skinxai-mcdropout", "skinxai-shap")]
    target = pip_install(tmp_path / "site", *map(str, folders))
    environment = dict(os.environ) | {"PYTHONPATH": str(target)}
    own = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    own += ["-W", "ignore::PendingDeprecationWarning"]  # of matplotlib, which shap imports
    tests = [str(folder / "tests") for folder in folders]
    subprocess.run([*own, *tests], env=environment, cwd=tmp_path, check=True)
    assert skinxai(environment, "plugins", "--check").returncode == 0
    found = skinxai(
        environment, "explain", str(photos[0]), "--method", "mc_dropout", "--out", str(tmp_path)
    )
    assert found.returncode == 0
    written = json.loads((tmp_path / "photo_00.mc_dropout/explanation.json").read_text())
    assert written["options"] == {"budget": 30, "seed": 0}
    assert written["versions"]["skinxai-mcdropout"] == "0.1.0"
    assert written["scores"]["mutual_information"] > 0
