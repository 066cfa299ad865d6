"""`SkinClassifier`: a network as three functions, features, grid and head."""

from __future__ import annotations

from collections.abc import Callable

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


class SkinClassifier(nn.Module):
    """A network that is split where explainers differentiate.

    Args:
        network: the whole network; holds all weights.
        features: images ``(N, 3, H, W)`` → whatever the head takes.
        head: that → logits ``(N, K)``.
        pool: that → pooled features ``(N, D)``, or ``None`` where there are none.

    The functions take ``(network, input)``, so that a copy of the model uses its own weights.
    """

    def __init__(
        self,
        network: nn.Module,
        features: Callable[[nn.Module, Tensor], Tensor],
        head: Callable[[nn.Module, Tensor], Tensor],
        pool: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self._features, self._head, self._pool = features, head, pool

    def features(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` to the last feature map, usually ``(N, C, h, w)``.

        Without gradients a CPU gets two images a thread at a time: the activations of more
        exceed what the allocator keeps, and fetching fresh pages costs more than the arithmetic.
        """
        part = 2 * torch.get_num_threads()
        whole = self.training or torch.is_grad_enabled() or images.device.type != "cpu"
        if whole or len(images) <= part:
            return self._features(self.network, images)
        return torch.cat([self._features(self.network, some) for some in torch.split(images, part)])

    def pool_and_classify(self, features: Tensor) -> Tensor:
        """What `features` returned to logits ``(N, K)``."""
        return self._head(self.network, features)

    def pool(self, features: Tensor) -> Tensor:
        """What `features` returned to pooled features ``(N, D)``."""
        if self._pool is None:
            return self.grid(features).mean(dim=(2, 3))
        return self._pool(self.network, features)

    def grid(self, features: Tensor) -> Tensor:
        """The spatial part of the features as ``(N, C, h, w)``.

        Raises:
            ExplainError: the network's features have no such part.
        """
        if not isinstance(features, Tensor) or features.ndim != 4 or min(features.shape[2:]) < 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise ExplainError(
                f"features must be a map (N, C, h, w) with h, w > 1 to be explained in space, "
                f"got {shape}; choose a larger image_size or another backbone."
            )
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` to logits ``(N, K)``."""
        return self.pool_and_classify(self.features(images))
