"""What speaks against an answer: how unlike known images one is, and how answers disagree."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Novelty:
    """How unlike the images that a model knows an image is; see `skinxai.trust.novelty`.

    Args:
        score: 0 to below 1; 0.5 is the limit. It is no probability.
        refused: whether it is above the limit: the image is hardly of the kind that the model
            knows, and nothing is decided about it.
    """

    score: float
    refused: bool


@dataclass(frozen=True)
class Uncertainty:
    """How much several answers to one image disagree; see `skinxai.trust.uncertainty`.

    Args:
        total: entropy of the mean probabilities, nats, 0 to ln K.
        aleatoric: mean entropy of the answers, nats, 0 to ln K.
        epistemic: mutual information of answer and class, nats, 0 to ln K.
        variation_ratio: weight of the answers whose top class is not the one that most weight
            votes for, 0 to below 1.
        passes: how many answers.
        by: what gave them: ``"members"``, ``"views"``, both as ``"members and views"``, or
            dropout, with its places and rates.
    """

    total: float
    aleatoric: float
    epistemic: float
    variation_ratio: float
    passes: int
    by: str
