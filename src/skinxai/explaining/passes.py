"""`GraphPasses`: network passes that need no gradient, by a graph."""

import torch
from torch import Tensor

from skinxai.graphs import LOGITS
from skinxai.predicting.runners import Runner


class GraphPasses:
    """Logits of images by a graph of the same network, which may be faster than torch.

    Args:
        run: the compiled graph, on the processor.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run
        self.used = False
        """Whether it was asked."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of images ``(N, 3, H, W)``, both float32."""
        self.used = True
        return torch.from_numpy(self.run(images.detach().contiguous().numpy())[LOGITS])
