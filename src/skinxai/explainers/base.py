"""The interface of explainers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from skinxai.backbones.network import SkinClassifier


@dataclass(frozen=True)
class NoOptions:
    """Options of a method that has none."""


@dataclass(frozen=True)
class Attribution:
    """What an explainer returns for a batch of N images: at least one map or score.

    Args:
        maps: name → ``(N, h, w)`` float, any resolution, raw values; the first is the heatmap.
            Names are 1 to 64 of a-z, A-Z, 0-9, blank and ``_ . + -``, as they name files; no two
            differ in upper and lower case alone.
        scores: name → ``(N,)`` float.
    """

    maps: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)


class Explainer(ABC):
    """Attributes a class score to parts of the image.

    It must leave hooks, ``.grad``, train flags and random state of ``self.model`` as it found
    them; one that has to change the network sets ``changes_network`` and gets a private copy.

    Args:
        model: the network as three functions: ``features``, ``grid``, ``pool_and_classify``;
            in evaluation mode and shared with other threads.
    """

    changes_network: ClassVar[bool] = False
    """Whether `attribute` changes the network (train flags, activations)."""

    uses_target: ClassVar[bool] = True
    """Whether the map depends on the class that is asked for."""

    needs_gradients: ClassVar[bool] = False
    """Whether the score is differentiated, so that quantised networks are refused."""

    options_type: ClassVar[type[Any]] = NoOptions
    """The method's own options: a frozen dataclass, each field with a default."""

    def __init__(self, model: SkinClassifier) -> None:
        self.model = model

    @abstractmethod
    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Explain one score for each image.

        Args:
            images: ``(N, 3, H, W)`` float32, preprocessed.
            target: ``(N,)`` int64, class positions.
            options: an instance of ``options_type``.
        """
