"""A user's mypy knows what each call of the classifier returns."""

import ast
import dataclasses
import textwrap
from pathlib import Path
from typing import get_type_hints

import pytest
from mypy import api
from places import ROOT

import skinxai
from skinxai.predicting.inputs import AnyInputs, InputOptions, Inputs, InputsOrErrors

START = """
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import torch
from PIL import Image
from skinxai import Classifier, Explanation, ItemError, Prediction, read_image
from skinxai.results import Neighbour

if TYPE_CHECKING:
    from skinxai.explaining.signatures import PlaceExplanation, PlacePrediction

c = Classifier.from_pretrained()
array = np.zeros((8, 8, 3), np.uint8)
E_ = Explanation | ItemError
P_ = Prediction | ItemError
Maps = dict[str, Explanation]
"""
ONE = ["array", "torch.zeros(8, 8, 3)", "Image.fromarray(array)", "b''", "bytearray()",
       "memoryview(b'')", "io.BytesIO()", "open('a.jpg', 'rb')", "read_image(array)"]  # fmt: skip
MANY = ["[array]", "(array, 'a.jpg')", "['a.jpg']", "{'a.jpg'}", "(a for a in [array])",
        "[Path('a.jpg')]", "Path('folder').iterdir()", "iter([array])"]  # fmt: skip
PLACES = ["'a.jpg'", "Path('photos')", "'photos/*.jpg'"]
RETURN = ", on_error='return'"
ALL = ", all_classes=True"


def lines() -> list[str]:
    """Expressions with the types that they must have."""
    kinds = []
    for image in ONE:
        kinds += [
            (f"c.predict({image})", "Prediction"),
            (f"c.predict({image}, tta=True, batch_size=2{RETURN})", "P_"),
            (f"c.explain({image})", "Explanation"),
            (f"c.explain({image}, 'lime', budget=9{RETURN})", "E_"),
            (f"c.explain({image}, target='mel', all_classes=False)", "Explanation"),
            (f"c.explain({image}{ALL})", "Maps"),
            (f"c.explain({image}{ALL}{RETURN})", "Maps | ItemError"),
            (f"c.nearest({image}, 3)", "list[Neighbour]"),
        ]
    for images in MANY:
        kinds += [
            (f"c.predict({images})", "list[Prediction]"),
            (f"c.predict({images}{RETURN})", "list[P_]"),
            (f"c.explain({images}, target=['mel'])", "list[Explanation]"),
            (f"c.explain({images}{RETURN})", "list[E_]"),
            (f"c.explain({images}{ALL})", "list[Maps]"),
            (f"c.explain({images}{ALL}{RETURN})", "list[Maps | ItemError]"),
            (f"c.nearest({images})", "list[list[Neighbour]]"),
        ]
    for place in PLACES:
        kinds += [
            (f"c.predict({place})", "PlacePrediction"),
            (f"c.predict({place}{RETURN})", "PlacePrediction"),
            (f"c.explain({place})", "PlaceExplanation"),
            (f"c.explain({place}{ALL}{RETURN})", "Any"),
            (f"c.nearest({place})", "list[Any]"),
        ]
    for images in (ONE[0], MANY[0], PLACES[0]):
        kinds += [
            (f"c.stream({images})", "Iterator[Prediction]"),
            (f"c.stream({images}{RETURN})", "Iterator[P_]"),
            (f"c.stream({images}, explain='gradcam')", "Iterator[tuple[Prediction, Explanation]]"),
            (f"c.stream({images}, explain='gradcam', against='nv', score='probability'{RETURN})",
             "Iterator[tuple[Prediction, Explanation] | ItemError]"),
            (f"c.stream({images}, explain='gradcam'{ALL})", "Iterator[tuple[Prediction, Maps]]"),
            (f"c.stream({images}, explain='gradcam'{ALL}{RETURN})",
             "Iterator[tuple[Prediction, Maps] | ItemError]"),
        ]  # fmt: skip
    return [f"assert_type({expression}, {kind})" for expression, kind in kinds]


