"""`HardCase`: an image that a model finds hard."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HardCase:
    """One of the images of a class whose true class has the smallest probability.

    Args:
        image_id: of the record.
        label: the true class.
        answered: the top class.
        probability: of the top class, 0–1.
        true_probability: of the true class, 0–1; the loss is ``−ln`` of it.
    """

    image_id: str
    label: str
    answered: str
    probability: float
    true_probability: float
