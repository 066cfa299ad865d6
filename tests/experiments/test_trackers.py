"""Trackers: what they get, what they never get, resumed runs, and failures."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_runs import BASE, coloured

from skinxai import Trainer
from skinxai.data import Records
from skinxai.errors import OptionError, TrainingError
from skinxai.experiments.tracker import Point, Tracker, shown_settings
from skinxai.experiments.trackers import trackers_named
from skinxai.reporting import read_evaluation, read_log
from skinxai.training.callbacks import Callback
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS = BASE | {"epochs": 2, "warm_up": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    folder = tmp_path_factory.mktemp("meier-hans-1961")
    return coloured(folder / "train", 8, 0), coloured(folder / "val", 3, 1)


@pytest.fixture(autouse=True)
def each_point_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that steps that a resumed run does again have been logged before."""
    monkeypatch.setattr("skinxai.experiments.tracker.AT_ONCE", 1)


class Fails(Callback):
    """Ends a run at a step."""

    def __init__(self, at: int) -> None:
        self._at = at

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if step == self._at:
            raise ZeroDivisionError


class Losses(Callback):
    """Notes the losses."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.losses[step] = loss


def stopped_and_resumed(data, out: Path, make) -> dict[int, float]:
    """A run that is stopped in its second epoch, with a checkpoint before; the losses of all."""
    losses = Losses()
    with pytest.raises(TrainingError):
        Trainer(**SETTINGS, output_dir=out, callbacks=[make(), losses, Fails(5)]).fit(*data)
    for path in sorted((out / "checkpoints").iterdir())[1:]:  # as a kill before the newest
        path.unlink()
    Trainer.resume(out, callbacks=[make(), losses]).fit(*data)
    return losses.losses


def test_tensorboard_is_read_back(data, tmp_path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from skinxai.experiments import TensorBoardTracker

    out = tmp_path / "run"
    losses = stopped_and_resumed(data, out, lambda: TensorBoardTracker(every=1))
    events = EventAccumulator(str(out / "tensorboard"), purge_orphaned_data=False)
    events.Reload()
    found = [(each.step, each.value) for each in events.Scalars("loss")]
    assert [step for step, _ in found] == [1, 2, 3, 4, 5, 6]  # each once, in spite of the stop
    assert [value for _, value in found] == pytest.approx([losses[n] for n in range(1, 7)])
    rows = read_log(out)
    figures = [each.value for each in events.Scalars("epoch/macro_f1")]
    assert figures == pytest.approx([row["macro_f1"] for row in rows], abs=1e-5)
    judged, _ = read_evaluation(out / "evaluation.json")
    (final,) = events.Scalars("final/balanced_accuracy")
    assert final.value == pytest.approx(judged.balanced_accuracy.value)
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
             for tag in events.Tags()["tensors"]}  # fmt: skip
    assert texts["model/text_summary"] == judged.model
    assert '"learning_rate": 0.003' in texts["settings/text_summary"]
    nothing_private(out / "tensorboard")


def nothing_private(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (b"meier", b"hans-1961", b"train-red", b"val-blue", b"red-00", b".png"):
                assert word not in content, (path, word)


@pytest.mark.filterwarnings("ignore:.*noload.* is deprecated")  # mlflow's use of SQLAlchemy
def test_mlflow_is_read_back(data, tmp_path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    from skinxai.experiments import MLflowTracker

    uri, out = f"sqlite:///{tmp_path}/kept/mlflow.db", tmp_path / "run"
    (tmp_path / "kept").mkdir()
    losses = stopped_and_resumed(data, out, lambda: MLflowTracker(uri, every=1))
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("skinxai")
    (run,) = client.search_runs([experiment.experiment_id])
    found = client.get_metric_history(run.info.run_id, "loss")
    assert [each.step for each in found] == [1, 2, 3, 4, 5, 6]
    assert [each.value for each in found] == pytest.approx([losses[n] for n in range(1, 7)])
    assert run.data.params["learning_rate"] == "0.003" and run.info.status == "FINISHED"
    judged, _ = read_evaluation(out / "evaluation.json")
    assert run.data.metrics["final/macro_f1"] == pytest.approx(judged.macro_f1.value)
    assert run.data.tags["model"] == judged.model
    nothing_private(tmp_path / "kept")


WANDB = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import pytest
from small_runs import registered, listed
from test_trackers import stopped_and_resumed
from skinxai.experiments import WandbTracker, tracker
tracker.AT_ONCE = 1
data, out = Path(sys.argv[2]), Path(sys.argv[3])
with registered():
    losses = stopped_and_resumed((listed(data / "train"), listed(data / "val")), out,
                                 lambda: WandbTracker(mode="offline", every=1))
print("LOSSES", sorted(losses))
"""


