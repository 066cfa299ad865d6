"""What holds of every explanation, whatever the method."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skinxai.errors import ExplainTimeoutError, OptionError, UnknownNameError
from skinxai.explaining import questions, views
from skinxai.testing import colour_classifier
from skinxai.testing.networks import ColourNetwork, of_network
from skinxai.testing.pictures import picture

THREE = picture({"upper left": "red", "upper right": "green", "lower middle": "blue"})


def same(first, second, tolerance: float = 1e-5) -> bool:
    scale = np.abs(first.heatmap).max()
    return bool(np.abs(first.heatmap - second.heatmap).max() <= tolerance * scale)


def test_a_score_without_evidence_is_flagged(tmp_path) -> None:
    grey = np.full((60, 90, 3), 128, np.uint8)
    found = colour_classifier().explain(grey, "layercam", target="red")
    assert found.degenerate and "constant map" in repr(found)
    found.save(tmp_path / "why")
    assert json.loads((tmp_path / "why/explanation.json").read_text())["degenerate"] is True
    assert not colour_classifier().explain(THREE, target="red").degenerate


@pytest.mark.parametrize("target", [3, -1, 0.5, {"red"}])
def test_a_target_that_is_no_label(target) -> None:
    with pytest.raises(OptionError, match="target must be a label, a list of labels, or None"):
        colour_classifier().explain(THREE, target=target)


def test_unknown_labels_and_lists_of_another_length() -> None:
    with pytest.raises(UnknownNameError, match="yellow"):
        colour_classifier().explain(THREE, target="yellow")
    with pytest.raises(OptionError, match="1 label was given for 2 images"):
        colour_classifier().explain([THREE, THREE], target=["red"])


def test_the_time_is_up_and_the_prediction_is_kept(monkeypatch) -> None:
    """A clock that each pass puts forward by a second."""
    classifier, clock = colour_classifier(), [0.0]
    for module in (questions, views):
        times = SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter)
        monkeypatch.setattr(module, "time", times)

    def tick(images: torch.Tensor) -> None:
        clock[0] += 1

    classifier.network.network.disturb = tick
    expected = classifier.predict(THREE).label
    with pytest.raises(ExplainTimeoutError, match="timeout was reached") as caught:
        classifier.explain(THREE, "rise", timeout=1)
    assert [prediction.label for prediction in caught.value.predictions] == [expected]
    found = classifier.explain([THREE, THREE], "rise", timeout=1, on_error="return")
    assert [item.error.code for item in found] == ["explain_timeout"] * 2
    assert classifier.explain(THREE, "rise", budget=32, timeout=60).heatmap is not None


def test_passes_are_shown_for_one_image(capsys) -> None:
    classifier = colour_classifier()
    classifier.explain(THREE, "rise", budget=64, progress=True)
    shown = capsys.readouterr().err
    assert "/64" in shown and "pass" in shown
    classifier.explain(THREE, "rise", budget=64, progress=False)
    classifier.explain(THREE, "rise", budget=64)  # no terminal
    assert "pass" not in capsys.readouterr().err


def test_contrast_is_the_difference_of_both_scores() -> None:
    """Signed HiResCAM is linear in the gradient, so that the maps subtract."""
    classifier = colour_classifier()
    red, blue = (
        classifier.explain(THREE, "hirescam", target=colour, signed=True).heatmap
        for colour in ("red", "blue")
    )
    found = classifier.explain(THREE, "hirescam", target="red", against="blue", signed=True)
    np.testing.assert_allclose(found.heatmap, red - blue, atol=1e-5)
    assert found.against == "blue" and "'red' against 'blue'" in repr(found)


def test_contrast_without_a_target_is_never_the_same_class() -> None:
    image = picture({"upper left": "red"})
    assert colour_classifier().explain(image, against="green").target == "red"
    assert colour_classifier().explain(image, against="red").target != "red"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "red", "against": "red"}, "against must be another label"),
        ({"against": "red", "all_classes": True}, "target and against must be None"),
        ({"against": "red", "method": "eigencam"}, "against must be left out for eigencam"),
        ({"score": "probability", "method": "eigencam"}, "score must be left out for eigencam"),
    ],
)
def test_contrasts_that_make_no_sense(options: dict, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        colour_classifier().explain(THREE, **options)


def test_methods_without_a_class_say_so() -> None:
    found = colour_classifier().explain(THREE, "eigencam")
    assert found.score == "none" and repr(found).startswith("Explanation(eigencam, map ")


def test_flips_are_flipped_back_and_averaged() -> None:
    classifier = colour_classifier()
    image = picture({"upper left": "red"})
    found = classifier.explain(image, "hirescam", target="red", tta=True, signed=True)
    views = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    maps = [
        classifier.explain(np.ascontiguousarray(view), "hirescam", target="red", signed=True)
        for view in views
    ]
    a, b, c, d = (each.heatmap for each in maps)
    expected = (a + b[::-1] + c[:, ::-1] + d[::-1, ::-1]) / 4
    np.testing.assert_allclose(found.heatmap, expected, atol=1e-5)
    assert "four flips" in found.options["tta"]["score"]
    pair = next(iter(classifier.stream(image, explain="gradcam", tta=True)))
    assert pair[0].probabilities == classifier.predict(image, tta=True).probabilities


def test_scorecam_without_any_evidence_is_flagged() -> None:
    grey = np.full((60, 90, 3), 128, np.uint8)
    assert colour_classifier().explain(grey, "scorecam", target="red").degenerate


@pytest.mark.parametrize("method", ["occlusion", "rise", "lime", "scorecam"])
def test_maps_of_all_classes_share_their_passes(method: str) -> None:
    """Three classes take the passes of one, and each has the map it has alone."""
    network = ColourNetwork()
    classifier = of_network(network)
    seen: list[int] = []
    network.disturb = lambda images: seen.append(len(images))
    options = {"budget": 40} if method != "scorecam" else {}
    alone = {}
    for code in classifier.labels:
        seen.clear()
        alone[code] = classifier.explain(THREE, method, target=code, **options)
        of_one = sum(seen)
    seen.clear()
    every = classifier.explain(THREE, method, all_classes=True, **options)
    assert sum(seen) == of_one > 2
    for code, found in every.items():
        np.testing.assert_array_equal(found.heatmap, alone[code].heatmap)
    assert not same(every["red"], every["green"])


def test_other_images_are_never_answered_from_memory() -> None:
    """Two images in one batch, and a smaller part after a full memory, have their own scores."""
    network = ColourNetwork()
    classifier = of_network(network)
    pictures = [picture({"upper left": "red"}), picture({"upper right": "green"})]
    alone = [classifier.explain(p, "rise", all_classes=True, budget=40) for p in pictures]
    calls = []

    def once_full(images: torch.Tensor) -> None:
        calls.append(len(images))
        if len(calls) == 5:
            raise RuntimeError("out of memory")

    network.disturb = once_full
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # so that a pass takes several images at once
    try:
        together = classifier.explain(pictures, "rise", all_classes=True, budget=40)
    finally:
        torch.set_num_threads(threads)
    assert max(calls) > min(calls)
    for one, both in zip(alone, together, strict=True):
        for code, found in one.items():
            assert same(found, both[code])


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", True])
def test_a_timeout_that_is_no_time(timeout) -> None:
    with pytest.raises(OptionError, match=f"timeout must be seconds > 0, or None, got {timeout!r}"):
        colour_classifier().explain(THREE, timeout=timeout)
