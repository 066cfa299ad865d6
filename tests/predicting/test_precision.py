"""Predictions in sixteen bits, where they are asked for; explanations never."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import LABELS, model_folder, registered

from skinxai import Classifier, backbones, checkpoints, read_image, samples
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import TrainedOn
from skinxai.errors import OptionError
from skinxai.images.transforms import evaluation_transform


def rows(predictions: list) -> np.ndarray:
    return np.array([list(p.probabilities.values()) for p in predictions])


def test_torch_rounds_what_it_predicts_and_nothing_else(photos, tmp_path: Path) -> None:
    config = ModelConfig("tiny", "timm/test_resnet", LABELS, PreprocessConfig((96, 128)))
    checkpoints.save(str(tmp_path), backbones.build(config.backbone, 3), config, "", TrainedOn())
    classifier, rounded = (
        Classifier.from_pretrained(tmp_path, precision=each, device="cpu")
        for each in ("float32", "bfloat16")
    )
    found = rounded.predict(photos[0])
    (member,) = classifier.torch_predictor.members
    pixels = evaluation_transform(read_image(photos[0]).pixels, member.preprocessing)
    batch = torch.from_numpy(pixels)[None].to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = member.answering(batch).float().softmax(1)[0]
    np.testing.assert_allclose(rows([found])[0], expected, atol=1e-6)
    whole = classifier.predict(photos[0])
    assert np.abs(rows([found]) - rows([whole])).max() > 1e-5  # of two in float32: 1e-7
    assert found.backend == rounded.backend == "torch cpu bfloat16"
    one, two = (each.explain(photos[0], target="red") for each in (rounded, classifier))
    assert one.backend == "torch cpu float32" and np.array_equal(one.heatmap, two.heatmap)
    assert np.array_equal(rounded.embed(photos[0]), classifier.embed(photos[0]))


def test_a_callers_autocast_rounds_nothing(classifier, photos) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found, embedded = classifier.predict(photos[:2]), classifier.embed(photos[0])
        again = Classifier.from_pretrained(device="cpu").predict(photos[0])
    assert np.array_equal(rows(found), rows(classifier.predict(photos[:2])))
    assert np.array_equal(embedded, classifier.embed(photos[0]))
    assert again.to_dict() == classifier.predict(photos[0]).to_dict()


def test_openvino_rounds_where_it_is_asked(classifier) -> None:
    rounded = Classifier.from_pretrained(backend="openvino", precision="bfloat16")
    whole = Classifier.from_pretrained(backend="openvino")
    images = list(samples.paths()[:2])
    found = rounded.predict(images)
    assert found[0].backend.startswith("openvino")
    exact = np.array_equal(rows(found), rows(whole.predict(images)))
    assert found[0].backend.endswith("float32" if exact else "bfloat16")  # as the processor can
    assert np.abs(rows(found) - rows(classifier.predict(images))).max() < 0.06
    assert exact or rounded.explain(images[0]).backend == "torch cpu float32"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "float16", "device": "cpu"}, "needs a CUDA device"),
        ({"precision": "int4"}, "precision must be one of"),
        ({"precision": "bfloat16", "backend": "onnx"}, "must compute in float32"),
        ({"precision": "float16", "backend": "openvino"}, "must compute in float32 or bfloat16"),
        ({"precision": "bfloat16", "check": True}, "needs precision='float32'"),
    ],
)
def test_what_cannot_be_rounded(options: dict, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Classifier.from_pretrained(**options)


@pytest.mark.filterwarnings("ignore")  # torch's own, of what it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_network_gives_the_same_answers(photos, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # else processes for each core
    with registered():
        folder = model_folder(tmp_path, seed=1)
        whole, compiled = (Classifier.from_pretrained(folder, compile=c) for c in (False, True))
        assert compiled.backend == "torch compiled cpu float32" != whole.backend
        for images in (photos[:1], photos[:3]):
            np.testing.assert_allclose(
                rows(compiled.predict(images)), rows(whole.predict(images)), atol=1e-5
            )
        explained = [each.explain(photos[0], target="red") for each in (whole, compiled)]
        assert np.array_equal(explained[0].heatmap, explained[1].heatmap)
        assert explained[1].backend == "torch cpu float32"
        rounded = [
            Classifier.from_pretrained(folder, compile=c, precision="bfloat16")
            for c in (False, True)
        ]
        assert rounded[1].backend == "torch compiled cpu bfloat16"
        np.testing.assert_allclose(*(rows(each.predict(photos[:1])) for each in rounded), atol=1e-2)
        assert copy.deepcopy(compiled).predict(photos[0]).backend == "torch cpu float32"


def test_compiling_where_that_cannot_be_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(OptionError, match="compile must be left out for backend 'onnx'"):
        Classifier.from_pretrained(backend="onnx", compile=True)
    assert Classifier.from_pretrained(backend="auto", device="cpu").backend.startswith("openvino")

    def fails(self, *args, **more):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch.nn.Module, "compile", fails)
    with registered(), pytest.raises(OptionError, match=r"compile needs .* no compiler"):
        Classifier.from_pretrained(model_folder(tmp_path, seed=1), compile=True)
