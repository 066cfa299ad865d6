"""A device that this machine does not have is refused when it is named, in a sentence."""

import re
import sys

import pytest
import torch

from skinxai import Classifier
from skinxai.errors import OptionError
from skinxai.predicting import gpu_drivers
from skinxai.predicting.devices import device_named
from skinxai.predicting.runners import choose
from skinxai.training.trainer import Trainer

RULE = "device must be 'auto' or one that this machine has, got "
PYTHON = '; pass device="auto" or device="cpu".'
COMMAND = "; give --device auto or --device cpu."


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has."""
    made = torch.zeros

    def zeros(*size, device="cpu", **more):
        if torch.device(device).type != "cpu":
            raise AssertionError("a long text\nof torch's own")
        return made(*size, **more)

    monkeypatch.setattr(torch, "zeros", zeros)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cuda", ": torch finds no GPU"),
        ("cuda:7", ": torch finds no GPU"),
        ("mps", ": torch cannot compute on it"),
        ("tpu", ": torch cannot compute on it"),
        ("gpu", " (did you mean 'cuda'?)"),
        ("GPU:0", " (did you mean 'cuda'?)"),
        ("CUDA", " (did you mean 'cuda'?)"),
        ("cpuu", " (did you mean 'cpu'?)"),
        ("Auto", " (did you mean 'auto'?)"),
        ("cdua:1", " (did you mean 'cuda'?)"),
        ("meta", ": torch cannot compute on it"),
        ("nonsense", ": torch cannot compute on it"),
        ("", ": torch cannot compute on it"),
    ],
)
def test_a_device_that_is_not_there(without_gpu, name: str, reason: str) -> None:
    with pytest.raises(OptionError) as info:
        device_named(name)
    assert str(info.value) == f"{RULE}{name!r}{reason}{PYTHON}"
    assert info.value.on_command_line == f"{RULE}{name!r}{reason}{COMMAND}"


def test_torch_without_cuda_and_too_high_a_number(without_gpu, monkeypatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(OptionError, match="the installed torch was built without CUDA; pass"):
        device_named("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(OptionError, match=r"got 'cuda:2': the GPUs are \['cuda:0', 'cuda:1'\]; p"):
        device_named("cuda:2")
    with pytest.raises(OptionError, match="got 'cuda:1': a long text; pass"):  # torch's own reason
        device_named("cuda:1")


def test_auto_does_not_choose_a_gpu_that_cannot_compute(without_gpu, monkeypatch) -> None:
    """An old card, say, for which this torch has no machine code, or one that another has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionError) as info:
        device_named("auto")
    said = "device 'auto' chose the GPU, which does not compute: a long text"
    assert str(info.value) == f'{said}; pass device="cpu".'
    assert info.value.on_command_line == f"{said}; give --device cpu."


def test_the_processor_and_auto(without_gpu) -> None:
    assert device_named("auto") == device_named("cpu") == torch.device("cpu")


@pytest.mark.parametrize("driver", [True, False], ids=["driver", "no driver"])
@pytest.mark.parametrize("usable", [True, False], ids=["GPU", "no GPU"])
def test_auto_takes_torch_on_a_gpu_and_the_graph_on_the_processor(
    monkeypatch, tmp_path, driver: bool, usable: bool
) -> None:
    """A driver without a GPU that torch can use: torch was built without CUDA, or none is shown."""
    files = [tmp_path / "absent", tmp_path / "driver"]
    if driver:
        files[1].touch()
    asked = []
    monkeypatch.setattr(gpu_drivers, "DRIVER_FILES", tuple(files))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or usable)
    on_gpu = driver and usable

    def chosen(backend: str, device: str, has_graph: bool = True) -> str:
        return choose(backend, has_graph=has_graph, device=device)

    for device in ("auto", "cpu", "cuda", "cuda:1", "mps"):
        for backend in ("torch", "onnx", "openvino"):
            assert chosen(backend, device) == backend  # what is named is taken, or refused
        assert chosen("auto", device, has_graph=False) == "torch"
    assert asked == []
    assert chosen("auto", "auto") == ("torch" if on_gpu else "openvino")
    assert len(asked) == driver  # torch is not imported to be asked
    assert chosen("auto", "cpu") == "openvino"
    assert [chosen("auto", device) for device in ("cuda", "cuda:1", "mps")] == ["torch"] * 3
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert chosen("auto", "auto") == chosen("auto", "cpu") == "torch"
    assert len(asked) == driver


@pytest.mark.parametrize(
    ("gpu", "device", "backend"),
    [(True, "auto", "torch cpu"), (True, "cpu", "openvino"), (False, "auto", "openvino")],
)
def test_a_model_is_opened_with_what_is_chosen(
    monkeypatch, gpu: bool, device: str, backend: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # whatever this machine has
    monkeypatch.setattr("skinxai.predicting.runners.has_gpu", lambda: gpu)
    model = Classifier.from_pretrained(backend="auto", device=device)
    assert model.backend.startswith(backend)


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "tpu"])
def test_it_is_said_before_anything_is_read(without_gpu, name, monkeypatch, tmp_path) -> None:
    def opened(*args, **keywords):
        pytest.fail("the model was opened")

    monkeypatch.setattr("skinxai.predicting.opened_models.open_model", opened)
    with pytest.raises(OptionError, match="device must be 'auto' or one that this machine has"):
        Classifier.from_pretrained("org/name", device=name)
    with pytest.raises(OptionError, match="device must be 'auto' or one that this machine has"):
        Trainer(init_weights=None, device=name, output_dir=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("openvino", "needs the package openvino: pip install 'skinxai[openvino]'"),
        ("onnx", "needs the package onnxruntime: pip install 'skinxai[onnx]'"),
        ("opnvino", "got 'opnvino'. Did you mean 'openvino'?"),
    ],
)
@pytest.mark.parametrize("model", [None, "org/name", ["org/name"]])
def test_a_backend_that_is_not_there_is_said_before_anything_is_read(
    model, backend, words, monkeypatch
) -> None:
    for package in ("openvino", "onnxruntime", "onnx"):  # as after pip install skinxai
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("open_model", "open_models"):
        place = f"skinxai.predicting.opened_models.{name}"
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(OptionError, match=re.escape(words)):
        Classifier.from_pretrained(model, backend=backend)
