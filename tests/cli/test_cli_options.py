"""Errors on the command line name options and values as they are typed."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import coloured, model_folder, registered
from test_cli_words import refused, run

from skinxai import Classifier
from skinxai.cli.wording import as_typed
from skinxai.images.listing import SUFFIXES
from skinxai.training.settings import TrainConfig

TYPED = {"init_weights": "--init-weights", "data": "data", "out": "--out", "k": "--k",
         "size": "--size", "max_pixels": "--max-pixels", "column": "--column"}  # fmt: skip


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("init_weights must be None or 'imagenet', got 'init_weights'.",
         "--init-weights must be none or 'imagenet', got 'init_weights'."),
        ("k must be at least 1, the k of 'k must'.", "--k must be at least 1, the k of 'k must'."),
        ("root must be a folder, got 'None'.", "data must be a folder, got 'None'."),
        ("output_dir must be a new folder, 'a_b/max_pixels' holds a run.",
         "--out must be a new folder, 'a_b/max_pixels' holds a run."),
        ("columns must have keys of ['image', 'label'], got 'x'.",
         "--column must have keys of 'image', 'label', got 'x'."),
        ("amp must be one of [True, False, 'float16'], got None.",
         "amp must be one of true, false, 'float16', got none."),
        ("image_size must be (height, width), got (5, 7).",
         "--size must be HEIGHTxWIDTH, got 5x7."),
        ("hair must be in [0, 1], got 2.", "hair must be in [0, 1], got 2."),
        ("None of the run's images may be in 'a' or out of size.",
         "None of the run's images may be in 'a' or out of size."),
        ("shrink it or give --max-pixels 9, or max_pixels.",
         "shrink it or give --max-pixels 9, or --max-pixels."),
        ("found none at '/[None]/(height, width)', but at \"/got (3, 4)/['a', 'b']\".",
         "found none at '/[None]/(height, width)', but at \"/got (3, 4)/['a', 'b']\"."),
        ("as save_for_hf(…, safe_serialization=True) writes it.",
         "as save_for_hf(…, safe_serialization=True) writes it."),
        ("a/max_pixels.csv must have the column 'x', it has ['a', 'b'].",
         "a/max_pixels.csv must have the column 'x', it has 'a', 'b'."),
    ],
)  # fmt: skip
def test_a_sentence_has_the_words_that_are_typed(python, typed) -> None:
    assert as_typed(python, TYPED) == typed


def labelled(folder: Path) -> Path:
    """Four pictures in a folder for each of two classes."""
    for item in coloured(folder / "all", 4, 0):
        if item.label != "blue":
            (folder / item.label).mkdir(exist_ok=True)
            item.path.rename(folder / item.label / item.path.name)
    shutil.rmtree(folder / "all")
    return folder


NO_WRONG_VALUE = {"backbone", "loss", "not_copies", "loss_options", "teacher", "device"}
"""Settings whose errors are not of the form ``--option must be …``: names and lists of others."""


@pytest.mark.parametrize("name", [n for n in TrainConfig.names() if n not in NO_WRONG_VALUE])
def test_a_wrong_setting_is_named_as_its_option(name, tmp_path) -> None:
    data = labelled(tmp_path / "data")
    option = f"--{name.replace('_', '-')}"
    said = refused("train", "--data", data, "--out", tmp_path / "run", option, "-7,x")
    assert said.startswith(f"{option} must "), said
    assert not re.search(r"\b(None|True|False)\b|\[['\"]|[a-z]_[a-z]", _without_quotes(said)), said


def _without_quotes(text: str) -> str:
    return re.sub(r"'[^']*'", "''", text)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict x -k", "No such option: -k."),
        ("predict x --batch-size z", "--batch-size must be a whole number, got 'z'."),
        ("nearest x -k 1.5", "--k must be a whole number, got '1.5'."),
        ("benchmark prediction x --rounds 0", "--rounds must be at least 1, got '0'."),
        ("predict x --format xml",
         "Invalid value for '--format': 'xml' is not one of 'table', 'csv', 'json'."),
        ("audit x --column a", "--column must look like NAME=VALUE, got 'a'."),
        ("audit x --label 0=nv --label 0=mel",
         "--label must give each name one value, but gives '0' both 'nv' and 'mel'."),
        ("audit x --column label=a --label-column b",
         "--column label=a contradicts --label-column b; give one of them."),
        ("predict x --uniform", "--uniform goes with --explain, which draws the overlays."),
        ("predict x --json --format csv",
         "--json and --format csv exclude each other; give one of them."),
        ("predict x --dropout-passes 3",
         "--dropout-passes is seen in CSV and JSON alone; give --format csv, --json or --out."),
        ("explain x --out OUT --method rise --compare gradcam,lime",
         "--method and --compare exclude each other; name all methods with --compare."),
        ("explain x --out OUT --compare ,",
         "names must be separated by commas, got ',' without one."),
        ("report photo.png --out OUT --methods ,,",
         "names must be separated by commas, got ',,' without one."),
        ("audit nowhere",
         "data must be a folder or a CSV table, found none at 'nowhere'; check the path."),
        ("audit EMPTY",
         "'empty' must hold one subfolder of images for each class, but it has no image in any "
         "subfolder; give a folder that has them, or a CSV table of images."),
        ("evaluate MODEL --out OUT",
         "'model' must hold one subfolder of images for each class, but it is a model folder; give "
         "a folder that has them, or a CSV table of images."),
        ("predict EMPTY",
         f"folder 'empty' must hold at least one image ({', '.join(sorted(SUFFIXES))}), found "
         "none; check the path."),
        ("nearest MODEL",
         f"folder 'model' must hold at least one image ({', '.join(sorted(SUFFIXES))}), found none "
         "among 1 .json, 1 .safetensors; give a model folder with --model."),
        ("predict photo.png --model photo.png",
         "--model must be a folder here, but 'photo.png' is a file; give the folder of a model."),
        ("predict photo.png --model here/photo.png",
         "--model must be a folder here, but 'here/photo.png' is a file; give the folder of a "
         "model."),
        ("predict photo.png --model DATA",
         "model folder 'data' must hold manifest.json, found none; name a folder that 'skinxai "
         "train', 'import' or 'pull' wrote."),
        ("verify nowhere",
         "model folder 'nowhere' must hold manifest.json, found no such folder; name a folder that "
         "'skinxai train', 'import' or 'pull' wrote."),
        ("train DATA --out OUT",
         "Got unexpected extra argument(s) (data); give it with --data or --out."),
        ("card DATA", "Got unexpected extra argument(s) (data); give it with --model or --out."),
        ("plugins DATA", "Got unexpected extra argument(s) (data)."),
        ("audit no.csv --images TABLE",
         "data must be a folder or a CSV table, found none at 'no.csv'; check the path."),
        ("train --data no --out OUT",
         "--data must be a folder or a CSV table, found none at 'no'; check the path."),
        ("audit photo.png",
         "photo.png must be a table or a folder, but it is a picture; give a table that names it, "
         "or the folder that it lies in."),
        ("audit DATA --splits photo.png",
         "photo.png must be a table, but it is a picture; give another file."),
        ("audit TABLE --images nowhere", "--images must be a folder, got 'nowhere'."),
        ("audit TABLE --images . --delimiter ';;'",
         "--delimiter must be one character, such as ',' or ';', got ';;'."),
        ("audit TABLE --images . --delimiter ;",
         "table.csv must have ';' between its cells, but it seems to have ','; give "
         "--delimiter ,."),
        ("audit DATA --splits TABLE",
         "table.csv must have the columns image_id and part, each part one of 'train', 'val', "
         "'test', but it has 'image', 'label'; correct it, or leave --splits out."),
        ("audit DATA --max-pixels 0", "--max-pixels must be an integer >= 1, got 0."),
        ("prepare DATA OUT --max-pixels 0", "--max-pixels must be an integer >= 1, got 0."),
        ("prepare DATA OUT --size 5",
         "--size must be HEIGHTxWIDTH, or one number for a square, of 32 to 4096 pixels, or left "
         "out, got 5x5."),
        ("audit DATA --init-weights nowhere",
         "--init-weights must be a folder, 'org/name', 'org/name@revision' or the text 'bundled', "
         "found no folder 'nowhere'."),
        ("train --data DATA --out OUT --init-weights x.safetensors",
         "--init-weights must be readable safetensors, found no file 'x.safetensors'."),
        ("train --data DATA --out ./DATA",
         "--out must be another folder than --data, got 'data' for both."),
        ("train --data DATA --out data/run",
         "--out must lie outside --data, because 'data/run' would be taken for a class when "
         "'data' is read again; give another folder."),
        ("prepare DATA data/run",
         "OUT must lie outside DATA, because 'data/run' would be taken for a class when "
         "'data' is read again; give another folder."),
        ("audit DATA --out data/red/run",
         "--out must lie outside DATA, because 'data/red/run' would be taken for a class when "
         "'data' is read again; give another folder."),
        ("evaluate DATA --out data/run",
         "--out must lie outside DATA, because 'data/run' would be taken for a class when "
         "'data' is read again; give another folder."),
        ("train --data DATA --out OUT --image-size axb",
         "--image-size must look like HEIGHTxWIDTH, e.g. 240x320, or like 224 for a square, got "
         "'axb'."),
        ("train --data DATA --out OUT --init-weights none --augmentation hevy",
         "--augmentation must be one of 'light', 'standard', 'heavy', got 'hevy'; give heavy."),
        ("push nowhere a/b",
         "FOLDER must be a folder, found no folder 'nowhere'; check the path."),
        ("push org/name MODEL",
         "FOLDER must be a folder, found no folder 'org/name'; check the path."),
    ],
)  # fmt: skip
def test_what_is_said_of_a_mistake(command, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    labelled(tmp_path / "data")
    Path("table.csv").write_text("image,label\na.png,red\n")
    Image.new("RGB", (40, 40)).save("photo.png")
    for name in ("empty", "here", "model"):
        Path(name).mkdir()
    shutil.copy("photo.png", "here")
    for name in ("manifest.json", "model.safetensors"):
        (Path("model") / name).touch()
    places = {
        "DATA": "data", "TABLE": "table.csv", "OUT": "out", "./DATA": "./data", "EMPTY": "empty",
        "MODEL": "model",
    }  # fmt: skip
    words = [places.get(word, word).strip("'") for word in command.split()]
    assert refused(*words) == said
    assert not Path("out").exists() and not Path("data/run").exists()


def test_nearest_tells_what_was_noted_of_an_image_and_goes_on_after_a_bad_one(tmp_path) -> None:
    records = coloured(tmp_path / "pictures", 3, 0)
    made = Classifier.from_pretrained(model_folder(tmp_path / "plain", trained_on=None))
    made.index(records, dimensions=2).save_pretrained(tmp_path / "model")
    pixels = np.random.default_rng(0).integers(60, 200, (40, 56, 3), np.uint8)
    plain, clear, bad = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    Image.fromarray(pixels).save(plain)
    picture = Image.fromarray(pixels)
    picture.putalpha(128)
    picture.save(clear)
    bad.write_bytes(b"not an image")
    words = ["nearest", bad, plain, clear, "-k", 1, "--model", tmp_path / "model"]
    (note,) = Classifier.from_pretrained(tmp_path / "model").predict(clear).warnings
    found = run(*words)
    lines = found.stdout.splitlines()
    assert found.exit_code == 1 and lines[0].startswith(f"{bad}  failed: ")
    assert (lines[1], lines[3], lines[5:]) == (str(plain), str(clear), [f"  note: {note}"])
    assert len(run(*words, "--quiet").stdout.splitlines()) == 5
    first, second, third = json.loads(run(*words, "--json").stdout)
    assert (first["source"], first["error_code"]) == (str(bad), "image_unsupported")
    assert (second["warnings"], third["warnings"]) == ([], [note])
    assert [each["source"] for each in (second, third)] == [str(plain), str(clear)]
    assert len(second["nearest"]) == len(third["nearest"]) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["export", ""], "OUT"),
        (["predict", "photo.png", "--out", ""], "--out"),
        (["predict", "photo.png", "--out="], "--out"),
        (["train", "--data", "", "--out", "run"], "--data"),
        (["evaluate", ""], "data"),
    ],
)
def test_an_empty_path_is_not_the_present_folder(words, named, tmp_path, monkeypatch) -> None:
    """As of a variable that is not set; files of the folder would be replaced, or read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    if words[0] == "evaluate":
        words = [*words, "--out", "out"]
    assert f"{named} must name a file or a folder, got an empty text" in refused(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
