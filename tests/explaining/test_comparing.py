"""`Classifier.compare`: the sheet of one image's explanations, as one would make it by hand."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from skinxai import Attribution, Explainer
from skinxai.errors import InputError, OptionError, UnknownNameError
from skinxai.results import compare
from skinxai.testing.networks import colour_classifier
from skinxai.testing.pictures import picture


@pytest.fixture(scope="module")
def colours():
    return colour_classifier()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return picture({"upper left": "green", "lower middle": "red"})


def same(found: Image.Image, expected: Image.Image) -> bool:
    return np.array_equal(np.asarray(found), np.asarray(expected))


def test_methods(colours, image) -> None:
    names = ["gradcam", "saliency", "occlusion"]
    expected = compare([colours.explain(image, name, target="red") for name in names], columns=2)
    assert same(colours.compare(image, names, target="red", columns=2), expected)
    assert same(colours.compare(image, methods=tuple(names), target="red", columns=2), expected)


def test_targets(colours, image) -> None:
    wanted = ["blue", "green"]
    expected = compare([colours.explain(image, "saliency", target=code) for code in wanted])
    assert same(colours.compare(image, targets=wanted, method="saliency"), expected)
    one, two = (colours.compare(image, targets=some) for some in (wanted, wanted[::-1]))
    assert not same(one, two)


def test_an_option_goes_to_the_methods_that_have_it(colours, image) -> None:
    expected = compare(
        [colours.explain(image, "gradcam"), colours.explain(image, "rise", budget=20, seed=3)],
        alpha=0.2,
        uniform=True,
    )
    drawn = {"alpha": 0.2, "uniform": True}
    found = colours.compare(image, ["gradcam", "rise"], budget=20, seed=3, **drawn)
    assert same(found, expected)


def test_input_options_go_to_all(colours, image) -> None:
    turned = image.transpose(2, 0, 1)
    expected = colours.compare(image, ["gradcam", "saliency"])
    assert colours.compare(turned, ["gradcam", "saliency"], layout="CHW").size == expected.size
    with pytest.raises(InputError, match="layout"):
        colours.compare(turned, ["gradcam", "saliency"])


def test_a_file_object_is_read_once(colours, image, tmp_path) -> None:
    Image.fromarray(image).save(tmp_path / "lesion.png")
    expected = colours.compare(tmp_path / "lesion.png", ["gradcam", "saliency"])
    with (tmp_path / "lesion.png").open("rb") as file:
        assert same(colours.compare(file, ["gradcam", "saliency"]), expected)
    stream = io.BytesIO((tmp_path / "lesion.png").read_bytes())
    assert colours.compare(stream, ["gradcam", "saliency"]).size == expected.size


class Scores(Explainer):
    """Gives no map."""

    def attribute(self, images, target, *, options):
        return Attribution(scores={"one": torch.ones(len(images))})


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, OptionError, "compare() must be given either methods=[…] or targets=[…]."),
        ({"methods": ["gradcam"], "targets": ["red"]}, OptionError, "must be given either"),
        ({"methods": []}, OptionError, "methods must be a list of at least one name, got []."),
        ({"methods": "gradcam"}, OptionError, "methods must be a list of at least one name, got"),
        ({"methods": iter(["gradcam"])}, OptionError, "methods must be a list of at least one"),
        ({"targets": 3}, OptionError, "targets must be a list of at least one name, got 3."),
        ({"targets": "red"}, OptionError, "targets must be a list of at least one name, got 'red'"),
        ({"targets": ["rad"]}, UnknownNameError, "Did you mean 'red'?"),
        ({"methods": ["gradcam", "ries"]}, UnknownNameError, "Did you mean 'rise'?"),
        ({"targets": ["red"], "target": "red"}, OptionError, "target must be left out where"),
        ({"methods": ["gradcam"], "budget": 20}, OptionError, "Unknown option 'budget'"),
        ({"methods": ["gradcam"], "all_classes": True}, OptionError, "Unknown option 'all_classe"),
        ({"methods": ["gradcam"], "on_error": "return"}, OptionError, "on_error must be 'raise'"),
        ({"methods": ["gradcam", "scores"]}, OptionError, "'scores' gives only scores; call expl"),
    ],
)
def test_wrong_use(colours, image, registered, arguments, error, words) -> None:
    registered("scores", Scores)
    with pytest.raises(error) as info:
        colours.compare(image, **arguments)
    assert words in str(info.value)


def test_one_image_that_can_be_read(colours, image) -> None:
    with pytest.raises(OptionError, match="image must be a single one in compare"):
        colours.compare([image], ["gradcam"])
    with pytest.raises(InputError):
        colours.compare(b"no image", ["gradcam"])
