"""What a user sees of `Classifier`."""

import io
import itertools
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import uncalibrated
from torch import nn

from skinxai import Classifier, ItemError, Prediction, PreprocessConfig, read_image
from skinxai.errors import (
    ImageTooLargeError,
    InputError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
)
from skinxai.testing import colour_classifier


def test_prediction_is_the_softmax_of_the_networks_logits(classifier, photos) -> None:
    config = classifier.config.preprocessing
    with Image.open(photos[0]) as photo:
        image = photo.resize(config.image_size[::-1], Image.Resampling.BICUBIC)
    values = (np.asarray(image) / 255 - np.array(config.mean)) / np.array(config.std)
    with torch.inference_mode():
        tensor = torch.from_numpy(values).permute(2, 0, 1)[None].float()
        expected = classifier.network.network(tensor).double().softmax(1)[0]
    prediction = uncalibrated(classifier).predict(photos[0])
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, rtol=1e-4)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert tuple(prediction.probabilities) == classifier.labels
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)
    p = prediction.probabilities
    assert prediction.malignant_probability == pytest.approx(p["akiec"] + p["bcc"] + p["mel"])
    assert prediction.decision is None and not prediction.quality
    assert prediction.model == classifier.model and prediction.source.endswith("photo_00.png")
    scaled = expected ** (1 / classifier.calibration.one_view.scaling.temperature)
    shipped = list(classifier.predict(photos[0]).probabilities.values())
    np.testing.assert_allclose(shipped, scaled / scaled.sum(), rtol=1e-4)


def test_tta_averages_the_four_flips(classifier, photos) -> None:
    pixels = read_image(photos[0]).pixels
    flips = [pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]]
    plain = uncalibrated(classifier)
    each = [list(p.probabilities.values()) for p in plain.predict(flips)]
    found = list(plain.predict(pixels, tta=True).probabilities.values())
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4)


def test_every_kind_of_input_gives_the_same_answer(classifier, tmp_path) -> None:
    pixels = np.asarray(
        Image.fromarray(
            np.random.default_rng(1).integers(0, 255, (5, 7, 3), dtype=np.uint8)
        ).resize((256, 192), Image.Resampling.BICUBIC)
    )
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True)
    data = (tmp_path / "a.png").read_bytes()
    inputs = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        tmp_path / "a.webp",
        data,
        io.BytesIO(data),
        Image.fromarray(pixels),
        pixels,
        pixels / 255.0,
        torch.from_numpy(pixels.copy()),
    ]
    answers = [tuple(classifier.predict(image).probabilities.values()) for image in inputs]
    assert len(set(answers)) == 1
    channels_first = classifier.predict(pixels.transpose(2, 0, 1), layout="CHW")
    assert tuple(channels_first.probabilities.values()) == answers[0]


def test_entries_of_a_folder_listed_in_bytes(photos) -> None:
    classifier, folder = colour_classifier(), photos[0].parent
    with os.scandir(os.fsencode(folder.parent)) as entries:
        place = next(each for each in entries if each.path == os.fsencode(folder))
    with os.scandir(os.fsencode(folder)) as entries:
        photo = next(each for each in entries if each.path == os.fsencode(photos[0]))
    assert classifier.predict(photo) == classifier.predict(photos[0])
    assert classifier.predict(place) == classifier.predict(folder)


def test_one_gives_one_and_many_give_a_list(photos) -> None:
    classifier = colour_classifier()
    assert isinstance(classifier.predict(photos[0]), Prediction)
    assert len(classifier.predict([photos[0]])) == 1
    assert classifier.predict([]) == []
    folder = classifier.predict(photos[0].parent)
    pattern = classifier.predict(str(photos[0].parent / "photo_0*.png"))
    assert [Path(p.source).name for p in folder] == [p.name for p in photos]
    assert [Path(p.source).name for p in pattern] == [p.name for p in photos[:10]]


def test_batches_equal_one_by_one(classifier, photos) -> None:
    together = classifier.predict(photos[:5], batch_size=3)
    for image, prediction in zip(photos[:5], together, strict=True):
        alone = classifier.predict(image)
        np.testing.assert_allclose(
            list(prediction.probabilities.values()), list(alone.probabilities.values()), atol=1e-6
        )


def test_duplicates_are_kept(classifier, photos) -> None:
    first, second = classifier.predict([photos[0], photos[0]])
    assert first == second


