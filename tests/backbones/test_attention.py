"""Attention methods against the equations, with matrices that hooks take out of the network."""

import numpy as np
import pytest
import torch

from skinxai import backbones, explainers
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExplainError
from skinxai.explainers.attention import AttentionRecorder
from skinxai.explaining.views import View, Watch

TARGET = torch.tensor([2, 5])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return backbones.build("timm/vit_tiny_patch16_224", 7)


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def matrices_and_gradients(model, images) -> tuple[list, list]:
    """Of the unfused attention, whose softmax passes through a dropout module."""
    kept, handles = [], []
    for block in model.network.blocks:
        block.attn.fused_attn = False

        def keep(module, inputs, output):
            output.retain_grad()
            kept.append(output)

        handles.append(block.attn.attn_drop.register_forward_hook(keep))
    try:
        logits = model.network(images)
        logits[torch.arange(2), TARGET].sum().backward()
    finally:
        for handle in handles:
            handle.remove()
        for block in model.network.blocks:
            block.attn.fused_attn = True
        model.zero_grad()
    matrices = [each.detach().double().numpy() for each in kept]
    return matrices, [each.grad.double().numpy() for each in kept]


def alike(ours: torch.Tensor, theirs: np.ndarray) -> bool:
    assert ours.shape == theirs.shape and np.ptp(theirs) > 0
    return bool(np.abs(ours.numpy() - theirs).max() < 1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("scale", [None, 0.5, 1.0])
@pytest.mark.parametrize("mask", ["none", "boolean", "float"])
def test_attention_is_torchs_own(mask: str, scale: float | None) -> None:
    draws = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=draws) for _ in range(3))
    masks = {
        "none": None,
        "boolean": torch.ones(5, 5, dtype=torch.bool).tril(),
        "float": torch.randn(5, 5, generator=draws),
    }
    given = {"attn_mask": masks[mask], "scale": scale}
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, **given)
    with AttentionRecorder() as recorder:
        ours = torch.nn.functional.scaled_dot_product_attention(query, key, value, **given)
    torch.testing.assert_close(ours, expected)
    (matrix,) = recorder.matrices
    torch.testing.assert_close(matrix @ value, expected)
    torch.testing.assert_close(matrix.sum(dim=-1), torch.ones(2, 3, 5))


def test_rollout(model, images) -> None:
    matrices, _ = matrices_and_gradients(model, images)
    rollout = np.eye(1 + 4 * 6)
    for matrix in matrices:
        rollout = (matrix.mean(axis=1) + np.eye(25)) / 2 @ rollout
    explainer = explainers.get("attention_rollout")(model)
    ours = explainer.attribute(images, TARGET, options=None).maps["attention_rollout"]
    assert alike(ours, rollout[:, 0, 1:].reshape(2, 4, 6))


def test_gradient_attention(model, images) -> None:
    matrices, gradients = matrices_and_gradients(model, images)
    relevance = np.eye(25)
    for matrix, gradient in zip(matrices, gradients, strict=True):
        relevance = relevance + np.maximum(matrix * gradient, 0).mean(axis=1) @ relevance
    explainer = explainers.get("gradient_attention")(model)
    ours = explainer.attribute(images, TARGET, options=None).maps["gradient_attention"]
    assert alike(ours, relevance[:, 0, 1:].reshape(2, 4, 6))


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention"])
def test_the_same_where_features_are_at_hand(method: str, model, images) -> None:
    """As in `Classifier.explain`: no layer before the split may be left out."""
    view = View(
        model, images, model.features(images).detach(), score="logit", against=None,
        image_size=(64, 96), watch=Watch(),
    )  # fmt: skip
    explainer = explainers.get(method)
    expected = explainer(model).attribute(images, TARGET, options=None).maps[method]
    found = explainer(view).attribute(images, TARGET, options=None).maps[method]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention"])
def test_unknown_tokens_before_the_patches_are_refused(method: str, model, images) -> None:
    silent = SkinClassifier(
        model.network, lambda n, x: model.features(x), lambda n, f: model.logits(f),
        grid=lambda n, f, size: f[:, 3:].transpose(1, 2).reshape(len(f), -1, 2, 11),
    )  # fmt: skip
    with pytest.raises(ExplainError, match="which of the 3 tokens before the patches"):
        explainers.get(method)(silent).attribute(images, TARGET, options=None)


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention"])
def test_a_network_without_attention_is_refused(method: str, images) -> None:
    explainer = explainers.get(method)(backbones.build("resnet18", 7))
    with pytest.raises(
        ExplainError,
        match=r"need a transformer .* found no attention by .* \(nn.MultiheadAttention",
    ):
        explainer.attribute(images, TARGET, options=None)
