"""The gradient of a score, or a sentence about why there is none."""

import torch
from torch import Tensor

from skinxai.errors import ExplainError


def score_gradient(scores: Tensor, target: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of each image's target score with respect to ``leaf``; images must not mix.

    Args:
        scores: ``(N, K)``, computed from ``leaf``.
        target: ``(N,)`` int64, class positions, or ``(1,)`` where all images have the same.
        leaf: ``(N, …)``.

    Raises:
        ExplainError: automatic differentiation cannot follow from the one to the other.
    """
    gradient = None
    if scores.requires_grad:
        rows = torch.arange(len(scores), device=scores.device)  # gather() would take too few
        (gradient,) = torch.autograd.grad(scores[rows, target].sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ExplainError(
            "methods with gradients need a network that automatic differentiation can follow, "
            "which excludes quantised and detached ones; use occlusion, rise, lime, scorecam or "
            "ablationcam."
        )
    return gradient
