"""Split conformal prediction: sets of classes that hold the true one as often as asked for."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputShapeError, OptionError
from skinxai.numeric import plain
from skinxai.plain_text import counted
from skinxai.trust.conformal_rules import (
    check_layout,
    check_parts,
    check_penalty,
    class_positions,
    exact_share,
)
from skinxai.trust.nonconformity import METHODS, nonconformity
from skinxai.trust.probability_rows import probability_rows

CONDITION = (
    "The coverage is an average over new lesions that are exchangeable with the calibration "
    "lesions: the same mix of patients, devices and diagnoses, and none that the model learnt "
    "from. It is no promise for one image, and it does not hold for other kinds of pictures."
)
WHOLE = 720_720 << 16
"""Weight of one lesion: an integer that 1 to 16 images divide without a remainder."""
_WORST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Conformal:
    """What split conformal prediction has to remember of its calibration images.

    **What holds.** Of new lesions that are exchangeable with the calibration lesions, one image
    each, at least the asked share have their true class in their set, on average over calibrations
    and with no assumption on the model. With ``class_conditional`` this holds within each class.
    Nothing holds for images of another kind: see `CONDITION`.

    **Several images of one lesion** are not exchangeable with each other. Each image has the weight
    1/(number of its lesion's images), and the unknown new lesion has the weight 1 (Lee, Barber &
    Willett, "Distribution-free inference with hierarchical data", 2023: HCP). Where
    each lesion has one image, this is the usual quantile, the ⌈(n + 1) · coverage⌉th score.

    **Sets** are deterministic: one image has one answer. Without the random variable of APS, and
    wherever scores are tied, sets are somewhat larger than they would have to be. A set is never
    empty: the top class is always in it, so a coverage below the model's accuracy is exceeded.

    Make one with `fit`.

    Args:
        method: ``"lac"``, ``"aps"`` or ``"raps"``; see `skinxai.trust.nonconformity`.
        class_conditional: whether each class has a threshold of its own.
        penalty: of RAPS; 0 for the others.
        free_classes: of RAPS; 0 for the others.
        counts: calibration images of each of K classes.
        scores: of the true class of the calibration images, in millionths, ascending; K tuples
            where ``class_conditional``, otherwise one.
        lesion_sizes: for each of these, how many of the images that stand beside it in its tuple
            show the same lesion, itself included.

    Raises:
        ModelConfigError: values that break these rules.
    """

    method: str
    class_conditional: bool
    penalty: float
    free_classes: int
    counts: tuple[int, ...]
    scores: tuple[tuple[int, ...], ...]
    lesion_sizes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        check_parts(self)

    @classmethod
    def fit(
        cls,
        probabilities: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        method: str = "lac",
        class_conditional: bool = True,
        lesions: Sequence[Hashable] | None = None,
        penalty: float = 0.1,
        free_classes: int = 2,
    ) -> Self:
        """Remember how badly the true class fits each calibration image.

        Choose the method, and the numbers of RAPS, without a look at the images given here: a
        choice of what comes out smallest on them breaks the guarantee.

        Args:
            probabilities: ``(N, K)``, of images that the model did not learn from, as `predict`
                returns them: after test-time augmentation, ensembling and calibration.
            target: int ``(N,)``, class positions.
            method: ``"lac"``, ``"aps"`` or ``"raps"``.
            class_conditional: give each class its own threshold (Mondrian).
            lesions: each image's lesion; ``None`` where no two images show the same one.
            penalty: of RAPS, 0–100; ignored by the others.
            free_classes: of RAPS, 0–K; ignored by the others.

        Raises:
            InputShapeError: arrays of other shapes or of different lengths.
            InputRangeError: rows that are no probabilities.
            DatasetLabelError: a target that is no class position.
            OptionError: an option outside its rule.
        """
        if method not in METHODS:
            raise OptionError(f"method must be one of {list(METHODS)}, got {method!r}.")
        rows = probability_rows(probabilities)
        truth = class_positions(target, rows)
        if lesions is not None and len(lesions) != len(truth):
            raise InputShapeError(
                f"lesions must have one entry for each of {len(truth)} images, got {len(lesions)}."
            )
        if method != "raps":
            penalty, free_classes = 0.0, 0
        penalty, free_classes = plain(penalty), plain(free_classes)
        check_penalty(OptionError, penalty, free_classes, rows.shape[1])
        own = nonconformity(rows, method, penalty, free_classes)[np.arange(len(truth)), truth]
        groups = [truth == k for k in range(rows.shape[1])]
        strata = groups if class_conditional else [np.ones(len(truth), bool)]
        scores, sizes = [], []
        for member in (np.flatnonzero(stratum).tolist() for stratum in strata):
            named = [k if lesions is None else lesions[k] for k in member]
            together = Counter(named)
            pairs = sorted(
                (int(own[k]), together[name]) for k, name in zip(member, named, strict=True)
            )
            scores.append(tuple(score for score, _ in pairs))
            sizes.append(tuple(size for _, size in pairs))
        counts = tuple(int(group.sum()) for group in groups)
        return cls(
            method, bool(class_conditional), float(penalty), int(free_classes), counts,
            tuple(scores), tuple(sizes),
        )  # fmt: skip

    @property
    def lesions(self) -> tuple[int, ...]:
        """Calibration lesions behind each threshold: K numbers where each class has its own."""
        return tuple(sum(n // size for size, n in Counter(s).items()) for s in self.lesion_sizes)

    def sets(self, probabilities: npt.ArrayLike, coverage: float = 0.9) -> npt.NDArray[np.bool_]:
        """Which classes each image may have.

        Args:
            probabilities: ``(N, K)``, computed as those of the calibration images were.
            coverage: the share of sets that shall hold the true class, in (0, 1).

        Returns:
            ``(N, K)``; at least one class in each row. Classes of `always` are in every row.

        Raises:
            InputShapeError: another shape.
            InputRangeError: rows that are no probabilities.
            OptionError: another coverage.
        """
        rows = probability_rows(probabilities)
        if rows.shape[1] != len(self.counts):
            raise InputShapeError(
                f"probabilities must be of the {len(self.counts)} classes that were calibrated, "
                f"got {rows.shape[1]}."
            )
        scores = nonconformity(rows, self.method, self.penalty, self.free_classes)
        chosen = scores <= self._thresholds(coverage)
        chosen[np.arange(len(rows)), rows.argmax(axis=1)] = True
        return np.asarray(chosen, np.bool_)

    def always(self, coverage: float = 0.9) -> tuple[int, ...]:
        """Positions of the classes that have too few calibration lesions for this coverage.

        Every set contains them, which keeps the guarantee and says nothing about the image.

        Raises:
            OptionError: a coverage outside (0, 1).
        """
        return tuple(np.flatnonzero(self._thresholds(coverage) == _WORST).tolist())

    def notes(self, labels: Sequence[str], coverage: float = 0.9) -> tuple[str, ...]:
        """What a reader of the sets must know, in sentences; empty where there is nothing.

        Args:
            labels: K label codes, in the order of the classes.
            coverage: as in `sets`.

        Raises:
            OptionError: a coverage outside (0, 1).
        """
        share, always, found = exact_share(coverage), self.always(coverage), []
        if always:
            own = self.lesions if self.class_conditional else self.lesions * len(self.counts)
            found.append(
                f"Every set contains {', '.join(f'{labels[k]!r} ({own[k]})' for k in always)}, "
                f"whatever the image shows: coverage {float(share):g} needs at least "
                f"{counted(math.ceil(share / (1 - share)), 'calibration lesion')}"
                f"{' of each class' if self.class_conditional else ''}, and the numbers in "
                f"brackets are what there is."
            )
        absent = [repr(labels[k]) for k, images in enumerate(self.counts) if not images]
        if absent and not self.class_conditional:
            found.append(
                f"No calibration image shows {', '.join(absent)}: how often sets contain such a "
                f"class where it is the true one is not known."
            )
        return tuple(found)

    def _thresholds(self, coverage: float) -> npt.NDArray[np.int64]:
        """Highest score of each class that is still in a set, ``(K,)``."""
        share, found = exact_share(coverage), []
        for scores, sizes, lesions in zip(
            self.scores, self.lesion_sizes, self.lesions, strict=True
        ):
            weights = np.cumsum(WHOLE // np.asarray(sizes, np.int64))
            place = int(np.searchsorted(weights, math.ceil(share * (lesions + 1) * WHOLE)))
            found.append(scores[place] if place < len(scores) else _WORST)
        return np.broadcast_to(np.asarray(found, np.int64), len(self.counts))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: about 14 bytes for each calibration image, without blanks."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        nested = {
            name: [list(each) for each in values[name]] for name in ("scores", "lesion_sizes")
        }
        return values | {"counts": list(self.counts)} | nested

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`.

        Raises:
            ModelConfigError: an unknown or missing key, or a value outside its rule.
        """
        check_layout(values, {f.name for f in fields(cls)})
        return cls(
            **{
                **values,
                "counts": tuple(values["counts"]),
                "scores": tuple(tuple(each) for each in values["scores"]),
                "lesion_sizes": tuple(tuple(each) for each in values["lesion_sizes"]),
            }
        )


def prediction_set(
    conformal: Conformal, probabilities: Sequence[tuple[str, float]], coverage: float
) -> tuple[str, ...]:
    """The classes that one image may have, most probable first."""
    (chosen,) = conformal.sets([[value for _, value in probabilities]], coverage)
    kept = [pair for pair, inside in zip(probabilities, chosen, strict=True) if inside]
    return tuple(code for code, _ in sorted(kept, key=lambda pair: -pair[1]))
