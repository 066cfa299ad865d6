"""The gradient of a score, or a sentence about why there is none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from skinxai.errors import ExplainError
from skinxai.memory import is_out_of_memory


def score_gradient(scores: Tensor, target: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of each image's target score with respect to ``leaf``; see `score_gradients`."""
    return score_gradients(scores, target, [leaf])[0]


def score_gradients(scores: Tensor, target: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of each image's target score with respect to each leaf; images must not mix.

    Args:
        scores: ``(N, K)``, computed from the leaves.
        target: ``(N,)`` int64, class positions, or ``(1,)`` where all images have the same.
        leaves: each ``(N, …)``.

    Raises:
        ExplainError: automatic differentiation cannot follow from the one to the other.
    """
    found: Sequence[Tensor | None] = [None]
    why = "which excludes quantised and detached ones"
    if scores.requires_grad and all(leaf.requires_grad for leaf in leaves):
        rows = torch.arange(len(scores), device=scores.device)  # gather() would take too few
        try:
            found = torch.autograd.grad(scores[rows, target].sum(), leaves, allow_unused=True)
        except RuntimeError as error:  # checkpoints, values that were written over
            if is_out_of_memory(error):
                raise
            line = str(error).strip().partition("\n")[0]
            why = f"but it raised {type(error).__name__}: {line}"
    gradients = [gradient for gradient in found if gradient is not None]
    if len(gradients) < len(leaves):
        raise ExplainError(
            f"methods with gradients need a network that automatic differentiation can follow, "
            f"{why}; use occlusion, rise, lime, scorecam or ablationcam."
        )
    return gradients