USED = """
def flags(
    path: str, photo: str | Image.Image, several: bool, method: str | None, anything: Any
) -> None:
    assert_type(c.predict(path).label, str)
    assert_type(c.predict(path).top(2), tuple[tuple[str, float], ...])
    c.explain(path).overlay()
    print(len(c.predict("photos/")), c.predict("photos/")[0].label)
    for result in c.predict("photos/", on_error="return"):
        print(result if isinstance(result, ItemError) else result.label)
    for explanation in c.explain("photos/"):
        explanation.save("maps")
    listed: list[Prediction] = c.predict("photos/")
    for lesions in c.nearest("photos/"):
        print([lesion.distance for lesion in lesions])
    assert_type(c.explain(array, all_classes=several), Any)
    assert_type(c.stream([path], explain=method), Iterator[Any])
    assert_type(c.stream([path], dropout_passes=4), Iterator[Prediction])
    assert_type(c.predict(anything), Any)
    print(c.predict(photo).label)
"""
REFUSED = {
    "c.predict(array, batchsize=2)": "No overload",
    "c.predict(array, batch_size='2')": "No overload",
    "c.predict(array, layout='CWH')": "No overload",
    "c.predict(array, on_error='ignore')": "No overload",
    "c.predict(5)": "No overload",
    "c.predict(array).labell": "has no attribute",
    "c.predict([array]).label": "has no attribute",
    "c.predict(array, on_error='return').label": "has no attribute",
    "c.predict('a.jpg', target='mel')": "No overload",
    "c.stream([array], batchsize=2)": "No overload",
    "c.explain(array, target=5)": "No overload",
    "c.explain(array, all_classes=True).overlay()": "has no attribute",
    "c.nearest(array, on_error='return')": "No overload",
    "c.nearest(array, records=[array])": "No overload",
    "c.embed(array, batchsize=2)": "Unexpected keyword",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each statement of a user's script, with what mypy says of it."""
    script = tmp_path_factory.mktemp("user") / "script.py"
    script.write_text("\n".join([START, *lines(), USED, *REFUSED]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(Path(skinxai.__file__).parent.parent))
        options = ["--no-error-summary", "--hide-error-context", "--no-pretty"]
        options += [f"--config-file={ROOT / 'pyproject.toml'}"]
        options += [f"--cache-dir={ROOT / '.mypy_cache'}"]  # what is known of torch takes a minute
        out, err, _ = api.run([*options, str(script)])
    assert not err, err
    found: dict[int, str] = {}
    for line in out.splitlines():
        name, number, rest = line.split(":", 2)
        assert Path(name).name == "script.py", line
        found[int(number)] = found.get(int(number), "") + rest
    text = script.read_text()
    return {
        ast.get_source_segment(text, each) or "": "".join(
            found.get(number, "") for number in range(each.lineno, (each.end_lineno or 0) + 1)
        )
        for each in ast.parse(text).body
    }


def test_what_a_call_returns(said: dict[str, str]) -> None:
    wrong = [f"{line}: {said[line]}" for line in lines() if said[line]]
    assert not wrong, "\n".join(wrong)


def test_what_is_known_only_at_run_time_is_refused_nowhere(said: dict[str, str]) -> None:
    assert said[textwrap.dedent(USED).strip()] == ""


def test_what_cannot_be_is_refused(said: dict[str, str]) -> None:
    wrong = {line: said[line] for line, words in REFUSED.items() if words not in said[line]}
    assert not wrong


def test_keywords_for_type_checkers_are_the_options() -> None:
    options = {each.name for each in dataclasses.fields(InputOptions)}
    for keywords in (Inputs, InputsOrErrors, AnyInputs):
        assert set(keywords.__annotations__) <= options
        assert set(get_type_hints(keywords)) == options
