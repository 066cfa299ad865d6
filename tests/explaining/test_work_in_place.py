"""Networks whose parts work in place have the answers and maps of those that do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from skinxai import Classifier, explainers
from skinxai.backbones.network import SkinClassifier
from skinxai.testing.networks import ColourNetwork, of_network
from skinxai.testing.pictures import picture

PICTURES = [
    picture({"upper left": "red", "upper right": "green"}),
    picture({"lower middle": "blue", "upper left": "green"}),
]
FEW = {
    "rise": {"budget": 40}, "lime": {"budget": 40, "segments": 10}, "smoothgrad": {"budget": 3},
    "integrated_gradients": {"budget": 3},
}  # fmt: skip
METHODS = sorted(set(explainers.names()) - {"attention_rollout", "gradient_attention"})


class Signed(ColourNetwork):
    """The rectifier belongs to the head, as in DenseNet."""

    def features(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(self.colours(images * 0.8), 8)

    def head(self, features: Tensor) -> Tensor:
        return super().head(functional.relu(features))


class SignedInPlace(Signed):
    def features(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(self.colours(images.mul_(0.8)), 8)

    def head(self, features: Tensor) -> Tensor:
        return super().head(functional.relu_(features))


@pytest.mark.parametrize("tta", [False, True])
def test_predictions(tta: bool) -> None:
    plain, in_place = (of_network(kind().eval()) for kind in (Signed, SignedInPlace))
    found, expected = (each.predict(PICTURES, tta=tta) for each in (in_place, plain))
    assert [each.probabilities for each in found] == [each.probabilities for each in expected]
    np.testing.assert_array_equal(in_place.embed(PICTURES), plain.embed(PICTURES))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("asked", [{"tta": True}, {"all_classes": True}])
def test_maps(method: str, asked: dict[str, bool]) -> None:
    plain, in_place = (of_network(kind().eval()) for kind in (Signed, SignedInPlace))
    assert _maps(in_place, method, asked) == pytest.approx(_maps(plain, method, asked), abs=1e-6)


def _maps(classifier: Classifier, method: str, asked: dict[str, bool]) -> np.ndarray:
    found = classifier.explain(PICTURES, method, **asked, **FEW.get(method, {}))
    rows = [list(each.values()) if isinstance(each, dict) else [each] for each in found]
    return np.array([[each.heatmap for each in row] for row in rows])


def test_the_features_of_a_backbone_leave_the_images() -> None:
    """Of a plugin, too: other views, and maps, need the same images."""
    (loaded,) = of_network(Signed().eval())._loaded.members
    found = []
    for kind in (Signed, SignedInPlace):
        network = SkinClassifier(kind().eval(), kind.features, kind.head).eval()
        classifier = Classifier(replace(loaded, network=network), device="cpu")
        rows = [
            list(each.probabilities.values()) for each in classifier.predict(PICTURES, tta=True)
        ]
        maps = [_maps(classifier, method, {"tta": True}) for method in ("gradcam", "saliency")]
        found.append([np.array(rows), *maps])
    for plain, in_place in zip(*found, strict=True):
        np.testing.assert_allclose(in_place, plain, atol=1e-6)


@pytest.mark.parametrize("count", [1, 7])  # of seven, two a thread are computed at a time
def test_no_function_changes_what_it_is_given(count: int) -> None:
    model = SkinClassifier(
        SignedInPlace().eval(), SignedInPlace.features, SignedInPlace.head,
        pool=lambda network, features: functional.relu_(features).mean(dim=(2, 3)),
    ).eval()  # fmt: skip
    images = torch.rand(count, 3, 48, 80)
    before = images.clone()
    with torch.no_grad():
        features = model.features(images)
        own = features.clone()
        assert own.min() < 0
        for function in (model.logits, model.pool_and_classify, model.pool):
            function(features)
            torch.testing.assert_close(features, own, rtol=0, atol=0)
        model.with_embeddings(images)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
