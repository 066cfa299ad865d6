"""Resizing is Pillow's own, in one step, from pictures far larger than the model's."""

import numpy as np
import pytest
from PIL import Image

from skinxai import PreprocessConfig
from skinxai.images.transforms import resize


@pytest.mark.parametrize("size", [(1200, 1600), (1603, 1201), (288, 384), (100, 150)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_is_plain_pillow(interpolation: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    config = PreprocessConfig((288, 384), interpolation=interpolation)
    way = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    expected = Image.fromarray(pixels).resize((384, 288), way[interpolation])
    np.testing.assert_array_equal(resize(pixels, config), np.asarray(expected))
