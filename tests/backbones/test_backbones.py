"""What backbones say about their layers, and stochastic depth."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from skinxai import backbones, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import OptionError, PluginError

WITHOUT_DROP_PATH = ("densenet121",)
WITH_DROP_PATH = [name for name in backbones.names() if name not in WITHOUT_DROP_PATH]


def flat(groups: list[list[str]]) -> list[str]:
    return [name for group in groups for name in group]


@pytest.mark.parametrize("name", backbones.names())
def test_layer_groups(name: str) -> None:
    model = backbones.build(name, 7)
    parameters = dict(model.network.named_parameters())
    groups = backbones.layer_groups(model)
    # timm's networks are defined from the input to the classifier, so the order is known
    assert flat(groups) == list(parameters)
    assert len(groups) >= 3 and all(groups)
    assert parameters[groups[0][0]].shape[1] == 3  # the convolution that takes RGB
    assert sum(parameters[p].ndim == 4 for p in groups[0]) == 1
    assert [p for p, value in parameters.items() if value.shape[0] == 7] == groups[-1]
    assert {p.rpartition(".")[2] for p in groups[-1]} == {"weight", "bias"}


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "densenet121"])
def test_early_groups_feed_later_ones(name: str) -> None:
    """Noise in the weights of a stage changes what later stages put out, not earlier ones."""
    model = backbones.build(name, 7)
    groups = backbones.layer_groups(model)
    seen: dict[str, Tensor] = {}
    for path, module in model.network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda m, i, out, path=path: seen.update({path: out}))
    images = torch.randn(1, 3, 64, 64)

    def outputs() -> list[dict[str, Tensor]]:
        with torch.no_grad():
            model(images)
        layers = [{p.rpartition(".")[0] for p in group} for group in groups]
        return [{path: seen[path].clone() for path in paths & set(seen)} for paths in layers]

    before, changed = outputs(), len(groups) // 2
    with torch.no_grad():
        for parameter in groups[changed]:
            model.network.get_parameter(parameter).add_(torch.rand(()) + 0.1)
    after = outputs()
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        same = [torch.equal(old[path], new[path]) for path in old]
        assert all(same) if number < changed else not any(same[1:] or same), number


def test_the_normalisation_before_the_classifier_goes_with_the_last_stage() -> None:
    for name, norm in (("densenet121", "features.norm5"), ("convnext_atto", "head.norm")):
        *_, last, classifier = backbones.layer_groups(backbones.build(name, 7))
        assert last[-2:] == [f"{norm}.weight", f"{norm}.bias"]
        assert len(classifier) == 2 and len(last) > 2


class Plain(nn.Module):
    """A network that says nothing about its stages."""

    def __init__(self, *classifiers: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        for name in classifiers:
            setattr(self, name, nn.Linear(4, 2))


def wrapped(network: nn.Module) -> SkinClassifier:
    return SkinClassifier(network, lambda n, x: n.body(x), lambda n, x: n.fc(x.mean((2, 3))))


@pytest.mark.parametrize("classifier", ["classifier", "fc", "head"])
def test_another_network_is_body_and_classifier(classifier: str) -> None:
    assert backbones.layer_groups(wrapped(Plain(classifier))) == [
        ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"],
        [f"{classifier}.weight", f"{classifier}.bias"],
    ]


def test_a_network_may_name_its_classifier() -> None:
    class Named(Plain):
        def get_classifier(self) -> tuple[nn.Module, ...]:
            return self.one, self.two

    groups = backbones.layer_groups(wrapped(Named("one", "two", "fc")))
    assert groups[-1] == ["one.weight", "one.bias", "two.weight", "two.bias"]
    assert groups[0][-1] == "fc.bias" and len(groups) == 2


def test_a_classifier_without_parameters_is_none() -> None:
    network = Plain("fc")
    network.head = nn.Identity()
    assert backbones.layer_groups(wrapped(network))[-1] == ["fc.weight", "fc.bias"]
    network.fc = nn.Identity()
    with pytest.raises(OptionError, match="must name its classifier"):
        backbones.layer_groups(wrapped(network))


@pytest.mark.parametrize("classifiers", [(), ("last",), ("fc", "head")])
def test_a_classifier_that_cannot_be_told(classifiers: tuple[str, ...]) -> None:
    with pytest.raises(OptionError, match=r"get_classifier\(\) or by exactly one .* got Plain;"):
        backbones.layer_groups(wrapped(Plain(*classifiers)))


def test_a_network_may_name_its_stages() -> None:
    class Staged(Plain):
        def group_matcher(self, coarse: bool) -> dict[str, str]:
            assert coarse
            return {"second": r"^body\.1", "first": r"^body\.0"}

    assert backbones.layer_groups(wrapped(Staged("fc"))) == [
        ["body.1.weight", "body.1.bias"],
        ["body.0.weight", "body.0.bias"],
        ["fc.weight", "fc.bias"],
    ]


def test_what_the_matcher_names_nowhere_goes_with_the_last_stage() -> None:
    class Staged(Plain):
        def group_matcher(self, coarse: bool) -> dict[str, str]:
            return {"stem": r"^body\.0"}

    groups = backbones.layer_groups(wrapped(Staged("fc")))
    assert [len(group) for group in groups] == [4, 2] and groups[0][-1] == "body.1.bias"


def randomise(model: SkinClassifier) -> dict[str, Tensor]:
    """Scales that start at (nearly) 0 would hide what residual branches do."""
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return model.network.state_dict()


@pytest.mark.parametrize("name", WITH_DROP_PATH)
def test_stochastic_depth_is_for_training_alone(name: str) -> None:
    without, with_it = backbones.build(name, 7), backbones.build(name, 7, drop_path_rate=0.5)
    weights = randomise(without)
    assert list(weights) == list(with_it.network.state_dict())
    with_it.network.load_state_dict(weights, strict=True)
    images = torch.randn(4, 3, 64, 64)

    def twice(model: SkinClassifier) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return model(images), model(images)

    assert not with_it.training
    torch.testing.assert_close(twice(without)[0], twice(with_it)[0], rtol=0, atol=0)
    without.train(), with_it.train()
    first, second = twice(without)
    assert torch.equal(first, second)
    first, second = twice(with_it)
    assert (first - second).abs().max() > 1e-2 * first.abs().max()


@pytest.mark.parametrize("name", WITHOUT_DROP_PATH)
def test_backbones_without_stochastic_depth_say_so(name: str) -> None:
    with pytest.raises(OptionError, match=f"drop_path_rate must be 0 for the backbone '{name}'"):
        backbones.build(name, 7, drop_path_rate=0.1)
    backbones.build(name, 7, drop_path_rate=0.0)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_the_rate_of_stochastic_depth(rate: float) -> None:
    with pytest.raises(OptionError, match=r"drop_path_rate must be in \[0, 1\), got"):
        backbones.build("resnet18", 7, drop_path_rate=rate)


@pytest.fixture
def mine() -> Iterator[None]:
    yield
    plugins.backbones.remove(["mine"])


@pytest.mark.usefixtures("mine")
def test_builders_of_plugins_may_take_the_rate_or_not() -> None:
    given = []

    def old(name: str, num_classes: int, drop_rate: float) -> SkinClassifier:
        return wrapped(Plain("fc"))

    def new(name: str, num_classes: int, drop_rate: float, **more: float) -> SkinClassifier:
        given.append(more)
        return wrapped(Plain("fc"))

    backbones.register("mine")(old)
    assert not backbones.build("mine", 2, 0.1).training
    with pytest.raises(OptionError, match="drop_path_rate must be 0 for the backbone 'mine'"):
        backbones.build("mine", 2, drop_path_rate=0.1)
    plugins.backbones.remove(["mine"])
    backbones.register("mine")(new)
    backbones.build("mine", 2)
    backbones.build("mine", 2, drop_path_rate=0.1)
    assert given == [{}, {"drop_path_rate": 0.1}]


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (lambda name, num_classes, drop_rate: Plain("fc"), "must return a SkinClassifier, got Pl"),
        (lambda name, num_classes, drop_rate: None, "must return a SkinClassifier, got NoneType"),
        (lambda num_classes: wrapped(Plain("fc")), r"must take \(name, num_classes, drop_rate\): "),
    ],
)
def test_what_is_no_builder(builder, words: str) -> None:
    backbones.register("mine", help="no builder")(builder)
    with pytest.raises(PluginError, match=f"the builder of backbone 'mine' {words}"):
        backbones.build("mine", 2)


def test_other_faults_of_a_builder_stay_what_they_are() -> None:
    with pytest.raises(TypeError, match="between instances of 'str' and 'int'"):
        backbones.build_timm("resnet18", "seven", drop_path_rate=0.1)
