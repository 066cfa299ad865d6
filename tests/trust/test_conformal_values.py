"""Conformal sets as JSON, and the values that are refused."""

import json

import numpy as np
import pytest
from test_conformal import made

from skinxai.configs import canonical_json, strict_json
from skinxai.errors import (
    DatasetLabelError,
    InputRangeError,
    InputShapeError,
    ModelConfigError,
    OptionError,
)
from skinxai.trust.conformal import Conformal


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
@pytest.mark.parametrize("each", [False, True])
def test_json_there_and_back(method, each):
    rows, target = made(120, 0)
    lesions = [k // 2 for k in range(120)]
    fitted = Conformal.fit(rows, target, method=method, class_conditional=each, lesions=lesions)
    again = Conformal.from_dict(strict_json(canonical_json(fitted.to_dict())))
    assert again == fitted
    assert json.loads(json.dumps(fitted.to_dict())) == fitted.to_dict()


def test_json_of_1500_images_is_small():
    fitted = Conformal.fit(*made(1500, 0), class_conditional=True)
    assert len(canonical_json(fitted.to_dict())) < 40_000 / 2


PARTS = {
    "method": "lac", "class_conditional": True, "penalty": 0, "free_classes": 0,
    "counts": [2, 1], "scores": [[3, 5], [4]], "lesion_sizes": [[2, 2], [1]],
}  # fmt: skip


def test_json_by_hand_is_read():
    assert Conformal.from_dict(PARTS).lesions == (1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, "with the keys"),
        ({"method": "naive"}, "a method of"),
        ({"method": ["lac"]}, "a method of"),
        ({"class_conditional": 1}, "true or false"),
        ({"class_conditional": False}, "must have [3] entries"),
        ({"penalty": 0.1}, "must be 0 for lac"),
        ({"penalty": float("nan")}, "penalty must be"),
        ({"method": "raps", "penalty": True}, "penalty must be"),
        ({"method": "raps", "free_classes": 3}, "from 0 to 2"),
        ({"counts": [2, 2]}, "must have [2, 2] entries"),
        ({"counts": {"0": 2}}, "must be a list"),
        ({"counts": [3], "scores": [[3, 4, 5]], "lesion_sizes": [[1, 1, 1]]}, "2 to 1000 classes"),
        ({"counts": [0, 0], "scores": [[], []], "lesion_sizes": [[], []]}, "1 to 1000000 images"),
        ({"scores": [[5, 3], [4]]}, "must ascend"),
        ({"scores": [[3, 5.5], [4]]}, "must be integers"),
        ({"scores": [[3, -5], [4]]}, "must be integers"),
        ({"scores": [[3, 5], [True]]}, "must be integers"),
        ({"scores": [[3, 5], ["4"]]}, "must be integers"),
        ({"scores": [[3, 5], 4]}, "lists of lists"),
        ({"scores": [[3, 5_000_000], [4]]}, "at most 1001000"),
        ({"lesion_sizes": [[2, 1], [1]]}, "whole lesions: 2 stands there 1 time"),
        ({"lesion_sizes": [[0, 0], [1]]}, "whole lesions"),
        ({"lesion_sizes": [[2, 2], [1, 1]]}, "entries"),
    ],
)
def test_json_that_breaks_a_rule_is_refused(change, words):
    with pytest.raises(ModelConfigError, match=words.replace("[", r"\[").replace("]", r"\]")):
        Conformal.from_dict(PARTS | change)


@pytest.mark.parametrize(
    "values", [None, [], "lac", {k: v for k, v in PARTS.items() if k != "counts"}]
)
def test_json_without_its_keys_is_refused(values):
    with pytest.raises(ModelConfigError, match="with the keys"):
        Conformal.from_dict(values)


BAD_ROWS = [
    ([[0.5, np.nan]], InputRangeError, r"row 0 is \[0.5, nan\]; 1 of 1"),
    ([[0.5, 0.5], [np.inf, 0.5]], InputRangeError, "row 1"),
    ([[1.2, -0.2]], InputRangeError, "sum 1"),
    ([[2.0, 3.0]], InputRangeError, "sum 1"),
    ([[0.5, 0.49]], InputRangeError, "sum 1"),
    ([0.5, 0.5], InputShapeError, r"\(N, K\)"),
    ([[1.0]], InputShapeError, "two classes"),
    (np.zeros((0, 3)), InputShapeError, "at least one row"),
    ([["a", "b"]], InputShapeError, "array of numbers"),
    ([[0.5, 0.5], [1.0]], InputShapeError, "array of numbers"),
]


@pytest.mark.parametrize(("rows", "error", "words"), BAD_ROWS)
def test_what_is_no_probability_is_refused(rows, error, words):
    with pytest.raises(error, match=words):
        Conformal.fit(rows, np.zeros(len(rows), int))
    with pytest.raises(error, match=words):
        Conformal.from_dict(PARTS).sets(rows)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ([0, 4], DatasetLabelError),
        ([0, -1], DatasetLabelError),
        ([0.0, 1.0], DatasetLabelError),
        ([True, False], DatasetLabelError),
        (["nv", "mel"], DatasetLabelError),
        ([0], InputShapeError),
        ([[0], [1]], InputShapeError),
    ],
)
def test_what_is_no_class_position_is_refused(target, error):
    with pytest.raises(error):
        Conformal.fit(made(2, 0)[0], target)


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, float("nan"), True, "0.9", None])
def test_coverage_outside_0_and_1_is_refused(coverage):
    fitted = Conformal.fit(*made(20, 0))
    for ask in (lambda: fitted.sets(made(2, 0)[0], coverage), lambda: fitted.always(coverage)):
        with pytest.raises(OptionError, match="coverage must be"):
            ask()


def test_coverage_in_percent_gets_a_hint():
    with pytest.raises(OptionError, match=r"got 90; did you mean 0\.9\?"):
        Conformal.fit(*made(20, 0)).sets(made(2, 0)[0], 90)


def test_other_options_outside_their_rule_are_refused():
    rows, target = made(20, 0)
    for options in ({"penalty": -1}, {"penalty": np.inf}, {"free_classes": 9}, {"method": "naive"}):
        with pytest.raises(OptionError):
            Conformal.fit(rows, target, **{"method": "raps"} | options)
    with pytest.raises(InputShapeError, match="lesions must have one entry for each of 20"):
        Conformal.fit(rows, target, lesions=["a"])
    with pytest.raises(InputShapeError, match="of the 4 classes"):
        Conformal.fit(rows, target).sets([[0.5, 0.5]])
