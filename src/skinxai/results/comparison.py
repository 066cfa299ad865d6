"""`Comparison`: two models on the same images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from skinxai.results.figures import Figure
from skinxai.results.seen import SeenImages


@dataclass(frozen=True)
class PairedFigure:
    """One figure of two models on the same images.

    Args:
        model: value of the model that is judged.
        against: value of the other one.
        difference: ``model − against`` with its 95 % interval, from a bootstrap over lesions that
            draws the same lesions for both.
    """

    model: float
    against: float
    difference: Figure


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test on lesions: whether the models are right equally often.

    A lesion counts for the model that has more of its images right, and for neither where both
    have as many. With one image of each lesion this is the exact test of McNemar (Psychometrika
    12, 1947); images of one lesion are no independent evidence and count together.

    Args:
        model: lesions for the model that is judged.
        against: lesions for the other one.
        p_value: two-sided, of a binomial distribution with probability 1/2.
    """

    model: int
    against: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """How a model compares with another one on the same images.

    Args:
        against: ``name@revision`` of the other model.
        figures: by name, e.g. ``"macro-F1"`` or ``"recall of mel"``.
        mcnemar: of the top classes.
        leaked: whether the other model was trained on these images, or on copies; then the
            comparison is worth nothing.
        seen: which of them it was trained on, and what could not be looked for.
    """

    against: str
    figures: Mapping[str, PairedFigure]
    mcnemar: McNemar
    leaked: bool = False
    seen: SeenImages = field(default_factory=SeenImages)
