"""`SkinClassifier`: a network as three functions, features, grid and head."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skinxai.errors import ExplainError


class OwnFunction:
    """A function of the input alone, in the shape ``(network, input)`` that `SkinClassifier` takes.

    Args:
        function: a method or submodule of the network, which a deep copy then follows.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, network: nn.Module, value: Tensor) -> Tensor:
        """Ignore ``network``: the function knows it."""
        return self.function(value)


def copied(value: Any) -> Any:
    """A copy of what a function may change in place: a tensor, or those in lists, tuples, dicts."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, list | tuple):
        parts = [copied(each) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        made = copy.copy(value)  # of its own class
        for name, each in value.items():
            made[name] = copied(each)
        return made
    return value


def is_pooled(features: Any) -> bool:
    """Whether features are pooled already: ``(N, D)``."""
    return isinstance(features, Tensor) and features.ndim == 2


class SkinClassifier(nn.Module):
    """A network that is split where explainers differentiate.

    Args:
        network: the whole network; holds all weights.
        features: images ``(N, 3, H, W)`` → whatever the head takes.
        head: that → logits ``(N, K)``.
        pool: that → pooled features ``(N, D)``; ``None``: features of this shape as they are, of
            others the mean of the grid over space.
        grid: that and the images' ``(H, W)`` → ``(N, C, h, w)``, as a view of it, row 0 the
            image's upper border; ``None``: it is such a map already.
        layer: where the split is, for results.
        reads: of a transformer, the tokens that the head reads; empty for the patches' mean,
            ``None`` where nobody says.
        beside: modules that the functions use and ``network`` does not hold: they are moved, and
            put into evaluation mode, with it.

    The functions take ``(network, input)``, so that a copy of the model uses its own weights. All
    but ``grid`` get a copy of the input and may work in place: other passes need the same input.
    """

    def __init__(
        self,
        network: nn.Module,
        features: Callable[[nn.Module, Tensor], Tensor],
        head: Callable[[nn.Module, Tensor], Tensor],
        pool: Callable[[nn.Module, Tensor], Tensor] | None = None,
        grid: Callable[[nn.Module, Tensor, tuple[int, int] | None], Tensor] | None = None,
        layer: str = "features",
        reads: Sequence[int] | None = None,
        beside: Iterable[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.network, self.beside = network, nn.ModuleList(beside)
        self._features, self._head, self._pool, self._grid = features, head, pool, grid
        self.layer, self.reads = layer, reads

    def features(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` to the last feature map, usually ``(N, C, h, w)``.

        Without gradients a CPU gets two images a thread at a time: the activations of more
        exceed what the allocator keeps, and fetching fresh pages costs more than the arithmetic.
        """
        part = 2 * torch.get_num_threads()
        whole = self.training or torch.is_grad_enabled() or images.device.type != "cpu"
        if whole or len(images) <= part:
            return self._features(self.network, copied(images))
        first, *rest = torch.split(images, part)
        found = self._features(self.network, copied(first))
        if not isinstance(found, Tensor) or len(found) != len(first):
            return self._features(self.network, copied(images))  # of an own kind: cannot be joined
        return torch.cat([found, *(self._features(self.network, copied(some)) for some in rest)])

    def logits(self, features: Tensor) -> Tensor:
        """What `features` returned to logits ``(N, K)``, whichever score is explained."""
        return self._head(self.network, copied(features))

    def pool_and_classify(self, features: Tensor) -> Tensor:
        """What `features` returned to the scores ``(N, K)`` that are explained: logits."""
        return self.logits(features)

    def pool(self, features: Tensor) -> Tensor:
        """What `features` returned to pooled features ``(N, D)``."""
        if self._pool is None:
            return features if is_pooled(features) else self.grid(features).mean(dim=(2, 3))
        return self._pool(self.network, copied(features))

    def grid(self, features: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """The spatial part of the features as ``(N, C, h, w)``.

        Args:
            features: what `features` returned, or a gradient with respect to it.
            image_size: ``(H, W)`` of the images, which some transformers need to tell the grid.

        Raises:
            ExplainError: the network's features have no such part.
        """
        if self._grid is not None:
            features = self._grid(self.network, features, image_size)
        if not isinstance(features, Tensor) or features.ndim != 4 or min(features.shape[2:]) < 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise ExplainError(
                f"features must be a map (N, C, h, w) with h, w > 1 for class activation maps, got "
                f"{shape}; choose a larger image_size, another backbone, or a method that needs "
                f"no such map: saliency, smoothgrad, integrated_gradients, occlusion, rise, lime."
            )
        return features

    def __call__(self, images: Tensor) -> Tensor:
        """As `forward`."""
        logits: Tensor = super().__call__(images)
        return logits

    def with_embeddings(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images to logits ``(N, K)`` and pooled features ``(N, D)``, in one pass."""
        logits, pooled = super().__call__(images, embeddings=True)
        return logits, pooled

    def forward(self, images: Tensor, embeddings: bool = False) -> Any:
        """Images ``(N, 3, H, W)`` to logits ``(N, K)``, and pooled features where asked for."""
        features = self.features(images)
        if not embeddings:
            return self.pool_and_classify(features)
        return self.pool_and_classify(features), self.pool(features)


def without_gradients(model: SkinClassifier) -> SkinClassifier:
    """A copy that shares the weights' memory, and whose weights need no gradient.

    Threads can then differentiate by their images at the same time; see
    `skinxai.explaining.views.alone`.
    """
    weights = {
        id(w): nn.Parameter(w.detach(), requires_grad=False) for w in model.network.parameters()
    }
    return copy.deepcopy(model, weights)
