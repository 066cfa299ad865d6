"""Attributions of transformers, from their attention matrices; the network is not touched."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.backbones.network import SkinClassifier
from skinxai.backbones.torch_calls import TorchCalls
from skinxai.errors import ExplainError
from skinxai.explainers.base import Attribution, Explainer
from skinxai.explainers.differentiating import score_gradients


class AttentionRecorder(TorchCalls):
    """Within it, attention is computed openly and its matrices are kept; for one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """Replace scaled dot-product attention by its definition."""
        if function is not functional.scaled_dot_product_attention:
            return function(*args, **named)
        return self._attend(*args, **named)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if is_causal or enable_gqa or dropout_p:
            raise ExplainError(
                "attention methods need plain attention in evaluation mode: no causal mask, no "
                "grouped queries, no dropout."
            )
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        logits = query @ key.transpose(-2, -1) * scale
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                attn_mask = torch.zeros_like(logits).masked_fill(~attn_mask, -math.inf)
            logits = logits + attn_mask
        matrix = logits.softmax(dim=-1)  # (N, heads, T, T)
        self.matrices.append(matrix)
        return matrix @ value


@final
class AttentionRollout(Explainer):
    """Attention rollout (Abnar & Zuidema, ACL 2020, section 3.1): where a token's content is from.

    Each layer's matrix is the mean over its heads, half identity for the residual connection; the
    product over layers says how much of each patch is in the class token or, where there is none,
    in the mean of the patches. No score takes part.
    """

    uses_target: ClassVar[bool] = False

    @torch.no_grad()
    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)``, one value a patch, >= 0; see `Explainer`."""
        with AttentionRecorder() as recorder:
            features = self.model.features(images.clone())  # anew: those at hand skip layers
            self.model.pool_and_classify(features)
        matrices, prefix, grid = _checked(self.model, recorder.matrices, features, images)
        rollout = torch.eye(matrices[0].shape[-1], dtype=matrices[0].dtype, device=images.device)
        for matrix in matrices:
            own = matrix.mean(dim=1)  # (N, T, T)
            rollout = (
                (own + torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)) / 2 @ rollout
            )
        maps = _of_patches(self.model, rollout, prefix, grid)
        return Attribution(maps={"attention_rollout": maps})


@final
class GradientAttention(Explainer):
    """Gradient-weighted attention (Chefer et al., ICCV 2021, equations 5 and 6).

    Each layer's matrix is multiplied with the score's gradient there, rectified and averaged over
    heads; relevance starts as the identity and gains that matrix times itself, layer by layer.
    """

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)``, one value a patch, >= 0; see `Explainer`."""
        with torch.enable_grad(), AttentionRecorder() as recorder:
            leaf = images.detach().clone().requires_grad_()  # so that there is a graph
            features = self.model.features(leaf)
            scores = self.model.pool_and_classify(features)
            matrices, prefix, grid = _checked(self.model, recorder.matrices, features, images)
            gradients = score_gradients(scores, target, matrices)
        relevance = torch.eye(matrices[0].shape[-1], dtype=matrices[0].dtype, device=images.device)
        relevance = relevance.expand(len(images), -1, -1)
        for matrix, gradient in zip(matrices, gradients, strict=True):
            own = (gradient * matrix.detach()).relu().mean(dim=1)  # (N, T, T)
            relevance = relevance + own @ relevance
        maps = _of_patches(self.model, relevance, prefix, grid)
        return Attribution(maps={"gradient_attention": maps})


def _checked(
    model: SkinClassifier, matrices: list[Tensor], features: Tensor, images: Tensor
) -> tuple[list[Tensor], int, tuple[int, int]]:
    """Matrices, tokens before the patches, and the patches' grid.

    Raises:
        ExplainError: no attention that is seen, or attention within windows or between other
            tokens.
    """
    size = (images.shape[2], images.shape[3])
    grid = model.grid(features, size).shape[2:]
    patches = grid[0] * grid[1]
    shapes = sorted({tuple(matrix.shape[1:]) for matrix in matrices})
    tokens = features.shape[1] if features.ndim == 3 else patches
    layers = len(getattr(model.network, "blocks", matrices))
    odd = any(shape[1:] != (tokens, tokens) for shape in shapes)
    odd = odd or any(len(matrix) != len(images) for matrix in matrices)  # one for each window
    if not matrices or odd or len(matrices) != layers:
        found = (
            f"{len(matrices)} matrices {shapes}"
            if matrices
            else "no attention by torch's scaled_dot_product_attention (nn.MultiheadAttention "
            "cannot be followed)"
        )
        raise ExplainError(
            f"attention methods need a transformer in which each layer attends once, from each of "
            f"its {tokens} tokens to each, found {found}; use gradcam or a perturbation method."
        )
    return matrices, tokens - patches, (grid[0], grid[1])


def _of_patches(
    model: SkinClassifier, relation: Tensor, prefix: int, grid: tuple[int, int]
) -> Tensor:
    """``(N, h, w)`` of relations ``(N, T, T)``: the mean row of the tokens that the head reads.

    Raises:
        ExplainError: nobody says which tokens that are.
    """
    reads = model.reads
    if reads is None and prefix > 1:
        raise ExplainError(
            f"attention methods must know which of the {prefix} tokens before the patches the "
            f"head reads, but the network does not say so; use gradcam or a perturbation method."
        )
    if reads is None:
        reads = range(prefix)  # the class token, or without one the patches
    rows = relation[:, list(reads)] if len(reads) else relation[:, prefix:]
    return rows.mean(dim=1)[:, prefix:].reshape(-1, *grid)
