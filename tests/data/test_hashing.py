"""Hashes and fingerprints of labelled images, from their files or from a prepared folder."""

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from small_runs import LABELS, coloured, model_folder

from skinxai import Classifier
from skinxai.data import Record, Records, TrainedOn, pixel_hash, prepare
from skinxai.data.hashing import looks, pixel_hashes
from skinxai.errors import ImageTooLargeError
from skinxai.labels import LabelSet
from skinxai.model_folders.fingerprints import BYTES as FINGERPRINT
from skinxai.model_folders.fingerprints import _reliefs, image_fingerprint
from skinxai.model_folders.relief_overlay import correlation
from skinxai.model_folders.relief_views import affines
from skinxai.model_folders.reliefs import SPECTRUM
from skinxai.model_folders.trained_on import Look


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    items = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(noise(number)).save(path)
        items.append(Record(str(number), path, "ab"[number % 2], f"l{number}"))
    return Records(tuple(items), LabelSet(("a", "b")))


def test_hashes_are_those_of_the_files_in_order(records: Records) -> None:
    expected = [pixel_hash(noise(number)) for number in range(3)]
    assert list(pixel_hashes(records)) == list(pixel_hashes(records, cached=False)) == expected
    assert [look.digest for look in looks(records)] == expected
    prints = [image_fingerprint(noise(number)) for number in range(3)]
    assert [look.fingerprint for look in looks(records)] == prints


@pytest.mark.parametrize("image_size", [None, (32, 40)])
def test_what_a_prepared_folder_knows_is_taken_unless_asked(image_size, records, tmp_path) -> None:
    kept = prepare(records, tmp_path / "kept", image_size=image_size, progress=False)
    expected = list(pixel_hashes(records))
    Image.fromarray(noise(9)).save(records[1].path)  # the original is another picture now
    now = [expected[0], pixel_hash(noise(9)), expected[2]]
    assert list(pixel_hashes(kept)) == [look.digest for look in looks(kept)] == expected
    assert list(pixel_hashes(kept, cached=False)) == now
    assert [look.digest for look in looks(kept, cached=False)] == now
    ours = [look.fingerprint for look in looks(kept)]
    stored = [kept.pixels.read(item.image_id) for item in kept]
    resized = image_size is not None
    assert ours == [image_fingerprint(pixels, resized=resized) for pixels in stored]
    known = replace(kept, pixels=replace(kept.pixels, fingerprints={"1": b"known"}))
    assert [look.fingerprint for look in looks(known)] == [ours[0], b"known", ours[2]]
    assert [look.digest for look in looks(known)] == expected


@pytest.mark.usefixtures("small_networks")
def test_an_evaluation_takes_the_fingerprints_that_prepared_images_know(tmp_path: Path) -> None:
    kept = prepare(coloured(tmp_path / "images", 2, 0), tmp_path / "kept", progress=False)
    learnt = TrainedOn.of_looks([Look("0" * 64, image_fingerprint(noise(5)))])
    folder = model_folder(tmp_path / "model", LABELS, trained_on=learnt)
    classifier = Classifier.from_pretrained(folder, device="cpu")
    assert classifier.evaluate(kept).seen.copies == ()
    known = {kept[1].image_id: image_fingerprint(noise(5))}
    told = replace(kept, pixels=replace(kept.pixels, fingerprints=known))
    assert classifier.evaluate(told).seen.copies == (kept[1].image_id,)


def test_an_image_that_cannot_be_read_gives_its_error(records: Records) -> None:
    for found in (pixel_hashes(records, max_pixels=48 * 64), looks(records, max_pixels=48 * 64)):
        assert not any(isinstance(each, Exception) for each in found)
    for found in (pixel_hashes(records, max_pixels=3071), looks(records, max_pixels=3071)):
        assert [type(each) for each in found] == [ImageTooLargeError] * 3


