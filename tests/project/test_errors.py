import copy
import pickle

import pytest

from skinxai.errors import (
    DatasetSchemaError,
    ImageTooLargeError,
    SkinxaiError,
    closest,
    did_you_mean,
)

BOTH = ImageTooLargeError(
    "image must be small", python="pass max_pixels=9", command="give --max-pixels 9"
)


def test_a_remedy_fits_its_face() -> None:
    assert str(BOTH) == "image must be small; pass max_pixels=9."
    assert BOTH.on_command_line == "image must be small; give --max-pixels 9."
    assert SkinxaiError("plain.").on_command_line == str(SkinxaiError("plain.")) == "plain."
    assert SkinxaiError("x", python="do y").on_command_line == "x; do y."


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_keep_both_sentences(again) -> None:
    for error in (BOTH, DatasetSchemaError("table:", ("a", "b"), python="p", command="c")):
        made = again(error.at(3, "x.jpg"))
        assert type(made) is type(error) and str(made) == str(error) and made.index == 3
        assert made.on_command_line == error.on_command_line
    assert made.problems == ("a", "b") and str(made) == "table: a; b; p."


def test_a_prefix_stands_in_front_of_both() -> None:
    made = BOTH.prefixed("a.jpg")
    assert str(made) == f"a.jpg: {BOTH}" and made.on_command_line.startswith("a.jpg: image")
    assert made.on_command_line.endswith("--max-pixels 9.") and type(made) is type(BOTH)


def test_problems_that_are_errors_have_a_remedy_for_each_face() -> None:
    made = DatasetSchemaError("images must be read:", ("a", BOTH.prefixed("b.jpg")))
    assert str(made) == "images must be read: a; b.jpg: image must be small; pass max_pixels=9."
    assert made.on_command_line == (
        "images must be read: a; b.jpg: image must be small; give --max-pixels 9."
    )
    assert made.problems == ("a", f"b.jpg: {BOTH}")
    asked = DatasetSchemaError("labels:", ("'x' is unknown. Did you mean 'y'?",))
    assert str(asked) == "labels: 'x' is unknown. Did you mean 'y'?"


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("modle", ["model", "tta"], "model"),
        ("Grad-CAM", ["gradcam", "rise"], "gradcam"),
        ("zzz", ["model"], None),
        (5, ["model"], None),
        ("x", [], None),
    ],
)
def test_the_closest_name(name, known, near) -> None:
    assert closest(name, known, plain=str.lower) == near
    hint = "" if near is None else f" Did you mean {near!r}?"
    assert did_you_mean(name, known, plain=str.lower) == hint
