"""`check_explainer` passes every built-in method, and refuses planted bad ones by name."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from skinxai import Attribution, Explainer, explainers
from skinxai.cli import app
from skinxai.errors import OptionError, PluginError
from skinxai.testing import check_explainer, colour_classifier
from skinxai.testing.networks import COLOURS
from skinxai.testing.pictures import picture

ATTENTION = ("attention_rollout", "gradient_attention")
SCORES_ALONE = ("rise", "lime")  # see the same of any network, and need many passes
QUICK = {"rise": {"budget": 60}, "lime": {"budget": 100, "segments": 30}}


def problems(explainer: object, **options: object) -> dict[str, str]:
    results = check_explainer(explainer, raise_on_failure=False, **options)
    return {result.name: result.problem for result in results if result.problem is not None}


@pytest.mark.parametrize("name", [n for n in explainers.names() if n not in ATTENTION])
def test_every_method_passes(name: str) -> None:
    assert problems(name, **QUICK.get(name, {})) == {}


@pytest.mark.parametrize(
    "name", [n for n in explainers.names() if "cam" not in n and n not in SCORES_ALONE]
)
def test_every_method_without_a_layer_passes_on_a_transformer(name: str) -> None:
    assert problems(name, network="transformer", **QUICK.get(name, {})) == {}


@pytest.mark.parametrize("name", ["gradcam", "layercam", "hirescam", "eigencam", "ablationcam"])
def test_class_activation_maps_of_tokens(name: str) -> None:
    assert problems(name, network="transformer") == {}


class Constant(Explainer):
    def attribute(self, images, target, *, options):
        return Attribution(maps={"map": images.new_ones(len(images), 4, 4)})


class CentreBlob(Explainer):
    def attribute(self, images, target, *, options):
        x = torch.linspace(-1, 1, 12)
        blob = torch.exp(-(x[:, None] ** 2 + x**2))
        return Attribution(maps={"map": blob.expand(len(images), -1, -1)})


def grad_cam(model, images, target):
    found = explainers.get("gradcam")(model).attribute(images, target, options=None)
    return found.maps["gradcam"]


class Transposed(Explainer):
    def attribute(self, images, target, *, options):
        return Attribution(maps={"map": grad_cam(self.model, images, target).transpose(1, 2)})


class InputEdges(Explainer):
    def attribute(self, images, target, *, options):
        grey = images.mean(dim=1)
        edges = functional.pad(grey.diff(dim=1).abs(), (0, 0, 0, 1))
        return Attribution(maps={"map": edges})


class LabelBlind(Explainer):
    """Explains the top class, whatever was asked for."""

    def attribute(self, images, target, *, options):
        with torch.no_grad():
            top = self.model(images).argmax(dim=1)
        return Attribution(maps={"map": grad_cam(self.model, images, top)})


class LabelBlindWithAScore(LabelBlind):
    """A score that depends on the class hides nothing."""

    def attribute(self, images, target, *, options):
        maps = super().attribute(images, target, options=options).maps
        return Attribution(maps=maps, scores={"target": target.float()})


class OfTheBareNetwork(Explainer):
    """Explains the logit, whatever ``against`` and ``score`` ask for."""

    def attribute(self, images, target, *, options):
        with torch.enable_grad():
            features = self.model.features(images).detach().requires_grad_()
            scores = self.model.logits(features).gather(1, target[:, None])
            (gradient,) = torch.autograd.grad(scores.sum(), features)
        return Attribution(maps={"map": (gradient * features).sum(dim=1).detach()})


class NumPyDraws(Explainer):
    """Puts the state back, and depends on it all the same."""

    def attribute(self, images, target, *, options):
        state = np.random.get_state()
        maps = grad_cam(self.model, images, target)
        drawn = torch.from_numpy(np.random.random(maps.shape)).float()
        np.random.set_state(state)
        return Attribution(maps={"map": maps + 0.1 * maps.max() * drawn})


class LeavesAHook(Explainer):
    def attribute(self, images, target, *, options):
        self.model.network.register_forward_hook(lambda *_: None)
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


class LeavesAHookOnErrors(Explainer):
    def attribute(self, images, target, *, options):
        handle = self.model.network.dropout.register_forward_hook(lambda *_: None)
        self.model(images.clone())
        handle.remove()
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


class FillsGrad(Explainer):
    def attribute(self, images, target, *, options):
        with torch.enable_grad():
            self.model(images)[torch.arange(len(target)), target].sum().backward()
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


class GlobalSeed(Explainer):
    def attribute(self, images, target, *, options):
        torch.manual_seed(0)
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


class GlobalDraws(Explainer):
    def attribute(self, images, target, *, options):
        maps = grad_cam(self.model, images, target)
        return Attribution(maps={"map": maps + 0.1 * maps.max() * torch.rand_like(maps)})


class OfTheBatch(Explainer):
    """Scales with the largest value of the batch."""

    def attribute(self, images, target, *, options):
        maps = grad_cam(self.model, images, target)
        return Attribution(maps={"map": maps / maps.max()})


class NotANumber(Explainer):
    def attribute(self, images, target, *, options):
        maps = grad_cam(self.model, images, target)
        return Attribution(maps={"map": maps / 0})


class Greedy(Explainer):
    """Sixteen passes at once, and no smaller part where memory runs out."""

    def attribute(self, images, target, *, options):
        with torch.no_grad():
            self.model(images.repeat(16, 1, 1, 1))
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


@pytest.mark.parametrize(
    ("explainer", "check"),
    [
        (Constant, "coordinates"),
        (CentreBlob, "coordinates"),
        (Transposed, "coordinates"),
        (InputEdges, "weights"),
        (LabelBlind, "target"),
        (LabelBlindWithAScore, "target"),
        (OfTheBareNetwork, "score"),
        (NumPyDraws, "determinism"),
        (LeavesAHook, "untouched"),
        (LeavesAHookOnErrors, "error"),
        (FillsGrad, "untouched"),
        (GlobalSeed, "untouched"),
        (GlobalDraws, "untouched"),
        (OfTheBatch, "batch"),
        (NotANumber, "answer"),
        (Greedy, "memory"),
    ],
)
def test_planted_faults_are_refused_by_name(explainer: type, check: str) -> None:
    assert check in problems(explainer)
    with pytest.raises(PluginError, match=f"'{explainer.__name__}' must pass .* {check}: "):
        check_explainer(explainer)


def test_a_bare_network_has_no_other_fault() -> None:
    assert set(problems(OfTheBareNetwork)) == {"score"}


def test_the_message_of_a_leaked_hook_names_it() -> None:
    assert "hooks" in problems(LeavesAHook)["untouched"]
    assert "hooks" in problems(LeavesAHookOnErrors)["error"]


@pytest.mark.parametrize(
    ("explainer", "check"), [(LeavesAHook, "untouched"), (LeavesAHookOnErrors, "error")]
)
def test_the_checks_look_themselves(monkeypatch, explainer: type, check: str) -> None:
    """Also where skinxai trusts the method, as it does its own."""
    monkeypatch.setattr("skinxai.explaining.method.Method.built_in", True)
    assert "hooks" in problems(explainer)[check]


def test_an_unknown_network() -> None:
    with pytest.raises(OptionError, match="network must be one of"):
        check_explainer("gradcam", network="convolution")


def test_nothing_stays_registered() -> None:
    before = explainers.names()
    problems(Constant)
    assert explainers.names() == before


@pytest.mark.parametrize("kind", ["convolutions", "transformer"])
def test_the_tiny_networks_know_their_colours(kind: str) -> None:
    classifier = colour_classifier(kind)
    for colour in COLOURS:
        assert classifier.predict(picture({"upper right": colour})).label == colour


class Good(Explainer):
    """Grad-CAM under another name."""

    def attribute(self, images, target, *, options):
        return Attribution(maps={"map": grad_cam(self.model, images, target)})


def test_the_command_checks_explainers_of_plugins(registered) -> None:
    registered("good", Good)
    assert CliRunner().invoke(app, ["plugins", "--check"]).exit_code == 0
    registered("constant", Constant)
    found = CliRunner().invoke(app, ["plugins", "--check"])
    assert found.exit_code == 1
    failed = [line.split() for line in found.stdout.splitlines() if line.startswith("fails")]
    assert {words[1] for words in failed} == {"constant"}
    assert {"coordinates", "target", "weights"} <= {words[2] for words in failed}
    shown = json.loads(CliRunner().invoke(app, ["plugins", "--check", "--json"]).stdout)
    assert set(shown["failed_checks"]) == {"constant"}
    assert CliRunner().invoke(app, ["plugins"]).exit_code == 0  # a list alone checks nothing


class Answers(Explainer):
    """Returns what `ANSWERS` makes of a map ``(N, h, w)``."""

    make = staticmethod(lambda found: None)

    def attribute(self, images, target, *, options):
        return type(self).make(grad_cam(self.model, images, target))


def raises(found):
    raise ValueError("no such thing")


WANTED = "Attribution(maps={'name': tensor (N, h, w)}) or Attribution(scores={'name': tensor (N,)})"
ONE_CAUSE = {
    "a tensor": (lambda found: found, f"attribute() of 'Answers' must return {WANTED}, for N "
                 "images; it returned an object of type Tensor."),
    "nothing": (lambda found: None, f"attribute() of 'Answers' must return {WANTED}, for N images; "
                "it returned nothing."),
    "a dict": (lambda found: {"map": found}, f"attribute() of 'Answers' must return {WANTED}, for "
               "N images; it returned an object of type dict."),
    "an empty answer": (lambda found: Attribution(), f"attribute() of 'Answers' must return "
                        f"{WANTED}; it returned neither a map nor a score."),
    "maps without a name": (Attribution, "maps of 'Answers' must be a mapping of names to tensors "
                            "(N, h, w), got an object of type Tensor."),
    "an array": (lambda found: Attribution(maps={"map": found.detach().numpy()}), "map 'map' of "
                 "'Answers' must be a torch tensor (N, h, w), got an object of type ndarray."),
    "a channel": (lambda found: Attribution(maps={"map": found[:, None]}), "map 'map' of 'Answers' "
                  "must be a tensor (N, h, w) for N = 1 image, got the shape (1, 1, 6, 10)."),
    "one image": (lambda found: Attribution(maps={"map": found[0]}), "map 'map' of 'Answers' must "
                  "be a tensor (N, h, w) for N = 1 image, got the shape (6, 10)."),
    "maps as scores": (lambda found: Attribution(scores={"s": found}), "score 's' of 'Answers' "
                       "must be a tensor (N,) for N = 1 image, got the shape (1, 6, 10)."),
    "complex": (lambda found: Attribution(maps={"map": found + 0j}), "map 'map' of 'Answers' must "
                "be real, got torch.complex64."),
    "not a number": (lambda found: Attribution(maps={"map": found / 0}), "map 'map' of 'Answers' "
                     "must be finite, but it is not."),
    "an error": (raises, "explainer 'Answers' of this process raised ValueError: no such thing"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), ONE_CAUSE.values(), ids=ONE_CAUSE)
def test_one_cause_is_told_once_with_what_is_wanted(monkeypatch, make, said) -> None:
    monkeypatch.setattr(Answers, "make", staticmethod(make))
    results = check_explainer(Answers, raise_on_failure=False)
    assert [(r.name, r.problem) for r in results if r.problem] == [("answer", said)]
    assert not any(result.passed for result in results)
    assert {result.cause for result in results[1:]} == {"answer"} and len(results) == 13
    with pytest.raises(PluginError) as caught:
        check_explainer(Answers)
    found, rest = str(caught.value).split(" Not judged for these reasons: ")
    assert found == f"'Answers' must pass check_explainer, but it fails answer: {said.rstrip('.')}."
    assert rest == ", ".join(result.name for result in results[1:]) + "."


def test_what_is_left_changed_is_told_once() -> None:
    found = check_explainer(GlobalSeed, raise_on_failure=False)
    told = [result for result in found if result.problem]
    assert [result.name for result in told] == ["untouched"]
    assert "torch's random state" in told[0].problem
    assert {result.cause for result in found if result not in told} == {"untouched"}


def test_checking_leaves_what_a_gpu_will_draw_that_nothing_has_used_yet(monkeypatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    check_explainer("gradcam")
    assert not seeded


def test_what_is_left_changed_for_some_images_alone_is_told_as_well() -> None:
    class LeavesASeedForBlue(Explainer):
        def attribute(self, images, target, *, options):
            if (target == 2).all():
                torch.manual_seed(0)
            return Attribution(maps={"map": grad_cam(self.model, images, target)})

    found = check_explainer(LeavesASeedForBlue, raise_on_failure=False)
    told = [result for result in found if result.problem]
    assert [result.name for result in told] == ["coordinates"]
    assert "torch's random state" in told[0].problem
    assert next(result.name for result in found if result.passed) == "answer"


def test_float64_is_taken(monkeypatch) -> None:
    monkeypatch.setattr(
        Answers, "make", staticmethod(lambda found: Attribution(maps={"map": found.double()}))
    )
    assert all(result.passed for result in check_explainer(Answers))


@pytest.mark.parametrize(
    "bad", [object(), grad_cam, int, Good(None)], ids=["object", "function", "int", "instance"]
)
def test_what_is_no_class_of_explainers_is_refused(bad) -> None:
    with pytest.raises(OptionError, match=r"a name, or a subclass of skinxai\.Explainer, got "):
        check_explainer(bad)
