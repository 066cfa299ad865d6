"""What a plugin's explainer leaves changed, raises or returns, and what comes of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_explaining import THREE, same

from skinxai import Attribution, Explainer
from skinxai.errors import ExplainError, OptionError, PluginError
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture


class EatsItsInput(Explainer):
    """Covers the image in place, asks again, and takes gradients where they accumulate."""

    def attribute(self, images, target, *, options):
        with torch.no_grad():
            whole = self.model(images)
            images[:, :, :, : images.shape[3] // 2] = 0
            half = self.model(images)
        assert not torch.equal(whole, half)  # not the answer that was at hand
        with torch.enable_grad():
            images.requires_grad_()
            self.model(images)[0, target[0]].backward(inputs=[images])
        return Attribution(maps={"map": images.grad.abs().sum(dim=1)})


def test_what_a_plugin_does_to_its_input_reaches_no_other_call(registered) -> None:
    registered("eats", EatsItsInput)
    classifier = colour_classifier()
    every = classifier.explain(THREE, "eats", all_classes=True)
    for colour, found in every.items():
        assert same(found, classifier.explain(THREE, "eats", target=colour))


class ChangesItsTarget(Explainer):
    """Takes gradients of the class that was asked for, and then writes into the target."""

    def attribute(self, images, target, *, options):
        with torch.enable_grad():
            leaf = images.clone().requires_grad_()
            scores = self.model(leaf).gather(1, target[:, None])
            (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        target.zero_()
        return Attribution(maps={"map": gradient.abs().amax(dim=1)})


@pytest.mark.parametrize("tta", [False, True])
def test_what_a_plugin_does_to_its_target_reaches_neither_the_result_nor_another_view(
    registered, tta: bool
) -> None:
    registered("changes", ChangesItsTarget)
    found = colour_classifier().explain(THREE, "changes", target="blue", tta=tta)
    expected = colour_classifier().explain(THREE, "saliency", target="blue", tta=tta)
    assert found.target == "blue"
    np.testing.assert_allclose(found.heatmap, expected.heatmap, rtol=1e-5)


class AblatesInPlace(Explainer):
    """Ablation-CAM, which asks for the features of each channel anew and sets it to 0 in them."""

    @torch.no_grad()
    def attribute(self, images, target, *, options):
        channels = self.model.grid(self.model.features(images)).clone()
        falls = []
        for number in range(channels.shape[1]):
            features = self.model.features(images)
            whole = self.model.pool_and_classify(features).gather(1, target[:, None])
            self.model.grid(features)[:, number] = 0
            falls.append(whole - self.model.pool_and_classify(features).gather(1, target[:, None]))
        weights = torch.cat(falls, dim=1)[:, :, None, None]
        return Attribution(maps={"map": (weights * channels).sum(dim=1).relu()})


@pytest.mark.parametrize("kind", ["convolutions", "transformer"])
@pytest.mark.parametrize("asked", [{}, {"all_classes": True}, {"tta": True}])
def test_what_a_plugin_does_to_features_is_not_in_those_that_it_asks_for_next(
    registered, kind: str, asked: dict
) -> None:
    registered("ablates", AblatesInPlace)
    for colour in ("red", "blue"):
        found, expected = (
            colour_classifier(kind).explain(THREE, method, **asked or {"target": colour})
            for method in ("ablates", "ablationcam")
        )
        if "all_classes" in asked:
            found, expected = found[colour], expected[colour]
        assert expected.heatmap.max() > 0
        np.testing.assert_allclose(found.heatmap, expected.heatmap, rtol=1e-5, atol=1e-7)


class FailsOnBlue(Explainer):
    def attribute(self, images, target, *, options):
        if (target == 2).any():
            raise ExplainError("no map for blue.")
        return Attribution(maps={"map": torch.rand(len(images), 2, 2, generator=torch.Generator())})


def test_one_map_that_cannot_be_made_leaves_the_others(registered) -> None:
    registered("fails", FailsOnBlue)
    images = [picture({"upper left": colour}) for colour in ("red", "blue", "green")]
    found = colour_classifier().explain(images, "fails", on_error="return")
    assert [getattr(each, "target", None) for each in found] == ["red", None, "green"]
    assert found[1].index == 1 and "no map for blue" in str(found[1].error)
    assert (found[1].error.index, found[1].error.source) == (1, found[1].source)


def test_the_error_of_a_map_says_which_image_it_belongs_to(registered, tmp_path) -> None:
    registered("fails", FailsOnBlue)
    paths = []
    for colour in ("red", "blue", "green"):
        paths.append(tmp_path / f"{colour}.png")
        Image.fromarray(picture({"upper left": colour})).save(paths[-1])
    for batch_size in (1, 32):
        with pytest.raises(ExplainError, match="no map for blue") as caught:
            colour_classifier().explain(paths, "fails", batch_size=batch_size)
        assert (caught.value.index, caught.value.source) == (1, str(paths[1]))


@dataclass(frozen=True)
class Chosen:
    """Options with a rule of their own, and one that JSON does not have."""

    number: int = 1
    given: object = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError("number must be >= 1")


class Chooses(Explainer):
    options_type = Chosen

    def attribute(self, images, target, *, options):
        return Attribution(maps={"a map": torch.arange(4.0).reshape(1, 2, 2)})


@pytest.mark.parametrize(("number", "said"), [(0, "ValueError: number"), ("a", "TypeError: ")])
def test_options_that_a_plugin_does_not_take(registered, number, said: str) -> None:
    registered("chooses", Chooses)
    words = f"chooses does not take the options number={number!r}: {said}"
    with pytest.raises(OptionError, match=words):
        colour_classifier().explain(THREE, "chooses", number=number)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (np.float32(0.5), 0.5),
        (Path("images/one.jpg"), str(Path("images/one.jpg"))),
        (np.array([1, 2]), "array([1, 2])"),
        (float("nan"), "nan"),
        ({"deep": (1, np.int64(2))}, {"deep": [1, 2]}),
        ("text", "text"),
        (True, True),
    ],
)
def test_options_that_json_does_not_have_are_saved(registered, tmp_path, given, written) -> None:
    registered("chooses", Chooses)
    found = colour_classifier().explain(THREE, "chooses", given=given)
    found.save(tmp_path / "why")
    shown = json.loads((tmp_path / "why/explanation.json").read_text())
    assert shown["options"] == {"number": 1, "given": written}
    assert (tmp_path / "why/a map.npy").is_file()


class Raises(Explainer):
    error: BaseException = ValueError("of its own")

    def attribute(self, images, target, *, options):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), RecursionError("no")])
def test_errors_of_a_plugin_are_wrapped(registered, error) -> None:
    registered("raises", type("Raises", (Raises,), {"error": error}))
    with pytest.raises(PluginError, match=f"raised {type(error).__name__}") as caught:
        colour_classifier().explain(THREE, "raises")
    assert caught.value.__cause__ is error


def test_ctrl_c_passes_through(registered) -> None:
    registered("raises", type("Raises", (Raises,), {"error": KeyboardInterrupt()}))
    with pytest.raises(KeyboardInterrupt):
        colour_classifier().explain(THREE, "raises")


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (None, "must be a mapping"),
        ({"map": [[1.0]]}, r"must be a torch tensor \(N, h, w\), got an object of type list"),
        ({"map": (value for value in (1, 2))}, "got an object of type generator"),
        (
            {"map": torch.ones(2, 2)},
            r"must be a tensor \(N, h, w\) for N = 1 image, got the shape \(2, 2\)",
        ),
        ({"map": torch.ones(1, 0, 5)}, r"for N = 1 image, got the shape \(1, 0, 5\)"),
        ({"../map": torch.ones(1, 2, 2)}, r"as it names a file, got '\.\./map'"),
        ({"": torch.ones(1, 2, 2)}, "as it names a file, got ''"),
        ({"a\0": torch.ones(1, 2, 2)}, "as it names a file, got"),
        ({0: torch.ones(1, 2, 2)}, "as it names a file, got 0"),
        ({"a": torch.ones(1, 2, 2), "A": torch.ones(1, 2, 2)}, r"upper and .*, got \['A', 'a'\]"),
        ({"map": torch.ones(1, 2, 2).to_sparse()}, r"dense tensor .*layout torch\.sparse_coo"),
        ({"map": torch.ones(1, 2, 2, device="meta")}, "that has its values, .*on meta"),
        ({}, "it returned neither a map nor a score"),
    ],
)
def test_answers_that_are_none(registered, maps, words) -> None:
    class Odd(Explainer):
        def attribute(self, images, target, *, options):
            return Attribution(maps=maps)

    registered("odd", Odd)
    with pytest.raises(PluginError, match=words):
        colour_classifier().explain(THREE, "odd")


def test_the_negative_of_a_conjugate_is_read(registered) -> None:
    """Torch computes it when it is read; methods that go by the Fourier transform return such."""

    class Conjugate(Explainer):
        def attribute(self, images, target, *, options):
            values = torch.complex(torch.zeros(4), torch.arange(4.0)).reshape(1, 2, 2)
            return Attribution(maps={"map": values.conj().imag})

    registered("conjugate", Conjugate)
    found = colour_classifier().explain(THREE, "conjugate").heatmap
    assert (found.min(), found.max()) == (-3, 0)
