"""Copies among so many images that trees choose what is compared: the same as from all pairs."""

import numpy as np
import pytest
from test_copies import encoded, lesion, resized

from skinxai.data import Record
from skinxai.data.linking import alike_pairs
from skinxai.data.stratifying import Group
from skinxai.model_folders import copies
from skinxai.model_folders.fingerprints import Fingerprints, alike_places, image_fingerprint
from skinxai.model_folders.trained_on import Look

KNOWN, COPIES = 240, 40


def changed(pixels: np.ndarray, number: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    return (
        encoded(pixels, 40),
        np.ascontiguousarray(pixels[::-1]),
        np.ascontiguousarray(pixels[:, ::-1]),
        resized(pixels, width * 2 // 3, height * 2 // 3),
        pixels[round(0.08 * height) : round(0.94 * height), : round(0.85 * width)],
    )[number % 5]


@pytest.fixture(scope="module")
def known() -> list[bytes]:
    return [image_fingerprint(lesion(seed)) for seed in range(KNOWN)]


@pytest.fixture(scope="module")
def asked() -> list[bytes]:
    """Copies of the first known ones, then strangers."""
    own = [changed(lesion(seed), seed) for seed in range(COPIES)]
    return [image_fingerprint(each) for each in [*own, *map(lesion, range(1000, 1030))]]


@pytest.fixture
def trees(monkeypatch) -> None:
    monkeypatch.setattr(copies, "ALL_PAIRS", 0)


def confirmed(monkeypatch) -> list[int]:
    """Of each asked image, how many known ones are looked at again, from now on."""
    looked_at: list[int] = []
    confirm = copies._confirmed

    def counted(known, views, asked, places):
        looked_at.append(len(places))
        return confirm(known, views, asked, places)

    monkeypatch.setattr(copies, "_confirmed", counted)
    return looked_at


def test_trees_find_each_planted_copy_with_the_similarity_from_all_pairs(
    known, asked, monkeypatch
) -> None:
    every = Fingerprints.of(known).similarities(asked)
    assert every[:COPIES].min() > 0.7 and every[COPIES:].max() < 0.7
    monkeypatch.setattr(copies, "ALL_PAIRS", KNOWN * len(asked) - 1)
    looked_at = confirmed(monkeypatch)
    found = Fingerprints.of(known).similarities(asked)
    np.testing.assert_allclose(found[:COPIES], every[:COPIES], atol=1e-5)
    assert found[COPIES:].max() < 0.7
    assert COPIES <= sum(looked_at) < 10 * len(asked)  # of 16,800 pairs
    assert max(looked_at) <= copies.MANY


def test_up_to_the_limit_all_pairs_are_compared(known, asked, monkeypatch) -> None:
    searched = []
    for name in ("_from_all", "_from_trees"):
        search = getattr(copies, name)

        def noted(*given, own=name, search=search):
            searched.append(own)
            return search(*given)

        monkeypatch.setattr(copies, name, noted)
    for pairs in (50 * 20, 50 * 20 - 1):
        monkeypatch.setattr(copies, "ALL_PAIRS", pairs)
        Fingerprints.of(known[:50]).similarities(asked[:20])
    assert searched == ["_from_all", "_from_trees"]


def test_the_number_of_searches_grows_like_that_of_known_images(known, asked, trees) -> None:
    counts = []
    for number in (60, 120, 240):
        told: list[int] = []
        alike_places(known[:number], list(range(number)), told.append)
        assert sum(told) == number**2
        counts.append(len(told))
    assert counts == [-(-number // 32) for number in (60, 120, 240)]


def test_known_images_in_blocks_answer_as_all_at_once(known, asked, monkeypatch) -> None:
    every = Fingerprints.of(known).similarities(asked)
    places = alike_places([*known, *asked], range(KNOWN + len(asked)))
    monkeypatch.setattr(copies, "KNOWN", 37)
    found = Fingerprints.of(known).similarities(asked)
    np.testing.assert_allclose(found[:COPIES], every[:COPIES], atol=1e-5)
    assert alike_places([*known, *asked], range(KNOWN + len(asked))) == places


@pytest.mark.parametrize("pairs", [0, 10**8])
def test_each_copy_and_its_original_name_each_other(known, asked, monkeypatch, pairs) -> None:
    monkeypatch.setattr(copies, "ALL_PAIRS", pairs)
    together = [*known, b"", *asked]
    places = alike_places(together, range(len(together)))
    first = KNOWN + 1
    expected = {first + n: n for n in range(COPIES)}
    expected |= {n: first + n for n in range(COPIES) if n % 5 != 4}  # it is no crop of the crop
    assert {n: place for n, place in enumerate(places) if place is not None} == expected
    owner = [*range(KNOWN + 1), *range(len(asked))]  # each copy is its original's
    assert alike_places(together, owner) == [None] * len(together)
    assert alike_places([b"", b""], [0, 1]) == [None, None]


@pytest.mark.parametrize("pairs", [0, 10**8])
def test_rows_are_not_exchanged_with_columns_where_no_image_is_about_square(
    monkeypatch, pairs
) -> None:
    monkeypatch.setattr(copies, "ALL_PAIRS", pairs)
    wide = [lesion(seed) for seed in range(12)]
    exchanged = [resized(np.rot90(each), each.shape[1], each.shape[0]) for each in wide]
    own = Fingerprints.of(map(image_fingerprint, wide))
    assert own.similarities(list(map(image_fingerprint, exchanged))).max() < 0.7
    squeezed = [image_fingerprint(each, resized=True) for each in exchanged]
    assert own.similarities(squeezed).min() > 0.7


def test_trees_do_not_depend_on_what_was_drawn_before(known, asked, trees, monkeypatch) -> None:
    import cv2

    monkeypatch.setattr(copies, "MIN_SEEN", 0.3)  # many are about as near
    monkeypatch.setattr(copies, "MANY", 10**6)
    looked_at, counts = confirmed(monkeypatch), []
    for seed in (1, 2):
        cv2.setRNGSeed(seed)
        Fingerprints.of(known).similarities(asked)
        counts.append(sorted(looked_at))
        looked_at.clear()
    assert sum(counts[0]) > 500
    assert counts[0] == counts[1]


@pytest.mark.parametrize("pairs", [0, 10**8])
def test_planted_pairs_of_groups_are_linked(known, asked, monkeypatch, pairs) -> None:
    monkeypatch.setattr(copies, "ALL_PAIRS", pairs)
    looks, items = {}, []
    for number, each in enumerate([*known, *asked]):
        name = f"{number:03d}"
        looks[name] = Look(f"{number:064x}", each)
        items.append(Record(name, f"{name}.jpg", "nv", name))
    for name in ("100", "101", "102"):  # the same pixels under three names
        looks[name] = looks["100"]
    groups: list[Group] = [(item,) for item in items]
    groups[100:102] = [tuple(items[100:102])]  # two of them in one group
    expected = {(f"{n:03d}", f"{KNOWN + n:03d}") for n in range(COPIES)}
    same = {("100", "102"), ("101", "102")}
    told: list[tuple[int, int | None]] = []
    found = alike_pairs(groups, looks, progress=lambda done, of: told.append((done, of)))
    assert set(found) == expected | same
    assert told[-1] == (len(items) ** 2, len(items) ** 2)
    left = alike_pairs(groups, looks, not_copies=["007", f"{KNOWN + 9}"], progress=False)
    assert set(left) == expected | same  # each may be judged by a model that has learnt the other
    gone = {("007", f"{KNOWN + 7}"), ("009", f"{KNOWN + 9}")}
    both = [name for pair in gone for name in pair]
    assert (
        set(alike_pairs(groups, looks, not_copies=both, progress=False)) == (expected | same) - gone
    )
