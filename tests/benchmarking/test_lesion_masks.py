"""Masks of lesions: what is none, and two images that would share one."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from skinxai.benchmarking import benchmark_explainers, stress_test
from skinxai.benchmarking.lesion_masks import read_mask
from skinxai.benchmarking.plan import Plan
from skinxai.data import load_folder
from skinxai.errors import DatasetError
from skinxai.testing.networks import COLOURS, colour_classifier
from skinxai.testing.pictures import PLACES, picture, window


def test_masks_that_are_none(tmp_path) -> None:
    path = tmp_path / "mask.png"
    inside = np.zeros((20, 40), np.uint8)
    inside[5:10, 10:30] = 1
    Image.fromarray(inside).save(path)  # 0 and 1 are black and white as well
    found = read_mask(path, (10, 20))
    assert found.shape == (10, 20) and 25 <= found.sum() <= 75
    for values, words in (
        (inside * 100, "black and white"), (inside * 0, "it has none"),
        (inside[:, :30] * 255, "shape"),
    ):  # fmt: skip
        Image.fromarray(values.astype(np.uint8)).save(path)
        with pytest.raises(DatasetError, match=words):
            read_mask(path, (10, 20))
    for content in (b"no picture", path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="must be a picture that can be read"):
            read_mask(path, (10, 20))
    path.unlink()
    with pytest.raises(DatasetError, match="reading it failed: No such file"):
        read_mask(path, (10, 20))


def test_two_images_never_share_a_mask(tmp_path) -> None:
    """Class folders that each begin with ``001.png``: the mask would be right for one of them."""
    (masks := tmp_path / "masks").mkdir()
    for place, colour in zip(PLACES, COLOURS, strict=False):
        (folder := tmp_path / "data" / colour).mkdir(parents=True)
        Image.fromarray(picture({place: colour})).save(folder / "001.png")
        mask = np.zeros(picture({}).shape[:2], np.uint8)
        mask[window(place)] = 255
        Image.fromarray(mask).save(masks / "001_segmentation.png")
    records, classifier = load_folder(tmp_path / "data"), colour_classifier()
    words = r"'\w+/001.png' and '\w+/001.png' would share the mask '.*001_segmentation.png'"
    with pytest.raises(DatasetError, match=words):
        benchmark_explainers(classifier, records, masks, tmp_path / "out", progress=False)
    ordered = replace(records, labels=classifier.config.labels)
    with pytest.raises(DatasetError, match=words):
        stress_test(classifier, ordered, masks, progress=False)
    (masks / "001_segmentation.png").rename(masks / "002_segmentation.png")
    (tmp_path / "data/red/001.png").rename(tmp_path / "data/red/002.png")
    chosen = Plan().images(load_folder(tmp_path / "data"), masks)
    assert [item.image_id for item in chosen] == ["red/002.png"]
