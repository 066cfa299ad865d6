"""The head of a linear probe and the votes of neighbours, against scikit-learn and by hand."""

import re

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skinxai.probing import Candidate
from skinxai.probing.fitted_model import Fitted
from skinxai.probing.logistic import LinearHead, fit_head
from skinxai.probing.selecting import Choice
from skinxai.probing.voting import TEMPERATURE, vote


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    target = np.arange(count) % 3
    shifts = draws.normal(0, 1, (3, 5))
    return (draws.normal(0, 1, (count, 5)) * [1, 10, 0.1, 3, 1] + shifts[target]).astype(
        np.float32
    ), target


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_that_of_scikit_learn(classes, balanced) -> None:
    features, target = drawn(60, 4)
    features, target = features[target < classes][5:], target[target < classes][5:]
    scaler = StandardScaler().fit(features.astype(np.float64))
    model = LogisticRegression(
        C=0.3, class_weight="balanced" if balanced else None, tol=1e-8, max_iter=5000
    )
    model.fit(scaler.transform(features.astype(np.float64)), target)
    asked, _ = drawn(20, 9)
    wanted = model.predict_proba(scaler.transform(asked.astype(np.float64)))
    head = fit_head(features[:, None], target, classes, 0.3, balanced=balanced)
    np.testing.assert_allclose(head.probabilities(asked), wanted, atol=1e-4)


def test_views_share_the_weight_of_their_image() -> None:
    features, target = drawn(40, 1)
    once = fit_head(features[:, None], target, 3, 1.0)
    twice = fit_head(np.stack([features, features], axis=1), target, 3, 1.0)
    np.testing.assert_allclose(once.weight, twice.weight, atol=1e-4)


def test_votes_are_those_of_scikit_learn_and_by_hand() -> None:
    known, target = drawn(50, 2)
    asked, _ = drawn(11, 3)
    found = vote(known, target, asked, 3, [1, 7])

    def weights(distances):  # of unit vectors: d² = 2 − 2 s
        return np.exp((1 - distances**2 / 2) / TEMPERATURE)

    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (known, asked)]
    for k in (1, 7):
        model = KNeighborsClassifier(k, weights=weights).fit(unit[0], target)
        np.testing.assert_allclose(found[k], model.predict_proba(unit[1]), atol=1e-4)
    two = vote(
        np.eye(2, dtype=np.float32), np.array([0, 1]), np.array([[1, 0]], np.float32), 2, [2]
    )
    np.testing.assert_allclose(two[2], softmax([[1 / TEMPERATURE, 0]], axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("scores", "end", "words"),
    [
        ({0.1: 0.5, 1.0: 0.6, 10.0: 0.7}, -1, "C = 10 is the weakest .* and a weaker one may"),
        (
            {0.1: 0.7, 1.0: 0.6, 10.0: 0.5},
            0,
            r"C = 0\.1 is the strongest .* and a stronger one may",
        ),
        ({0.1: 0.5, 1.0: 0.7, 10.0: 0.6}, None, ""),
        ({0.1: 0.7, 1.0: 0.7, 10.0: 0.7}, None, ""),  # all alike: nothing points outwards
        ({0.1: 0.7}, None, ""),
    ],
)
def test_a_strength_at_the_end_of_the_range_is_said(scores, end, words) -> None:
    tried = tuple(Candidate(value, score) for value, score in scores.items())
    found = Choice(max(scores, key=scores.__getitem__), np.empty((0, 3)), tried)
    none = (np.empty((0, 3)), np.empty((0, 3)))
    note = Fitted(LinearHead(none[0], np.empty(3)), found, found, none, "val", "val", True).note
    assert found.at_end == end
    assert re.search(words, note) if words else "regularisation" not in note
