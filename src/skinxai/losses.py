"""Losses: the registry, and the built-in functions ``(logits (N, K), target (N,)) -> scalar``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skinxai import plugins

if TYPE_CHECKING:
    from torch import Tensor

names = plugins.losses.names
get = plugins.losses.get
entries = plugins.losses.entries
register = plugins.losses.register

FOCAL_GAMMA = 2.0


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean negative log-likelihood of the target class.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.

    Returns:
        Scalar, nats.
    """
    from torch.nn import functional

    return functional.cross_entropy(logits, target)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss: ``-(1 - p)^gamma log p`` of the target class, gamma 2, averaged.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, in its softmax
    form for several classes; without the class weights alpha.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.

    Returns:
        Scalar, nats.
    """
    log_p = logits.log_softmax(dim=1).gather(1, target[:, None])[:, 0]  # (N,)
    return (-((1 - log_p.exp()) ** FOCAL_GAMMA) * log_p).mean()
