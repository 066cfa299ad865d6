"""Uncertainty by dropout: against probabilities by hand, and the same alone and in a batch."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from skinxai import Classifier, PreprocessConfig
from skinxai.errors import ModelError, OptionError
from skinxai.predicting.dropout import Dropping

PREPROCESSING = PreprocessConfig((32, 32), mean=(0, 0, 0), std=(1, 1, 1))
WHITE = np.full((32, 32, 3), 255, np.uint8)
GREY = np.full((32, 32, 3), 100, np.uint8)


class Half(nn.Module):
    """A logit that is the mean of the red channel, dropped with a rate of one half, and zero."""

    early = False

    def features(self, images):
        return functional.dropout(images, 0.25, self.training) if self.early else images

    def head(self, features):
        dropped = functional.dropout(features[:, :1].mean(dim=(2, 3)), 0.5, self.training)
        return torch.cat([dropped, torch.zeros_like(dropped)], dim=1)


class Layer(Half):
    """The same by a layer."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def head(self, features):
        dropped = self.drop(features[:, :1].mean(dim=(2, 3)))
        return torch.cat([dropped, torch.zeros_like(dropped)], dim=1)


class Early(Half):
    early = True


class InPlace(Half):
    """A head that overwrites the features that all passes share."""

    def head(self, features):
        return super().head(features.mul_(0.5))


class Halved(Half):
    """The same without overwriting."""

    def head(self, features):
        return super().head(features * 0.5)


class Undefined(Half):
    """A head that divides by zero where its value is dropped."""

    def head(self, features):
        dropped = super().head(features)
        return dropped + 0 * dropped / dropped[:, :1]


def classifier(module: nn.Module) -> Classifier:
    return Classifier.from_module(
        module.eval(), ["a", "b"], PREPROCESSING, module.features, module.head
    )


def entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_a_head_that_works_in_place_changes_no_other_pass() -> None:
    own, right = (classifier(kind()) for kind in (InPlace, Halved))
    expected = right.predict(WHITE, dropout_passes=20).uncertainty
    assert own.predict(WHITE, dropout_passes=20).uncertainty == expected


def test_a_pass_that_is_not_finite_leaves_the_uncertainty_out() -> None:
    found = classifier(Undefined()).predict([WHITE, GREY], dropout_passes=20)
    assert [each.uncertainty for each in found] == [None, None]
    assert found[0].probability == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize("kind", [Half, Layer])
def test_the_numbers_are_those_of_the_draws(kind: type[nn.Module]) -> None:
    own = classifier(kind())
    found = own.predict(WHITE, dropout_passes=200)
    kept = np.mean([
        float(torch.empty(1, 1).bernoulli_(0.5, generator=torch.Generator().manual_seed(n)))
        for n in range(200)
    ])  # fmt: skip
    assert 0.4 < kept < 0.6
    sure = 1 / (1 + math.exp(-2))  # the mean is 1, and 2 where it is kept
    mean = kept * sure + (1 - kept) * 0.5
    doubt = found.uncertainty
    assert doubt.total == pytest.approx(entropy(mean), abs=1e-6)
    assert doubt.aleatoric == pytest.approx(
        kept * entropy(sure) + (1 - kept) * math.log(2), abs=1e-6
    )
    assert doubt.epistemic == pytest.approx(doubt.total - doubt.aleatoric, abs=1e-9)
    assert doubt.epistemic > 0.01
    assert (doubt.passes, doubt.by) == (200, "dropout (head: p = 0.5)")
    plain = own.predict(WHITE)
    assert plain.uncertainty is None and plain.probabilities == found.probabilities
    assert plain.probability == pytest.approx(1 / (1 + math.exp(-1)))


