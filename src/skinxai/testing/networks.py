"""Tiny networks whose answers are known: each class is a colour, and only its patches count."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from skinxai.classifier import Classifier
from skinxai.configs import PreprocessConfig
from skinxai.errors import OptionError

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}
CELL = 8
"""Side of a cell of the features, in pixels of the network's input."""
GREY = -0.3
"""Bias that makes grey no colour."""


class Colours(nn.Module):
    """What both networks are: features, a head, and a way to disturb a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.disturb: Callable[[Tensor], object] = id
        """Called with the images of each pass; may raise."""

    def features(self, images: Tensor) -> Tensor:
        """What the head takes."""
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        """Logits ``(N, 3)``."""
        raise NotImplementedError


class ColourNetwork(Colours):
    """Logit k is the mean over cells of how much more of colour k a cell has than of the others.

    ReLU of a fixed 1 × 1 convolution, mean over cells of 8 × 8 pixels, mean over cells, a linear
    layer close to the identity. With random weights it is another network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Conv2d(3, 3, 1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(3, 3)
        with torch.no_grad():
            self.colours.weight.copy_(_opponents()[:, :, None, None])
            nn.init.constant_(self.colours.bias, GREY)  # type: ignore[arg-type]
            self.classifier.weight.copy_(4 * torch.eye(3) - 0.5)
            self.classifier.bias.zero_()

    def features(self, images: Tensor) -> Tensor:
        """``(N, 3, H / 8, W / 8)``."""
        self.disturb(images)
        return functional.avg_pool2d(functional.relu(self.colours(images)), CELL)

    def head(self, features: Tensor) -> Tensor:
        """Logits ``(N, 3)``."""
        logits: Tensor = self.classifier(self.dropout(features.mean(dim=(2, 3))))
        return logits


class ColourTransformer(Colours):
    """One layer of attention, in which a class token looks at patches of strong colour."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Conv2d(3, 3, CELL, CELL)
        self.token = nn.Parameter(torch.ones(1, 1, 3))
        self.query, self.key, self.value = (nn.Linear(3, 3) for _ in range(3))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(3, 3)
        with torch.no_grad():
            kernel = _opponents()[:, :, None, None].expand(3, 3, CELL, CELL) / CELL**2
            self.colours.weight.copy_(kernel)
            nn.init.constant_(self.colours.bias, GREY)  # type: ignore[arg-type]
            for layer, scale in ((self.query, 3.0), (self.key, 3.0), (self.value, 1.0)):
                layer.weight.copy_(scale * torch.eye(3))
                layer.bias.zero_()
            self.classifier.weight.copy_(4 * torch.eye(3) - 0.5)
            self.classifier.bias.zero_()

    def features(self, images: Tensor) -> Tensor:
        """Tokens ``(N, 1 + h · w, 3)``."""
        self.disturb(images)
        patches = functional.relu(self.colours(images)).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(images.shape[0], -1, -1), patches], dim=1)

    def head(self, tokens: Tensor) -> Tensor:
        """Logits ``(N, 3)`` of the class token after the layer."""
        query, key, value = (layer(tokens)[:, None] for layer in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value)[:, 0]
        logits: Tensor = self.classifier(self.dropout((tokens + mixed)[:, 0] - self.token[:, 0]))
        return logits


def colour_classifier(
    kind: str = "convolutions", *, image_size: tuple[int, int] = (48, 80)
) -> Classifier:
    """A classifier of ``red``, ``green`` and ``blue`` that needs no training and no weights file.

    Args:
        kind: ``"convolutions"`` or ``"transformer"``.
        image_size: ``(H, W)`` of the network's input, multiples of 8; not square, so that a swap
            of rows and columns shows.
    """
    if kind not in NETWORKS:
        raise OptionError(f"kind must be one of {sorted(NETWORKS)}, got {kind!r}.")
    return of_network(NETWORKS[kind]().eval(), image_size=image_size)


NETWORKS: dict[str, type[Colours]] = {
    "convolutions": ColourNetwork,
    "transformer": ColourTransformer,
}


def of_network(network: Colours, *, image_size: tuple[int, int] = (48, 80)) -> Classifier:
    """A classifier of one of the networks.

    Args:
        network: with any weights.
        image_size: of its input.
    """

    def grid(tokens: Tensor) -> Tensor:
        size = (image_size[0] // CELL, image_size[1] // CELL)
        return tokens[:, 1:].transpose(1, 2).reshape(tokens.shape[0], -1, *size)

    disturb, network.disturb = network.disturb, id  # it begins with the first question
    made = Classifier.from_module(
        network,
        tuple(COLOURS),
        PreprocessConfig(image_size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        network.features,
        network.head,
        grid=grid if isinstance(network, ColourTransformer) else None,
        name="colours",
        device="cpu",
    )
    network.disturb = disturb
    return made


def _opponents() -> Tensor:
    """Each colour less the mean of the two others, ``(3, 3)``, of unit length."""
    return (1.5 * torch.eye(3) - 0.5) / math.sqrt(1.5)
