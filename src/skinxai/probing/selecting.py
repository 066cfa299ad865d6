"""Choosing the regularisation and the number of neighbours by macro-F1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.data.records import Records
from skinxai.data.splits import folds
from skinxai.probing.logistic import STRENGTHS, LinearHead, fit_head
from skinxai.probing.probed import Candidate
from skinxai.probing.voting import NEIGHBOURS, vote
from skinxai.progress import counter

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64]
Answers = Mapping[float, Floats]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was tried, and the answers of the best.

    Args:
        value: C or k.
        rows: its probabilities for the images that it was chosen on, ``(M, K)``.
        tried: all candidates, in their order.
    """

    value: float
    rows: Floats
    tried: tuple[Candidate, ...]

    @property
    def at_end(self) -> int | None:
        """0 or -1 where the best candidate is the first or last and better than the one beside it.

        Then a candidate beyond those that were tried may be better still. ``None`` elsewhere.
        """
        scores = [each.macro_f1 for each in self.tried]
        for end, beside in ((0, 1), (-1, -2)):
            best_here = self.tried[end].value == self.value
            if best_here and len(scores) > 1 and scores[end] > scores[beside]:
                return end
        return None


def best(answers: Answers, target: Targets, classes: int) -> Choice:
    """The candidate with the highest macro-F1; of several, the first."""
    scores = {
        value: metrics_of(confusion_matrix(target, rows.argmax(axis=1), classes)).macro_f1
        for value, rows in answers.items()
    }
    value = max(scores, key=scores.__getitem__)  # the first of equal ones
    tried = tuple(Candidate(each, score) for each, score in scores.items())
    return Choice(value, answers[value], tried)


def answers_for(
    rows: Rows, target: Targets, asked: Rows, classes: int, *, balanced: bool, progress: bool | None
) -> tuple[Answers, Answers, dict[float, LinearHead]]:
    """Fit every candidate on some images, and let it answer for others.

    Returns:
        C -> probabilities ``(M, K)``, from the strongest regularisation to the weakest; k -> the
        same, from the most neighbours to the fewest; C -> the head.
    """
    heads: dict[float, LinearHead] = {}
    with counter(len(STRENGTHS), progress, "fit") as count:
        for strength in STRENGTHS:
            heads[strength] = fit_head(rows, target, classes, strength, balanced=balanced)
            count(1)
    linear = {strength: head.probabilities(asked) for strength, head in heads.items()}
    counts = [k for k in reversed(NEIGHBOURS) if k <= len(rows)]
    votes = vote(rows[:, 0], target, asked, classes, counts)
    return linear, {float(k): found for k, found in votes.items()}, heads


def out_of_fold(
    train: Records, rows: Rows, k: int, *, linked: Iterable[tuple[str, str]] = (), balanced: bool,
    seed: int, progress: bool | None,
) -> tuple[Answers, Answers]:  # fmt: skip
    """Answers for each image by candidates that were fitted without its lesion and its patient.

    Raises:
        DatasetError: a class with fewer lesions than folds.
    """
    target, classes = np.asarray(train.targets()), len(train.labels)
    place = {item.image_id: number for number, item in enumerate(train)}
    pairs: list[tuple[Sequence[int], Answers, Answers]] = []
    for parts in folds(train, k, seed, linked=linked):
        own, others = ([place[item.image_id] for item in part] for part in (parts.val, parts.train))
        linear, neighbours, _ = answers_for(
            rows[others], target[others], rows[own, 0], classes, balanced=balanced,
            progress=progress,
        )  # fmt: skip
        pairs.append((own, linear, neighbours))
    return (
        _joined([(own, linear) for own, linear, _ in pairs], len(train)),
        _joined([(own, neighbours) for own, _, neighbours in pairs], len(train)),
    )


def _joined(parts: Sequence[tuple[Sequence[int], Answers]], count: int) -> Answers:
    """The folds' answers in the order of the images, of candidates that every fold has."""
    shared = [v for v in parts[0][1] if all(v in answers for _, answers in parts)]
    found = {}
    for value in shared:
        rows = np.empty((count, parts[0][1][value].shape[1]))
        for own, answers in parts:
            rows[own] = answers[value]
        found[value] = rows
    return found
