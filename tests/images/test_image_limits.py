"""The limit of an image's size, and images that were read before: taken wherever images are."""

import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from small_runs import coloured, model_folder, registered
from typer.testing import CliRunner

from skinxai import Classifier, read_image
from skinxai.cli import app
from skinxai.data import audit, prepare
from skinxai.errors import ImageTooLargeError, OptionError
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.streaming import predictions
from skinxai.training.trainer import Trainer

SIZE = (40, 56)
PIXELS = SIZE[0] * SIZE[1]


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that knows its training lesions, which lie in ``pictures``."""
    records = coloured(tmp_path / "pictures", 2, 0)
    made = Classifier.from_pretrained(
        model_folder(tmp_path / "plain", records.labels, seed=1, trained_on=None)
    )
    made.index(records, dimensions=2).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """With transparency, so that reading it notes something."""
    path = tmp_path / "lesion.png"
    draws = np.random.default_rng(0)
    pixels = draws.integers(60, 200, (*SIZE, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").save(path)
    return path


def all_commands() -> dict[str, list[str]]:
    """Each command's name → its parameters."""
    found: dict[str, list[str]] = {}
    groups = [("", typer.main.get_command(app))]
    while groups:
        prefix, group = groups.pop()
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                groups.append((f"{name} ", command))
            else:
                found[prefix + name] = [each.name for each in command.params]
    return found


def test_every_command_that_reads_images_has_the_limit_as_an_option() -> None:
    reading = {
        name: names
        for name, names in all_commands().items()
        if {"images", "asked", "data"} & set(names)
    }
    assert {"predict", "explain", "nearest", "audit", "prepare", "train", "evaluate",
            "benchmark explainers", "benchmark prediction"} <= set(reading)  # fmt: skip
    assert [name for name, names in reading.items() if "max_pixels" not in names] == []


@pytest.mark.parametrize("command", ["predict", "explain", "nearest", "nearest --data"])
def test_the_remedy_of_a_command_works(command, model, picture, tmp_path) -> None:
    name, _, more = command.partition(" ")
    words = [name, str(picture), "--model", str(model)]
    if name == "explain":
        words += ["--out", str(tmp_path / "out")]
    if more:
        classes = tmp_path / "classes"
        for code in ("red", "green", "blue"):
            (classes / code).mkdir(parents=True)
            for path in (tmp_path / "pictures").glob(f"{code}-*"):
                (classes / code / path.name).write_bytes(path.read_bytes())
        words += ["--data", str(classes), "-k", "3"]
    small = CliRunner().invoke(app, [*words, "--max-pixels", str(PIXELS - 1)])
    said = small.stdout + getattr(small.exception, "on_command_line", "")
    assert small.exit_code and f"shrink it or give --max-pixels {PIXELS}." in said
    enough = CliRunner().invoke(app, [*words, "--max-pixels", str(PIXELS)])
    assert enough.exit_code == 0, enough.exception
    if more:  # the records are read within the same limit
        assert enough.stdout.count(str(tmp_path / "classes")) == 3


def test_every_entry_in_python_has_the_limit(model, picture, tmp_path) -> None:
    classifier = Classifier.from_pretrained(model)
    records = coloured(tmp_path / "few", 1, 1)
    asks = {
        "predict": lambda **o: classifier.predict(picture, **o),
        "stream": lambda **o: list(classifier.stream([picture], **o)),
        "explain": lambda **o: classifier.explain(picture, "gradcam", **o),
        "compare": lambda **o: classifier.compare(picture, ["gradcam", "saliency"], **o),
        "embed": lambda **o: classifier.embed(picture, **o),
        "nearest": lambda **o: classifier.nearest(picture, 1, **o),
        "index": lambda **o: classifier.index(records, dimensions=2, **o),
        "evaluate": lambda **o: classifier.evaluate(records, resamples=2, **o),
        "prepare": lambda **o: prepare(records, tmp_path / "prepared", **o),
    }
    for name, ask in asks.items():
        with pytest.raises(Exception, match=rf"max_pixels={PIXELS}") as caught:
            ask(max_pixels=PIXELS - 1)
        assert f"--max-pixels {PIXELS}" in caught.value.on_command_line, name
        if name != "index":  # of images that the model was not trained on
            ask(max_pixels=PIXELS)
    assert "max_pixels" in inspect.signature(audit).parameters
    assert Trainer("small", init_weights=None, max_pixels=9).config.max_pixels == 9


