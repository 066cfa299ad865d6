"""Answers in float32 are computed in float32, whatever faster formats the program allows torch."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from small_runs import BASE, coloured

from skinxai.backbones.exact_float32 import exact_float32
from skinxai.classifier import Classifier
from skinxai.predicting import torch_predictor
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture
from skinxai.training.callbacks import Callback
from skinxai.training.trainer import Trainer

IMAGE = picture({"upper left": "red"})
NEWER = (
    torch.backends.cudnn.conv, torch.backends.cuda.matmul, torch.backends.mkldnn.conv,
    torch.backends.mkldnn.matmul, torch.backends.cudnn, torch.backends.mkldnn,
    torch.backends.cudnn.rnn,
)  # fmt: skip


def readable(setting: Callable[[], Any]) -> Any:
    try:
        return setting()
    except RuntimeError:
        return "unreadable"


def settings() -> list[Any]:
    older = (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32)
    return [each.fp32_precision for each in NEWER] + [readable(each) for each in older]


def nothing() -> None:
    """As torch is: convolutions may use TF32."""


def older() -> None:
    torch.set_float32_matmul_precision("medium")


def older_switched_off() -> None:
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = True


def newer() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def newer_mixed_with_older() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"


def older_twice() -> None:
    """The processor's products keep "medium", which torch then cannot say of both."""
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_tf32 = True


@pytest.fixture(
    params=[nothing, older, older_switched_off, newer, newer_mixed_with_older, older_twice]
)
def allowed(request) -> Iterator[list[Any]]:
    """What a program may have set, and what torch then says of it."""
    request.param()
    yield settings()
    torch.backends.cudnn.allow_tf32 = True  # torch's own, older first
    torch.set_float32_matmul_precision("highest")
    for own, value in zip(NEWER, ("tf32", *["none"] * 5, "tf32"), strict=True):
        own.fp32_precision = value


ASKED: dict[str, Callable[[Classifier], object]] = {
    "predict": lambda model: model.predict(IMAGE, tta=True),
    "dropout": lambda model: model.predict(IMAGE, dropout_passes=2),
    "embed": lambda model: model.embed(IMAGE),
    "gradcam": lambda model: model.explain(IMAGE),
    "occlusion": lambda model: model.explain(IMAGE, "occlusion"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_answer_is_exact_and_leaves_the_settings(allowed: list[Any], asked: str) -> None:
    model, seen = colour_classifier(), []
    model.network.network.disturb = lambda images: seen.append(settings())
    ASKED[asked](model)
    assert seen and all(each[:4] == ["ieee"] * 4 for each in seen)
    assert settings() == allowed
    if "unreadable" not in allowed:  # torch's own parts read the older ones
        assert all(each[-2:] == ["highest", False] for each in seen)


def test_no_product_on_a_gpu_is_refused_within(allowed: list[Any]) -> None:
    """Each reads this, and raises where the older and the newer setting of it disagree."""
    with exact_float32():
        assert torch.backends.cuda.matmul.allow_tf32 is False
    assert settings() == allowed


def test_a_network_is_folded_exactly(monkeypatch, allowed: list[Any]) -> None:
    seen: list[Any] = []

    def folded(network: Any, size: Any) -> Any:
        seen.append(settings())
        return network

    monkeypatch.setattr(torch_predictor, "folded", folded)
    Classifier.from_pretrained(backend="torch")
    assert seen and all(each[:4] == ["ieee"] * 4 for each in seen)
    assert settings() == allowed


def test_a_network_is_trained_exactly(allowed: list[Any], tmp_path, small_networks) -> None:
    seen: list[Any] = []

    class Look(Callback):
        def on_step(self, step: int, loss: float, learning_rate: float) -> None:
            seen.append(settings())

    parts = [coloured(tmp_path / name, 4, k) for k, name in enumerate(("train", "val"))]
    Trainer(**BASE, output_dir=tmp_path / "run", callbacks=[Look()]).fit(*parts)
    assert seen and all(each[:4] == ["ieee"] * 4 for each in seen)
    assert settings() == allowed


def test_the_last_of_two_threads_puts_the_settings_back() -> None:
    before, entered, may_leave = settings(), threading.Event(), threading.Event()

    def second() -> None:
        with exact_float32():
            entered.set()
            may_leave.wait(60)

    thread = threading.Thread(target=second)
    with exact_float32():
        thread.start()
        assert entered.wait(60)
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # the other is still within
    may_leave.set()
    thread.join()
    assert settings() == before


def test_an_error_puts_the_settings_back() -> None:
    before = settings()
    with pytest.raises(KeyError), exact_float32():
        raise KeyError
    assert settings() == before
