"""Attributions from gradients with respect to the preprocessed image, through the whole network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExplainError
from skinxai.explainers.base import Attribution, Explainer
from skinxai.explainers.baselines import baseline, check_baseline
from skinxai.explainers.differentiating import score_gradient
from skinxai.explainers.guided import GuidedReLU
from skinxai.explainers.rules import check_budget, check_seed, check_share
from skinxai.memory import DIFFERENTIATED_PART, backing_off, in_parts


@final
class Saliency(Explainer):
    """Saliency (Simonyan et al., ICLR Workshops 2014, section 3): max over RGB of |gradient|."""

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, >= 0; see `Explainer`."""
        gradient = input_gradient(self.model, images, target)
        return Attribution(maps={"saliency": gradient.abs().amax(dim=1)})


@dataclass(frozen=True)
class SmoothGradOptions:
    """Options of SmoothGrad.

    Args:
        budget: noisy copies of each image, >= 1; the paper finds little gain above 50.
        noise: standard deviation of the noise, a share of the image's range, > 0 and < 1.
        seed: of the noise.
    """

    budget: int = 25
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_share("noise", self.noise)
        check_seed(self.seed)


@final
class SmoothGrad(Explainer):
    """SmoothGrad (Smilkov et al., 2017, arXiv 1706.03825, section 3): mean gradient under noise.

    The gradients of noisy copies are averaged; the map is the largest absolute value over RGB of
    that mean, as in `Saliency`.
    """

    needs_gradients: ClassVar[bool] = True
    options_type = SmoothGradOptions

    def attribute(
        self, images: Tensor, target: Tensor, *, options: SmoothGradOptions
    ) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, >= 0; see `Explainer`."""
        maps = [
            self._mean_gradient(image, position, options).abs().amax(dim=0)
            for image, position in zip(images, target, strict=True)
        ]
        return Attribution(maps={"smoothgrad": torch.stack(maps)})

    def _mean_gradient(self, image: Tensor, target: Tensor, options: SmoothGradOptions) -> Tensor:
        spread = options.noise * (image.max() - image.min())

        def gradients(part: slice) -> Tensor:
            numbers = range(part.start, part.stop)
            copies = torch.stack([image + spread * noise(image, options.seed, k) for k in numbers])
            return input_gradient(self.model, copies, target.expand(len(copies)))

        found = in_parts(options.budget, gradients, DIFFERENTIATED_PART)
        return found.mean(dim=0)  # (3, H, W)


@dataclass(frozen=True)
class IntegratedGradientsOptions:
    """Options of integrated gradients.

    Args:
        budget: steps of the Gauss–Legendre quadrature, >= 1.
        baseline: where the path begins, see `skinxai.explainers.baselines.baseline`.
    """

    budget: int = 50
    baseline: str = "mean"

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_baseline(self.baseline)


@final
class IntegratedGradients(Explainer):
    """Integrated gradients (Sundararajan et al., ICML 2017, equation 1), computed by Captum.

    The map is the sum over RGB, signed: at the input's size it sums to the score of the image
    minus that of the baseline. The score ``completeness_gap`` is what the quadrature misses, in
    units of the score: where it is large beside the map's sum, give a larger budget.
    """

    needs_gradients: ClassVar[bool] = True
    options_type = IntegratedGradientsOptions

    def attribute(
        self, images: Tensor, target: Tensor, *, options: IntegratedGradientsOptions
    ) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, signed; see `Explainer`.

        Raises:
            ExplainError: a network that automatic differentiation cannot follow.
        """
        from captum.attr import IntegratedGradients as Captum

        method, origins = Captum(self.model), baseline(images, options.baseline)
        method.gradient_func = _gradients

        def integrals(size: int) -> Any:
            return method.attribute(
                images.detach().clone(), origins, target, n_steps=options.budget,
                internal_batch_size=max(size, len(images)), return_convergence_delta=True,
            )  # fmt: skip

        with torch.device(images.device):  # Captum makes tensors on the default one
            values, gaps = backing_off(integrals, DIFFERENTIATED_PART)  # (N, 3, H, W), (N,)
        return Attribution(
            maps={"integrated_gradients": values.detach().sum(dim=1)},
            scores={"completeness_gap": gaps.detach()},
        )


def _gradients(
    forward_fn: Callable[..., Tensor], inputs: tuple[Tensor], target_ind: Tensor, **_: Any
) -> tuple[Tensor]:
    """What Captum calls for the gradients of a part of the path, with its names."""
    with torch.enable_grad():
        return (score_gradient(forward_fn(*inputs), target_ind, *inputs),)


@final
class GuidedBackprop(Explainer):
    """Guided backpropagation (Springenberg et al., ICLR Workshops 2015, section 3.4).

    The gradient of the image, where each ReLU passes on positive gradients only (gates, as sigmoid,
    keep theirs); the map is its largest absolute value over RGB. It looks crisp and depends little
    on the class or on the last layers' weights (Adebayo et al., NeurIPS 2018): an edge detector,
    here for comparison.
    """

    needs_gradients: ClassVar[bool] = True

    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, >= 0; see `Explainer`.

        Raises:
            ExplainError: a network without ReLU, or with other activations.
        """
        with GuidedReLU() as rule:
            gradient = input_gradient(self.model, images, target)
        if not rule.rectified:
            raise ExplainError(
                "guided_backprop needs a network with ReLU activations, found none; use smoothgrad "
                "or integrated_gradients."
            )
        return Attribution(maps={"guided_backprop": gradient.abs().amax(dim=1)})


def input_gradient(model: SkinClassifier, images: Tensor, target: Tensor) -> Tensor:
    """Gradient of each image's target score with respect to its preprocessed pixels.

    Args:
        model: the network as three functions.
        images: ``(N, 3, H, W)`` float32.
        target: ``(N,)`` int64, class positions.

    Returns:
        ``(N, 3, H, W)``.
    """
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        return score_gradient(model(leaf), target, leaf)


def noise(image: Tensor, seed: int, number: int) -> Tensor:
    """Standard normal noise of the image's shape; each number has its own, whatever the parts."""
    draws = torch.Generator().manual_seed(seed * 1_000_003 + number)
    drawn = torch.randn(image.shape, generator=draws, dtype=image.dtype, device="cpu")
    return drawn.to(image.device)
