"""Distances against numbers by hand and scikit-learn; limits by counting; each malformed file."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.covariance import ShrunkCovariance

from skinxai.errors import IntegrityError, OptionError
from skinxai.trust.novelty import (
    Reference,
    from_bytes,
    held_out_distances,
    limit_for,
    novelty,
    to_bytes,
)

CROSS = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)  # variances 2 and 0.5
ONE_CLASS = np.zeros(4, int)


def drawn(count, wide, classes=1, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    spread = np.linspace(0.2, 3, wide)
    rows = draws.normal(size=(count, wide)) * spread + 4 * labels[:, None]
    return rows.astype(np.float32), labels


def test_a_distance_by_hand():
    reference = Reference.fit(CROSS + 5, ONE_CLASS, shrinkage=0)
    asked = np.array([[5, 5], [9, 5], [5, 8], [9, 8]], np.float32)
    # sqrt((x² / 2 + y² / 0.5) / D)
    expected = [0, 2, 3, np.sqrt((16 / 2 + 9 / 0.5) / 2)]
    np.testing.assert_allclose(reference.distance(asked), expected, rtol=1e-6)


def test_shrinkage_by_hand():
    reference = Reference.fit(CROSS, ONE_CLASS, shrinkage=0.5)
    np.testing.assert_allclose(reference.variances, [1.625, 0.875], rtol=1e-6)
    expected = [np.sqrt(16 / 1.625 / 2), np.sqrt(9 / 0.875 / 2)]
    found = reference.distance(np.array([[4, 0], [0, 3]], np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_directions_that_are_not_kept_share_their_mean_variance():
    rows = np.array([[3, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    reference = Reference.fit(rows.astype(np.float32), np.zeros(6, int), dimensions=1, shrinkage=0)
    assert reference.variances == pytest.approx([3])  # 18 / 6
    assert reference.rest == pytest.approx([(8 / 6 + 2 / 6) / 2])
    found = reference.distance(np.array([[3, 0, 0], [0, 1, 1]], np.float32))
    np.testing.assert_allclose(found, np.sqrt([3 / 3, 2 / (5 / 6) / 3]), rtol=1e-6)


def test_the_nearest_class_counts_and_its_mean_is_not_blurred():
    rows = np.concatenate([CROSS, CROSS + 100]).astype(np.float32)
    reference = Reference.fit(rows, np.repeat([0, 6], 4), shrinkage=0)  # classes between are absent
    found = reference.distance(np.array([[0, 0], [100, 100], [104, 100]], np.float32))
    np.testing.assert_allclose(found, [0, 0, 2], atol=1e-4)


@pytest.mark.parametrize("count", [400, 12], ids=["more than features", "fewer than features"])
def test_it_is_scikit_learns_mahalanobis_distance(count):
    rows, labels = drawn(count, 30, classes=3)
    means = np.stack([rows[labels == k].mean(axis=0, dtype=np.float64) for k in range(3)])
    shared = ShrunkCovariance(shrinkage=0.1, assume_centered=True).fit(rows - means[labels])
    asked, _ = drawn(50, 30, classes=3, seed=1)
    squares = np.stack([shared.mahalanobis(asked - mean) for mean in means]).min(axis=0)
    found = Reference.fit(rows, labels, dimensions=30, shrinkage=0.1).distance(asked)
    np.testing.assert_allclose(found, np.sqrt(squares / 30), rtol=1e-4)


def test_images_of_the_same_kind_have_a_distance_of_about_one():
    rows, labels = drawn(4000, 20)
    reference = Reference.fit(rows[:2000], labels[:2000], shrinkage=0)
    assert (reference.distance(rows[2000:]) ** 2).mean() == pytest.approx(1, abs=0.05)
    assert (reference.distance(rows[2000:] + 60) > 5).all()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (CROSS[:1], [3]),
        (np.repeat(CROSS[:1], 5, axis=0), [0, 0, 0, 1, 1]),
        (CROSS, [0, 1, 2, 3]),
    ],
    ids=["one embedding", "all alike", "each its own class"],
)
def test_without_any_spread_the_distance_is_euclidean(rows, labels):
    reference = Reference.fit(rows, labels)
    assert reference.distance(rows).tolist() == [0] * len(rows)
    assert reference.distance(CROSS[:1] + np.array([[3, 4]])) == pytest.approx([5 / np.sqrt(2)])


def test_few_embeddings_of_many_features_give_finite_distances():
    rows, labels = drawn(20, 1280, classes=7)
    reference = Reference.fit(rows, labels)
    near, far = (reference.distance(rows + move).max() for move in (0, 50))
    assert 0 < near < far < np.inf
    assert len(reference.components) <= 20 - 7  # more directions were not seen


@pytest.mark.parametrize(
    ("rows", "labels", "options", "message"),
    [
        (CROSS[:0], [], {}, "labels must be one integer for each of at least 1 embedding"),
        (CROSS, [0, 0, 0], {}, "labels must be one integer"),
        (CROSS, [0.0] * 4, {}, "labels must be one integer"),
        (CROSS[0], [0], {}, "embeddings must be floats (N, D), got float32 (2,)"),
        (CROSS.astype(int), ONE_CLASS, {}, "embeddings must be floats (N, D), got int64 (4, 2)"),
        (np.full((4, 2), np.nan), ONE_CLASS, {}, "embeddings must be finite"),
        (np.full((4, 2), -np.inf), ONE_CLASS, {}, "embeddings must be finite"),
        (CROSS * 1e15, ONE_CLASS, {}, "embeddings must be finite and smaller than 1e+15"),
        (CROSS, ONE_CLASS, {"dimensions": -1}, "dimensions must be an integer >= 0, got -1"),
        (CROSS, ONE_CLASS, {"shrinkage": 1.5}, "shrinkage must be from 0 to 1, got 1.5"),
        (CROSS, ONE_CLASS, {"shrinkage": np.nan}, "shrinkage must be from 0 to 1, got nan"),
    ],
)
def test_what_cannot_be_fitted_says_why(rows, labels, options, message):
    with pytest.raises(OptionError) as caught:
        Reference.fit(rows, labels, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("asked", [np.ones((2, 3), np.float32), np.full((1, 2), np.nan)])
def test_what_cannot_be_measured_says_why(asked):
    with pytest.raises(OptionError, match="embeddings must"):
        Reference.fit(CROSS, ONE_CLASS).distance(asked)


def test_held_out_distances_are_those_of_references_without_the_fold():
    rows, labels = drawn(40, 5, classes=2)
    found = held_out_distances(rows, labels, list(range(40)), folds=4)
    for fold in range(4):
        out = np.arange(40) % 4 == fold
        expected = Reference.fit(rows[~out], labels[~out]).distance(rows[out])
        np.testing.assert_array_equal(found[out], expected)


def test_images_of_one_lesion_are_held_out_together():
    rows, labels = drawn(20, 5)
    twice = np.repeat(rows, 2, axis=0)
    lesions = [f"lesion {k // 2}" for k in range(40)]
    together = held_out_distances(twice, np.repeat(labels, 2), lesions)
    np.testing.assert_allclose(together[::2], held_out_distances(rows, labels, range(20)))
    apart = held_out_distances(twice, np.repeat(labels, 2), range(40))
    assert apart.mean() < together.mean()


@pytest.mark.parametrize(
    ("groups", "folds"), [(["a"] * 4, 5), (["a", "b"], 5), (list("abcd"), 1), (list("abcd"), 2.0)]
)
def test_what_cannot_be_held_out_says_why(groups, folds):
    with pytest.raises(OptionError, match="at least 2 groups and 2 folds"):
        held_out_distances(CROSS, ONE_CLASS, groups, folds=folds)


@pytest.mark.parametrize(
    ("count", "rejected", "expected"),
    [(99, 0.01, 99), (199, 0.01, 198), (1000, 0.01, 991), (9, 0.1, 9), (3, 0.5, 2)],
)
def test_the_limit_is_the_kth_smallest_distance(count, rejected, expected):
    distances = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert limit_for(distances, rejected) == expected


def test_a_new_image_is_refused_as_seldom_as_asked():
    """Each of n + 1 exchangeable images is as likely to be the new one."""
    everything = np.arange(1.0, 201)
    refused = [k for k in everything if k > limit_for(everything[everything != k], 0.02)]
    assert len(refused) == 4  # of 200


@pytest.mark.parametrize(
    ("distances", "rejected", "message"),
    [
        (np.ones(98), 0.01, "needs at least 99 distances, got 98"),
        ([], 0.5, "needs at least 1 distances, got 0"),
        ([1, np.nan], 0.5, "distances must be finite and >= 0"),
        ([1, -1], 0.5, "distances must be finite and >= 0"),
        ([1, 2], 0, "rejected must be above 0 and below 1, got 0"),
        ([1, 2], 1, "rejected must be above 0 and below 1, got 1"),
        ([1, 2], np.nan, "rejected must be above 0 and below 1, got nan"),
    ],
)
def test_what_gives_no_limit_says_why(distances, rejected, message):
    with pytest.raises(OptionError) as caught:
        limit_for(distances, rejected)
    assert message in str(caught.value)


def test_scores_by_hand():
    assert novelty([0, 1, 2, 6], 2.0).tolist() == [0, 1 / 3, 0.5, 0.75]
    for limit in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match="the limit of novelty must be finite and > 0"):
            novelty([1.0], limit)


def two():
    first, second = drawn(30, 6, classes=2), drawn(10, 4, seed=1)
    return Reference.fit(*first), Reference.fit(*second)


def test_references_of_members_come_back_bit_for_bit():
    back = from_bytes(to_bytes(two()))
    assert len(back) == 2
    for one, other in zip(two(), back, strict=True):
        for name in ("means", "components", "variances", "rest"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert repr(back[0]) == "Reference(2 classes, 6 of 6 axes)"


def test_a_reference_without_axes_comes_back():
    (back,) = from_bytes(to_bytes([Reference.fit(CROSS[:1], [0])]))
    assert back.distance(CROSS[1:2]) == pytest.approx([4 / np.sqrt(2)])


@pytest.mark.parametrize("count", [0, 65])
def test_only_one_to_64_references_are_written(count):
    with pytest.raises(OptionError, match=f"references must be 1 to 64, got {count}"):
        to_bytes([two()[0]] * count)


MALFORMED = {
    "one is missing": lambda a: a.pop("1/rest"),
    "one too many": lambda a: a.update({"1/more": a["1/rest"]}),
    "a member left out": lambda a: a.update({k.replace("1/", "2/"): a.pop(k) for k in list(a)[4:]}),
    "no array": lambda a: a.clear(),
    "no prefix": lambda a: a.update(means=a.pop("0/means")),
    "other type": lambda a: a.update({"0/means": a["0/means"].astype(np.float64)}),
    "integers": lambda a: a.update({"0/variances": np.ones(6, np.int32)}),
    "means of one dimension": lambda a: a.update({"0/means": a["0/means"][0]}),
    "no class": lambda a: a.update({"0/means": a["0/means"][:0]}),
    "no features": lambda a: a.update({"0/means": a["0/means"][:, :0]}),
    "too many classes": lambda a: a.update({"0/means": np.ones((1001, 6), np.float32)}),
    "other width": lambda a: a.update({"0/means": a["0/means"][:, :5].copy()}),
    "more axes than features": lambda a: a.update({"0/components": np.ones((7, 6), np.float32)}),
    "components of one dimension": lambda a: a.update({"0/components": np.ones(6, np.float32)}),
    "fewer variances": lambda a: a.update({"0/variances": a["0/variances"][:-1]}),
    "two rests": lambda a: a.update({"0/rest": np.ones(2, np.float32)}),
    "NaN mean": lambda a: a["0/means"].__setitem__((0, 0), np.nan),
    "infinite component": lambda a: a["0/components"].__setitem__((0, 0), np.inf),
    "infinite variance": lambda a: a["0/variances"].__setitem__(0, np.inf),
    "variance 0": lambda a: a["0/variances"].__setitem__(0, 0),
    "negative rest": lambda a: a["1/rest"].__setitem__(0, -1),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(change):
    arrays = {name: array.copy() for name, array in sorted(load(to_bytes(two())).items())}
    change(arrays)
    with pytest.raises(IntegrityError, match=r"novelty\.safetensors"):
        from_bytes(save(arrays))


@pytest.mark.parametrize("cut", [0, 4, 200, -1])
def test_a_cut_file_is_refused(cut):
    with pytest.raises(IntegrityError, match=r"novelty\.safetensors"):
        from_bytes(to_bytes(two())[:cut])
