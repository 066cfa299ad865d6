"""How sure is the network, and is it sure of where it looks?"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from skinxai import Attribution, Explainer
from skinxai.errors import ExplainError, OptionError


@dataclass(frozen=True)
class MCDropoutOptions:
    """Options of Monte-Carlo dropout.

    Args:
        budget: stochastic passes for each image, >= 2.
        seed: of the dropout.
    """

    budget: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.budget) is not int or self.budget < 2:
            raise OptionError(f"budget must be an integer >= 2, got {self.budget!r}.")


@final
class MCDropout(Explainer):
    """Monte-Carlo dropout (Gal & Ghahramani, ICML 2016): passes with dropout left on.

    Scores, in nats: ``predictive_entropy`` H(E p), ``expected_entropy`` E H(p), and their
    difference ``mutual_information``, which is large where the passes disagree (Houlsby et al.,
    2011, arXiv 1112.5745). Maps: ``mean`` and ``deviation`` over the passes of Grad-CAM.
    """

    changes_network = True  # dropout is switched on: in a copy of our own
    options_type = MCDropoutOptions

    def attribute(
        self, images: Tensor, target: Tensor, *, options: MCDropoutOptions
    ) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, and scores; see `Explainer`."""
        switch_dropout_on(self.model.network)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            each = [
                self._one(image[None], position[None], options)
                for image, position in zip(images, target, strict=True)
            ]
        names = ("predictive_entropy", "expected_entropy", "mutual_information")
        return Attribution(
            maps={
                "mean": torch.stack([maps.mean(dim=0) for maps, _ in each]),
                "deviation": torch.stack([maps.std(dim=0) for maps, _ in each]),
            },
            scores={
                name: torch.stack(values)
                for name, *values in zip(names, *(uncertainty(p) for _, p in each), strict=True)
            },
        )

    def _one(
        self, image: Tensor, target: Tensor, options: MCDropoutOptions
    ) -> tuple[Tensor, Tensor]:
        """Maps ``(budget, h, w)`` and probabilities ``(budget, K)`` of one image."""
        maps, probabilities = [], []
        for number in range(options.budget):
            seed = 2 * (options.seed * 1_000_003 + number)
            torch.manual_seed(seed)
            with torch.no_grad():
                features = self.model.features(image)
            torch.manual_seed(seed + 1)  # the head is called twice, with the same dropout
            with torch.no_grad():
                probabilities.append(self.model.logits(features).double().softmax(dim=1))
            torch.manual_seed(seed + 1)
            with torch.enable_grad():
                leaf = features.clone().requires_grad_()
                score = self.model.pool_and_classify(leaf)[0, target].sum()
                (gradient,) = torch.autograd.grad(score, leaf)
            weights = self.model.grid(gradient).mean(dim=(2, 3), keepdim=True)
            maps.append((weights * self.model.grid(features)).sum(dim=1).relu()[0])
        found = torch.cat(probabilities)
        if bool((found == found[0]).all()):
            raise ExplainError(
                f"mc_dropout needs a network with dropout or stochastic depth, but all "
                f"{len(found)} passes of this one are the same; build it with drop_rate > 0, or "
                f"raise budget."
            )
        return torch.stack(maps), found


def switch_dropout_on(network: torch.nn.Module) -> None:
    """Training mode for all but modules with running statistics (BatchNorm and its kin).

    So modules, functional dropout (which asks the module that calls it) and stochastic depth
    are all switched on.
    """
    for module in network.modules():
        module.training = not any(
            n.startswith("running_") for n, _ in module.named_buffers(recurse=False)
        )


def uncertainty(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predictive entropy, expected entropy and mutual information of ``(S, K)``, in nats."""
    total = torch.special.entr(probabilities.mean(dim=0)).sum()
    expected = torch.special.entr(probabilities).sum(dim=1).mean()
    return total.float(), expected.float(), (total - expected).float()
