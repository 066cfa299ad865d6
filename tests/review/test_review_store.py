"""What a store keeps: cases, the queue's order, labels and their history; on both databases."""

import math
import threading
from dataclasses import replace
from datetime import UTC, timedelta, timezone

import pytest
from review_cases import MODEL, START, case, prediction

from skinxai.errors import OptionError, StoreConflictError, UnknownCaseError
from skinxai.results import Prediction
from skinxai.review import UNSURE, Case, queued_cases


def ids(found) -> list[str]:
    return [each.case.id for each in found]


def test_a_case_comes_back_as_it_was(opened) -> None:
    one = replace(
        case("c-1", mel=0.1 + 0.2, subject="S-17", lesion="L-3"),
        at=(START + timedelta(microseconds=123_456)).astimezone(timezone(timedelta(hours=5))),
    )
    store = opened()
    assert store.record(one) is True
    found = store.case("c-1")
    assert found.case == one and found.case.at.tzinfo is UTC
    assert dict(found.case.prediction) == {
        key: value for key, value in prediction(mel=0.1 + 0.2, nv=1 - (0.1 + 0.2)).items()
        if key != "source"
    }  # fmt: skip
    assert found.case.codes == ("mel", "nv")  # in the order of the labels
    assert not found.labels and not found.image_kept and store.image("c-1") is None


def test_the_codes_keep_the_order_of_the_labels(opened) -> None:
    shares = {"vasc": 0.25, "akiec": 0.5, "mel": 0.25}
    store = opened()
    store.record(Case("c", START, 64 * "0", MODEL, prediction(None, **shares)))
    assert store.case("c").case.codes == tuple(shares)


def test_no_name_of_a_file_is_kept(opened, url: str, tmp_path) -> None:
    store = opened()
    store.record(case("c-1"))
    assert "Miller" not in str(store.case("c-1"))
    store.close()
    if url.startswith("sqlite"):
        for path in tmp_path.iterdir():
            assert b"Miller" not in path.read_bytes()


def test_a_prediction_of_the_bundled_model(opened, classifier, photos) -> None:
    (made,) = classifier.predict(photos[:1])
    assert isinstance(made, Prediction)
    store = opened()
    store.record(Case("p", START, 64 * "a", made.model, made.to_dict()))
    kept = dict(store.case("p").case.prediction)
    assert kept | {"source": made.source} == made.to_dict()
    entropy = -sum(p * math.log(p) for p in made.probabilities.values() if p)
    assert store.case("p").case.uncertainty == pytest.approx(entropy, abs=1e-12)


def test_recording_twice_changes_nothing_and_another_case_is_refused(opened) -> None:
    store = opened()
    assert store.record(case("c-1", mel=0.75)) is True
    store.label("c-1", "nv", "ann")
    assert store.record(case("c-1", mel=0.75, hours=3)) is False  # sent once more, later
    with pytest.raises(StoreConflictError, match="another case has the id 'c-1' already"):
        store.record(case("c-1", mel=0.7))
    with pytest.raises(StoreConflictError):
        store.record(case("c-1", mel=0.75, subject="S-2"))
    with pytest.raises(StoreConflictError):
        store.record(case("c-1", mel=0.75, lesion="L-2"))
    with pytest.raises(StoreConflictError):
        store.record(case("c-1", mel=0.75, content=b"other pixels"))
    found = store.case("c-1")
    assert found.case.at == START and found.case.prediction["probabilities"]["mel"] == 0.75
    assert len(found.labels) == 1 and len(store.cases()) == 1


