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


def thumb(seed: int) -> np.ndarray:
    return cv2.resize(skin(seed)[..., 0], (64, 64), interpolation=cv2.INTER_AREA)


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


def candidates(search, prints: list[Fingerprint]) -> dict[tuple[int, int], float]:
    """Pairs of images of different groups, with their similarity, that a search names."""
    found = search(prints, list(map(str, range(len(prints)))), lambda loop, name, total: loop)
    pairs = [(first, second) for first, second in found.pairs.tolist()]
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, found.whole.tolist(), strict=True))


def voted(rows: list[np.ndarray]) -> set[tuple[int, int]]:
    """Pairs of images, of which only the descriptors of keypoints are known."""
    found = alike_index.voted(
        lambda place: rows[place], np.arange(len(rows), dtype=np.int32), distance=250.0,
        progress=lambda loop, name, total: loop,
    )  # fmt: skip
    return {(first, second) for first, second in found.pairs.tolist()}


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

    def counted(trees, asked, known):
        found = nearest(trees, asked, known)
        compared.append(len(np.unique(found)))
        return found

    monkeypatch.setattr(alike_index, "_nearest", counted)
    totals = []
    for count in (50, 100, 200, 400):
        compared.clear()
        thumbs = [thumb(seed) for seed in range(count)]
        alike_index.partners(
            thumbs.__getitem__, np.arange(count, dtype=np.int32), count=5, least=0.5,
            progress=lambda loop, name, total: loop,
        )  # fmt: skip
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


def test_fewer_rows_than_neighbours_asked_for_are_all_found() -> None:
    prints = [fingerprint(each) for each in (skin(1), copies(skin(1))[2])]
    assert [(pair.first, pair.second) for pair in find_pairs(prints, ["a", "b"])] == [(0, 1)]
    rows = [prints[0].descriptors[:2], prints[0].descriptors[:2], prints[0].descriptors[:0]]
    assert voted(rows) == {(0, 1)}


def test_turned_copies_have_the_similarity_of_an_orientation_and_crops_not() -> None:
    pixels = skin(3)
    prints = [fingerprint(each) for each in (pixels, copies(pixels)[1], copies(pixels)[4])]
    found = candidates(near_duplicates._from_trees, prints)
    every = candidates(near_duplicates._from_all, prints)
    assert found[0, 1] == pytest.approx(every[0, 1], abs=1e-3)
    assert found[0, 1] > 0.96 > found[0, 2]
    assert found[0, 2] == pytest.approx(every[0, 2], abs=1e-3)


@pytest.mark.parametrize(("shared", "moved", "is_found"), [
    (1, 60.0, False), (2, 60.0, True), (2, 240.0, True), (2, 400.0, False), (3, 60.0, True),
])  # fmt: skip
def test_two_keypoints_within_the_distance_make_a_pair(shared, moved, is_found) -> None:
    draws = np.random.default_rng(0)
    axes = np.linalg.qr(draws.normal(size=(128, 20)))[0].T  # far apart along few directions
    rows = [
        np.clip(128 + 200 * draws.normal(size=(12, 20)) @ axes, 0, 240).astype(np.uint8)
        for _ in range(30)
    ]
    there = rows[4][:shared].astype(np.float64)
    step = np.zeros_like(there)
    step += moved * axes[0]  # a distance of ``moved``
    rows[20][:shared] = np.clip(np.round(there + step), 0, 255)
    found = voted(rows)
    far = np.linalg.norm(rows[4][:, None].astype(float) - rows[20].astype(float), axis=2)
    assert ((far < 250).sum(axis=0) > 0).sum() == (shared if moved < 250 else 0)
    assert ((4, 20) in found) == is_found


def test_a_pair_that_keypoints_alone_show_is_a_candidate() -> None:
    """Other photographs of one place are unlike as a whole."""
    points = fingerprint(skin(1))
    prints = [
        Fingerprint(str(seed), fingerprint(skin(seed)).thumb, points.points, points.descriptors)
        for seed in (5, 6)
    ]
    found = candidates(near_duplicates._from_trees, prints)
    assert found == {(0, 1): -1.0}


def test_partners_do_not_depend_on_what_was_drawn_before() -> None:
    draws = np.random.default_rng(0)
    thumbs = [cv2.resize(draws.integers(0, 256, (20, 20), np.uint8), (64, 64)) for _ in range(300)]
    found = []
    for seed in (1, 2):
        cv2.setRNGSeed(seed)
        found.append(
            alike_index.partners(
                thumbs.__getitem__, np.arange(300, dtype=np.int32), count=5, least=0.1,
                progress=lambda loop, name, total: loop,
            )
        )  # fmt: skip
    assert len(found[0].pairs) > 500
    np.testing.assert_array_equal(found[0].pairs, found[1].pairs)
    np.testing.assert_array_equal(found[0].whole, found[1].whole)


def test_of_a_pair_that_is_named_twice_the_higher_similarity_is_kept() -> None:
    found = alike_index.Candidates.of([(3, 1), (0, 2), (1, 3), (0, 1)], [0.5, 0.1, 0.7, -1.0])
    assert found.pairs.tolist() == [[0, 1], [0, 2], [1, 3]]
    np.testing.assert_array_equal(found.whole, np.float32([-1.0, 0.1, 0.7]))
    none = alike_index.Candidates.of([], [])
    assert none.pairs.shape == (0, 2) and none.whole.shape == (0,)
