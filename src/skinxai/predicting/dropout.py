"""Uncertainty by Monte Carlo dropout: one pass through the features, many through the head."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from skinxai.backbones.network import SkinClassifier
from skinxai.backbones.torch_calls import TorchCalls
from skinxai.errors import ModelError, OptionError
from skinxai.numeric import plain
from skinxai.predicting.inputs import Prepared
from skinxai.predicting.torch_predictor import TorchPredictor, to_batch
from skinxai.results import Uncertainty
from skinxai.trust.uncertainty import of_passes

SHARED: dict[Any, int] = {
    functional.dropout: 0, functional.dropout1d: 1, functional.dropout2d: 2, functional.dropout3d: 3
}  # fmt: skip
"""Functions that drop → how many of the last dimensions are dropped together."""


class Dropping(TorchCalls):
    """Within it dropout drops, also in a network in evaluation mode; nothing else changes.

    All images of a batch are given the same draw, so that an image's answer depends neither on the
    others nor on the number of threads: a pass is one thinned network.

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._draws = torch.Generator().manual_seed(seed)
        self.rates: Counter[float] = Counter()
        """Rate → how many times it was applied."""

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        if function not in SHARED:
            return function(*args, **named)
        return self._dropped(SHARED[function], *args, **named)

    def _dropped(
        self, together: int, values: Tensor, p: float = 0.5, training: bool = True,
        inplace: bool = False,
    ) -> Tensor:  # fmt: skip
        if p == 0:
            return values
        self.rates[p] += 1
        kept = values.shape[1 : values.ndim - together]
        mask = torch.empty(1, *kept, *[1] * together, device="cpu")
        mask.bernoulli_(1 - p, generator=self._draws)
        if p < 1:
            mask /= 1 - p
        return values * mask.to(values.device, values.dtype)


def dropout_uncertainty(
    predictor: TorchPredictor, items: Sequence[Prepared], passes: int
) -> list[Uncertainty | None]:
    """How much thinned networks disagree (Gal & Ghahramani, ICML 2016).

    Each of an ensemble's networks is thinned. A network whose features have no dropout computes
    them once. The n-th pass thins in the same way in every call.

    Returns:
        One for each image, ``None`` where a probability is not finite.
    """
    rows: list[npt.NDArray[np.float64]] = []
    layers: list[str] = []
    with torch.inference_mode(), predictor.evaluating():
        for member in predictor.members:
            images = to_batch(items, member.preprocessing, predictor.device)
            with torch.autocast(predictor.device.type, enabled=False):
                found, own = _thinned(member.answering, images, passes)
            if not own:
                raise ModelError(
                    f"dropout_passes needs a network with dropout, and {member.model} has none: "
                    f"every pass would give the same answer; train it with drop_rate, or ask an "
                    f"ensemble."
                )
            layers += [name for name in own if name not in layers]
            rows += [predictor.probabilities(each.float().cpu().numpy()) for each in found]
    weights = [member.weight / passes for member in predictor.members for _ in range(passes)]
    by = f"dropout ({', '.join(layers)})"
    every = np.stack(rows, axis=1)  # (N, P, K)
    return [of_passes(own, weights, by) if np.isfinite(own).all() else None for own in every]


def _thinned(
    network: SkinClassifier, images: Tensor, passes: int
) -> tuple[list[Tensor], list[str]]:
    """Logits ``(N, K)`` of each pass, and where the network drops."""
    with Dropping(0) as before:
        network.features(images[:1])
    found: list[Tensor] = []
    after: Counter[float] = Counter()
    shared = None if before.rates else network.features(images)
    for number in range(passes):
        if shared is not None:
            with Dropping(number) as dropping:
                found.append(network.pool_and_classify(shared))
        else:  # one by one: the draws of a batch that is computed in parts would differ
            some = []
            for image in images:
                with Dropping(number) as dropping:
                    some.append(network.pool_and_classify(network.features(image[None])))
            found.append(torch.cat(some))
        after = dropping.rates - before.rates
    return found, [*_said("features", before.rates), *_said("head", after)]


def _said(where: str, rates: Counter[float]) -> list[str]:
    return [
        f"{where}: p = {rate:g}" + (f", {count} times" if count > 1 else "")
        for rate, count in rates.items()
    ]


def check_passes(passes: int) -> int:
    """Refuse a number of passes that cannot disagree; as Python's own integer.

    Raises:
        OptionError: it is not 0 or an integer >= 2.
    """
    found = plain(passes)
    if type(found) is not int or found < 0 or found == 1:
        raise OptionError(
            f"dropout_passes must be 0 or an integer >= 2, since one pass cannot disagree with "
            f"itself, got {passes!r}."
        )
    return found