def test_a_pixel_hash_is_the_least_of_the_eight_orientations() -> None:
    """Models keep these hashes: they must be the same in each version."""
    pixels = noise(0)
    turned = [np.rot90(each, k) for each in (pixels, pixels[:, ::-1]) for k in range(4)]
    digests = [
        hashlib.sha256(f"({t.shape[0]}, {t.shape[1]}, 3)".encode() + t.tobytes()).hexdigest()
        for t in turned
    ]
    assert len(set(digests)) == 8 and pixel_hash(pixels) == min(digests)
    assert pixel_hash(np.zeros((1, 1, 3), np.uint8)) == (
        hashlib.sha256(b"(1, 1, 3)\0\0\0").hexdigest()
    )


def test_a_portrait_has_the_fingerprint_of_its_clockwise_turn() -> None:
    for seed in range(5):
        landscape = noise(seed)
        portrait = np.ascontiguousarray(np.rot90(landscape))  # counterclockwise
        assert image_fingerprint(portrait) == image_fingerprint(landscape) != b""
        assert image_fingerprint(np.ascontiguousarray(portrait[::-1])) != b""


def test_images_without_a_fingerprint_are_counted() -> None:
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]
    assert TrainedOn.from_hashes(digests).without_fingerprint == 5
    draws = np.random.default_rng(0)
    prints = [bytes(draws.integers(0, 256, FINGERPRINT, np.uint8)) for _ in range(5)]
    for count in (0, 3, 5):
        looks = [
            Look(digest, own if n < count else b"")
            for n, (digest, own) in enumerate(zip(digests, prints, strict=True))
        ]
        found = TrainedOn.of_looks(looks)
        assert (len(found), found.without_fingerprint) == (5, 5 - count)


def test_views_lie_in_the_picture_and_rotations_keep_its_middle() -> None:
    windows = [each for each in affines() if each[0, 1] == each[1, 0] == 0]
    rotations = [each for each in affines() if each[0, 1] or each[1, 0]]
    assert (len(windows), len(rotations)) == (41, 8)
    for each in windows:
        assert (each @ (0, 0, 1) >= 0).all() and (each @ (1, 1, 1) <= 1 + 1e-9).all()
    for each in rotations:
        np.testing.assert_allclose(each @ (0.5, 0.5, 1), (0.5, 0.5), atol=1e-12)
        assert np.linalg.det(each[:, :2]) <= 1 + 1e-9  # no view is larger than the picture


def test_a_relief_is_the_steps_about_zero_and_has_no_mean() -> None:
    row = np.random.default_rng(1).integers(0, 256, FINGERPRINT, np.uint8)
    row[0] = 0x1A
    steps = np.stack([row >> 4, row & 15], axis=1).reshape(20, 20)
    found = _reliefs(row.tobytes() + b"\0" * FINGERPRINT)
    np.testing.assert_array_equal(found.values[0].ravel()[1:], steps.ravel()[1:] - 7.5)
    assert found.values[0, 0, 0] == 0 and found.square.tolist() == [True, False]


def test_a_fingerprint_is_the_nearest_step_of_each_cosine_coefficient() -> None:
    pixels = cv2.resize(noise(7)[:12, :16], (640, 480), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float64)
    detail = small - cv2.blur(small, (13, 13))
    relief = detail / np.sqrt(cv2.blur(detail**2, (13, 13)) + 4)
    values = dctn(relief)[:20, :20]
    values[:, 0] /= 2**0.5
    values[0] /= 2**0.5
    values = values / SPECTRUM
    values[0, 0] = 0
    values /= values.std() * 0.335
    packed = np.frombuffer(image_fingerprint(pixels), np.uint8)
    steps = np.stack([packed >> 4, packed & 15], axis=1).reshape(20, 20)
    middle = np.clip(values, -8, 7.999)
    gap = np.abs(middle - (steps - 7.5)).ravel()[1:]
    assert gap.max() <= 0.5 + 1e-3


def test_two_reliefs_of_one_place_correlate_and_a_flat_one_with_none() -> None:
    relief = np.random.default_rng(2).normal(size=(48, 48)).astype(np.float32)
    here = np.float32([[1, 0, 0], [0, 1, 0]])
    assert correlation(relief, relief, here) == pytest.approx(1)
    assert correlation(relief, -relief, here) == pytest.approx(-1)
    assert correlation(np.zeros_like(relief), relief, here) == -1
    assert correlation(relief, relief, np.float32([[1, 0, 40], [0, 1, 40]])) == -1  # too little
