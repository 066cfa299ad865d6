"""Resizing is Pillow's own, in one step, from pictures far larger than the model's."""

import numpy as np
import pytest
from PIL import Image

from skinxai import PreprocessConfig
from skinxai.images import transforms
from skinxai.images.transforms import resize


@pytest.mark.parametrize("size", [(1200, 1600), (1603, 1201), (288, 384), (100, 150)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_is_plain_pillow(interpolation: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    config = PreprocessConfig((288, 384), interpolation=interpolation)
    way = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    expected = Image.fromarray(pixels).resize((384, 288), way[interpolation])
    np.testing.assert_array_equal(resize(pixels, config), np.asarray(expected))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_large_images_resized_channel_by_channel_have_the_same_bits(
    interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (331, 977, 3), np.uint8)
    config = PreprocessConfig((288, 384), interpolation=interpolation)
    whole, parts, fromarray = resize(pixels, config), [], Image.fromarray
    monkeypatch.setattr(transforms, "LARGE", pixels.size - 1)
    monkeypatch.setattr(Image, "fromarray", lambda a: parts.append(a.shape) or fromarray(a))
    np.testing.assert_array_equal(resize(pixels, config), whole)
    assert parts == 3 * [(331, 977)]
