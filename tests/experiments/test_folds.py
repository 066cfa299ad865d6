"""Folds: as even as they can be, and copies, lesions and patients in one of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold
from test_cross_validation import SETTINGS, records, table

from skinxai.data import Records, folds, split
from skinxai.data.hashing import looks
from skinxai.data.linking import alike_pairs
from skinxai.data.stratifying import group
from skinxai.errors import OptionError
from skinxai.experiments import cross_validate
from skinxai.progress import Rounds

__all__ = ["records"]  # a fixture
pytestmark = pytest.mark.usefixtures("small_networks")


def test_of_a_split_the_test_part_is_left_out(records, tmp_path) -> None:
    parts = split(records, (0.5, 0.25, 0.25))
    found = cross_validate(parts, 2, output_dir=tmp_path / "x", resamples=20, **SETTINGS)
    known = {item.image_id for item in (*parts.train, *parts.val)}
    assert {line["image_id"] for line in table(found)} == known


def test_copies_under_other_names_are_in_one_fold(records, tmp_path) -> None:
    twins = tuple(
        replace(item, image_id=f"twin-{item.image_id}", lesion_id="", patient_id=None)
        for item in records
    )
    both = replace(records, items=(*records, *twins))
    found = cross_validate(both, 3, output_dir=tmp_path / "x", resamples=20, **SETTINGS)
    fold = {line["image_id"]: line["fold"] for line in table(found)}
    assert len(fold) == 84
    assert all(fold[item.image_id] == fold[f"twin-{item.image_id}"] for item in records)


@pytest.mark.parametrize("named", [["a"], ["b"], ["a", "b"]])
def test_images_that_are_no_copies_end_no_fold(named, records, tmp_path) -> None:
    """Whichever of two images is learnt, the other may be answered or chosen on."""
    for number, name in enumerate("ab"):
        draws = np.random.default_rng(0)
        drawn = draws.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(drawn).resize((320, 240), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{name}.jpg", quality=95 - 20 * number)
    twins = [replace(records[0], image_id=name, path=tmp_path / f"{name}.jpg", lesion_id=name,
                     patient_id=None) for name in "ab"]  # fmt: skip
    both = replace(records, items=(*records, *twins))
    for seed in range(3):
        found = cross_validate(both, 2, output_dir=tmp_path / f"{seed}", resamples=20,
                               not_copies=named, **SETTINGS | {"seed": seed})  # fmt: skip
        fold = {line["image_id"]: line["fold"] for line in table(found)}
        assert len(named) == 2 or fold["a"] == fold["b"]
    with pytest.raises(OptionError, match="'c' is none of them"):
        cross_validate(both, 2, output_dir=tmp_path / "x", not_copies=["c"], **SETTINGS)


def test_pairs_are_found_across_groups_alone(records) -> None:
    seen = {i.image_id: look for i, look in zip(records, looks(records), strict=True)}
    first, second, other = (records[n].image_id for n in (0, 2, 9))
    seen[second] = seen[first]
    groups = group(replace(records, items=tuple(replace(i, patient_id=None) for i in records)))
    assert alike_pairs(groups, seen, progress=False) == ((first, second),)
    assert alike_pairs(groups, seen, not_copies=[first], progress=False) == ((first, second),)
    seen[other] = seen[first]._replace(digest="0" * 64)  # it looks alike, with other pixels
    found = alike_pairs(groups, seen, progress=False)
    assert {other} <= {name for pair in found for name in pair}
    assert alike_pairs(groups, seen, not_copies=[other], progress=False) == found
    every = [first, second, other]
    assert alike_pairs(groups, seen, not_copies=every, progress=False) == ((first, second),)
    assert alike_pairs(groups[:1], seen, progress=False) == ()


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    """The largest difference between a fold's share of a class and 1/k, on skewed lesions."""
    draws = np.random.default_rng(0)
    records = coloured_names(draws)
    target = np.asarray(records.targets())
    lesions = np.asarray([item.lesion_id for item in records])
    own = np.asarray([spread(target, [ids(each.val, records) for each in folds(records, 5, seed)])
                      for seed in range(3)])  # fmt: skip
    peer = np.asarray([
        spread(target, [test for _, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed)
                        .split(target, target, lesions)]) for seed in range(3)
    ])  # fmt: skip
    assert own.max() <= peer.max() and own.max() < 0.02


def spread(target: np.ndarray, parts: list[np.ndarray]) -> float:
    counts = np.asarray([np.bincount(target[part], minlength=3) for part in parts])
    return float(np.abs(counts / counts.sum(axis=0) - 1 / len(parts)).max())


def ids(part: Records, records: Records) -> np.ndarray:
    place = {item.image_id: n for n, item in enumerate(records)}
    return np.asarray([place[item.image_id] for item in part])


def coloured_names(draws: np.random.Generator) -> Records:
    """Lesions of one to five images, in classes of 60, 250 and 1000 lesions; no files."""
    from skinxai.data import Record
    from skinxai.labels import LabelSet

    items = []
    for code, lesions in (("red", 60), ("green", 250), ("blue", 1000)):
        for lesion in range(lesions):
            for image in range(int(draws.integers(1, 6))):
                name = f"{code}-{lesion}-{image}"
                items.append(Record(name, Path(name), code, f"{code}-{lesion}"))
    return Records(tuple(items), LabelSet(("red", "green", "blue")))


def test_rounds_say_how_long_is_left(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("skinxai.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    rounds = Rounds(8)
    assert rounds.begin(3) == "3 of 8"  # two were done before
    clock[0] += 60
    assert rounds.begin(4) == "4 of 8, about 05:00 left in all"  # five, a minute each
    clock[0] += 60  # another process has done one of two
    assert rounds.begin(6) == "6 of 8, about 02:00 left in all"  # 120 s / 3, three times
