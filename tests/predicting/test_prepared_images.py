"""`Classifier.prepare`: images read once, which `predict` answers as it answers the images."""

import threading

import numpy as np
import pytest
from small_runs import uncalibrated

from skinxai import Classifier, ItemError, PreprocessConfig
from skinxai.errors import InputShapeError, OptionError, UnsupportedImageError
from skinxai.images.transforms import evaluation_transform
from skinxai.predicting import inputs
from skinxai.testing import colour_classifier


def answers(found: list) -> list[dict]:
    return [each.to_dict() for each in found]


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_answers_are_those_of_the_images_bit_for_bit(backend, photos) -> None:
    classifier = Classifier.from_pretrained(backend=backend)
    prepared = classifier.prepare(photos[:3])
    assert answers(classifier.predict(prepared)) == answers(classifier.predict(photos[:3]))
    one, tta = prepared[1], {"tta": True, "operating_point": "balanced"}
    assert classifier.predict(one, **tta) == classifier.predict(photos[1], **tta)
    assert one.source == str(photos[1])


def test_nothing_is_decoded_twice(classifier, photos, monkeypatch) -> None:
    prepared = classifier.prepare(photos[:2])
    monkeypatch.setattr(inputs, "read_image", None)
    assert len(classifier.predict(prepared)) == 2


@pytest.mark.skipif(inputs.CORES < 2, reason="One core prepares one image after the other.")
def test_arrays_are_prepared_by_several_threads_in_their_order() -> None:
    config = PreprocessConfig((32, 48))
    images = [np.full((40, 60, 3), value, np.uint8) for value in (10, 90, 170, 250)]
    together = threading.Barrier(2)

    def look(index: int, pixels: np.ndarray) -> None:
        together.wait(60)  # until another image is looked at too

    options = inputs.InputOptions(batch_size=4)
    (batch,) = inputs.prepared_batches(images, {config}, options, look=look)
    assert [each.index for each in batch] == [0, 1, 2, 3]
    for each, image in zip(batch, images, strict=True):
        np.testing.assert_array_equal(each.arrays[config], evaluation_transform(image, config))


def test_one_image_comes_as_a_list_too(classifier, photos) -> None:
    assert len(classifier.prepare(photos[0])) == 1
    with pytest.raises(OptionError, match="batchsize"):
        classifier.prepare(photos[0], batchsize=3)


def test_a_bad_image_among_good_ones(classifier, photos) -> None:
    some = [photos[0], b"no image", photos[1]]
    with pytest.raises(UnsupportedImageError):
        classifier.prepare(some)
    good, bad, last = classifier.prepare(some, on_error="return")
    assert isinstance(bad, ItemError) and bad.index == 1 and last.index == 2
    assert classifier.predict([last, good]) == classifier.predict([photos[1], photos[0]])


def test_an_image_of_another_model_is_refused_and_its_neighbours_are_answered(
    classifier, photos
) -> None:
    own, foreign = classifier.prepare(photos[0]), colour_classifier().prepare(photos[0])
    with pytest.raises(InputShapeError, match="prepared for another model"):
        classifier.predict(foreign)
    bad, good = classifier.predict([*foreign, *own], on_error="return")
    assert isinstance(bad, ItemError) and bad.code == "input_shape" and bad.index == 0
    assert good.probabilities == classifier.predict(photos[0]).probabilities


def test_a_calibrated_model_refuses_what_was_not_measured(classifier, photos) -> None:
    (plain,) = uncalibrated(classifier).prepare(photos[0])
    assert not plain.measured
    with pytest.raises(InputShapeError, match="prepared for another model"):
        classifier.predict(plain)


def test_explaining_needs_the_image_itself(classifier, photos) -> None:
    (prepared,) = classifier.prepare(photos[0])
    with pytest.raises(InputShapeError, match="pass the image itself"):
        classifier.explain(prepared)
    np.testing.assert_array_equal(classifier.embed(prepared), classifier.embed(photos[0]))
