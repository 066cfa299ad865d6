"""Backends timed, and compared with torch."""

import math
from pathlib import Path

import numpy as np
import pytest
from small_runs import model_folder, registered

from skinxai import Classifier
from skinxai.benchmarking.backends import prediction_speed, to_lines
from skinxai.labels import LabelSet
from skinxai.predicting.graph_predictor import GraphPredictor


def test_backends_are_timed_and_compared(photos, tmp_path: Path) -> None:
    with registered():
        plain = model_folder(tmp_path / "plain", seed=1)
        Classifier.from_pretrained(plain).with_graph().save_pretrained(tmp_path / "with")
        found, missing = prediction_speed(photos, tmp_path / "with", rounds=1)
        torch_row, onnx_row, openvino_row, rounded = found
        assert not missing
        assert torch_row.difference == 0 and not any(row.labels for row in found[:3])
        assert onnx_row.difference < 1e-5 and openvino_row.difference < 1e-5
        exact = "float32" in rounded.backend  # as the processor can
        assert exact or rounded.difference > 10 * openvino_row.difference
        assert all(row.images_per_second > 0 and row.milliseconds > 0 for row in found)
        (only,), missing = prediction_speed(photos, plain, rounds=1)
        assert only.backend == "torch cpu float32" and set(missing) == {"onnx", "openvino"}
        lines = "\n".join(to_lines([only], missing, len(photos)))
        assert "| torch cpu float32 |" in lines and "left out: backend 'onnx' needs" in lines


def test_how_far_a_backend_is_from_torch(photos, tmp_path: Path, monkeypatch) -> None:
    """A graph whose first logits are too high by a half: each probability by hand."""
    exact = GraphPredictor.probabilities

    def shifted(self, logits):
        return exact(self, logits + np.float32([0.5, 0]))

    with registered():
        labels = LabelSet(("nv", "mel"))
        plain = model_folder(tmp_path / "plain", labels, seed=1)
        Classifier.from_pretrained(plain).with_graph().save_pretrained(tmp_path / "with")
        monkeypatch.setattr(GraphPredictor, "probabilities", shifted)
        (_, onnx_row, *_), _ = prediction_speed(photos, tmp_path / "with", rounds=1)
        right = [
            each.probabilities["nv"] for each in Classifier.from_pretrained(plain).predict(photos)
        ]
    wrong = [p * math.exp(0.5) / (p * math.exp(0.5) + 1 - p) for p in right]
    gaps = [abs(a - b) for a, b in zip(wrong, right, strict=True)]
    assert onnx_row.difference == pytest.approx(max(gaps), abs=1e-5) and min(gaps) > 0.01
    turned = [(a > 0.5) != (b > 0.5) for a, b in zip(wrong, right, strict=True)]
    assert onnx_row.labels == sum(turned)