def test_the_queue_begins_with_the_most_uncertain(opened) -> None:
    store = opened()
    for name, decision, mel, hours in (
        ("sure", "refer", 0.99, 0), ("even", "abstain", 0.5, 5), ("routine", "routine", 0.5, 0),
        ("without", None, 0.5, 0), ("b", "refer", 0.2, 1), ("a", "abstain", 0.2, 1),
        ("B", "refer", 0.2, 1), ("earlier", "refer", 0.2, 0), ("ä", "refer", 0.2, 1),
    ):  # fmt: skip
        store.record(case(name, decision, mel=mel, hours=hours))
    order = ["even", "earlier", "B", "a", "b", "ä", "sure"]
    assert ids(store.queue()) == order and store.waiting() == 7
    assert ids(store.queue(3)) == order[:3]
    assert store.queue(1)[0].case.uncertainty == pytest.approx(math.log(2))
    for limit in (0, True, 1.0):
        with pytest.raises(OptionError, match=f"limit must be an integer >= 1, got {limit}"):
            store.queue(limit)
    for opinions in (0, True, 1.0):
        with pytest.raises(OptionError, match=f"opinions must be an integer >= 1, got {opinions}"):
            store.waiting(opinions=opinions)
    with pytest.raises(OptionError, match="reviewer must not be empty"):
        store.queue(reviewer=" ")


def test_all_cases_come_in_their_order_with_their_own_labels(opened, monkeypatch) -> None:
    monkeypatch.setattr(queued_cases, "AT_ONCE", 2)
    store = opened()
    for name, hours in (("late", 2), ("b", 1), ("a", 1), ("early", 0), ("none", 3)):
        store.record(case(name, hours=hours))
    for name in ("late", "a", "b", "early"):
        store.label(name, "mel", f"first of {name}")
        store.label(name, "nv", f"second of {name}")
    order = ["early", "a", "b", "late", "none"]
    assert ids(store.cases()) == order and ids(store.cases(labelled=True)) == order[:4]
    for each in store.cases(labelled=True):
        said = [(given.reviewer, given.label) for given in each.labels]
        name = each.case.id
        assert said == [(f"first of {name}", "mel"), (f"second of {name}", "nv")]


def test_what_waits_for_whom(opened) -> None:
    store = opened()
    for name in ("a", "b"):
        store.record(case(name))
    store.label("a", "mel", "ann")
    assert ids(store.queue()) == ["b"]
    assert ids(store.queue(opinions=2)) == ["a", "b"]
    assert ids(store.queue(opinions=2, reviewer="ann")) == ["b"]
    assert ids(store.queue(opinions=2, reviewer=" ann ")) == ["b"]
    assert ids(store.queue(opinions=2, reviewer="bob")) == ["a", "b"]
    store.label("a", "nv", "ann")  # another mind, the same person
    assert store.waiting(opinions=2, reviewer="bob") == 2
    store.label("a", "nv", "bob")
    assert ids(store.queue(opinions=2)) == ["b"]


def test_a_reviewer_is_one_however_the_name_is_composed(opened) -> None:
    store = opened()
    composed, decomposed = "Jos\u00e9", " Jose\u0301 "
    store.record(case("a"))
    assert store.label("a", "mel", composed).reviewer == composed
    assert store.label("a", "nv", decomposed).reviewer == composed
    found = store.case("a")
    assert {name: given.label for name, given in found.current.items()} == {composed: "nv"}
    assert not found.disputed and store.agreement().pairs == ()
    assert store.waiting(opinions=2) == 1  # one opinion, not two
    assert store.waiting(opinions=2, reviewer=decomposed) == 0


def test_labels_are_added_and_never_overwritten(opened) -> None:
    now = iter(START + timedelta(hours=hours) for hours in (0, 1, 9, 3, 4))  # the clock goes back
    store = opened(clock=lambda: next(now))
    store.record(case("c"))
    first = store.label("c", "mel", " ann ", "asymmetric\nblue veil")
    assert (first.reviewer, first.comment) == ("ann", "asymmetric blue veil")
    store.label("c", "nv", "bob")
    assert store.case("c").disputed and store.case("c").agreed is None
    store.label("c", "nv", "ann")
    found = store.case("c")
    assert [(each.reviewer, each.label) for each in found.labels] == [
        ("ann", "mel"), ("bob", "nv"), ("ann", "nv")
    ]  # fmt: skip
    assert {name: given.label for name, given in found.current.items()} == {
        "ann": "nv",
        "bob": "nv",
    }
    assert found.agreed == "nv" and not found.disputed