def test_wandb_offline_is_read_back(data, tmp_path) -> None:
    """In a process of its own: wandb starts threads and a service."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    tests = Path(__file__).parent
    path = f"import sys; sys.path.insert(0, {str(tests.parent)!r})\n"
    folder, out = data[0][0].path.parent.parent, tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", path + WANDB, str(tests), str(folder), str(out)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "LOSSES [1, 2, 3, 4, 5, 6]" in done.stdout, done.stderr
    content = b"".join(each.read_bytes() for each in sorted(out.glob("wandb/*/*.wandb")))
    assert len(list(out.glob("wandb/offline-run-*"))) == 2
    run = json.loads((out / "tracked.json").read_text())["wandb"]
    assert content.count(run["run"].encode()) >= 2 and run["step"] == 6
    for name in (b"loss", b"learning_rate", b"epoch/macro_f1", b"final/macro_f1"):
        assert name in content
    nothing_private(out / "wandb")


class Notes(Tracker):
    """Keeps what it is given, and fails where it is told to."""

    name = "notes"
    broken: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(1)
        self.points: list[Point] = []
        self.runs: list[str | None] = []
        self.models: list[str] = []

    def begin(self, run_folder: Path, settings: Mapping[str, Any], run: str | None) -> str:
        self.runs.append(run)
        if "begin" in self.broken:
            raise ConnectionError("no server")
        return "run-1"

    def log(self, points: Sequence[Point]) -> None:
        if "log" in self.broken:
            raise OSError(28, "No space left on device")
        self.points += points

    def end(self, model: str) -> None:
        if "end" in self.broken:
            raise ConnectionError("no server")
        self.models.append(model)


@pytest.mark.parametrize("broken", [("begin",), ("log",), ("end",)])
def test_a_tracker_that_fails_ends_no_training(data, tmp_path, broken) -> None:
    notes = Notes()
    notes.broken = broken
    classifier = Trainer(**SETTINGS, output_dir=tmp_path / "run", callbacks=[notes]).fit(*data)
    assert classifier.model and len(read_log(tmp_path / "run")) == 2
    events = (tmp_path / "run/events.log").read_text()
    assert events.count("notes failed with") == 1 and "training goes on" in events
    assert ("notes did not get" in events) == (broken != ("end",))


def test_what_was_missed_is_logged_after_the_next_epoch(data, tmp_path) -> None:
    notes = Notes()
    notes.broken = ("begin",)

    class Mends(Callback):
        def on_epoch(self, row: Mapping[str, float]) -> None:
            notes.broken = ()

    Trainer(**SETTINGS, output_dir=tmp_path / "run", callbacks=[notes, Mends()]).fit(*data)
    assert [p.number for p in notes.points if p.kind == "step"] == [1, 2, 3, 4, 5, 6]
    assert [p.number for p in notes.points if p.kind == "epoch"] == [1, 2]
    assert len(notes.models) == 1


def test_a_resumed_run_goes_on_in_the_same_one(data, tmp_path) -> None:
    made: list[Notes] = []

    def make() -> Notes:
        made.append(Notes())
        return made[-1]

    stopped_and_resumed(data, tmp_path / "run", make)
    assert [each.runs for each in made] == [[None], ["run-1"]]
    points = [p for each in made for p in each.points]
    numbers = [p.number for p in points if p.kind == "step"]
    assert len(numbers) == len(set(numbers)) and numbers == sorted(numbers)
    assert [p.number for p in points if p.kind == "epoch"] == [1, 2]


def test_settings_are_shown_without_paths_and_ids() -> None:
    config = TrainConfig(
        init_weights="/home/meier/w.safetensors", teacher="/home/meier/t", not_copies=("p-1961",),
        augmentation=len,
    )  # fmt: skip
    shown = shown_settings(config.to_dict())
    assert "meier" not in str(shown) and "p-1961" not in str(shown)
    assert (shown["init_weights"], shown["teacher"], shown["not_copies"]) == ("own", "own", 1)
    plain = shown_settings(TrainConfig(init_weights=None).to_dict())
    assert (plain["init_weights"], plain["teacher"]) == (None, None)
    assert plain["augmentation"] == "standard"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named_with_its_line(monkeypatch, name) -> None:
    blocked = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, blocked, None)
    with pytest.raises(OptionError, match=f"needs the package {name}; run pip install {name}"):
        trackers_named([name])


def test_an_unknown_tracker_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"got 'tensorbord'\. Did you mean 'tensorboard'\?"):
        trackers_named(["tensorbord"])
