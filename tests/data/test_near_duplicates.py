"""Which pairs are called near: fingerprints on each side of each threshold."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from skinxai.data import near_duplicates
from skinxai.data.near_duplicates import (
    Fingerprint,
    _agreeing_keypoints,
    _alike,
    find_pairs,
    fingerprint,
)
from skinxai.data.textures import crop_similarity, details, views

SIDE = 64


def smooth(seed: int, width: float) -> np.ndarray:
    """Noise without details finer than ``width`` pixels, mean 0 and deviation 1."""
    values = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    values = cv2.GaussianBlur(values, (0, 0), width) if width else values
    return np.asarray((values - values.mean()) / values.std())


def printed(values: np.ndarray, name: str) -> Fingerprint:
    """A fingerprint without keypoints; ``values`` of deviation 1 become grey levels."""
    thumb = np.clip(128 + 35 * values, 0, 255).astype(np.uint8)
    return Fingerprint(name, thumb, np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))


def mixed(values: np.ndarray, seed: int, share: float, width: float) -> np.ndarray:
    """``values`` and other noise, which correlate by ``share`` before anything is taken out."""
    return np.asarray(share * values + (1 - share**2) ** 0.5 * smooth(seed, width))


def whole(first: Fingerprint, second: Fingerprint) -> float:
    return float(details(first.thumb) @ details(second.thumb))


@pytest.mark.parametrize("size", [(960, 720), (320, 240), (160, 120)])
def test_keypoints_are_those_of_a_smaller_copy_and_never_of_an_enlarged_one(size) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)
    pixels = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (min(size[0], 320), min(size[1], 240)), interpolation=cv2.INTER_AREA)
    points, rows = cv2.SIFT.create(nfeatures=300).detectAndCompute(small, None)
    order = np.argsort([-point.response for point in points], kind="stable")
    found = fingerprint(pixels)
    places = np.array([points[place].pt for place in order]) / max(small.shape)
    np.testing.assert_allclose(found.points, places, atol=1e-6)
    np.testing.assert_array_equal(found.descriptors, rows[order])


@pytest.mark.parametrize(("share", "near"), [(0.985, True), (0.91, False)])
def test_whole_images_are_near_from_096_on(share: float, near: bool) -> None:
    """Single pixels differ, so that no crop of one, shrunk, is found in the other."""
    first = smooth(1, 0)
    prints = [printed(first, "a"), printed(mixed(first, 2, share, 0), "b")]
    alike = whole(*prints)
    assert (0.96 <= alike < 0.99) if near else (0.80 < alike < 0.96)
    thumbs = [print_.thumb for print_ in prints]
    assert max(crop_similarity(*thumbs), crop_similarity(*thumbs[::-1])) < 0.7
    found = find_pairs(prints, ["a", "b"])
    assert [(pair.first, pair.second, pair.kind) for pair in found] == [(0, 1, "near")] * near
    assert all(pair.similarity == pytest.approx(alike, abs=1e-5) for pair in found)


@pytest.mark.parametrize(("share", "near"), [(0.88, True), (0.74, False)])
def test_crops_are_near_from_080_on(share: float, near: bool) -> None:
    image = smooth(3, 1.5)
    window = cv2.resize(image[5:59, 5:59], (SIDE, SIDE))
    prints = [printed(image, "a"), printed(mixed(window, 4, share, 1.8), "b")]
    alike = crop_similarity(*(print_.thumb for print_ in prints))
    assert (0.80 <= alike < 0.95) if near else (0.65 < alike < 0.80)
    assert whole(*prints) < 0.8
    assert len(find_pairs(prints, ["a", "b"])) == near


def test_an_image_has_up_to_five_partners() -> None:
    first = smooth(5, 0)
    prints = [printed(mixed(first, 10 + n, 0.995, 0), str(n)) for n in range(6)]
    assert min(whole(*two) for two in combinations(prints, 2)) > 0.96
    found = find_pairs(prints, [print_.digest for print_ in prints])
    assert {(p.first, p.second) for p in found} == set(combinations(range(6), 2))


def one_by_one(prints: list[Fingerprint], groups: list[str]) -> dict[tuple[int, int], float]:
    """The five most similar partners of each image, compared one by one in float64."""
    rows = [details(p.thumb).astype(np.float64) for p in prints]
    found: dict[tuple[int, int], float] = {}
    for own, print_ in enumerate(prints):
        scores = views(print_.thumb).astype(np.float64) @ np.array(rows).T
        others = [n for n in range(len(prints)) if groups[n] != groups[own]]
        others.sort(key=lambda n: -scores[:, n].max())
        for other in others[:5]:
            if scores[:, other].max() >= 0.5:
                pair = (min(own, other), max(own, other))
                found[pair] = max(found.get(pair, -1), scores[:8, other].max())
    return found


@pytest.mark.parametrize("columns", [1, 7, 39, 40, 41, 10_000])
def test_partners_are_those_of_a_comparison_one_by_one(monkeypatch, columns) -> None:
    """Copies that differ by a grey level or two compete for the five places, and all are found."""
    prints, groups = [], []
    for family in range(4):
        first = smooth(20 + family, 0.8)
        for n in range(10):
            values = mixed(first, 100 + 10 * family + n, 0.999 - 0.003 * n, 0.5)
            turn = np.rot90(values, n % 4)[:, :: 1 if n % 3 else -1]
            prints.append(printed(turn, f"{family}-{n}"))
            groups.append(f"{family}-{n // 2}")
    order = np.random.default_rng(3).permutation(len(prints))  # families lie in all blocks
    prints, groups = [prints[n] for n in order], [groups[n] for n in order]
    expected = one_by_one(prints, groups)
    monkeypatch.setattr(near_duplicates, "COLUMNS", columns)
    monkeypatch.setattr(near_duplicates, "ROWS", 9)
    found = _alike(prints, groups, lambda loop, name, total: loop)
    assert len(expected) > 60 and set(found) == set(expected)
    assert all(found[pair] == pytest.approx(expected[pair], abs=1e-5) for pair in expected)


class Counted(np.ndarray):
    """An array that counts the numbers of all matrix products it takes part in."""

    largest = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(each) for each in inputs]
        made = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.largest = max(Counted.largest, made.size)
        return made


def test_no_product_has_a_column_for_every_image() -> None:
    whole = np.random.default_rng(0).random((near_duplicates.COLUMNS + 5, 16), np.float32)
    views = np.random.default_rng(1).random((3, 2, 16), np.float32)
    found = near_duplicates._best(views.view(Counted), whole)
    np.testing.assert_allclose(found, (views @ whole.T).max(0), rtol=1e-5)
    assert Counted.largest == 3 * 2 * near_duplicates.COLUMNS


def with_keypoints(agreeing: int, extent: float) -> list[Fingerprint]:
    """Flat images with keypoints of which some are at the same places, over a part of the side.

    As many others match as well, at places that agree on nothing.
    """
    draws = np.random.default_rng(agreeing)
    rows = draws.integers(0, 256, (agreeing + 6, 128)).astype(np.uint8)
    angles = 2 * np.pi * np.arange(agreeing) / agreeing
    places = 0.5 + extent / 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    flat = np.full((SIDE, SIDE), 128, np.uint8)
    return [
        Fingerprint(
            name,
            flat,
            np.concatenate([places, draws.random((6, 2))]).astype(np.float32),
            rows,
        )
        for name in "ab"
    ]


@pytest.mark.parametrize(("agreeing", "near"), [(12, True), (8, True), (7, False), (4, False)])
def test_eight_keypoints_must_agree(agreeing: int, near: bool) -> None:
    prints = with_keypoints(agreeing, 0.8)
    assert _agreeing_keypoints(*prints) == agreeing
    found = find_pairs(prints, ["a", "b"])
    assert [(pair.kind, pair.keypoints) for pair in found] == [("near", agreeing)] * near


@pytest.mark.parametrize("agreeing", [3, 7])
def test_too_few_matches_are_none(agreeing: int) -> None:
    prints = [
        Fingerprint(p.digest, p.thumb, p.points[:agreeing], p.descriptors[:agreeing])
        for p in with_keypoints(agreeing, 0.8)
    ]
    assert _agreeing_keypoints(*prints) == 0


@pytest.mark.parametrize(("extent", "count"), [(0.2, 10), (0.16, 10), (0.13, 0), (0.06, 0)])
def test_keypoints_must_agree_over_a_part_of_the_image(extent: float, count: int) -> None:
    assert _agreeing_keypoints(*with_keypoints(10, extent)) == count


def test_a_fingerprint_keeps_the_300_strongest_keypoints() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    noise = cells.repeat(4, axis=0).repeat(4, axis=1)
    found = fingerprint(noise)
    assert found.points.shape == (300, 2) and found.descriptors.shape == (300, 128)
    assert found.thumb.shape == (64, 64)
    # Places are shares of the longer side, whatever the resolution.
    assert 0.9 < found.points[:, 0].max() <= 1 and 0.65 < found.points[:, 1].max() <= 0.75
    grey = cv2.cvtColor(noise, cv2.COLOR_RGB2GRAY)
    keypoints = cv2.SIFT.create(nfeatures=300).detect(grey, None)
    strongest = sorted(keypoints, key=lambda keypoint: -keypoint.response)
    expected = np.array([keypoint.pt for keypoint in strongest], np.float32) / 320
    np.testing.assert_array_equal(found.points, expected)
    twice = fingerprint(noise.repeat(2, axis=0).repeat(2, axis=1))
    assert 0.9 < twice.points[:, 0].max() <= 1 and 0.65 < twice.points[:, 1].max() <= 0.75


def test_a_flat_picture_has_no_keypoints() -> None:
    found = fingerprint(np.full((40, 60, 3), 90, np.uint8))
    assert found.points.shape == (0, 2) and found.descriptors.shape == (0, 128)
    assert np.unique(found.thumb).tolist() == [90]
