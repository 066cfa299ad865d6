"""Class activation maps, by differentiating the head alone."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from skinxai.explainers.base import Attribution, Explainer


@final
class GradCAM(Explainer):
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2).

    The weight of a channel is the mean over space of the score's gradient; the map is the
    rectified weighted sum of the channels. The gradient stops at the last feature map, so no
    hook, no ``.grad`` and no full backward pass is needed, and threads may share the network.
    """

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        with torch.no_grad():
            features = self.model.features(images)
        with torch.enable_grad():
            leaf = features.detach().requires_grad_()
            logits = self.model.pool_and_classify(leaf)  # (N, K)
            chosen = logits.gather(1, target[:, None]).sum()  # images do not mix
        (gradient,) = torch.autograd.grad(chosen, leaf)
        weights = self.model.grid(gradient).mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        maps = (weights * self.model.grid(leaf.detach())).sum(dim=1).relu()  # (N, h, w)
        return Attribution(maps={"gradcam": maps})
