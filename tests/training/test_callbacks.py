"""Callbacks: what they are told and when, and what happens when they fail."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import BASE

from skinxai import Classifier, Trainer
from skinxai.errors import TrainingError
from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS = BASE | {"epochs": 2, "warm_up": 0.0}


class Diary(Callback):
    """Notes everything."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def on_start(self, *values: Any) -> None:
        self.lines.append(("start", *values))

    def on_step(self, *values: Any) -> None:
        self.lines.append(("step", *values))

    def on_epoch(self, *values: Any) -> None:
        self.lines.append(("epoch", *values))

    def on_end(self, *values: Any) -> None:
        self.lines.append(("end", *values))


@pytest.fixture(scope="module")
def diary(data, tmp_path_factory) -> tuple[Path, Diary]:
    folder, diary = tmp_path_factory.mktemp("run") / "run", Diary()
    Trainer(**SETTINGS, output_dir=folder, callbacks=[Callback(), diary]).fit(*data)
    return folder, diary


def test_what_they_are_told(diary) -> None:
    folder, lines = diary[0], diary[1].lines
    kinds = [line[0] for line in lines]
    assert kinds == ["start", *["step"] * 3, "epoch", *["step"] * 3, "epoch", "end"]
    assert lines[0][1] == folder and lines[0][2]["learning_rate"] == 3e-3
    steps = [line[1:] for line in lines if line[0] == "step"]
    assert [step for step, _, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[0][2] == 3e-3 and steps[-1][2] < 1e-3 and all(loss > 0 for _, loss, _ in steps)
    rows = [line[1] for line in lines if line[0] == "epoch"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row, mean in zip(rows, (steps[:3], steps[3:]), strict=True):
        assert row["loss"] == pytest.approx(sum(loss for _, loss, _ in mean) / 3)
    assert isinstance(lines[-1][1], Classifier)


@pytest.mark.parametrize(
    ("method", "at", "left"), [("on_start", 1, 6), ("on_step", 2, 4), ("on_epoch", 1, 3),
                               ("on_end", 1, 0)],
)  # fmt: skip
def test_one_that_raises_stops_the_run_after_a_checkpoint(
    data, diary, tmp_path, method, at, left
) -> None:
    class Raises(Callback):
        calls = 0

    def call(self: Any, *values: Any) -> None:
        self.calls += 1
        if self.calls == at:
            raise ZeroDivisionError("its own")

    setattr(Raises, method, call)
    folder = tmp_path / "run"
    words = f"callback Raises.{method} raised ZeroDivisionError: its own; a check"
    with pytest.raises(TrainingError, match=words):
        Trainer(**SETTINGS, output_dir=folder, callbacks=[Raises()]).fit(*data)
    assert CheckpointFolder(folder / "checkpoints").newest() is not None
    again = Diary()
    Trainer.resume(folder, callbacks=[again]).fit(*data)
    assert sum(line[0] == "step" for line in again.lines) == left  # nothing is done twice
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (diary[0] / weights).read_bytes()
