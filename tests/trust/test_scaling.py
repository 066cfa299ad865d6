"""Temperature and vector scaling, against other libraries and by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from skinxai.errors import CalibrationError, ModelConfigError, OptionError
from skinxai.results.probabilities import from_logits
from skinxai.trust.scaling import Scaling

DRAWS = np.random.default_rng(0)
LOGITS = DRAWS.normal(size=(4000, 3)) * 2
TRUTH = np.array([DRAWS.choice(3, p=row) for row in from_logits(LOGITS)])


def test_a_temperature_divides_the_logits() -> None:
    scaling = Scaling((0.5,) * 3, (0.0,) * 3)
    assert scaling.temperature == 2
    np.testing.assert_allclose(
        scaling(from_logits(LOGITS)), from_logits(LOGITS / 2), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("sharper", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_planted_is_found(sharper: float) -> None:
    found = Scaling.fit(from_logits(LOGITS * sharper), TRUTH)
    assert found.temperature == pytest.approx(sharper, rel=0.08)
    reference = LogisticRegression(C=1e12, fit_intercept=False)  # of two classes it is the same
    two = TRUTH < 2
    margin = (LOGITS[two, 1] - LOGITS[two, 0])[:, None] * sharper
    reference.fit(margin, TRUTH[two])
    pairs = from_logits(LOGITS[two, :2] * sharper)
    own = Scaling.fit(pairs, TRUTH[two])
    assert own.slopes[0] == pytest.approx(reference.coef_[0, 0], rel=1e-4)


def test_vector_scaling_finds_a_slope_and_an_offset_for_each_class() -> None:
    slopes, offsets = np.array([0.5, 1.0, 2.0]), np.array([0.7, -0.7, 0.0])
    true = Scaling(tuple(slopes.tolist()), tuple(offsets.tolist()))
    given = from_logits(LOGITS)
    truth = np.array([np.random.default_rng(k).choice(3, p=r) for k, r in enumerate(true(given))])
    found = Scaling.fit(given, truth, "vector")
    assert found.temperature is None
    assert np.abs(found(given) - true(given)).mean() < 0.02

    start = np.repeat([Scaling.fit(given, truth).slopes[0], 0], 3)

    def loss(values):  # without gradients, by another method
        rows = from_logits(np.log(given) * values[:3] + values[3:])
        drift = values - start
        return -np.log(rows[np.arange(len(truth)), truth]).mean() + 1e-3 * (drift**2).sum()

    other = minimize(
        loss, [1, 1, 1, 0, 0, 0], method="Powell", options={"xtol": 1e-7, "ftol": 1e-12}
    )
    np.testing.assert_allclose([*found.slopes, *found.offsets], other.x, atol=2e-3)


def test_a_class_without_images_keeps_its_temperature() -> None:
    own = TRUTH < 2
    found = Scaling.fit(from_logits(LOGITS)[own], TRUTH[own], "vector")
    assert np.isfinite(found.slopes).all() and np.isfinite(found.offsets).all()


def test_rows_of_nan_and_zeros() -> None:
    rows = np.array([[np.nan] * 3, [1.0, 0.0, 0.0]])
    found = Scaling((0.5,) * 3, (0.0,) * 3)(rows)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [1, 0, 0], atol=1e-100)


@pytest.mark.parametrize("words", ["of 1", "answers wrongly", "no better than chance"])
def test_images_that_do_not_suffice(words: str) -> None:
    rows = from_logits(LOGITS)
    truth = {
        "of 1": np.zeros_like(TRUTH),
        "answers wrongly": rows.argmax(axis=1),
        "no better than chance": rows.argmin(axis=1),
    }[words]
    with pytest.raises(CalibrationError, match=words):
        Scaling.fit(rows, truth)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (0.01, "at least 0.05, but the classes of these 4000 images have nearly equal"),
        (100.0, "at most 20, but these 4000 images, of which the model has RIGHT right, ask"),
    ],
)
def test_a_temperature_out_of_range_is_not_said_to_be_of_right_or_chance_answers(
    scale: float, words: str
) -> None:
    """The same network with logits of another size has the same share of answers right."""
    right = int((LOGITS.argmax(axis=1) == TRUTH).sum())
    assert 1 / 3 < right / len(TRUTH) < 0.99
    with pytest.raises(CalibrationError, match=words.replace("RIGHT", str(right))):
        Scaling.fit(from_logits(scale * LOGITS), TRUTH)


def test_other_methods_and_numbers_are_refused() -> None:
    with pytest.raises(OptionError, match="method must be one of"):
        Scaling.fit(from_logits(LOGITS), TRUTH, "isotonic")
    for slopes, offsets in (((1, -1), (0, 0)), ((1, 1), (0,)), ((1, float("nan")), (0, 0)),
                            (("1", 1), (0, 0)), ((1, True), (0, 0)), (None, (0,))):  # fmt: skip
        with pytest.raises(ModelConfigError):
            Scaling(slopes, offsets)