def test_one_bad_of_64(photos) -> None:
    classifier = colour_classifier()
    images = [photos[n % 12] for n in range(64)]
    images[17] = "missing.png"
    results = classifier.predict(images, on_error="return")
    assert [n for n, r in enumerate(results) if isinstance(r, ItemError)] == [17]
    assert results[17].index == 17 and results[17].code == "input_not_found"
    assert results[18].source.endswith(images[18].name)
    with pytest.raises(InputError) as caught:
        classifier.predict(images)
    assert caught.value.index == 17


def test_streams(classifier, photos) -> None:
    def breaks():
        yield photos[0]
        yield photos[1]
        raise RuntimeError("the camera was unplugged")

    stream = classifier.stream(breaks(), batch_size=8)
    assert [next(stream).source, next(stream).source] == [str(p) for p in photos[:2]]
    with pytest.raises(RuntimeError, match="unplugged"):
        next(stream)
    endless = classifier.stream(itertools.cycle(photos), batch_size=4)
    assert len(list(itertools.islice(endless, 10))) == 10


def test_results_before_an_error_are_yielded(classifier, photos) -> None:
    stream = classifier.stream([photos[0], photos[1], b"no image"])
    assert isinstance(next(stream), Prediction) and isinstance(next(stream), Prediction)
    with pytest.raises(InputError):
        next(stream)


def test_a_huge_image_is_refused_alone(classifier, photos) -> None:
    huge = np.broadcast_to(np.zeros(3, np.uint8), (7000, 7000, 3))
    results = classifier.predict([photos[0], huge, photos[1]], on_error="return")
    assert isinstance(results[1].error, ImageTooLargeError)
    assert isinstance(results[0], Prediction) and isinstance(results[2], Prediction)


def test_streaming_pairs(classifier, photos) -> None:
    pairs = list(classifier.stream([*photos[:2], b""], explain="gradcam", on_error="return"))
    for prediction, explanation in pairs[:2]:
        assert prediction.label == explanation.target
    assert isinstance(pairs[2], ItemError)