def test_the_same_label_again_adds_nothing(opened) -> None:
    store = opened()
    store.record(case("c"))
    for _ in range(3):
        store.label("c", "mel", "ann")
    assert len(store.case("c").labels) == 1
    store.label("c", "mel", "ann", "with a reason now")
    store.label("c", "nv", "ann")
    store.label("c", "mel", "ann")
    assert len(store.case("c").labels) == 4


def test_unsure_is_no_class(opened) -> None:
    store = opened()
    store.record(case("c"))
    store.label("c", UNSURE, "ann")
    assert store.case("c").disputed and store.case("c").agreed is None
    store.label("c", "nv", "bob")
    assert store.case("c").disputed


def test_wrong_labels_are_refused(opened) -> None:
    store = opened()
    store.record(case("c"))
    with pytest.raises(UnknownCaseError, match="no case has the id 'd'"):
        store.label("d", "mel", "ann")
    with pytest.raises(UnknownCaseError):
        store.case("d")
    with pytest.raises(OptionError, match=r"one of \['mel', 'nv', 'unsure'\], got 'bcc'"):
        store.label("c", "bcc", "ann")
    for name in ("", "a\nb", 3):
        with pytest.raises(OptionError, match="case_id must"):
            store.label(name, "mel", "ann")
        with pytest.raises(OptionError, match="case_id must"):
            store.case(name)
    for reviewer in ("", "  ", 201 * "x", "a\nb", "a\0b", None):
        with pytest.raises(OptionError, match="reviewer must"):
            store.label("c", "mel", reviewer)
    for comment in (2001 * "x", "\x1b[2J", "\ud800", 3):
        with pytest.raises(OptionError, match="comment must"):
            store.label("c", "mel", "ann", comment)
    assert not store.case("c").labels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "id of a case must"),
        ({"id": "a\0b"}, "id of a case must"),
        ({"id": 201 * "x"}, "id of a case must"),
        ({"subject": "\u202e"}, "subject of a case must"),
        ({"at": START.replace(tzinfo=None)}, "datetime with a time zone"),
        ({"image_sha256": "AB"}, "64 hexadecimal digits"),
        ({"image": b"other"}, "image must have the sha256"),
        ({"model": "other@1"}, "model of a case must be its prediction's"),
        ({"prediction": {}}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(mel=0.5, nv=0.4)}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(mel=math.nan, nv=0.4)}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(**{"m\nl": 1.0})}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(mel=1.5, nv=-0.5)}, "must be what Prediction.to_dict"),
        ({"prediction": prediction("perhaps", mel=0.5, nv=0.5)}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(mel=1.0) | {"label": "nv"}}, "must be what Prediction.to_dict"),
        ({"prediction": prediction(mel=1.0) | {"reasons": [300_000 * "x"]}}, "at most 262144"),
    ],
)
def test_a_case_outside_its_rules(change, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        replace(case("c"), **change)


def test_a_prediction_that_lacks_a_value_is_refused() -> None:
    whole = prediction(mel=1.0)
    for name in whole.keys() - {"source"}:
        with pytest.raises(OptionError, match=rf"gives, but it has no '{name}', got"):
            replace(case("c"), prediction={key: whole[key] for key in whole if key != name})


def test_a_case_is_in_utc_and_cannot_be_changed() -> None:
    one = replace(case("c"), at=START.astimezone(timezone(timedelta(hours=5))))
    assert one.at == START and one.at.tzinfo is UTC
    with pytest.raises(TypeError):
        one.prediction["label"] = "nv"


def test_threads_that_label_at_once_lose_nothing(opened) -> None:
    store = opened(patience=120)
    store.record(case("c"))
    ready = threading.Barrier(8)
    failed: list[Exception] = []

    def labels(number: int) -> None:
        ready.wait()
        try:
            for turn in range(6):
                store.record(case(f"{turn}"))  # the same id from all
                store.label("c", ("mel", "nv")[turn % 2], f"reviewer {number}")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=labels, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    given = store.case("c").labels
    for number in range(8):
        own = [each.label for each in given if each.reviewer == f"reviewer {number}"]
        assert own == ["mel", "nv"] * 3
    assert len(given) == 48 and len(store.cases()) == 7
