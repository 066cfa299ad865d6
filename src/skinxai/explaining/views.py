"""What an explainer sees of the network: one score of it, float32, in evaluation mode."""

import copy
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from skinxai.backbones.network import OwnFunction, SkinClassifier, copied
from skinxai.errors import ExplainError, ExplainTimeoutError
from skinxai.explaining.tape import Tape
from skinxai.trust.scaling import Scaling


@dataclass(frozen=True)
class Watch:
    """Looks on while the network computes.

    Args:
        deadline: ``time.monotonic()`` after which no pass begins, or ``None``.
        count: is told of each pass's images, or ``None``.
    """

    deadline: float | None = None
    count: Callable[[int], object] | None = None

    def check(self) -> None:
        """Stop where the time is up."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ExplainTimeoutError(
                "timeout was reached before all network passes were done; give a longer timeout, "
                "or the method a smaller budget."
            )

    def passed(self, images: int) -> None:
        """Note a pass."""
        self.check()
        if self.count is not None:
            self.count(images)


class View(SkinClassifier):
    """The same network for one call: features computed once, and the score that was asked for.

    Args:
        model: the network.
        images: whose features are known, ``(N, 3, H, W)``, or ``None``.
        features: of them.
        score: ``"logit"`` or ``"probability"``.
        against: position of the class whose score is subtracted from all, or ``None``.
        image_size: ``(H, W)`` of all images of the call.
        watch: looks on.
        tape: of passes without gradients that maps of several classes share, or ``None``.
        passes: compute logits in the network's place where no gradient is wanted, or ``None``.
        scaling: makes probabilities calibrated, or ``None``.
        unwritten: the same images in memory of their own, where ``images`` may be written to.
    """

    def __init__(
        self,
        model: SkinClassifier,
        images: Tensor | None,
        features: Any,
        *,
        score: str,
        against: int | None,
        image_size: tuple[int, int],
        watch: Watch,
        tape: Tape | None = None,
        passes: Callable[[Tensor], Tensor] | None = None,
        scaling: Scaling | None = None,
        unwritten: Tensor | None = None,
    ) -> None:
        super().__init__(
            model.network,
            model._features,
            model._head,
            model._pool,
            model._grid,
            model.layer,
            model.reads,
        )
        self.training = model.training
        self._images, self._computed = images, features
        self._unwritten: Any = images if unwritten is None else unwritten
        self._score, self._against = score, against
        self._image_size, self._watch, self._tape = image_size, watch, tape
        self._passes, self._scaling = passes, scaling

    def features(self, images: Tensor) -> Any:
        """As the network's; those of the explained images are at hand, and each call copies them.

        What works in place on the features of one call finds them as they were in the next.
        """
        known = images is self._images and not images.requires_grad
        if known and torch.equal(images, self._unwritten):  # no counter sees NumPy's writes
            with torch.no_grad():
                return copied(self._computed)
        self._watch.passed(len(images))
        return super().features(images)

    def forward(self, images: Tensor, embeddings: bool = False) -> Any:
        """Images ``(N, 3, H, W)`` to scores ``(N, K)``."""
        if embeddings or torch.is_grad_enabled():
            return super().forward(images, embeddings)
        if self._tape is None:
            return self._without_gradients(images)
        self._watch.check()
        return self._tape(images, self._without_gradients)

    def _without_gradients(self, images: Tensor) -> Tensor:
        if self._passes is None or tuple(images.shape[2:]) != self._image_size:
            scores: Tensor = super().forward(images)
            return scores
        self._watch.passed(len(images))
        return self._asked(self._passes(images))

    def grid(self, features: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """As the network's, which is told the images' size."""
        return super().grid(features, image_size or self._image_size)

    def pool_and_classify(self, features: Tensor) -> Tensor:
        """Scores ``(N, K)``: logits or probabilities, less those of the class compared with."""
        self._watch.check()
        return self._asked(super().pool_and_classify(features))

    def _asked(self, scores: Tensor) -> Tensor:
        if self._score == "probability":
            if self._scaling is not None:
                slopes, offsets = map(
                    scores.new_tensor, (self._scaling.slopes, self._scaling.offsets)
                )
                scores = scores.log_softmax(dim=1) * slopes + offsets
            scores = scores.softmax(dim=1)
        if self._against is not None:
            scores = scores - scores[:, self._against, None]
        return scores


_one_at_a_time = threading.RLock()


def alone(networks: Iterable[SkinClassifier]) -> AbstractContextManager[object]:
    """Within it, no other thread explains a network whose weights need gradients, if one does.

    Two threads that record passes over such a network can wait for each other for ever: torch 2.14
    takes the interpreter's lock while it holds a weight's (``grad_accumulator``), and a weight's
    while it holds the interpreter's (``weight[…]``).
    """
    weights = (weight for network in networks for weight in network.parameters())
    return _one_at_a_time if any(weight.requires_grad for weight in weights) else nullcontext()


def ready(model: SkinClassifier) -> SkinClassifier:
    """The network itself, or a copy where it is in training mode, not float32 or an inference one.

    Raises:
        ExplainError: a network that must be copied and cannot be.
    """
    fit = not any(module.training for module in model.network.modules()) and all(
        not weight.is_inference() and weight.dtype in (torch.float32, torch.float64)
        for weight in model.network.parameters()
    )
    if fit:
        return model
    return (
        private_copy(model, "an explanation needs float32 weights outside inference mode")
        .float()
        .eval()
    )


def private_copy(
    model: SkinClassifier, why: str = "an explainer that changes the network needs a copy of it"
) -> SkinClassifier:
    """A copy that may be changed.

    Args:
        model: the network.
        why: one is needed, for the message.

    Raises:
        ExplainError: the model's functions hold on to the original network.
    """
    for part in (model._features, model._head):
        if isinstance(part, OwnFunction) and isinstance(part.function, FunctionType):
            raise ExplainError(
                f"{why}, but functions that were passed as features and head keep the original "
                f"network; give from_module() methods or submodules."
            )
    return copy.deepcopy(model)
