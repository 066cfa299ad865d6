"""`Predictor`: prepared images to probabilities, whatever computes the logits. No torch.

Test-time augmentation, the members' weighted mean, the softmax, calibration, and what becomes of
logits that are not finite are decided here, for torch, ONNX Runtime and OpenVINO alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelError, NonFiniteOutputError
from skinxai.flags import check_flags
from skinxai.labels import LabelSet
from skinxai.predicting.inputs import InputOptions, Prepared
from skinxai.predicting.network_passes import FLIPS, Answer, M, NetworkPass, Outputs, embeddings_of
from skinxai.results import ItemError, Prediction
from skinxai.results.observation import Observation
from skinxai.results.probabilities import from_logits, weighted_mean
from skinxai.trust.calibration import Calibration
from skinxai.trust.deciding import trusted
from skinxai.trust.uncertainty import of_passes


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC, Generic[M]):
    """What turns prepared images into probabilities; shared by threads, changed by none.

    A single model is an ensemble of one, whose weight is 1.

    Args:
        members: the networks; their weights sum to 1.
        labels: in logit order, of all members.
        model: ``name@revision``.
        calibration: what was fitted for these members, or ``None``: then probabilities are the
            softmax of the logits, and nothing is decided.
        operating_point: that decides; ``None``: the calibration's default.
    """

    members: tuple[M, ...]
    labels: LabelSet
    model: str
    calibration: Calibration | None = None
    operating_point: str | None = None

    @property
    @abstractmethod
    def backend(self) -> str:
        """What computes, for results: name, device and precision."""

    @abstractmethod
    def outputs(
        self, items: Sequence[Prepared], passes: Sequence[NetworkPass[M]], *, embeddings: bool
    ) -> list[Outputs]:
        """What each pass gives, in order.

        Args:
            items: N >= 1 images.
            passes: of `passes`.
            embeddings: also those of the views that are not flipped.
        """

    @property
    def preprocessings(self) -> frozenset[PreprocessConfig]:
        """The members', each once."""
        return frozenset(member.preprocessing for member in self.members)

    @property
    def uncalibrated(self) -> Self:
        """The same, whose probabilities are the softmax of the logits."""
        return replace(self, calibration=None)

    def at(self, operating_point: str | None) -> Self:
        """The same, deciding at an operating point; ``None``: at the default one.

        Raises:
            ModelError: a model without operating points.
            UnknownNameError: no such operating point.
        """
        if operating_point is None:
            return self
        if self.calibration is None or not self.calibration.one_view.operating_points:
            raise ModelError(
                f"an operating point needs a model that was calibrated with malignant and benign "
                f"lesions, and {self.model} was not",
                python="make one with Classifier.calibrate(records)",
                command="make one with 'skinxai calibrate'",
            )
        self.calibration.check_point(operating_point)
        return replace(self, operating_point=operating_point)

    def passes(self, *, tta: bool = False) -> list[NetworkPass[M]]:
        """The passes that an answer is the weighted mean of.

        Args:
            tta: each network sees the four flips of an image, with equal weights.
        """
        check_flags(tta=tta)
        flips = FLIPS if tta else FLIPS[:1]
        return [
            NetworkPass(member, flip, member.weight / len(flips))
            for member in self.members
            for flip in flips
        ]

    def probabilities(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Probabilities ``(N, K)`` of one pass, not calibrated; NaN where logits are not finite.

        Raises:
            ModelError: logits that are not ``(N, K)``.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self.labels):
            raise ModelError(
                f"logits must be (N, {len(self.labels)}), one for each label, got {logits.shape}."
            )
        return from_logits(logits)

    def predict(self, items: Sequence[Prepared], *, tta: bool = False) -> list[Answer]:
        """What all passes say of each image."""
        passes = self.passes(tta=tta)
        return self.answers(items, passes, self.outputs(items, passes, embeddings=self.measured))

    def answers(
        self, items: Sequence[Prepared], passes: Sequence[NetworkPass[M]], found: Sequence[Outputs]
    ) -> list[Answer]:
        """The calibrated mean of all passes, and how novel each image is.

        Raises:
            ModelError: a pass with more or fewer rows than there are images.
        """
        rows = [each.rows for each in found]
        if odd := [len(own) for own in rows if len(own) != len(items)]:
            raise ModelError(
                f"a network must return one row of logits for each image, but {self.model} "
                f"returned {odd[0]} for {len(items)}; pass batch_size=1, or correct it."
            )
        mean, tta = self.calibrated_mean(rows), self._flipped(rows)
        upright = mean
        if tta:
            plain = [own for own, each in zip(rows, passes, strict=True) if not each.flip]
            upright = self.calibrated_mean(plain)
        embeddings = embeddings_of(passes, found)
        first = embeddings[0] if embeddings else [None] * len(items)
        novelty: Sequence[float | None] = [None] * len(items)
        if self.calibration is not None:
            colours = [item.colours for item in items if item.colours is not None]
            scores = self.calibration.novelty.scores(
                embeddings, np.stack(colours),
                [member.weight for member in self.members],
            )  # fmt: skip
            mean[np.isnan(scores)] = np.nan
            novelty = scores.tolist()
        weights = [each.weight for each in passes]
        by = " and ".join(["members"] * (len(self.members) > 1) + ["views"] * tta)
        doubts = [
            of_passes(own, weights, by) if by and np.isfinite(own).all() else None
            for own in np.stack(rows, axis=1)
        ]
        return [
            Answer(row, doubt, score, tta, *seen)
            for row, doubt, score, *seen in zip(mean, doubts, novelty, upright, first, strict=True)
        ]

    def calibrated_mean(self, rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """The calibrated mean ``(N, K)`` of all passes.

        Args:
            rows: probabilities ``(N, K)`` of each of `passes`, in order.
        """
        mean = self.mean(rows)
        if self.calibration is None:
            return mean
        return self.calibration.fitted(tta=self._flipped(rows)).scaling(mean)

    def _flipped(self, rows: Sequence[npt.NDArray[np.float64]]) -> bool:
        return len(rows) > len(self.members)

    def mean(self, rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """The mean ``(N, K)`` of each member's views, then that of the members."""
        views = len(rows) // len(self.members)
        shares = [1 / views] * views
        starts = range(0, len(rows), views)
        own = [weighted_mean(shares, rows[start : start + views]) for start in starts]
        return weighted_mean([member.weight for member in self.members], own)

    def prediction(
        self, item: Prepared, answer: Answer, options: InputOptions
    ) -> Prediction | ItemError:
        """The result of one answer; one that is not finite is an error, never a class.

        Raises:
            NonFiniteOutputError: with ``on_error="raise"``.
        """
        if not np.isfinite(answer.row).all():
            error = NonFiniteOutputError(
                f"logits must be finite, but the network's are not for {item.source}; check its "
                f"weights or its precision. No class is returned."
            )
            error.at(item.index, item.source)
            if options.on_error == "raise":
                raise error
            return ItemError(item.index, item.source, error)
        made = Prediction.from_probabilities(
            answer.row.tolist(),
            self.labels,
            source=item.source,
            model=self.model,
            backend=self.backend,
            warnings=item.warnings,
        )
        made = replace(made, uncertainty=answer.uncertainty)
        if self.calibration is None:
            return made
        assert answer.novelty is not None
        return trusted(
            made, self.calibration, item.measured, answer.novelty,
            operating_point=self.operating_point, tta=answer.tta,
        )  # fmt: skip

    def observation(self, item: Prepared, answer: Answer, made: Prediction) -> Observation:
        """What a monitor sees of one image."""
        upright = answer.row if answer.upright is None else answer.upright
        return Observation(
            self.model, upright, answer.embedding, item.measured, item.colours, answer.novelty,
            made.decision, None if self.calibration is None else self.calibration.weights,
        )  # fmt: skip

    @property
    def measured(self) -> bool:
        """Whether quality and colours of each image have to be measured."""
        return self.calibration is not None
