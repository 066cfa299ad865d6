"""`Bench`: one explainer on a tiny network, and what a failed check raises."""

from typing import Any

import torch

from skinxai import explainers
from skinxai.classifier import Classifier
from skinxai.errors import OptionError
from skinxai.explainers.base import Explainer
from skinxai.testing.networks import NETWORKS, Colours, of_network
from skinxai.testing.pictures import picture

THREE = {"upper left": "red", "upper right": "green", "lower middle": "blue"}


class Failed(Exception):
    """A check that failed, in words."""


class Bench:
    """One explainer, a network, and pictures."""

    def __init__(self, name: str, network: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        if network not in NETWORKS:
            raise OptionError(f"network must be one of {sorted(NETWORKS)}, got {network!r}.")
        self.network_type = NETWORKS[network]
        self.classifier = of_network(self.network_type())
        self.explainer: type[Explainer] = explainers.get(name)
        self.three = picture(THREE)

    def explain(
        self, image: Any = None, target: Any = "red", classifier: Classifier | None = None,
        against: str | None = None,
    ) -> Any:  # fmt: skip
        """The explainer's answers with its options, for the three patches unless told."""
        image = self.three if image is None else image
        who = classifier or self.classifier
        return who.explain(image, self.name, target=target, against=against, **self.options)

    def random_network(self) -> Colours:
        """A network of the same kind with other weights, the same each time."""
        network = self.network_type()
        draws = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(torch.randn(weight.shape, generator=draws))
        return network
