"""Answers where the default of torch is float64."""

import numpy as np
import pytest
import torch

from skinxai import Classifier, explainers
from skinxai.testing.networks import ColourTransformer, of_network
from skinxai.testing.pictures import picture

PHOTO = picture({"upper left": "red"})


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CHEAP = {"rise": {"budget": 20}, "lime": {"budget": 20, "segments": 5},
         "occlusion": {"window": 0.5}}  # fmt: skip


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", explainers.names())
def test_every_method_where_float64_is_the_default(
    float64_by_default, method: str, kind: torch.dtype
) -> None:
    network = ColourTransformer().to(kind)
    found = of_network(network).explain(PHOTO, method, target="red", **CHEAP.get(method, {}))
    torch.set_default_dtype(torch.float32)
    plain = of_network(ColourTransformer()).explain(
        PHOTO, method, target="red", **CHEAP.get(method, {})
    )
    assert found.heatmap.dtype == np.float32
    np.testing.assert_allclose(
        found.heatmap, plain.heatmap, atol=1e-4 * np.abs(plain.heatmap).max()
    )


def test_a_model_folder_where_float64_is_the_default(float64_by_default, photos) -> None:
    found = Classifier.from_pretrained()
    assert all(weight.dtype == torch.float32 for weight in found.network.parameters())
    assert sum(found.predict(photos[0]).probabilities.values()) == pytest.approx(1)
