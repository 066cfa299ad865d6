"""Distances by hand, limits by counting, each malformed file."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from skinxai.errors import IntegrityError, OptionError
from skinxai.trust.gaussians import Gaussians
from skinxai.trust.novelty import (
    Reference,
    from_bytes,
    held_out_distances,
    limit_for,
    novelty,
    to_bytes,
)

CROSS = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)
ONE_CLASS = np.zeros(4, int)


def drawn(count, wide, classes=1, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = draws.normal(size=(count, wide)) * np.linspace(0.2, 3, wide) + 4 * labels[:, None]
    return rows.astype(np.float32), labels


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_length_of_an_embedding_does_not_count():
    rows, labels = drawn(50, 6, classes=2)
    own = Gaussians.fit(unit(rows), labels, dimensions=64, shrinkage=0.5)
    asked, _ = drawn(20, 6, seed=1)
    expected = own.distance(unit(asked))
    for one, other in ((1, 1), (7, 1), (1, 0.01)):
        found = Reference.fit(rows * np.float32(one), labels).distance(asked * np.float32(other))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_embedding_of_zeros_has_a_distance():
    reference = Reference.fit(np.zeros((3, 4), np.float32), [0, 0, 1])
    assert reference.distance(np.zeros((1, 4), np.float32)).tolist() == [0]
    assert reference.distance(np.ones((1, 4), np.float32)) == pytest.approx([0.5])  # 1 / sqrt(4)


def test_embedding_and_colours_count_alike():
    rows, labels = drawn(50, 6, classes=2)
    colours, _ = drawn(50, 12, seed=2)
    asked, seen = drawn(9, 6, seed=3)[0], drawn(9, 12, seed=4)[0]
    own = Reference.fit(rows, labels).distance(asked)
    other = Gaussians.fit(colours, 0 * labels, dimensions=12, shrinkage=0.01).distance(seen)
    found = Reference.fit(rows, labels, colours).distance(asked, seen)
    np.testing.assert_allclose(found, np.sqrt((own**2 + other**2) / 2), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_few_images_of_many_features_give_finite_distances(count):
    rows, labels = drawn(count, 1280, classes=7)
    colours, _ = drawn(count, 12)
    reference = Reference.fit(rows, labels, colours)
    near = reference.distance(rows, colours)
    far = reference.distance(-rows, colours + 90)
    assert (near < far).all() and np.isfinite(far).all()
    assert reference.embeddings.means.shape == (min(count, 7), 1280)


@pytest.mark.parametrize(
    ("fitted", "asked"),
    [(None, np.ones((4, 12))), (np.eye(4, 12), None), (np.eye(4, 12), np.ones((3, 12)))],
    ids=["not fitted", "not given", "too few"],
)
def test_colours_are_given_if_and_only_if_the_reference_has_them(fitted, asked):
    reference = Reference.fit(CROSS, ONE_CLASS, fitted)
    with pytest.raises(OptionError, match="colours must be given for each embedding if"):
        reference.distance(CROSS, asked)


@pytest.mark.parametrize(
    ("rows", "colours", "message"),
    [
        (np.full((4, 2), np.nan), None, "vectors must be finite"),
        (np.full((4, 2), np.inf, np.float32), None, "vectors must be finite"),
        (CROSS[0], None, "vectors must be floats (N, D), got float32 (2,)"),
        (CROSS.astype(int), None, "vectors must be floats (N, D), got int64 (4, 2)"),
        (CROSS, np.full((4, 12), np.nan), "vectors must be finite"),
        (CROSS, np.ones((3, 12)), "labels must be one integer for each"),
    ],
)
def test_what_cannot_be_fitted_says_why(rows, colours, message):
    with pytest.raises(OptionError) as caught:
        Reference.fit(rows, ONE_CLASS, colours)
    assert message in str(caught.value)


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
    return Reference.fit(*first, drawn(30, 12)[0]), Reference.fit(*second)


def test_references_of_members_come_back_bit_for_bit():
    back = from_bytes(to_bytes(two()))
    assert len(back) == 2
    for one, other in zip(two(), back, strict=True):
        for part in ("embeddings", "colours") if one.colours else ("embeddings",):
            for name in ("means", "components", "variances", "rest"):
                before, after = (getattr(getattr(each, part), name) for each in (one, other))
                np.testing.assert_array_equal(before, after)
    assert back[1].colours is None
    assert repr(back[0]) == (
        "Reference(Gaussians(2 classes, 6 of 6 axes), Gaussians(1 class, 12 of 12 axes))"
    )


def test_a_reference_without_axes_comes_back():
    (back,) = from_bytes(to_bytes([Reference.fit(CROSS[:1], [0])]))
    assert back.distance(CROSS[1:2]) == pytest.approx([2 / np.sqrt(2)])


@pytest.mark.parametrize("count", [0, 65])
def test_only_one_to_64_references_are_written(count):
    with pytest.raises(OptionError, match=f"references must be 1 to 64, got {count}"):
        to_bytes([two()[0]] * count)


MALFORMED = {
    "one is missing": lambda a: a.pop("1/embeddings/rest"),
    "one too many": lambda a: a.update({"1/embeddings/more": a["1/embeddings/rest"]}),
    "a member left out": lambda a: a.update(
        {k.replace("1/", "2/"): a.pop(k) for k in list(a)[-4:]}
    ),
    "colours alone": lambda a: [a.pop(k) for k in list(a) if "embeddings" in k],
    "half of the colours": lambda a: a.pop("0/colours/rest"),
    "NaN colour": lambda a: a["0/colours/means"].__setitem__((0, 0), np.nan),
    "no array": lambda a: a.clear(),
    "no prefix": lambda a: a.update(means=a.pop("0/embeddings/means")),
    "other type": lambda a: a.update(
        {"0/embeddings/means": a["0/embeddings/means"].astype(np.float64)}
    ),
    "integers": lambda a: a.update({"0/embeddings/variances": np.ones(6, np.int32)}),
    "means of one dimension": lambda a: a.update(
        {"0/embeddings/means": a["0/embeddings/means"][0]}
    ),
    "no class": lambda a: a.update({"0/embeddings/means": a["0/embeddings/means"][:0]}),
    "no features": lambda a: a.update({"0/embeddings/means": a["0/embeddings/means"][:, :0]}),
    "too many classes": lambda a: a.update({"0/embeddings/means": np.ones((1001, 6), np.float32)}),
    "other width": lambda a: a.update(
        {"0/embeddings/means": a["0/embeddings/means"][:, :5].copy()}
    ),
    "more axes than features": lambda a: a.update(
        {"0/embeddings/components": np.ones((7, 6), np.float32)}
    ),
    "components of one dimension": lambda a: a.update(
        {"0/embeddings/components": np.ones(6, np.float32)}
    ),
    "fewer variances": lambda a: a.update(
        {"0/embeddings/variances": a["0/embeddings/variances"][:-1]}
    ),
    "two rests": lambda a: a.update({"0/embeddings/rest": np.ones(2, np.float32)}),
    "NaN mean": lambda a: a["0/embeddings/means"].__setitem__((0, 0), np.nan),
    "infinite component": lambda a: a["0/embeddings/components"].__setitem__((0, 0), np.inf),
    "infinite variance": lambda a: a["0/embeddings/variances"].__setitem__(0, np.inf),
    "variance 0": lambda a: a["0/embeddings/variances"].__setitem__(0, 0),
    "negative rest": lambda a: a["1/embeddings/rest"].__setitem__(0, -1),
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
