import copy
import pickle

import pytest

from skinxai.errors import DatasetSchemaError, ImageTooLargeError, SkinxaiError

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
