"""Entropies worked out by hand, and the manners that skinxai asks for."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from skinxai_mcdropout.explainer import switch_dropout_on, uncertainty
from torch import nn

from skinxai import Classifier, PreprocessConfig
from skinxai.errors import ExplainError, OptionError
from skinxai.testing import check_explainer, colour_classifier

IMAGE = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)


def test_conforms() -> None:
    check_explainer("mc_dropout", budget=20)


def test_entropies_by_hand() -> None:
    # two sure passes that disagree: H(mean) = ln 2, each entropy 0
    total, expected, mutual = uncertainty(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert total == pytest.approx(math.log(2)) and expected == 0
    assert mutual == pytest.approx(math.log(2))
    # two unsure passes that agree
    total, expected, mutual = uncertainty(torch.full((2, 4), 0.25))
    assert total == expected == pytest.approx(math.log(4)) and mutual == 0


class Half(nn.Module):
    """Functional dropout of one feature with rate ½: its logit is 0 or twice the mean."""

    def features(self, images):
        return images[:, :1]

    def head(self, features):
        mean = features.mean(dim=(2, 3))
        dropped = nn.functional.dropout(mean, 0.5, self.training)
        return torch.cat([dropped, torch.zeros_like(dropped)], dim=1)


def test_functional_dropout_by_hand() -> None:
    module = Half()
    preprocessing = PreprocessConfig((32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    classifier = Classifier.from_module(
        module, ["a", "b"], preprocessing, module.features, module.head
    )
    white = np.full((32, 32, 3), 255, np.uint8)
    found = classifier.explain(white, "mc_dropout", target="a", budget=400)
    # Grad-CAM of a pass: gradient 2 or 0 in the mean over 32², times a map of ones
    weight = 2 / 32**2
    shares = found.maps["mean"] / weight
    assert np.ptp(shares) < 1e-5 and 0.4 < shares.mean() < 0.6
    share = float(shares.mean())
    deviation = weight * math.sqrt(share * (1 - share) * 400 / 399)
    np.testing.assert_allclose(found.maps["deviation"], deviation, rtol=1e-4)
    sure, half = 1 / (1 + math.exp(-2.0)), 0.5

    def entropy(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    expected = share * entropy(sure) + (1 - share) * entropy(half)
    assert found.scores["expected_entropy"] == pytest.approx(expected, rel=1e-4)
    mean = share * sure + (1 - share) * half
    assert found.scores["predictive_entropy"] == pytest.approx(entropy(mean), rel=1e-4)


def test_batch_norm_stays_in_evaluation_mode() -> None:
    from timm.layers import DropPath

    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.1), DropPath(0.1)).eval()
    switch_dropout_on(network)
    assert [module.training for module in network] == [False, True, True] and network.training


def test_the_bundled_model_and_seven_threads_that_predict() -> None:
    classifier = Classifier.from_pretrained()
    before = classifier.predict(IMAGE).to_dict()
    with ThreadPoolExecutor(7) as pool:
        answers = pool.map(lambda _: classifier.predict(IMAGE).to_dict(), range(14))
        found = classifier.explain(IMAGE, "mc_dropout", budget=6)
        assert all(answer == before for answer in answers)
    assert found.versions["skinxai-mcdropout"] == "0.1.0"
    assert found.scores["mutual_information"] > 0
    assert not classifier.network.training


def test_nothing_stochastic_is_an_error() -> None:
    classifier = colour_classifier()
    classifier.network.network.dropout.p = 0.0
    with pytest.raises(ExplainError, match="needs a network with dropout"):
        classifier.explain(IMAGE, "mc_dropout", budget=4)


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="budget must be an integer >= 2, got 1"):
        colour_classifier().explain(IMAGE, "mc_dropout", budget=1)
