"""Maps of an ensemble are the weighted mean of its members' maps, of the ensemble's own score."""

import json

import numpy as np
import pytest
import torch
from test_ensembles import (
    WEIGHTS,
    ensemble,
    expected_rows,
    folders,
    hand_made,
    members,
    rows_of,
    tiny,
    written,
)

from skinxai import (
    Attribution,
    Classifier,
    Explainer,
    ItemError,
    explainers,
    plugins,
    read_image,
)
from skinxai.checkpoints import LoadedEnsemble
from skinxai.errors import ExplainError
from skinxai.labels import HAM10000_LABELS

__all__ = ["ensemble", "folders", "members", "tiny", "written"]  # fixtures


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_maps_are_the_weighted_mean(ensemble, members, photos, score) -> None:
    found = ensemble.explain(photos, score=score, batch_size=5)
    predicted = ensemble.predict(photos, batch_size=5)
    targets = [p.label for p in predicted]
    assert [e.target for e in found] == targets
    for member in members:  # the ensemble's class is not each member's own
        assert [p.label for p in member.predict(photos)] != targets
    each = [m.explain(photos, target=targets, score=score, batch_size=5) for m in members]
    for place, explanation in enumerate(found):
        maps = [weight * own[place].heatmap.astype(np.float64)
                for weight, own in zip(WEIGHTS, each, strict=True)]  # fmt: skip
        assert explanation.heatmap.dtype == np.float32
        assert explanation.heatmap.shape == read_image(photos[place]).pixels.shape[:2]
        np.testing.assert_allclose(explanation.heatmap, sum(maps), rtol=1e-6, atol=1e-12)
    assert max(e.heatmap.max() for e in found) > 0
    options = found[0].options["ensemble"]
    word = {"logit": "logits", "probability": "probabilities"}[score]
    assert options["score"] == f"weighted mean of the members' {word}"
    assert options["members"] == [
        {"model": member.model, "weight": weight}
        for member, weight in zip(members, WEIGHTS, strict=True)
    ]
    assert found[0].model == ensemble.model
    json.dumps(found[0].to_dict())


def test_pairs_and_all_classes(ensemble, members, photos) -> None:
    pairs = list(ensemble.stream([*photos[:2], b""], explain="gradcam", on_error="return"))
    assert [p.label for p, _ in pairs[:2]] == [e.target for _, e in pairs[:2]]
    assert np.abs(rows_of([p for p, _ in pairs[:2]]) - expected_rows(members, photos[:2])).max() < (
        1e-6
    )
    assert isinstance(pairs[2], ItemError)
    every = ensemble.explain(photos[0], all_classes=True)
    each = [member.explain(photos[0], all_classes=True) for member in members]
    assert list(every) == list(HAM10000_LABELS)
    for code in every:
        expected = sum(w * own[code].heatmap for w, own in zip(WEIGHTS, each, strict=True))
        np.testing.assert_allclose(every[code].heatmap, expected, rtol=1e-5, atol=1e-9)


class InputGradient(Explainer):
    """The sum over the channels of the score's gradient: linear in the score."""

    def attribute(self, images, target, *, options):
        leaf = images.clone().requires_grad_()
        with torch.enable_grad():
            scores = self.model(leaf).gather(1, target[:, None])
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        return Attribution(maps={"gradient": gradient.sum(1)}, scores={"score": scores[:, 0]})


@pytest.fixture
def input_gradient():
    explainers.register("input-gradient")(InputGradient)
    yield
    plugins.explainers.remove(["input-gradient"])


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_a_linear_method_explains_the_ensembles_own_score(input_gradient, score) -> None:
    # Built at one size with one normalisation, so that the ensemble is one function of the input.
    parts, config = hand_made([(32, 32), (32, 32)], (0.25, 0.75))
    ensemble = Classifier(LoadedEnsemble(parts, config, "", "unsaved"), device="cpu")
    image = np.random.default_rng(0).integers(40, 200, (32, 32, 3), dtype=np.uint8)
    leaf = torch.from_numpy(image / 255).permute(2, 0, 1)[None].float().requires_grad_()
    logits = [part.network(leaf) for part in parts]
    if score == "probability":
        logits = [each.softmax(dim=1) for each in logits]
    value = 0.25 * logits[0][0, 1] + 0.75 * logits[1][0, 1]
    (gradient,) = torch.autograd.grad(value, leaf)
    found = ensemble.explain(image, "input-gradient", target="b", score=score)
    np.testing.assert_allclose(found.heatmap, gradient[0].sum(0), rtol=1e-4, atol=1e-9)
    assert found.scores["score"] == pytest.approx(value.item(), rel=1e-5)
    if score == "probability":
        probability = ensemble.predict(image).probabilities["b"]
        assert found.scores["score"] == pytest.approx(probability, abs=1e-6)


def test_members_whose_maps_have_other_names(ensemble, photos) -> None:
    class Odd(Explainer):
        def attribute(self, images, target, *, options):
            grid = self.model.features(images)
            return Attribution(maps={f"map{grid.shape[1]}": grid.detach()[:, 0]})

    explainers.register("odd")(Odd)
    try:
        with pytest.raises(ExplainError, match="same maps and scores for every member"):
            ensemble.explain(photos[0], "odd")
    finally:
        plugins.explainers.remove(["odd"])
