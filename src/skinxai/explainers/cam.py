"""Class activation maps from gradients, by differentiating the head alone.

The gradient stops at the last feature map, so no hook, no ``.grad`` and no full backward pass is
needed, and threads may share the network. ``A`` are the channels of that map, ``(N, C, h, w)``, and
``g`` is the gradient of the explained score with respect to them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from skinxai.backbones.network import SkinClassifier
from skinxai.explainers.base import Attribution, Explainer
from skinxai.explainers.differentiating import score_gradient
from skinxai.flags import check_flags


@final
class GradCAM(Explainer):
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2).

    The weight of a channel is the mean of g over space; the map is the rectified weighted sum.
    """

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        channels, gradient = features_and_gradient(self.model, images, target)
        weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return Attribution(maps={"gradcam": (weights * channels).sum(dim=1).relu()})


@final
class GradCAMPlusPlus(Explainer):
    """Grad-CAM++ (Chattopadhay et al., WACV 2018, equations 10 and 19).

    A cell's share of its channel's weight is α = g² / (2 g² + g³ Σ A), 0 where g is 0; the
    weight is the sum of α relu(g) over space. The paper's factor exp(score), the same for all
    channels of an image, is left out: it overflows, and only scales the map. Cells whose
    denominator is 0 although g is not have no share.
    """

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        channels, gradient = features_and_gradient(self.model, images, target)
        # g² cancels: α relu(g) = relu(g) / (2 + g Σ A), which does not underflow for small g
        denominator = 2 + gradient * channels.sum(dim=(2, 3), keepdim=True)
        shares = torch.where(denominator == 0, 0, gradient.relu() / denominator)
        weights = shares.sum(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return Attribution(maps={"gradcam++": (weights * channels).sum(dim=1).relu()})


@final
class LayerCAM(Explainer):
    """LayerCAM (Jiang et al., IEEE TIP 2021, equations 5 and 6): relu(Σ relu(g) A).

    Each cell has its own weight, so that the map is sharper than a channel's mean allows.
    """

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        channels, gradient = features_and_gradient(self.model, images, target)
        return Attribution(maps={"layercam": (gradient.relu() * channels).sum(dim=1).relu()})


@dataclass(frozen=True)
class HiResCAMOptions:
    """Options of HiResCAM.

    Args:
        signed: keep what speaks against the class, below 0; at the feature map's size the map then
            sums to the score minus the classifier's bias where the head is a mean and a linear
            layer.
    """

    signed: bool = False

    def __post_init__(self) -> None:
        check_flags(signed=self.signed)


@final
class HiResCAM(Explainer):
    """HiResCAM (Draelos & Carin, 2020, arXiv 2011.08891, section 3.3): Σ g A, rectified.

    Unlike Grad-CAM's, its map shows only cells that the head used.
    """

    needs_gradients: ClassVar[bool] = True
    options_type = HiResCAMOptions

    def attribute(self, images: Tensor, target: Tensor, *, options: HiResCAMOptions) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution; see `Explainer`."""
        channels, gradient = features_and_gradient(self.model, images, target)
        maps = (gradient * channels).sum(dim=1)
        return Attribution(maps={"hirescam": maps if options.signed else maps.relu()})


def features_and_gradient(
    model: SkinClassifier, images: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Last feature map and the gradient of the target's score there, both ``(N, C, h, w)``.

    Args:
        model: the network as three functions.
        images: ``(N, 3, H, W)`` float32, preprocessed.
        target: ``(N,)`` int64, class positions.

    Raises:
        ExplainError: the network has no spatial features.
    """
    with torch.no_grad():
        features = model.features(images)
    size = (images.shape[2], images.shape[3])
    channels = model.grid(features, size).detach()
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        gradient = score_gradient(model.pool_and_classify(leaf), target, leaf)
    return channels, model.grid(gradient, size)
