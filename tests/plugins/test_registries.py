"""Everything in a registry, whoever added it, keeps its registry's promise."""

import pytest
import torch
from places import ROOT

from skinxai import Classifier, Explainer, backbones, data, explainers, losses, plugins
from skinxai.errors import PluginError, UnknownNameError
from skinxai.plugins.registry import Entry, Registry


@pytest.mark.parametrize("name", backbones.names())
def test_backbones(name: str) -> None:
    model = backbones.build(name, 7, 0.25)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        features = model.features(images)
        logits = model.pool_and_classify(features)
        assert logits.shape == (2, 7)
        torch.testing.assert_close(model.network(images), logits)
        assert model.grid(features).shape[:2] == (2, features.shape[1])
        pooled = model.pool(features)
        assert pooled.shape == (2, model.network.num_features)
    assert not model.training
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert 0.25 in rates or model.network.drop_rate == 0.25


@pytest.mark.parametrize("registry", [backbones, losses, explainers, data])
def test_listings(registry) -> None:
    assert registry.names() == tuple(sorted(registry.names()))
    for entry in registry.entries():
        assert entry.help and entry.source == "skinxai" and callable(entry.load())


def test_every_built_in_name_is_in_the_reference() -> None:
    pages = {
        name: (ROOT / f"docs/reference/{name}.md").read_text() for name in ("training", "plugins")
    }
    for entry in backbones.entries():
        assert f"| `{entry.name}` | {entry.help} |" in pages["training"]
    for entry in losses.entries():
        options = ", ".join(f"`{name}=" for name in losses.options_of(entry.name))
        assert f"| `{entry.name}` | {options}" in pages["training"]
    for name in data.names():
        assert f"`{name}`" in pages["plugins"] and f"`load_{name}`" in pages["plugins"]


def test_the_backbone_of_the_bundled_model_is_named_so() -> None:
    """Whoever starts from its weights has to choose it."""
    named = [entry.name for entry in backbones.entries() if "bundled" in entry.help]
    assert named == [Classifier.from_pretrained().config.backbone]


def test_built_in_explainers_have_a_title_and_say_what_they_show() -> None:
    entries = [entry for entry in explainers.entries() if entry.source == "skinxai"]
    assert len({entry.title for entry in entries}) == len(entries) == 16
    for entry in entries:
        assert entry.help.startswith(f"{entry.title} (")
        assert entry.shows.endswith(".") and entry.shows != entry.help
    titles = {entry.name: entry.title for entry in entries}
    assert titles["gradcam"] == "Grad-CAM"
    assert titles["guided_backprop"] == "Guided backpropagation"


def test_a_name_for_one_process() -> None:
    registry = Registry("loss")

    @registry.register("mine")
    def loss() -> None:
        """My own loss."""

    assert registry.get("mine") is loss
    assert registry.entry("mine").help == "My own loss."
    assert registry.entry("mine").source == "this process"
    with pytest.raises(PluginError, match="'mine' of this process must have a new name"):
        registry.register("mine")(loss)
    with pytest.raises(UnknownNameError, match=r"Unknown loss 'mime'\. Did you mean 'mine'"):
        registry.get("mime")
    for several in (["mine"], 3, None):
        with pytest.raises(UnknownNameError, match="The loss must be given by one name, got "):
            registry.get(several)


@pytest.mark.parametrize("target", ["no colon", "a:b:c", "a.b:", ":b", "a b:c"])
def test_targets_must_name_an_attribute(target: str) -> None:
    with pytest.raises(PluginError, match="target must look like 'module:attribute'"):
        Entry("name", target)


class OptionsOfNoKind(Explainer):
    options_type = dict


@pytest.mark.parametrize(
    ("registered", "words"),
    [
        (int, "explainer 'mine' must be a subclass of skinxai.Explainer"),
        (object(), "explainer 'mine' must be a subclass of skinxai.Explainer"),
        (lambda images: images, "explainer 'mine' must be a subclass of skinxai.Explainer"),
        (OptionsOfNoKind, "options_type of explainer 'mine' must be a frozen dataclass"),
    ],
)
def test_what_is_no_explainer(registered, words: str, classifier, photos) -> None:
    explainers.register("mine", help="no explainer")(registered)
    try:
        for ask in (
            lambda: explainers.get("mine"),
            lambda: classifier.explain(photos[0], "mine"),
            lambda: classifier.compare(photos[0], ["gradcam", "mine"]),
            lambda: classifier.report(photos[0], methods=["mine"]),
        ):
            with pytest.raises(PluginError, match=words):
                ask()
    finally:
        plugins.explainers.remove(["mine"])
