"""What the command line says: remedies, suggestions, notes; and what it leaves when it refuses."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import COLOURS, coloured, model_folder, registered
from typer.testing import CliRunner, Result

from skinxai import Classifier, Explainer, cli
from skinxai.cli import app
from skinxai.data import Records
from skinxai.errors import PluginError, SkinxaiError, SkinxaiWarning
from skinxai.labels import LabelSet

NAMES = LabelSet(tuple(COLOURS), {"red": "rubor", "green": "a green lesion", "blue": "blue naevus"})


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model", NAMES, seed=1)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "lesion.png"
    pixels = np.random.default_rng(0).integers(60, 200, (40, 56, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def refused(*arguments: object) -> str:
    """The sentence of a refusal, as the command line says it."""
    found = run(*arguments)
    if isinstance(found.exception, SkinxaiError):
        return found.exception.on_command_line
    assert found.exit_code == 2, found.output
    return found.stderr.splitlines()[-1].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "x", "--modle", "y"], "No such option: --modle. Did you mean --model?"),
        (["train", "--learing-rate", "1"],
         "No such option: --learing-rate. Did you mean --learning-rate?"),
        (["train", "--label-colum", "dx"],
         "No such option: --label-colum. Did you mean --label-column?"),
        (["explain", "x", "--zzzz"], "No such option: --zzzz."),
        (["predict", "x", "--model"], "Option '--model' requires an argument."),
    ],
)  # fmt: skip
def test_a_mistyped_option_is_answered_with_the_one_that_was_meant(arguments, said) -> None:
    assert refused(*arguments) == said


@pytest.mark.parametrize("target", ["red", "RED", "rubor", "Rubor", " rubor "])
def test_labels_are_taken_by_code_and_by_name_in_any_case(model, picture, tmp_path, target) -> None:
    found = run("explain", picture, "--model", model, "--target", target, "--against",
                "Blue  NAEVUS", "--out", tmp_path / "out")  # fmt: skip
    assert found.exit_code == 0, found.exception
    written = json.loads((tmp_path / "out/lesion.gradcam/explanation.json").read_text())
    assert (written["target"], written["against"]) == ("red", "blue")
    classifier = Classifier.from_pretrained(model)
    assert classifier.explain(picture, target=target).target == "red"
    assert [e.target for e in classifier.explain([picture] * 2, target=[target, "blue"])] == [
        "red", "blue",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rubro", "Unknown label 'rubro'; it must be one of ['red', 'green', 'blue']. "
                  "Did you mean 'red' (rubor)?"),
        ("naevus", "Unknown label 'naevus'; it must be one of ['red', 'green', 'blue']. "
                   "Did you mean 'blue' (blue naevus)?"),
        ("reddish", "Unknown label 'reddish'; it must be one of ['red', 'green', 'blue']. "
                    "Did you mean 'red' (rubor)?"),
        ("x", "Unknown label 'x'; it must be one of ['red', 'green', 'blue']."),
    ],
)  # fmt: skip
def test_an_unknown_label_is_answered_with_the_nearest(text, said) -> None:
    with pytest.raises(SkinxaiError) as caught:
        NAMES.code_of(text)
    assert str(caught.value) == said


def test_a_label_that_could_be_two_is_refused() -> None:
    twice = LabelSet(("a", "b", "A"), {"a": "naevus", "b": "Naevus"})
    assert twice.code_of("a") == "a" and twice.code_of("A") == "A"  # codes as they are written
    for text, codes in (("NAEVUS", "['a', 'b']"), (" a", "['a', 'A']")):
        with pytest.raises(SkinxaiError) as caught:
            twice.code_of(text)
        assert str(caught.value) == f"Label {text!r} could be any of {codes}; give one of these."


@pytest.mark.parametrize("name", ["Grad-CAM", "gradcan", "GRAD CAM"])
def test_a_method_is_suggested_however_it_is_written(model, picture, tmp_path, name) -> None:
    said = refused("explain", picture, "--model", model, "--method", name, "--out", tmp_path / "o")
    assert said == (
        f"Unknown explainer {name!r}. Did you mean 'gradcam'? Run 'skinxai plugins' to list them."
    )


def test_a_budget_goes_to_the_methods_that_have_one(model, picture, tmp_path) -> None:
    out = tmp_path / "out"
    said = refused("explain", picture, "--model", model, "--budget", 9, "--out", out)
    assert said == (
        "--budget is an option of integrated_gradients, lime, occlusion, rise, scorecam, "
        "smoothgrad; gradcam has no budget."
    )
    assert not out.exists()
    found = run("explain", picture, "--model", model, "--budget", 9, "--score", "probability",
                "--compare", "gradcam,rise", "--out", out)  # fmt: skip
    assert found.exit_code == 0, found.exception
    rise = json.loads((out / "lesion.rise/explanation.json").read_text())
    cam = json.loads((out / "lesion.gradcam/explanation.json").read_text())
    assert rise["options"]["budget"] == 9 and "budget" not in cam["options"]
    assert rise["score"] == cam["score"] == "probability"


def warned(*_: object, **__: object) -> None:
    warnings.warn("first line\n  of a warning", SkinxaiWarning, 2)
    warnings.warn("of another package", RuntimeWarning, 2)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("words", "notes"),
    [
        ([], "note: first line of a warning\nnote: of another package\n"),
        (["--quiet"], ""),
        (["-q"], ""),
    ],
)
def test_warnings_are_notes_of_one_line(monkeypatch, model, words, notes) -> None:
    monkeypatch.setattr("skinxai.model_folders.opening.models_at_hand", lambda: warned() or [])
    assert run("models", *words).stderr == notes
    assert run(*words, "models").stderr == notes
    with pytest.warns(RuntimeWarning), pytest.warns(SkinxaiWarning):  # as before
        warned()


def test_quiet_leaves_errors_and_results(model, picture) -> None:
    loud = run("predict", picture, picture, "--model", model)
    assert loud.stderr == "note: 1 file was given more than once and is read once\n"
    quiet = run("predict", picture, picture, "--model", model, "--quiet")
    assert quiet.stderr == "" and quiet.stdout == loud.stdout
    assert "pattern" in refused("--quiet", "predict", "nowhere/*.jpg")


def test_notes_of_an_image_stand_below_its_line(model, picture) -> None:
    clear = Image.open(picture).convert("RGBA")
    clear.putalpha(128)
    clear.save(picture)
    (note,) = Classifier.from_pretrained(model).predict(picture).warnings
    lines = run("predict", picture, "--model", model).stdout.splitlines()
    assert lines[0].startswith(str(picture)) and lines[1:] == [f"  note: {note}"]
    assert len(run("predict", picture, "--model", model, "-q").stdout.splitlines()) == 1
    (row,) = json.loads(run("predict", picture, "--model", model, "--json").stdout)
    assert row["warnings"] == [note]


def test_standard_input_is_called_stdin(model, picture, tmp_path) -> None:
    out = tmp_path / "out"
    found = run("predict", "-", "--model", model, "--explain", "gradcam", "--out", out,
                stdin=picture.read_bytes())  # fmt: skip
    assert found.exit_code == 0 and found.stdout.startswith("stdin  ")
    assert {p.name for p in out.iterdir()} == {"results.csv", "results.json", "stdin.gradcam.png"}
    (row,) = json.loads((out / "results.json").read_text())
    assert row["source"] == "stdin" and row["overlay"] == "stdin.gradcam.png"
    found = run("explain", "-", "--model", model, "--out", out, stdin=picture.read_bytes())
    assert found.exit_code == 0 and (out / "stdin.gradcam").is_dir()
    found = run("explain", "-", "--model", model, "--out", out, "--compare", "saliency,layercam",
                stdin=picture.read_bytes())  # fmt: skip
    assert found.exit_code == 0 and (out / "stdin.sheet.png").is_file()


@pytest.mark.parametrize(
    "command",
    [
        "predict PICTURE --model nowhere --out OUT", "predict nothing/*.png --out OUT",
        "explain PICTURE --model nowhere --out OUT", "explain BAD --model MODEL --out OUT",
        "explain PICTURE --model MODEL --target purple --out OUT",
        "explain PICTURE --model MODEL --method nothing --out OUT",
        "train --data nowhere --init-weights none --out OUT",
        "train --data DATA --init-weights none --backbone nothing --out OUT",
        "train --data DATA --init-weights nowhere --backbone small --out OUT",
        "prepare nowhere OUT", "prepare DATA OUT", "audit nowhere --out OUT",
        "evaluate nowhere --model MODEL --out OUT", "evaluate DATA --model nowhere --out OUT",
        "pull nobody --out OUT", "export OUT/x.onnx --model nowhere",
    ],
)  # fmt: skip
def test_a_refusal_leaves_no_folder(command, model, picture, tmp_path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not an image")
    for code in ("red", "blue"):
        (tmp_path / "data" / code).mkdir(parents=True)
        (tmp_path / "data" / code / "bad.png").write_bytes(b"")
    places = {"PICTURE": picture, "MODEL": model, "BAD": tmp_path / "bad.png",
              "DATA": tmp_path / "data", "OUT": tmp_path / "new" / "out"}  # fmt: skip
    before = {path for path in tmp_path.rglob("*")}
    words = []
    for word in command.split():
        first, _, rest = word.partition("/")
        words.append(places[first] / rest if first in places else word)
    assert run(*words).exit_code != 0
    assert {path for path in tmp_path.rglob("*")} == before


def test_an_output_that_cannot_be_written_is_named_before_anything_is_read(model, tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    out = tmp_path / "file" / "deeper"
    for command in (["predict", "nowhere.png"], ["explain", "nowhere.png"], ["evaluate", "nowhere"],
                    ["audit", "nowhere"]):  # fmt: skip
        said = refused(*command, "--out", out)
        assert said == (
            f"--out must be a folder that can be written, got {str(out)!r}: "
            f"{str(tmp_path / 'file')!r} is not a folder."
        )


def test_errors_have_the_command_lines_remedy(monkeypatch, capsys) -> None:
    def fail() -> None:
        raise SkinxaiError("x is wrong", python="pass y=1", command="give --y 1")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["skinxai"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "skinxai: x is wrong; give --y 1.\n"


class Leaves(Explainer):
    """Ends the program."""

    code: int | None = None

    def attribute(self, images, target, *, options):
        raise SystemExit(self.code)


@pytest.mark.parametrize("code", [None, 0, 143])
def test_others_code_that_ends_the_program_is_no_success(model, picture, code, request) -> None:
    request.getfixturevalue("registered")("leaves", type("Leaves", (Leaves,), {"code": code}))
    out = picture.parent / "out"
    found = run("explain", picture, "--model", model, "--method", "leaves", "--out", out)
    if code:
        assert found.exit_code == code
    else:
        assert isinstance(found.exception, PluginError)
        assert str(found.exception).startswith(f"sys.exit() in {__file__}, line ")
        assert str(found.exception).endswith(", ended the program before it was done.")


def test_nearest_prints_ids_labels_and_distances(tmp_path, picture) -> None:
    records: Records = coloured(tmp_path / "pictures", 3, 0)
    made = Classifier.from_pretrained(model_folder(tmp_path / "plain", trained_on=None))
    made.index(records, dimensions=2).save_pretrained(tmp_path / "model")
    expected = Classifier.from_pretrained(tmp_path / "model").nearest(picture, 2)
    found = run("nearest", picture, "-k", 2, "--model", tmp_path / "model")
    assert found.exit_code == 0, found.exception
    assert found.stdout.splitlines() == [
        str(picture),
        *(f"  {e.id}  {e.label:<8} {e.distance:.4f}" for e in expected),
    ]
    ((row,),) = [json.loads(run("nearest", picture, "-k", 2, "--model", tmp_path / "model",
                                "--json").stdout)]  # fmt: skip
    assert row == {"source": str(picture), "nearest": [
        {"id": e.id, "label": e.label, "distance": e.distance, "path": None} for e in expected
    ], "warnings": []}  # fmt: skip


def test_nearest_notes_that_the_data_has_none_of_the_lesions(tmp_path, picture) -> None:
    records: Records = coloured(tmp_path / "pictures", 3, 0)
    made = Classifier.from_pretrained(model_folder(tmp_path / "plain", trained_on=None))
    made.index(records, dimensions=2).save_pretrained(tmp_path / "model")
    for images, has in ((records, True), (coloured(tmp_path / "others", 3, 1), False)):
        table = images[0].path.parent / "table.csv"
        rows = [f"{each.path.name},{each.label}" for each in images]
        table.write_text("\n".join(["image,label", *rows]))
        found = run("nearest", picture, "-k", 2, "--model", tmp_path / "model", "--data", table)
        assert found.exit_code == 0, found.exception
        assert (str(images[0].path.parent) in found.stdout) is has
        assert (f"no image of {table} has the pixels of these lesions" in found.stderr) is not has


def test_completion_is_offered() -> None:
    shown = run("--help").stdout
    assert "--install-completion" in shown and "--show-completion" in shown


def test_the_line_of_a_failure_names_its_image_once(model, picture, tmp_path) -> None:
    for words in (["predict"], ["explain", "--out", tmp_path / "out"]):
        line = run(*words, picture, "--model", model, "--max-pixels", 9).stdout.splitlines()[0]
        assert line.startswith(f"{picture}  failed: image must have at most 9 pixels")
        assert line.count(str(picture)) == 1


def test_a_mistyped_backend_is_answered_with_the_one_that_was_meant(model, picture) -> None:
    said = refused("predict", picture, "--model", model, "--backend", "onxn")
    assert said.endswith("got 'onxn'. Did you mean 'onnx'?")


def test_the_list_of_commands_is_not_cut_off() -> None:
    lines = run("--help").stdout.partition("Commands:")[2].splitlines()
    assert len([line for line in lines if line.strip()]) == 27
    assert [line for line in lines if line.endswith("...")] == []
