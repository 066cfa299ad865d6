"""Explanations from a process of their own; what ends it is in test_plugins.py."""

import sys

import numpy as np
import pytest

from skinxai import Classifier, Explainer, plugins
from skinxai.errors import InputNotFoundError, OptionError, UnknownNameError
from skinxai.testing.networks import ColourNetwork, of_network


class OfThisProcess(ColourNetwork):
    """Says that its module is the script, which is another one in a new process."""

    __module__ = "__main__"


def test_the_same_bits_as_in_this_process(classifier: Classifier, photos: list) -> None:
    here, there = (
        classifier.explain(photos[:2], "gradcam", target="mel", isolate=isolate)
        for isolate in (None, "process")
    )
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.heatmap, other.heatmap)
        assert {**one.to_dict(), "seconds": 0} == {**other.to_dict(), "seconds": 0}


def test_errors_come_back_as_they_are(classifier: Classifier, photos: list) -> None:
    with pytest.raises(UnknownNameError, match=r"'gradcan'\. Did you mean 'gradcam'\?"):
        classifier.explain(photos[0], "gradcan", isolate="process")
    with pytest.raises(InputNotFoundError, match="found no image file at") as info:
        classifier.explain([photos[0], "nowhere.jpg"], isolate="process")
    assert (info.value.index, info.value.source) == (1, "nowhere.jpg")


def test_what_cannot_go_to_another_process(
    classifier: Classifier, photos: list, monkeypatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "OfThisProcess", OfThisProcess, raising=False)
    with pytest.raises(OptionError, match="must be None or 'process', got 'thread'"):
        classifier.explain(photos[0], isolate="thread")
    with pytest.raises(OptionError, match=r"can be pickled: .*generator.*; give paths or arrays"):
        classifier.explain((path for path in photos), isolate="process")
    made = of_network(OfThisProcess())
    with pytest.raises(OptionError, match=r"can import, but .*OfThisProcess.*install"):
        made.explain(photos[0], isolate="process")
    plugins.explainers.register("of_this_process")(Explainer)
    try:
        with pytest.raises(
            OptionError, match="'of_this_process' is registered only in this process"
        ):
            classifier.explain(photos[0], "of_this_process", isolate="process")
    finally:
        plugins.explainers.remove(["of_this_process"])
