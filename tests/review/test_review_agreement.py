"""Agreement of reviewers, against scikit-learn and by hand."""

import math
import warnings

import numpy as np
import pytest
from review_cases import case
from sklearn.metrics import cohen_kappa_score

from skinxai.review import UNSURE, ReviewedCase
from skinxai.review.agreement import Agreement, cohen_kappa


@pytest.mark.parametrize("seed", range(20))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    draws = np.random.default_rng(seed)
    count, classes = int(draws.integers(1, 60)), int(draws.integers(1, 6))
    first = draws.integers(0, classes, count)
    second = np.where(draws.random(count) < 0.6, first, draws.integers(0, classes, count))
    rows = [(f"c{one}", f"c{other}") for one, other in zip(first, second, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cohen_kappa_score(first, second)
    assert cohen_kappa(rows) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_kappa_by_hand() -> None:
    # Cohen's own kind of table: 20 yes-yes, 15 no-no, 5 and 10 otherwise: p = 0.7, chance 0.5
    rows = [("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10
    assert cohen_kappa(rows) == pytest.approx((0.7 - 0.5) / 0.5)
    assert cohen_kappa([("y", "n"), ("n", "y")]) == -1
    assert math.isnan(cohen_kappa([])) and math.isnan(cohen_kappa([("y", "y")] * 3))


def test_a_case_without_labels_counts_nowhere() -> None:
    found = Agreement.of([ReviewedCase(case("c"))])
    assert (found.labelled, found.disputed, found.pairs, found.models) == (0, 0, (), ())


def test_three_reviewers_and_two_models(opened) -> None:
    store = opened()
    answers = {"1": 0.9, "2": 0.9, "3": 0.2, "4": 0.2, "5": 0.2}
    for name, mel in answers.items():
        store.record(case(name, mel=mel, model="old@1" if name == "5" else "new@2"))
    said = {
        "ann": {"1": "mel", "2": "nv", "3": "nv", "4": "nv", "5": "mel"},
        "bob": {"1": "mel", "2": "mel", "3": "nv", "4": UNSURE},
        "cem": {"5": "mel"},
    }
    for who, labels in said.items():
        for name, label in labels.items():
            store.label(name, label, who)
    store.label("5", "nv", "cem")  # what counts is the last word
    found = store.agreement()
    assert (found.labelled, found.disputed, found.unsure) == (5, 3, 1)
    rows = {(each.first, each.second): each for each in found.pairs}
    assert list(rows) == [("ann", "bob"), ("ann", "cem"), ("bob", "cem")]
    pair = rows["ann", "bob"]
    assert (pair.cases, pair.agreed) == (3, 2)
    assert pair.kappa == pytest.approx(cohen_kappa_score([1, 0, 0], [1, 1, 0]))
    assert (rows["ann", "cem"].cases, rows["ann", "cem"].agreed) == (1, 0)
    assert rows["bob", "cem"].cases == 0 and math.isnan(rows["bob", "cem"].kappa)
    models = {(each.reviewer, each.model): each for each in found.models}
    assert list(models) == [("ann", "new@2"), ("ann", "old@1"), ("bob", "new@2"), ("cem", "old@1")]
    own = models["ann", "new@2"]
    assert (own.cases, own.agreed) == (4, 3)
    assert own.kappa == pytest.approx(cohen_kappa_score([1, 0, 0, 0], [1, 1, 0, 0]))
    assert (models["cem", "old@1"].cases, models["cem", "old@1"].agreed) == (1, 1)