@pytest.mark.parametrize("name", ["export", "with_graph"])
def test_the_images_of_a_comparison_are_read_within_the_limit(name, model, tmp_path) -> None:
    pytest.importorskip("onnxscript")
    classifier = Classifier.from_pretrained(model)
    images = [str(path) for path in (tmp_path / "pictures").iterdir()]
    ask = getattr(classifier, name)
    first = [tmp_path / "m.onnx"] if name == "export" else []
    with pytest.raises(ImageTooLargeError, match=f"pass max_pixels={PIXELS}"):
        ask(*first, images=images, max_pixels=PIXELS - 1)
    with pytest.raises(OptionError, match="on_error must be 'raise' for a comparison"):
        ask(*first, images=images, on_error="return")
    assert ask(*first, images=images, max_pixels=PIXELS)


def test_what_read_image_returns_is_an_image_like_its_path(model, picture) -> None:
    classifier = Classifier.from_pretrained(model)
    source = read_image(picture)
    assert source.warnings
    assert classifier.predict(source) == classifier.predict(picture)
    assert classifier.predict([source, picture]) == classifier.predict([picture, source])
    one, other = (classifier.explain(image, "gradcam") for image in (source, picture))
    assert np.array_equal(one.heatmap, other.heatmap) and np.array_equal(one.pixels, other.pixels)
    fields = [f.name for f in dataclasses.fields(one)]
    for name in set(fields) - {"maps", "pixels", "seconds"}:
        assert getattr(one, name) == getattr(other, name), name
    assert classifier.nearest(source, 3) == classifier.nearest(picture, 3)
    assert np.array_equal(classifier.embed(source), classifier.embed(picture))
    assert list(classifier.stream([source])) == list(classifier.stream([picture]))


def test_an_image_that_was_read_within_a_larger_limit_is_taken(model, picture) -> None:
    classifier = Classifier.from_pretrained(model)
    with pytest.raises(ImageTooLargeError):
        classifier.predict(picture, max_pixels=9)
    assert classifier.predict(read_image(picture), max_pixels=9) == classifier.predict(picture)


def test_notes_of_an_image_are_in_its_explanation(model, picture, tmp_path) -> None:
    (note,) = read_image(picture).warnings
    assert Classifier.from_pretrained(model).explain(picture).warnings == (note,)
    words = ["explain", str(picture), "--model", str(model), "--out", str(tmp_path / "out"),
             "--compare", "gradcam,saliency"]  # fmt: skip
    lines = CliRunner().invoke(app, words).stdout.splitlines()
    assert lines[0].startswith(f"{picture}  ") and lines[1] == f"  note: {note}"
    assert len(lines) == 4  # two methods, one sheet, and the note once
    for method in ("gradcam", "saliency"):
        path = tmp_path / "out" / f"lesion.{method}" / "explanation.json"
        assert json.loads(path.read_text())["warnings"] == [note]
    assert len(CliRunner().invoke(app, [*words, "--quiet"]).stdout.splitlines()) == 3


def test_pictures_in_memory_have_the_limit_too() -> None:
    for picture in (Image.new("RGB", (100, 80)), np.zeros((80, 100, 3), np.uint8)):
        assert read_image(picture, max_pixels=8000).pixels.shape == (80, 100, 3)
        with pytest.raises(ImageTooLargeError, match="at most 7999 pixels, got 100×80"):
            read_image(picture, max_pixels=7999)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("on_error", "ignore"), ("on_error", None), ("layout", "hwc"), ("batch_size", 0),
        ("batch_size", 2.0), ("batch_size", True), ("max_pixels", 0),
    ],
)  # fmt: skip
def test_input_options_outside_their_rule(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"^{name} must be "):
        InputOptions(**{name: value})


def test_predictions_are_of_the_picture_as_it_is_unless_its_flips_are_asked_for(tmp_path) -> None:
    classifier = Classifier.from_pretrained(model_folder(tmp_path / "m", seed=1))
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    predictor = classifier._in_use.predictor
    (found,) = predictions(predictor, [picture], InputOptions())
    (flipped,) = predictions(predictor, [picture], InputOptions(), tta=True)
    assert found.probabilities == classifier.predict(picture).probabilities
    assert found.probabilities != flipped.probabilities
