"""The built-in losses: one label an image, each loss a plain mean over images.

All take unbounded logits ``(N, K)``, float32 or float64, and target classes as int64 ``(N,)``,
return a scalar in nats, and raise `OptionError` for an option outside its rule. They are finite,
and so are their gradients, for logits up to ±1e4 at least and where a class is absent in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skinxai.errors import OptionError
from skinxai.losses import check_counts
from skinxai.numeric import plain

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the target class.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.
        label_smoothing: ε, 0 ≤ ε < 1: the target is 1 − ε + ε/K for its class and ε/K for each
            other (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7).

    Returns:
        Scalar, nats.
    """
    from torch.nn import functional

    _check("label_smoothing", label_smoothing, 1, "in [0, 1)")
    return functional.cross_entropy(logits, target, label_smoothing=label_smoothing)


def focal(logits: Tensor, target: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal loss: ``-(1 - p)^gamma log p`` of the target class, averaged over images.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, in its softmax
    form for several classes; without the class weights alpha.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.
        gamma: ≥ 0; 0 is cross entropy.

    Returns:
        Scalar, nats.
    """
    import torch
    from torch.nn import functional

    _check("gamma", gamma, math.inf, ">= 0 and finite")
    log_p = -functional.cross_entropy(logits, target, reduction="none")  # (N,)
    tiny = torch.finfo(log_p.dtype).tiny
    rest = (1 - log_p.exp()).clamp_min(tiny)  # 0^gamma with gamma < 1 has the gradient NaN
    return (-(rest**gamma) * log_p).mean()


def class_balanced(
    logits: Tensor, target: Tensor, *, class_counts: Sequence[int], beta: float = 0.999
) -> Tensor:
    """Cross entropy, each image weighted by the inverse effective number of its class's images.

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, the
    class-balanced softmax cross entropy: weight ``(1 - beta) / (1 - beta^n)`` for a class of n
    images, scaled so that the K weights sum to K. The loss is the mean over images of weight times
    cross entropy. It is not divided by the weights of the images at hand, as PyTorch's weighted
    mean is: that would change the loss with the way a batch is cut into micro-batches, and cancel
    the weight of an image that comes alone.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.
        class_counts: images of each class in the training part, K numbers ≥ 1.
        beta: 0 ≤ beta < 1; 0 weights all classes alike, near 1 by inverse frequency.

    Returns:
        Scalar, nats.
    """
    from torch.nn import functional

    _check("beta", beta, 1, "in [0, 1)")
    counts = _counts("class_balanced", class_counts, logits)
    weights = [1.0 if beta == 0 else -1 / math.expm1(n * math.log(beta)) for n in counts]
    scaled = _beside(logits, [w * len(weights) / math.fsum(weights) for w in weights])  # (K,)
    return functional.cross_entropy(logits, target, weight=scaled, reduction="none").mean()


def logit_adjusted(
    logits: Tensor, target: Tensor, *, class_counts: Sequence[int], tau: float = 1.0
) -> Tensor:
    """Cross entropy of logits to which tau times the log prior of each class was added.

    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 10. The prior is
    added in the loss alone: the network's own logits, softmaxed plainly, are with tau 1 for a
    uniform prior. They aim at balanced accuracy, not at accuracy, and their probabilities are not
    those of a population in which the classes are as frequent as in training.

    Args:
        logits: ``(N, K)``, unbounded.
        target: int64 ``(N,)``, class positions.
        class_counts: images of each class in the training part, K numbers ≥ 1.
        tau: ≥ 0; 0 is cross entropy.

    Returns:
        Scalar, nats.
    """
    from torch.nn import functional

    _check("tau", tau, math.inf, ">= 0 and finite")
    counts = _counts("logit_adjusted", class_counts, logits)
    total = sum(counts)
    shift = _beside(logits, [tau * math.log(n / total) for n in counts])  # (K,)
    return functional.cross_entropy(logits + shift, target)


def _beside(logits: Tensor, values: Sequence[float]) -> Tensor:
    """The values on the device of the logits; no step waits for this copy."""
    import torch

    row = torch.tensor(values, dtype=logits.dtype, pin_memory=logits.is_cuda)
    return row.to(logits.device, non_blocking=True)


def _check(name: str, value: float, below: float, rule: str) -> None:
    value = plain(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < below:
        raise OptionError(f"{name} must be a number {rule}, got {value!r}.")


def _counts(loss: str, class_counts: Sequence[int], logits: Tensor) -> tuple[int, ...]:
    counts = check_counts(loss, class_counts)
    if len(counts) != logits.shape[1]:
        raise OptionError(
            f"class_counts must have one number for each of the {logits.shape[1]} logits for the "
            f"loss {loss!r}, got {len(counts)}."
        )
    return counts
