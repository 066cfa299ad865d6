"""Shares of models against their weights, and who moves when the models change."""

import math
import unicodedata
from collections import Counter

import pytest

from skinxai.data.cleaning import clean
from skinxai.errors import OptionError
from skinxai.serving.routing import Router

KEYS = [f"patient {number}" for number in range(20_000)]


def chosen(weights: dict[str, float]) -> list[str]:
    router = Router(weights)
    return [router.choose(key) for key in KEYS]


@pytest.mark.parametrize(
    "weights",
    [{"a": 1}, {"a": 1, "b": 1}, {"a": 9, "b": 1}, {"a": 0.5, "b": 0.3, "c": 0.2},
     {"a": 990, "b": 10}],
)  # fmt: skip
def test_shares_are_the_weights(weights) -> None:
    counts, total = Counter(chosen(weights)), sum(weights.values())
    statistic = 0.0
    for name, weight in weights.items():
        expected = len(KEYS) * weight / total
        # Six standard deviations of a binomial count.
        assert abs(counts[name] - expected) <= 6 * math.sqrt(expected * (1 - weight / total))
        statistic += (counts[name] - expected) ** 2 / expected
    assert statistic < 20  # chi-square with 2 degrees of freedom: p = 5e-5
    assert sum(counts.values()) == len(KEYS)
    assert Router(weights).shares == pytest.approx({n: w / total for n, w in weights.items()})


def test_a_key_keeps_its_model_in_every_process() -> None:
    router = Router({"a": 1, "b": 1})
    assert [router.choose(key) for key in KEYS[:8]] == list("abababaa")
    assert [Router({"b": 2, "a": 2}).choose(key) for key in KEYS] == chosen({"a": 1, "b": 1})


def test_a_subject_of_the_review_store_has_one_model_however_its_name_is_written() -> None:
    router = Router({"a": 1, "b": 1})
    for number in range(50):
        subject = f"Zoé {number}"
        written = (subject, unicodedata.normalize("NFD", subject), f"\u00a0{subject} ")
        assert len({clean(each) for each in written}) == 1
        assert len({router.choose(each) for each in written}) == 1


@pytest.mark.parametrize(
    ("before", "after", "gains"),
    [
        ({"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, "c"),
        ({"a": 9, "b": 1}, {"a": 9, "b": 2}, "b"),
        ({"a": 1}, {"a": 1, "b": 0.1}, "b"),
    ],
)
def test_only_keys_that_go_to_the_gaining_model_move(before, after, gains) -> None:
    pairs = list(zip(chosen(before), chosen(after), strict=True))
    assert {new for old, new in pairs if old != new} == {gains}
    moved = sum(old != new for old, new in pairs) / len(KEYS)
    share = Router(after).shares[gains] - Router(before).shares.get(gains, 0)
    assert moved == pytest.approx(share, abs=0.02)  # no more than must


def test_a_model_that_is_taken_away_moves_only_its_own_keys() -> None:
    pairs = zip(chosen({"a": 1, "b": 1, "c": 1}), chosen({"a": 1, "b": 1}), strict=True)
    assert {old for old, new in pairs if old != new} == {"c"}


def test_names_and_keys_do_not_run_into_each_other() -> None:
    assert len({Router({"a": 1, "ab": 1}).choose(f"b{n}") for n in range(50)}) == 2
    assert Router({"a": 1, "b": 1}).choose("") in "ab"
    assert Router({"a": 1, "b": 1}).choose("\ud800") in "ab"


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1}, {"a": math.nan}, {"a": math.inf}])
def test_weights_that_are_refused(weights) -> None:
    with pytest.raises(OptionError, match="weight"):
        Router(weights)
