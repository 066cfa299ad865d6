"""`Prediction`: class probabilities of one image, and `ItemError` in the place of one."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from skinxai.errors import ModelError, OptionError, SkinxaiError
from skinxai.labels import LabelSet
from skinxai.numeric import plain
from skinxai.readonly import ReadOnly
from skinxai.results.doubts import Novelty, Uncertainty

DISCLAIMER = "Research tool, not a medical device."


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of one image.

    Args:
        label: code of the most probable class.
        probability: its probability, 0–1.
        probabilities: read-only, code → probability, in label order, sum 1.
        malignant_probability: sum over the classes declared malignant; ``None`` without any.
        calibrated_on: the images that the probabilities were calibrated on; ``None`` of a model
            that was not: then they are no measure of how often it is right.
        operating_point: name of the one that decided; ``None`` for a model without any.
        decision: ``"refer"``, ``"routine"`` or ``"abstain"``; ``None`` for a model without
            operating points. Some pictures that show no lesion pass the limits and get one too.
        reasons: why that decision, a sentence each; without a decision, what speaks against the
            image.
        quality: flags of the image's quality that are raised → measured value, see
            `skinxai.trust.quality`; empty of a model that was not calibrated.
        novelty: how unlike the images that the model knows it is; ``None`` of a model that was
            not calibrated.
        uncertainty: how much several answers disagree; ``None`` of a single answer.
        source: which image.
        model: ``name@revision``.
        backend: what computed it, e.g. ``"torch cpu float32"``.
        warnings: notes from reading the image.
        labels: the label set.
        sets: coverage → codes, for `prediction_set`; ``None`` of a model that was not calibrated.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]
    malignant_probability: float | None
    source: str
    model: str
    backend: str
    labels: LabelSet = field(repr=False)
    calibrated_on: str | None = None
    operating_point: str | None = None
    decision: str | None = None
    reasons: tuple[str, ...] = ()
    quality: Mapping[str, float] = field(default_factory=lambda: ReadOnly({}))
    novelty: Novelty | None = None
    uncertainty: Uncertainty | None = None
    warnings: tuple[str, ...] = ()
    sets: Callable[[float], tuple[str, ...]] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_probabilities(
        cls,
        values: Sequence[float],
        labels: LabelSet,
        *,
        source: str,
        model: str,
        backend: str,
        warnings: tuple[str, ...] = (),
    ) -> "Prediction":
        """Build from one row of probabilities, in label order; ties go to the first label."""
        by_code = {code: float(value) for code, value in zip(labels, values, strict=True)}
        label = max(by_code, key=by_code.__getitem__)
        malignant = None
        if labels.malignant:
            malignant = min(1.0, sum(by_code[code] for code in labels if code in labels.malignant))
        return cls(
            label=label,
            probability=by_code[label],
            probabilities=ReadOnly(by_code),
            malignant_probability=malignant,
            source=source,
            model=model,
            backend=backend,
            labels=labels,
            warnings=warnings,
        )

    def top(self, k: int = 3) -> tuple[tuple[str, float], ...]:
        """The ``k`` most probable classes with their probabilities, highest first."""
        if type(plain(k)) is not int or not 1 <= k <= len(self.labels):
            raise OptionError(f"k must be an integer from 1 to {len(self.labels)}, got {k!r}.")
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
        return tuple(ranked[:k])

    def prediction_set(self, coverage: float = 0.9) -> tuple[str, ...]:
        """The classes that cannot be ruled out, most probable first.

        Of new lesions that are exchangeable with the calibration lesions, at least this share has
        its true class in its set, within each class (split conformal prediction, see
        `skinxai.trust.conformal`). A class with too few calibration lesions is in every set.

        Args:
            coverage: in (0, 1).

        Raises:
            ModelError: a model that was not calibrated.
            OptionError: another coverage.
        """
        if self.sets is None:
            raise ModelError(
                f"a prediction set needs a calibrated model, and {self.model} was not",
                python="make one with Classifier.calibrate(records)",
                command="make one with 'skinxai calibrate'",
            )
        return self.sets(coverage)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the image: raised flags of quality, and ``"novel"``."""
        refused = self.novelty is not None and self.novelty.refused
        return (*self.quality, *(("novel",) if refused else ()))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the image, a sentence each; then nothing is decided about it."""
        return self.reasons if self.decision in (None, "abstain") else ()

    def said(self) -> tuple[str, ...]:
        """What a calibrated model says beside its probabilities, in short: decision, flags, set.

        The set of an image of another kind promises nothing, and is left out.
        """
        if self.sets is None:
            return ()
        foreign = self.novelty is not None and self.novelty.refused
        chosen = "" if foreign else f"90 % set {' '.join(self.prediction_set())}"
        return tuple(each for each in (self.decision, *self.flags, chosen) if each)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.source,
            "label": self.label,
            "probability": self.probability,
            "probabilities": dict(self.probabilities),
            "malignant_probability": self.malignant_probability,
            "calibrated_on": self.calibrated_on,
            "operating_point": self.operating_point,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "quality": dict(self.quality),
            "novelty": asdict(self.novelty) if self.novelty else None,
            "uncertainty": asdict(self.uncertainty) if self.uncertainty else None,
            "prediction_set": list(self.prediction_set()) if self.sets else None,
            "warnings": list(self.warnings),
            "model": self.model,
            "backend": self.backend,
        }

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{code}={value:.2f}" for code, value in self.top(min(3, len(self.labels)))
        )
        said = "".join(f"{each}; " for each in self.said())
        return f"Prediction({shown}; {said}model={self.model!r})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(self.labels.long_name(code))} ({html.escape(code)})</td>"
            f"<td style='text-align:right'>{100 * value:.1f} %</td>"
            f"<td><div style='background:#3b6ea5;height:.8em;width:{120 * value:.0f}px'></div>"
            f"</td></tr>"
            for code, value in self.top(len(self.labels))
        )
        said = html.escape("; ".join((*self.said(), *self.reasons)))
        return (
            f"<table><caption>{html.escape(self.source)}</caption>{rows}</table>"
            f"{f'<p>{said}</p>' if said else ''}"
            f"<small>{html.escape(self.model)}. {DISCLAIMER}</small>"
        )


@dataclass(frozen=True)
class ItemError:
    """In the place of a result whose image could not be used, with ``on_error="return"``.

    Args:
        index: position in the call's order.
        source: which image.
        error: what was wrong; its ``code`` is stable.
    """

    index: int
    source: str
    error: SkinxaiError

    @property
    def code(self) -> str:
        """The error's stable code."""
        return self.error.code

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"source": self.source, "error_code": self.code, "error": str(self.error)}
