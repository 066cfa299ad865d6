"""What a comparison of explainers refuses, or leaves unknown."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from test_benchmarking import SMALL, data

from skinxai import Classifier
from skinxai.benchmarking import benchmark_explainers, read_rows
from skinxai.data import TrainedOn, pixel_hash
from skinxai.errors import (
    DatasetError,
    LeakageError,
    NonFiniteOutputError,
    OptionError,
    OutputError,
    ResumeMismatchError,
    UnknownNameError,
)
from skinxai.model_folders.trained_on import Look
from skinxai.testing.networks import colour_classifier
from skinxai.version import __version__

__all__ = ["data"]  # fixtures


def test_what_cannot_be_compared(data, tmp_path) -> None:
    records, masks = data
    classifier = colour_classifier()
    with pytest.raises(DatasetError, match="masks must be a folder of IMAGE_segmentation"):
        benchmark_explainers(classifier, records, tmp_path, tmp_path / "out")
    with pytest.raises(UnknownNameError, match="gradcam"):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", methods=["gradcan"])
    with pytest.raises(OptionError, match="steps must be an integer >= 1"):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", steps=0)


def test_other_masks_weights_or_pixels_are_another_comparison(data, tmp_path) -> None:
    records, masks = data
    settings = SMALL | {"methods": ["gradcam"], "checked": 0}
    classifier = colour_classifier()
    benchmark_explainers(classifier, records, masks, tmp_path / "out", **settings)
    other = colour_classifier()
    with torch.no_grad():
        next(other.network.parameters()).mul_(2)
    with pytest.raises(ResumeMismatchError, match="another 'weights'"):
        benchmark_explainers(other, records, masks, tmp_path / "out", **settings)
    path = next(masks.iterdir())
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(ResumeMismatchError, match="another 'masks'"):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", **settings)
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    benchmark_explainers(classifier, records, masks, tmp_path / "out", **settings)
    items = tuple(replace(each, lesion_id=f"other {each.lesion_id}") for each in records)
    with pytest.raises(ResumeMismatchError, match="another 'images'"):
        benchmark_explainers(
            classifier, replace(records, items=items), masks, tmp_path / "out", **settings
        )
    Image.fromarray(255 - np.asarray(Image.open(records[0].path))).save(records[0].path)
    with pytest.raises(ResumeMismatchError, match="another 'images'"):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", **settings)
    with (
        FileLock(tmp_path / "out/.lock"),
        pytest.raises(OutputError, match="is in use"),
    ):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", **settings)


def test_a_comparison_of_an_earlier_version_is_named(data, tmp_path) -> None:
    """Complete or not: its rows may have been measured in another way."""
    out, settings = tmp_path / "out", SMALL | {"methods": ["gradcam"], "checked": 0}
    benchmark_explainers(colour_classifier(), *data, out, **settings)
    study = json.loads((out / "study.json").read_bytes())
    fewer = {name: value for name, value in study.items() if name != "masks"}
    for earlier, said in ((study | {"skinxai": "0.0.9"}, "0.0.9"), (fewer, __version__)):
        (out / "study.json").write_text(json.dumps(earlier))
        with pytest.raises(ResumeMismatchError) as caught:
            benchmark_explainers(colour_classifier(), *data, out, **settings)
        assert f"a comparison of this skinxai, {__version__}, but " in str(caught.value)
        assert f"has one that another began, {said}; take a new folder, or " in str(caught.value)
    (out / "study.json").write_text("[1]")
    with pytest.raises(OutputError, match=r"must be readable JSON, an object: .*; take a new fold"):
        benchmark_explainers(colour_classifier(), *data, out, **settings)


def test_a_check_that_cannot_be_made_is_unknown(data, tmp_path, monkeypatch) -> None:
    """A scrambled network may overflow; the rest of the row stands."""
    records, masks = data
    explain = Classifier.explain

    def broken(self, *args, **options):
        if self.model.endswith("scrambled"):
            raise NonFiniteOutputError("logits must be finite, they are not.")
        return explain(self, *args, **options)

    monkeypatch.setattr(Classifier, "explain", broken)
    settings = SMALL | {"methods": ["gradcam"]}
    benchmark_explainers(colour_classifier(), records, masks, tmp_path / "out", **settings)
    checked = [r for r in read_rows(tmp_path / "out") if "randomised" in r]
    assert len(checked) == 2
    assert all(r["randomised"] is None and r["noisy"] > 0.9 for r in checked)


def test_images_that_the_model_was_trained_on(data, tmp_path, monkeypatch) -> None:
    records, masks = data
    seen = TrainedOn.from_hashes([pixel_hash(np.asarray(Image.open(records[0].path)))])
    classifier = colour_classifier()
    monkeypatch.setattr(type(classifier), "trained_on", seen)
    with pytest.raises(LeakageError, match="of 9, 1 has the pixels of a training image"):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", **SMALL)


def test_images_that_look_like_those_that_the_model_was_trained_on(
    data, tmp_path, monkeypatch
) -> None:
    records, masks = data
    pixels = np.asarray(Image.open(records[0].path)) // 2
    classifier, seen = colour_classifier(), TrainedOn.of_looks([Look.at(pixels)])
    monkeypatch.setattr(type(classifier), "trained_on", seen)
    arguments = (classifier, records, masks, tmp_path / "out")
    with pytest.raises(LeakageError, match=r"of 9, 2 look like .*, or name copies that are"):
        benchmark_explainers(*arguments, **SMALL)
    with pytest.raises(OptionError, match="not_copies must"):
        benchmark_explainers(*arguments, not_copies=["strange"], **SMALL)
    ids = ["red-upper-left", "blue-upper-left"]  # in grey they are alike
    few = SMALL | {"methods": ["saliency"]}
    assert benchmark_explainers(*arguments, not_copies=ids, **few).exists()
