"""`Agreement`: how far reviewers agree with each other, and with the model."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from skinxai.review.cases import ReviewedCase


@dataclass(frozen=True)
class PairAgreement:
    """Two reviewers, on the cases that both gave a class.

    Args:
        first: name of a reviewer.
        second: name of the other.
        cases: number of cases.
        agreed: number of cases with the same class.
        kappa: Cohen's kappa, −1 to 1: 0 is what chance gives with each one's share of classes.
            NaN without cases, or where both gave one and the same class to all.
    """

    first: str
    second: str
    cases: int
    agreed: int
    kappa: float


@dataclass(frozen=True)
class ModelAgreement:
    """A reviewer and a model, on the cases of this model that the reviewer gave a class.

    Args:
        reviewer: name of the reviewer.
        model: ``name@revision``.
        cases: number of cases.
        agreed: number of cases where the model's most probable class is the reviewer's.
        kappa: Cohen's kappa, as in `PairAgreement`.
    """

    reviewer: str
    model: str
    cases: int
    agreed: int
    kappa: float


@dataclass(frozen=True)
class Agreement:
    """How far reviewers agree. An answer ``"unsure"`` is no class and is left out of all pairs.

    Cases of the queue are the ones that the model is least sure of: agreement on them says nothing
    about all other images.

    Args:
        pairs: each two reviewers, sorted by their names.
        models: each reviewer with each model, sorted by name and model.
        labelled: number of cases with a label.
        disputed: number of cases on whose class not all of their reviewers agree.
        unsure: number of current labels that say ``"unsure"``.
    """

    pairs: tuple[PairAgreement, ...]
    models: tuple[ModelAgreement, ...]
    labelled: int
    disputed: int
    unsure: int

    @classmethod
    def of(cls, cases: Iterable[ReviewedCase]) -> "Agreement":
        """Compute it from cases with their labels."""
        given: dict[str, dict[str, str]] = defaultdict(dict)  # reviewer → case → class
        answers: dict[str, tuple[str, str]] = {}
        labelled = disputed = unsure = 0
        for each in cases:
            if not each.labels:
                continue
            labelled += 1
            disputed += each.disputed
            answers[each.case.id] = (each.case.model, each.case.prediction["label"])
            for reviewer, said in each.current.items():
                if said.label in each.case.codes:
                    given[reviewer][each.case.id] = said.label
                else:
                    unsure += 1
        pairs = []
        for first, second in combinations(sorted(given), 2):
            rows = [(label, given[second][case]) for case, label in given[first].items()
                    if case in given[second]]  # fmt: skip
            pairs.append(PairAgreement(first, second, len(rows), _agreed(rows), cohen_kappa(rows)))
        models = []
        for reviewer in sorted(given):
            by_model = defaultdict(list)
            for case, label in given[reviewer].items():
                model, answer = answers[case]
                by_model[model].append((label, answer))
            models += [
                ModelAgreement(reviewer, model, len(rows), _agreed(rows), cohen_kappa(rows))
                for model, rows in sorted(by_model.items())
            ]
        return cls(tuple(pairs), tuple(models), labelled, disputed, unsure)


def cohen_kappa(rows: Sequence[tuple[str, str]]) -> float:
    """Cohen's kappa (1960) of pairs of labels: ``(observed − expected) / (1 − expected)``.

    Args:
        rows: of each case, what the first and what the second said.

    Returns:
        −1 to 1; NaN without rows, or where both only ever gave one and the same label.
    """
    count = len(rows)
    first, second = (Counter(row[side] for row in rows) for side in (0, 1))
    by_chance = sum(first[label] * second[label] for label in first)  # times count²
    if by_chance == count**2:
        return math.nan
    return (count * _agreed(rows) - by_chance) / (count**2 - by_chance)


def _agreed(rows: Sequence[tuple[str, str]]) -> int:
    return sum(first == second for first, second in rows)
