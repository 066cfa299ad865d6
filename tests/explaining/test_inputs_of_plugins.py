"""What a plugin writes into its images, and into features of several tensors, stays there."""

from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import NamedTuple

import pytest
import torch
from test_explaining import THREE

from skinxai import Attribution, Explainer
from skinxai.images.transforms import evaluation_transform
from skinxai.testing import colour_classifier
from skinxai.testing.networks import ColourNetwork, of_network


def by_torch(images: torch.Tensor) -> None:
    images.zero_()


def by_numpy(images: torch.Tensor) -> None:
    images.numpy()[:] = 0


def by_data(images: torch.Tensor) -> None:
    images.data.zero_()


@pytest.mark.parametrize("cover", [by_torch, by_numpy, by_data])
def test_an_image_that_was_covered_in_place_has_its_own_score(registered, cover) -> None:
    class Covers(Explainer):
        @torch.no_grad()
        def attribute(self, images, target, *, options):
            expected = self.model(torch.zeros_like(images))
            cover(images)
            scores = {"found": self.model(images)[:, 0], "expected": expected[:, 0]}
            return Attribution(scores=scores)

    registered("covers", Covers)
    classifier = colour_classifier()
    for found in classifier.explain(THREE, "covers", all_classes=True).values():
        assert found.scores["found"] == pytest.approx(found.scores["expected"], abs=1e-6)


class Pair(NamedTuple):
    """Features that are more than one tensor."""

    channels: torch.Tensor
    number: int


@pytest.mark.parametrize(
    ("made", "channels_of"),
    [
        (lambda channels: Pair(channels, 1), attrgetter("channels")),
        (lambda channels: [channels, 1], itemgetter(0)),
        (lambda channels: {"all": OrderedDict(own=channels)}, lambda found: found["all"]["own"]),
    ],
    ids=["tuple", "list", "dictionary"],
)
def test_features_of_several_tensors_are_as_they_were(
    registered, made: Callable, channels_of: Callable
) -> None:
    """Both where the head works in place and where the plugin does."""

    class Several(ColourNetwork):
        def features(self, images):
            return made(super().features(images))

        def head(self, features):
            return super().head(channels_of(features).mul_(0.5))

    class Empties(Explainer):
        def attribute(self, images, target, *, options):
            features = self.model.features(images)
            first = self.model.pool_and_classify(features)
            channels_of(features).zero_()
            second = self.model.pool_and_classify(self.model.features(images))
            return Attribution(scores={"first": first[:, 0], "second": second[:, 0]})

    registered("empties", Empties)
    network = Several().eval()
    classifier = of_network(network)
    images = torch.from_numpy(evaluation_transform(THREE, classifier.config.preprocessing))[None]
    expected = network.head(network.features(images))[0, 0].item()
    for found in classifier.explain(THREE, "empties", all_classes=True).values():
        assert found.scores == pytest.approx({"first": expected, "second": expected})
