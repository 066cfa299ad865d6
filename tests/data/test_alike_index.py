"""The search for near duplicates among many images: what it finds, and how much it compares."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from skinxai import read_image, samples
from skinxai.data import alike_index, near_duplicates
from skinxai.data.near_duplicates import Fingerprint, find_pairs, fingerprint

pytestmark = pytest.mark.usefixtures("trees")


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """All searches of a test are those of many images."""
    monkeypatch.setattr(near_duplicates, "MANY", 0)


def skin(seed: int) -> np.ndarray:
    """A picture with texture of all sizes, RGB uint8 ``(120, 160, 3)``."""
    draws = np.random.default_rng(seed)
    layers = [cv2.resize(draws.normal(size=(12 * 2**n, 16 * 2**n)), (160, 120)) for n in range(4)]
    grey = np.clip(128 + 30 * np.sum(layers, axis=0), 0, 255).astype(np.uint8)
    return np.stack([grey, grey, grey], axis=2)


def copies(pixels: np.ndarray) -> list[np.ndarray]:
    """Turned, flipped, smaller, re-encoded, and cropped to 77 % of the area."""
    height, width = pixels.shape[:2]
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    crop = pixels[: round(0.88 * height), round(0.12 * width) :]
    return [
        np.ascontiguousarray(np.rot90(pixels)), np.ascontiguousarray(pixels[:, ::-1]),
        cv2.resize(pixels, (width * 2 // 3, height * 2 // 3), interpolation=cv2.INTER_AREA),
        cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.ascontiguousarray(crop),
    ]  # fmt: skip


def test_each_copy_is_found_among_strangers_and_no_stranger_is_paired() -> None:
    originals = [skin(seed) for seed in range(60)]
    made = copies(originals[7])
    prints = [fingerprint(pixels) for pixels in [*originals, *made]]
    found = {(pair.first, pair.second) for pair in find_pairs(prints, list(map(str, range(65))))}
    assert {(7, place) for place in range(60, 65)} <= found
    assert not found - set(combinations([7, *range(60, 65)], 2))


def test_copies_of_photographs_are_found() -> None:
    pictures = [read_image(path).pixels for path in samples.paths()]
    made = [copy for pixels in pictures for copy in copies(pixels)]
    prints = [fingerprint(pixels) for pixels in [*pictures, *made]]
    names = [f"lesion {n}" for n in range(len(prints))]
    found = {(pair.first, pair.second) for pair in find_pairs(prints, names)}
    own = {(n // 5, len(pictures) + n) for n in range(len(made))}
    assert own <= found


def test_images_of_one_lesion_are_no_pair() -> None:
    pixels = skin(1)
    prints = [fingerprint(each) for each in [pixels, *copies(pixels)]]
    assert find_pairs(prints, ["one"] * len(prints)) == ()


def test_the_number_of_comparisons_grows_like_the_number_of_images(monkeypatch) -> None:
    compared = []
    nearest = alike_index._nearest

    def counted(trees, asked):
        found = nearest(trees, asked)
        compared.append(len(np.unique(found)))
        return found

    monkeypatch.setattr(alike_index, "_nearest", counted)
    totals = []
    for count in (50, 100, 200, 400):
        compared.clear()
        prints = [fingerprint(skin(seed)) for seed in range(count)]
        find_pairs(prints, list(map(str, range(count))))
        assert len(compared) == count
        totals.append(sum(compared) / count)
    most = 33 * alike_index.NEAREST  # views of an image, each with its nearest
    assert max(totals) <= most
    assert totals[-1] < 400 / 2  # not all


def test_many_equal_pictures_are_as_many_pairs_and_not_their_square() -> None:
    black = Fingerprint(
        "black", np.zeros((64, 64), np.uint8), np.empty((0, 2), np.float32),
        np.empty((0, 128), np.uint8),
    )  # fmt: skip
    groups = ["a", "a", "b", *(f"c{n}" for n in range(997))]
    found = find_pairs([black] * 1000, groups)
    assert {pair.kind for pair in found} == {"identical"}
    assert len(found) == 999
    assert {pair.first for pair in found} == {0, 1}
    assert {place for pair in found for place in (pair.first, pair.second)} == set(range(1000))
    assert all(groups[pair.first] != groups[pair.second] for pair in found)
