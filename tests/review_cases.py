"""Cases for tests of the review store, and a clock that a test sets."""

import hashlib
from datetime import UTC, datetime, timedelta

from skinxai.review import Case

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = "tiny@0123456789ab"


class Clock:
    """A system's clock that can be set, and a steady one that only goes on."""

    def __init__(self) -> None:
        self.at, self.seconds = START, 0.0

    def __call__(self) -> datetime:
        return self.at

    def ticks(self) -> float:
        return self.seconds

    def passes(self, days: float) -> None:
        """Time passes on both."""
        self.at += timedelta(days=days)
        self.seconds += 86_400 * days

    def is_set(self, days: float) -> None:
        """Somebody sets the system's clock; the steady one does not notice."""
        self.at += timedelta(days=days)


def prediction(decision: str | None = "abstain", **shares: float) -> dict:
    """What `Prediction.to_dict` gives; shares by class."""
    label = max(shares, key=lambda code: shares[code])
    return {
        "source": "Mrs Miller's mole.jpg", "label": label, "probability": shares[label],
        "probabilities": shares, "malignant_probability": shares.get("mel"),
        "calibrated_on": "some data", "operating_point": "screening", "decision": decision,
        "reasons": ["the image is blurred"], "quality": {"blurred": 3.25},
        "novelty": {"score": 0.25, "refused": False}, "uncertainty": None,
        "prediction_set": [label], "warnings": [], "model": MODEL, "backend": "torch cpu float32",
    }  # fmt: skip


def case(
    name: str, decision: str | None = "abstain", *, mel: float = 0.5, hours: float = 0,
    image: bytes | None = None, content: bytes | None = None, **more,
) -> Case:  # fmt: skip
    """A case of two classes, ``mel`` and ``nv``.

    Args:
        name: id.
        decision: of the model.
        mel: probability of ``mel``.
        hours: after `START`.
        image: to be kept.
        content: what the image has, where it is not to be kept.
        **more: subject, lesion, model.
    """
    data, model = image or content or name.encode(), more.pop("model", MODEL)
    answer = prediction(decision, mel=mel, nv=1 - mel) | {"model": model}
    return Case(
        name, START + timedelta(hours=hours), hashlib.sha256(data).hexdigest(), model, answer,
        image=image, **more,
    )  # fmt: skip