def poisoned() -> Classifier:
    """A logit that is NaN where the image is white, and minus infinity where it is black.

    The softmax of the latter is finite, and would pass for an answer.
    """

    class Poisoned(nn.Module):
        def features(self, images):
            return nn.functional.avg_pool2d(images, 16)

        def head(self, features):
            mean = features.mean(dim=(1, 2, 3))
            bad = torch.where(mean > 0.99, torch.nan, 0.0) + torch.where(
                mean < 0.01, -torch.inf, 0.0
            )
            return torch.stack([mean + bad, 2 - mean], dim=1)

    module = Poisoned()
    preprocessing = PreprocessConfig((32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier.from_module(module, ["a", "b"], preprocessing, module.features, module.head)


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_logits_that_are_not_finite_are_an_error_for_that_image(call) -> None:
    white, grey, black = (np.full((64, 64, 3), v, np.uint8) for v in (255, 128, 0))
    answer = getattr(poisoned(), call)
    results = answer([grey, white, grey, black], on_error="return")
    assert [getattr(r, "code", None) for r in results] == [
        None, "non_finite_output", None, "non_finite_output",
    ]  # fmt: skip
    for bad in (white, black):
        with pytest.raises(NonFiniteOutputError, match="No class is returned"):
            answer(bad)
    if call == "explain":
        alone = answer(grey)
        np.testing.assert_array_equal(results[0].heatmap, alone.heatmap)
        np.testing.assert_array_equal(results[2].heatmap, alone.heatmap)


def test_embeddings_are_the_pooled_features(classifier, photos) -> None:
    rows = classifier.embed(photos[:3], batch_size=2)
    assert rows.dtype == np.float32 and rows.shape == (3, 1280)
    weight = classifier.network.network.classifier.weight.detach().numpy()
    bias = classifier.network.network.classifier.bias.detach().numpy()
    logits = rows @ weight.T + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = [list(p.probabilities.values()) for p in uncalibrated(classifier).predict(photos[:3])]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert classifier.embed([]).shape == (0, 0)


def test_save_and_load_keep_every_bit(classifier, photos, tmp_path) -> None:
    revision = classifier.save_pretrained(tmp_path / "saved")
    again = Classifier.from_pretrained(tmp_path / "saved", revision=revision)
    assert again.config == classifier.config and again.model == classifier.model
    assert again.card == classifier.card
    assert again.predict(photos[:2]) == [
        Prediction(**{**vars(p), "model": again.model}) for p in classifier.predict(photos[:2])
    ]


def test_a_foreign_module_cannot_be_saved(tmp_path) -> None:
    with pytest.raises(ModelError, match="register its builder"):
        poisoned().save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_logits_must_fit_the_labels() -> None:
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module = nn.Sequential(nn.Conv2d(3, 4, 8, 8), pool)
    with pytest.raises(ModelError, match=r"\(N, 2\).*got \(1, 4\)"):
        Classifier.from_module(module, ["a", "b"], PreprocessConfig((64, 64)), module[0], module[1])


def test_properties(classifier) -> None:
    assert classifier.num_parameters == 4_144_647  # 5,416,680 − 1281 × 1000 + 1281 × 7 + …
    name, _, revision = classifier.model.partition("@")
    assert name == classifier.config.name and len(revision) == 12
    assert classifier.config.drop_rate > 0
    assert classifier.config.licence == "CC-BY-NC-4.0"


def test_prediction_representations(classifier, photos) -> None:
    prediction = classifier.predict(photos[0])
    assert repr(prediction).startswith(f"Prediction({prediction.label}=")
    assert classifier.model in repr(prediction)
    page = prediction._repr_html_()
    assert "not a medical device" in page and page.count("<tr>") == 7
    assert json.loads(json.dumps(prediction.to_dict()))["label"] == prediction.label
    assert pickle.loads(pickle.dumps(prediction)) == prediction
    assert prediction.top(1) == ((prediction.label, prediction.probability),)
    with pytest.raises(TypeError):
        prediction.probabilities["nv"] = 1.0
    with pytest.raises(OptionError, match="from 1 to 7"):
        prediction.top(8)


def test_explanation_saves_everything(classifier, photos, tmp_path) -> None:
    explanation = classifier.explain(photos[0])
    explanation.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.size == (320, 240)
        assert picture.text["skinxai:model"] == classifier.model
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(explanation.overlay(0.5)))
    explanation.save(tmp_path / "folder")
    stored = np.load(tmp_path / "folder" / "gradcam.npy", allow_pickle=False)
    np.testing.assert_array_equal(stored, explanation.heatmap)
    manifest = json.loads((tmp_path / "folder" / "explanation.json").read_text())
    assert manifest["target"] == explanation.target and manifest["versions"]["torch"]
    assert explanation._repr_png_().startswith(b"\x89PNG")


def test_a_generator_that_uses_one_buffer_again(classifier, tmp_path) -> None:
    """Or one file: what it gave is read before it is asked for more."""
    values = (40, 100, 160, 220)
    whole = [np.full((96, 128, 3), value, np.uint8) for value in values]
    expected = [p.to_dict()["probabilities"] for p in classifier.predict(whole)]

    def buffers():
        buffer = np.zeros((96, 128, 3), np.uint8)
        for value in values:
            buffer[:] = value
            yield buffer

    def files():
        for pixels in whole:
            Image.fromarray(pixels).save(tmp_path / "frame.png")
            yield tmp_path / "frame.png"

    for frames in (buffers(), files()):
        found = [p.to_dict()["probabilities"] for p in classifier.predict(frames)]
        for one, two in zip(found, expected, strict=True):
            assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize("first", ["a tuple", "the sequence"])
def test_features_without_the_images_in_front_answer_in_batches(first: str) -> None:
    body, fc = nn.Conv2d(3, 8, 3, 4), nn.Linear(8, 3)

    def features(images):
        maps = body(images)
        return (maps, maps.mean((2, 3))) if first == "a tuple" else maps.flatten(2).permute(2, 0, 1)

    def head(found):
        return fc(found[1] if first == "a tuple" else found.mean(0))

    classifier = Classifier.from_module(
        nn.ModuleList([body, fc]), ["a", "b", "c"], PreprocessConfig((48, 48)), features, head,
        device="cpu",
    )  # fmt: skip
    draws = np.random.default_rng(0)
    images = list(draws.integers(0, 255, (4 * torch.get_num_threads() + 1, 60, 60, 3), np.uint8))
    rows = [list(found.probabilities.values()) for found in classifier.predict(images)]
    single = [list(classifier.predict(image).probabilities.values()) for image in images]
    np.testing.assert_allclose(rows, single, atol=1e-6)
