"""A device answers as the processor does, within what float32 leaves open."""

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from on_a_device import OWN, colours
from small_runs import rows

from skinxai import Classifier, explainers
from skinxai.testing.networks import NETWORKS
from skinxai.testing.pictures import picture

IMAGES = [picture({"upper left": colour}) for colour in ("red", "green", "blue")]
PROBABILITY = 1e-5
"""Largest difference of a probability: TF32 would move it by some thousandths."""
SHARE = 1e-3
"""Largest difference of a map, as a share of its largest value."""
BUDGETS = {"occlusion": 48, "rise": 20, "lime": 20, "smoothgrad": 4, "integrated_gradients": 8}
METHODS = [
    (kind, method)
    for method in explainers.names()
    for kind in NETWORKS
    if kind == "transformer" or "attention" not in method
]

pytestmark = pytest.mark.usefixtures("small_networks")


def asked(classifier: Classifier, method: str, images: Any = IMAGES, **more: Any) -> Any:
    options = {"budget": BUDGETS[method]} if method in BUDGETS else {}
    return classifier.explain(images, method, **options, **more)


def same_maps(found: Any, expected: Any) -> None:
    for own, other in zip(found, expected, strict=True):
        assert own.target == other.target and set(own.maps) == set(other.maps)
        for name, values in other.maps.items():
            most = SHARE * max(float(np.abs(values).max()), 1e-6)
            np.testing.assert_allclose(own.maps[name], values, rtol=0, atol=most)
        for name, value in other.scores.items():
            assert own.scores[name] == pytest.approx(value, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("tta", [False, True])
def test_predictions_and_embeddings(device: str, kind: str, tta: bool) -> None:
    here, there = colours(kind, "cpu"), colours(kind, device)
    found = there.predict(IMAGES, tta=tta)
    assert found[0].backend == f"torch {device} float32"
    np.testing.assert_allclose(
        rows(found), rows(here.predict(IMAGES, tta=tta)), rtol=0, atol=PROBABILITY
    )
    embedded = here.embed(IMAGES)
    np.testing.assert_allclose(there.embed(IMAGES), embedded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "method"), METHODS)
def test_every_method(device: str, kind: str, method: str) -> None:
    here, there = colours(kind, "cpu"), colours(kind, device)
    found = asked(there, method)
    same_maps(found, asked(here, method))
    assert found[0].backend == f"torch {device} float32"


def test_maps_of_all_classes_of_four_views_and_of_probabilities(device: str) -> None:
    here, there = (colours("convolutions", each) for each in ("cpu", device))
    for more in ({"tta": True}, {"score": "probability"}, {"against": "blue", "target": "red"}):
        same_maps(asked(there, "gradcam", **more), asked(here, "gradcam", **more))
    for method in ("gradcam", "occlusion"):  # whose passes are kept for the other classes
        found, expected = (asked(c, method, all_classes=True) for c in (there, here))
        for own, other in zip(found, expected, strict=True):
            same_maps(own.values(), other.values())


def test_folded_networks_ensembles_and_dropout(device: str, folders, photos) -> None:
    for name in (folders[0], folders):
        here, there = (Classifier.from_pretrained(name, device=each) for each in ("cpu", device))
        for more in ({}, {"tta": True}, {"dropout_passes": 4}):
            found, expected = (c.predict(photos[:5], **more) for c in (there, here))
            np.testing.assert_allclose(rows(found), rows(expected), rtol=0, atol=PROBABILITY)
            for own, other in zip(found, expected, strict=True):
                if other.uncertainty is not None:  # the same dropout, drawn on the processor
                    assert own.uncertainty.total == pytest.approx(other.uncertainty.total, abs=1e-4)
        same_maps(there.explain(photos[:3]), here.explain(photos[:3]))
    member = Classifier.from_pretrained(folders[0], device=device).torch_predictor.members[0]
    assert member.folded is not member.network  # as on the processor


def test_calibration_novelty_quality_and_evaluation(device: str, folders, records) -> None:
    made = [
        Classifier.from_pretrained(folders[0], device=each).calibrate(records)
        for each in ("cpu", device)
    ]
    slopes = [each.calibration.one_view.scaling.slopes for each in made]
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-3)
    paths = [item.path for item in records][:6]
    expected, found = (each.predict(paths) for each in made)
    np.testing.assert_allclose(rows(found), rows(expected), rtol=0, atol=1e-3)
    for own, other in zip(found, expected, strict=True):
        assert own.novelty.score == pytest.approx(other.novelty.score, rel=1e-2, abs=1e-3)
        assert own.quality == other.quality and own.decision == other.decision
    judged = [
        Classifier.from_pretrained(folders[1], device=each).evaluate(records)
        for each in ("cpu", device)
    ]
    assert np.array_equal(judged[0].confusion, judged[1].confusion)
    assert judged[0].brier_score.value == pytest.approx(judged[1].brier_score.value, abs=1e-5)


def test_two_models_on_one_device_from_two_threads(device: str) -> None:
    if OWN:
        pytest.skip("What is made on the device of its own memory is seen in one thread alone.")
    models = [colours(kind, device) for kind in NETWORKS]

    def answers(model: Classifier) -> tuple[np.ndarray, list[np.ndarray]]:
        maps = [asked(model, name, IMAGES[0]).heatmap for name in ("gradcam", "saliency", "rise")]
        return rows(model.predict(IMAGES)), maps

    alone = [answers(model) for model in models]
    with ThreadPoolExecutor(2) as pool:
        together = [list(pool.map(answers, models)) for _ in range(5)]
    for found in together:
        for (own, maps), (other, expected) in zip(found, alone, strict=True):
            np.testing.assert_allclose(own, other, rtol=0, atol=PROBABILITY)
            for one, two in zip(maps, expected, strict=True):
                np.testing.assert_allclose(one, two, rtol=0, atol=SHARE * np.abs(two).max())


def memory_of(device: str) -> Callable[[], int]:
    """What a device holds: bytes of a GPU, else tensors of this process."""
    if device == "cuda":
        return torch.cuda.memory_allocated
    return lambda: sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@pytest.mark.parametrize("method", ["gradcam", "guided_backprop", "integrated_gradients", "rise"])
def test_explanations_leave_nothing_behind(device: str, method: str) -> None:
    """Without the collector of cycles: a map's activations are freed with its last name."""
    if OWN:
        pytest.skip("Each tensor on the device of its own memory is two of Python.")
    model, memory = colours("convolutions", device), memory_of(device)
    for _ in range(2):
        asked(model, method, IMAGES[0])
    gc.collect()
    gc.disable()
    try:
        before = memory()
        for _ in range(50 if method == "gradcam" else 5):
            asked(model, method, IMAGES[0])
        assert memory() <= before
    finally:
        gc.enable()
