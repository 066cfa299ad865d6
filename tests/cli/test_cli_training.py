"""``skinxai train``: its options and file, a repeated run, and weights without a network."""

import inspect
import json
import shlex
import signal
from pathlib import Path

import pytest
from small_runs import RESAMPLES, coloured, registered
from typer.testing import CliRunner, Result

from skinxai import Classifier
from skinxai.assessment import evaluating, intervals
from skinxai.cli import app
from skinxai.errors import SkinxaiError
from skinxai.reporting import read_evaluation
from skinxai.training import initial_weights
from skinxai.training.loop import Loop

SETTINGS = (
    "--backbone", "small", "--init-weights", "none", "--image-size", "32x48", "--batch-size", "8",
    "--amp", "false", "--workers", "0", "--epochs", "1", "--device", "cpu",
)  # fmt: skip
COLUMNS = (
    "--image-column", "file", "--label-column", "finding", "--lesion-column", "spot",
    "--patient-column", "who",
)  # fmt: skip


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twenty pictures of each colour, in a table whose columns have names of their own."""
    records = coloured(tmp_path / "pictures", 14, 0)
    rows = [
        f"{item.path.name},{item.label},spot{number},who{number // 2}"
        for number, item in enumerate(records)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["file,finding,spot,who", *rows]))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refusal(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, SkinxaiError), error
    return error.on_command_line


def images(table: Path) -> tuple[object, ...]:
    return ("--data", table, "--images", table.parent / "pictures", *COLUMNS)


def test_a_run_is_repeated_from_its_own_file(table: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    done = run("train", *images(table), "--labels", "red,blue,green", "--malignant", "RED,blue",
               "--out", first, *SETTINGS)  # fmt: skip
    assert done.exit_code == 0, done.exception
    classifier = Classifier.from_pretrained(first)
    assert classifier.labels == ("red", "blue", "green")
    assert classifier.config.labels.malignant == {"red", "blue"}
    judged, _ = read_evaluation(first / "evaluation.json")
    data = f"{table} --images {table.parent / 'pictures'} {' '.join(COLUMNS)}"
    assert done.stdout.splitlines()[-5:] == [
        f"model       {classifier.model} in {first}",
        f"validation  private data, val part: balanced accuracy {judged.balanced_accuracy}, "
        f"macro-F1 {judged.macro_f1}, accuracy {judged.accuracy}; {judged.images} images of "
        f"{judged.lesions} lesions",
        f"page        {first / 'evaluation.html'}",
        f"next        skinxai predict IMAGE --model {first}",
        f"            skinxai evaluate {data} --model {first} --splits {first}/splits.csv --part "
        f"test --out {first}/test",
    ]
    assert "Splits(" not in done.output and "Records(" not in done.output

    repeated = run("train", "--config", first / "train.json", "--out", again)
    assert repeated.exit_code == 0, repeated.exception
    for name in ("model.safetensors", "splits.csv", "config.json"):
        if name == "config.json":  # the name of the run is in it
            own, their = (json.loads((f / name).read_text()) for f in (first, again))
            assert own | {"name": ""} == their | {"name": ""}
        else:
            assert (first / name).read_bytes() == (again / name).read_bytes()
    changed = run("train", "--config", first / "train.json", "--out", other, "--seed", "5",
                  "--malignant", "")  # fmt: skip
    assert changed.exit_code == 0, changed.exception
    assert (other / "splits.csv").read_bytes() == (first / "splits.csv").read_bytes()
    assert json.loads((other / "train.json").read_text())["settings"]["seed"] == 5
    assert Classifier.from_pretrained(other).config.labels.malignant == frozenset()

    judge = run(*done.stdout.splitlines()[-1].split()[1:])  # the command that was printed
    assert judge.exit_code == 0, judge.exception
    assert "private data, test part: balanced accuracy" in judge.stdout
    resumed = run("train", "--resume", "--out", first, "--epochs", "2")  # knows its images
    assert resumed.exit_code == 0, resumed.exception
    assert len((first / "log.csv").read_text().splitlines()) == 3


def test_an_interrupted_run_goes_on_with_the_words_that_it_prints(
    monkeypatch, table: Path, tmp_path: Path
) -> None:
    step = Loop._step

    def interrupted(*values: object) -> float:
        signal.raise_signal(signal.SIGINT)
        return step(*values)

    monkeypatch.setattr(Loop, "_step", interrupted)
    words = ("train", *images(table), "--out", tmp_path / "run", *SETTINGS)
    assert run(*words).stderr.splitlines()[-1] == (
        f"SIGINT: training has stopped, and its checkpoint is in {tmp_path / 'run'}. Go on with "
        "the same command and --resume."
    )
    monkeypatch.undo()
    assert run(*words, "--resume").exit_code == 0


def test_a_run_and_an_evaluation_take_2000_resamples(monkeypatch, table, tmp_path) -> None:
    """As users get them: all other tests take fewer."""
    asked, out = [], tmp_path / "run"
    bootstrap = intervals.clustered_bootstrap

    def few(statistic, clusters, *, resamples, seed):
        asked.append(resamples)
        return bootstrap(statistic, clusters, resamples=2, seed=seed)

    monkeypatch.setattr(evaluating, "clustered_bootstrap", few)
    monkeypatch.setitem(Classifier.evaluate.__kwdefaults__, "resamples", RESAMPLES)
    assert run("train", *images(table), "--out", out, *SETTINGS).exit_code == 0
    where = ("--splits", out / "splits.csv", "--part", "test", "--out", tmp_path / "report")
    assert run("evaluate", *images(table)[1:], "--model", out, *where).exit_code == 0
    assert asked == [2000, 2000]
    for call in (bootstrap, evaluating.evaluate_probabilities):
        assert inspect.signature(call).parameters["resamples"].default == 2000


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_options_win_over_the_file(table: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"run.{kind}"
    values = {
        "data": str(table), "images": str(tmp_path / "pictures"), "image-column": "file",
        "column": {"label": "nothing"}, "labels": "blue, red, green", "out": str(tmp_path / "run"),
        "backbone": "small", "init_weights": "none", "image_size": "32x48", "batch-size": 8,
        "amp": False, "workers": 0, "epochs": 3, "device": "cpu",
    }  # fmt: skip
    if kind == "json":
        file.write_text(json.dumps(values))
    else:
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()
                 if name != "column"]  # fmt: skip
        file.write_text("\n".join([*lines, "[column]", 'label = "nothing"']))
    done = run("train", "--config", file, "--label-column", "finding", "--epochs", "1")
    assert done.exit_code == 0, done.exception
    assert Classifier.from_pretrained(tmp_path / "run").labels == ("blue", "red", "green")
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 2
    assert "note: no label is declared malignant" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.json", '{"learing_rate": 1}',
         "config 'x.json' has an unknown option 'learing_rate'. Did you mean 'learning_rate'?"),
        ("x.toml", 'label-colum = "dx"',
         "config 'x.toml' has an unknown option 'label-colum'. Did you mean 'label_column'?"),
        ("x.json", '{"zzzz": 1}',
         "config 'x.json' has an unknown option 'zzzz'. 'skinxai train --help' lists the options."),
        ("x.toml", "image-size = 64\nimage_size = 96\n",
         "config 'x.toml' must have each option once: it has a key twice: 'image_size'."),
        ("x.json", "[1]", "config 'x.json' must hold names and values, got a list."),
        ("x.json", '{"data": 3}', "data in 'x.json' must be text, got 3."),
        ("x.json", '{"labels": {"a": 1}}',
         "labels in 'x.json' must be a list of labels, got {'a': 1}."),
        ("x.json", '{"label": "a=b"}',
         "label in 'x.json' must be names with their values, got 'a=b'."),
        ("x.json", '{"augmentation": {"own": "f"}}',
         "augmentation in 'x.json' is a pipeline of Python, which no file can hold; give "
         "--augmentation light, standard or heavy."),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(monkeypatch, tmp_path, name, text, said) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert refusal("train", "--config", name, "--data", "d", "--out", "o") == said
    assert not Path("o").exists()


def test_what_must_be_given(tmp_path) -> None:
    assert refusal("train", "--out", tmp_path / "o") == (
        "--data must be given: a folder of labelled images, or a table."
    )
    assert refusal("train", "--data", "d") == (
        "--out must be given: the folder that the run is written to."
    )
    assert refusal("train", "--config", tmp_path / "no.json", "--out", "o") == (
        f"config {str(tmp_path / 'no.json')!r} cannot be read: No such file or directory."
    )


@pytest.mark.parametrize("name", ["data", "out", "images", "init_weights", "teacher"])
def test_no_text_of_a_config_holds_a_nul(name: str, tmp_path: Path) -> None:
    own = tmp_path / "c.json"
    own.write_text(json.dumps({"data": "d", "out": "o"} | {name: "a\0b"}))
    shown = "--init-weights" if name == "init_weights" else name
    assert refusal("train", "--config", own) == (
        f"{shown} in {str(own)!r} must be text without the character NUL, got 'a\\x00b'."
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "red,blue"],
         "--labels must name every label of the data, 'blue', 'green', 'red', but they do not name "
         "'green'."),
        (["--malignant", "read"],
         "Unknown label 'read'; it must be one of 'blue', 'green', 'red'. Did you mean 'red'?"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit(table, tmp_path, options, said) -> None:
    prepared = tmp_path / "prepared"
    done = run("prepare", table, prepared, *images(table)[2:])
    assert done.exit_code == 0, done.exception
    assert refusal("train", "--data", prepared, "--out", tmp_path / "o", *SETTINGS, *options) == (
        said
    )


def test_imagenet_weights_without_a_network(monkeypatch, table, tmp_path) -> None:
    """One sentence, before an image is read, and nothing but safetensors is asked for."""
    from skinxai.errors import HubError
    from skinxai.model_folders.repository import Repository

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    asked = []

    def no_network(self, revision: str, file: str) -> str:
        asked.append((self.name, file))
        try:
            raise OSError("Network is unreachable")
        except OSError as error:
            raise HubError("the Hub must answer, and set HF_TOKEN.") from error

    monkeypatch.setattr(Repository, "look_up", no_network)
    said = refusal("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "o")
    assert said == (
        f"--data must be a folder or a CSV table, found none at {str(tmp_path / 'nowhere')!r}; "
        "check the path."
    )
    assert asked == []  # nothing is downloaded for data that is not there
    said = refusal("train", *images(table), "--out", tmp_path / "o")
    assert said == (
        "the ImageNet weights of 'efficientnet_b0' must come from the Hugging Face Hub, but "
        "they did not: Network is unreachable; offline, give --backbone tf_efficientnet_lite1 "
        "--init-weights bundled, or a model folder, a .safetensors file, or none as --init-weights."
    )
    assert asked == [("timm/efficientnet_b0.ra_in1k", "model.safetensors")]
    assert not (tmp_path / "o").exists()
    with pytest.raises(SkinxaiError) as caught:
        initial_weights.fetch_initial_weights("small", "imagenet")
    assert str(caught.value).startswith(
        "init_weights='imagenet' needs a network that timm has ImageNet weights of, but 'small' is "
        "none"
    )


def test_remedies_are_those_of_the_command_line(table: Path, tmp_path: Path) -> None:
    """The same refusal in Python names calls; here each remedy is tried."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train.json").write_text("{}")
    said = refusal("train", *images(table), "--out", folder, *SETTINGS)
    assert said == (
        f"--out must be a new folder, but {str(folder)!r} holds a run; go on with it with "
        "--resume, or give another --out."
    )
    wrong = refusal("audit", table.parent, "--images", table.parent)
    assert wrong == (
        f"images, columns and label maps go with a table, but {str(table.parent)!r} is not one; "
        "give the CSV file in its place, or leave --images and the like out."
    )
    assert refusal("prepare", table, table.parent, *images(table)[2:]) == (
        f"folder {str(table.parent)!r} must be new or empty, but it holds something else; give "
        "another OUT."
    )
    model = tmp_path / "model"
    done = run("train", *images(table), "--out", model, *SETTINGS)
    assert done.exit_code == 0, done.exception
    picture = next((tmp_path / "pictures").glob("*.png"))
    said = refusal("nearest", picture, "--model", model)
    assert said.endswith(
        "the bundled model has them; for another, make them in Python with "
        "classifier.index(training_records).save_pretrained(folder)."
    )
    assert run("nearest", picture).exit_code == 0
    assert refusal("predict", picture, "--model", tmp_path / "pictures") == (
        f"model folder {str(tmp_path / 'pictures')!r} must hold manifest.json, found none; name a "
        "folder that 'skinxai train', 'import' or 'pull' wrote."
    )


def test_a_refusal_of_learnt_images_names_the_split_of_the_models_run(table, tmp_path) -> None:
    model = tmp_path / "own runs" / "mine"
    assert run("train", *images(table), *SETTINGS, "--out", model).exit_code == 0
    own = (table, *images(table)[2:], "--model", model, "--out", tmp_path / "out")
    named = f"--splits {shlex.quote(str(model / 'splits.csv'))}"
    said = refusal("calibrate", *own)
    assert f"whose validation part is taken, with {named}, or name copies" in said
    judged = run("evaluate", *own)
    assert judged.exit_code == 0 and f"note: judge the test part of its own split: {named}" in (
        " ".join(judged.stderr.split())
    )
    for command, part in (("evaluate", "test"), ("calibrate", "val")):  # what was named works
        found = run(command, *own, *shlex.split(named), "--part", part)
        assert found.exit_code == 0, found.output
        assert "own split" not in found.stderr
    (model / "splits.csv").unlink()
    assert "with --splits splits.csv, or name" in refusal("calibrate", *own)
