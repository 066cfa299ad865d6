"""A run on a device learns as one on the processor, and each resumes the other."""

from pathlib import Path
from typing import Any

import pytest
from conftest import OWN
from small_runs import BASE, coloured, newest

from skinxai import Trainer
from skinxai.data import Records
from skinxai.errors import TrainingError
from skinxai.training.callbacks import Callback

pytestmark = pytest.mark.usefixtures("small_networks")
PARTS = tuple[Records, Records]


class Stop(Callback):
    """Ends a run after its first epoch."""

    def on_epoch(self, row: Any) -> None:
        raise RuntimeError("enough")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> PARTS:
    root = tmp_path_factory.mktemp("colours")
    return coloured(root / "train", 8, 0), coloured(root / "val", 4, 1)


def log(run: Path, parts: PARTS, **settings: Any) -> list[dict[str, float]]:
    """Train, and return the epochs."""
    Trainer(**BASE | {"epochs": 2, "augmentation": "light"} | settings, output_dir=run).fit(*parts)
    return newest(run)[1]["progress"]["log"]


def same(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        assert own["loss"] == pytest.approx(other["loss"], rel=5e-3)


@pytest.mark.parametrize("augment_on", ["cpu", "device"])
def test_a_run_and_its_model(device: str, parts: PARTS, tmp_path: Path, augment_on: str) -> None:
    """Without dropout, whose draws are each device's own."""
    settings: dict[str, Any] = {"drop_rate": 0.0, "mixup": 0.4, "accumulate": 2, "clip_norm": 1.0}
    settings |= {"augment_on": augment_on, "augmentation": "heavy"}
    expected = log(tmp_path / "cpu", parts, device="cpu", **settings)
    same(log(tmp_path / "run", parts, device=device, **settings), expected)


@pytest.mark.parametrize("first_here", [False, True])
def test_each_goes_on_from_the_others_checkpoint(
    device: str, parts: PARTS, tmp_path: Path, first_here: bool
) -> None:
    first, second = ("cpu", device) if first_here else (device, "cpu")
    settings: dict[str, Any] = {"drop_rate": 0.0, "patience": 5}
    expected = log(tmp_path / "whole", parts, device="cpu", **settings)
    # stopped after the first of two epochs: the schedule is that of two
    trainer = Trainer(
        **BASE | {"epochs": 2, "augmentation": "light", "device": first} | settings,
        output_dir=tmp_path / "run", callbacks=[Stop()],
    )  # fmt: skip
    with pytest.raises(TrainingError, match="enough"):
        trainer.fit(*parts)
    Trainer.resume(tmp_path / "run", device=second).fit(*parts)
    same(newest(tmp_path / "run")[1]["progress"]["log"], expected)


@pytest.mark.parametrize("amp", ["bfloat16", pytest.param("float16", marks=pytest.mark.cuda)])
def test_mixed_precision_learns(device: str, parts: PARTS, tmp_path: Path, amp: str) -> None:
    if OWN or (device, amp) == ("cpu", "float16"):
        pytest.skip("This device has no mixed precision of this kind.")
    expected = log(tmp_path / "whole", parts, device=device, epochs=3, drop_rate=0.0)
    found = log(tmp_path / "mixed", parts, device=device, epochs=3, drop_rate=0.0, amp=amp)
    assert found[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=0.1)
    assert newest(tmp_path / "mixed")[1]["scaler"].get("scale", 1.0) > 0