def test_features_with_dropout_are_thinned_too() -> None:
    found = classifier(Early()).predict([WHITE, GREY], dropout_passes=6)
    assert found[0].uncertainty.by == "dropout (features: p = 0.25, head: p = 0.5)"
    rows = []
    for number in range(6):
        draws = torch.Generator().manual_seed(number)
        mask = torch.empty(1, 3, 32, 32).bernoulli_(0.75, generator=draws) / 0.75
        keep = float(torch.empty(1, 1).bernoulli_(0.5, generator=draws)) / 0.5
        logit = float(mask[:, 0].mean()) * keep
        rows.append(1 / (1 + math.exp(-logit)))
    assert found[0].uncertainty.total == pytest.approx(entropy(np.mean(rows)), abs=1e-6)


@pytest.mark.parametrize("kind", [Half, Early])
def test_an_answer_is_the_same_alone_and_in_a_batch(kind: type[nn.Module]) -> None:
    own = classifier(kind())
    images = [WHITE, GREY] * 4  # more than the two a thread that the network takes at a time
    together = own.predict(images, dropout_passes=5)
    streamed = list(own.stream(images, dropout_passes=5, batch_size=3))
    for each, one, alone in zip(images, together, streamed, strict=True):
        right = own.predict(each, dropout_passes=5).uncertainty
        for doubt in (one.uncertainty, alone.uncertainty):
            assert doubt.total == pytest.approx(right.total, abs=1e-6)
            assert doubt.epistemic == pytest.approx(right.epistemic, abs=1e-6)


def test_the_caller_and_other_networks_notice_nothing() -> None:
    own = classifier(Layer())
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    own.predict(WHITE, dropout_passes=3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not own.network.training
    ones = torch.ones(4, 5)
    assert torch.equal(functional.dropout(ones, 0.5, training=False), ones)


@pytest.mark.parametrize(
    ("layer", "shape", "together"),
    [
        (nn.Dropout(0.5), (3, 40), ()),
        (nn.Dropout1d(0.5), (3, 40, 6), (2,)),
        (nn.Dropout2d(0.5), (3, 40, 4, 5), (2, 3)),
        (nn.Dropout3d(0.5), (3, 40, 2, 2, 2), (2, 3, 4)),
    ],
)
def test_what_is_dropped_together(layer: nn.Module, shape, together) -> None:
    with Dropping(1) as dropping:
        found = layer.eval()(torch.ones(shape))
    assert dropping.rates == {0.5: 1} and set(found.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(found[0], found[2])  # one thinned network for all images
    if together:
        assert torch.equal(found.amin(dim=together), found.amax(dim=together))


def test_a_rate_of_one_drops_all_and_a_rate_of_zero_is_none() -> None:
    with Dropping(0) as dropping:
        assert not nn.Dropout(1.0).eval()(torch.ones(2, 3)).any()
        assert nn.Dropout(0.0).eval()(torch.ones(2, 3)).all()
    assert dropping.rates == {1.0: 1}


def test_a_network_without_dropout_is_refused() -> None:
    module = Layer()
    module.drop.p = 0.0
    with pytest.raises(ModelError, match=r"needs a network with dropout, and .* has none"):
        classifier(module).predict(WHITE, dropout_passes=4)


@pytest.mark.parametrize("passes", [1, -1, 2.0, True, "20"])
def test_passes_that_cannot_disagree_are_refused(passes) -> None:
    with pytest.raises(OptionError, match="dropout_passes must be 0 or an integer >= 2"):
        classifier(Half()).predict(WHITE, dropout_passes=passes)


def test_not_beside_an_explanation() -> None:
    with pytest.raises(OptionError, match="dropout_passes must be left out with explain"):
        list(classifier(Half()).stream([WHITE], explain="gradcam", dropout_passes=4))


def test_the_bundled_model_says_where_it_drops() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    torch_doubt = Classifier.from_pretrained(backend="torch").predict(picture, dropout_passes=20)
    assert torch_doubt.uncertainty.by == "dropout (head: p = 0.2)"
    assert 0 < torch_doubt.uncertainty.epistemic < torch_doubt.uncertainty.aleatoric
    doubt = Classifier.from_pretrained(backend="onnx").predict(picture, dropout_passes=20)
    assert doubt.backend.startswith("onnx") and doubt.uncertainty == torch_doubt.uncertainty
