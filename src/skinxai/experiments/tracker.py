"""`Tracker`: what experiment trackers are told of a run, and what becomes of their failures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai.configs import MAX_JSON_BYTES, strict_json
from skinxai.disk.regular_files import read_file
from skinxai.disk.writing import write_json
from skinxai.errors import SkinxaiError
from skinxai.plain_text import counted, one_line
from skinxai.progress import say
from skinxai.reporting import read_evaluation
from skinxai.training.callbacks import Callback
from skinxai.training.run_folder import RunFolder

if TYPE_CHECKING:
    from skinxai.classifier import Classifier

RECORD, AT_ONCE, MOST = "tracked.json", 50, 100_000
PRIVATE = ("init_weights", "teacher", "augmentation")
"""Settings that may be paths or names of your own; only the words in `WORDS` are logged."""
WORDS = ("imagenet", "bundled", "none", "light", "standard", "heavy")


@dataclass(frozen=True)
class Point:
    """Figures at one point of a run.

    Args:
        kind: ``step``, ``epoch`` or ``final``.
        number: the step or the epoch, from 1; of ``final`` the last epoch.
        step: the last step before it, from 1.
        figures: name → value.
    """

    kind: str
    number: int
    step: int
    figures: Mapping[str, float]


class Tracker(Callback, ABC):
    """Base class of trackers: they get settings, losses, rates and figures, and nothing else.

    No image, image id, lesion id, patient id or path is logged. A tracker that fails does not end
    the training: a note says so, it is tried again after each epoch with all that it missed, and
    ``log.csv`` has the figures of every epoch in any case. A resumed run goes on in the tracker's
    run of before. What was given to the tracker is noted in ``tracked.json`` of the run folder
    first, so that no point is logged twice; a kill in between may lose some points.

    Args:
        every: steps between two values of the loss.
    """

    name = ""

    def __init__(self, every: int = 10) -> None:
        self._every, self._folder = every, Path()
        self._waiting: list[Point] = []
        self._record: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._open = self._failing = False
        self._step = 0

    @abstractmethod
    def begin(self, run_folder: Path, settings: Mapping[str, Any], run: str | None) -> str:
        """Open the tracker's run and return its id; ``run`` is the id of a run to go on with."""

    @abstractmethod
    def log(self, points: Sequence[Point]) -> None:
        """Log points, in order."""

    @abstractmethod
    def end(self, model: str) -> None:
        """Log the model's ``name@revision`` and close the run."""

    def on_start(self, run_folder: Path, settings: Mapping[str, Any]) -> None:
        """Open the tracker's run."""
        self._folder, self._settings = run_folder, shown_settings(settings)
        self._waiting, self._open, self._failing, self._step = [], False, False, 0
        self._record = self._read().get(self.name, {})
        self._known = dict(self._record)
        self._send()

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Log loss and learning rate."""
        self._step = step
        if step % self._every == 0:
            self._add(Point("step", step, step, {"loss": loss, "learning_rate": learning_rate}))
            if len(self._waiting) >= AT_ONCE and not self._failing:
                self._send()

    def on_epoch(self, row: Mapping[str, float]) -> None:
        """Log the figures of the epoch."""
        number = int(row["epoch"])
        figures = {f"epoch/{name}": value for name, value in row.items() if name != "epoch"}
        self._add(Point("epoch", number, self._step, figures))
        self._send()

    def on_end(self, classifier: Classifier) -> None:
        """Log the final evaluation and the model's revision, and close the run."""
        model = classifier.model
        if self._known.get("model") != model:
            number = int(self._record.get("epoch", 0))
            step = max(self._step, int(self._record.get("step", 0)))
            self._waiting.append(Point("final", number, step, final_figures(self._folder)))
        self._send()
        if self._open and not self._failing:
            try:
                self.end(model)
                self._note_down({"model": model})
            except Exception as error:  # a tracker may raise anything
                self._fail(error)
        if self._waiting:
            self._tell(
                f"{self.name} did not get {counted(len(self._waiting), 'point')}; log.csv has all "
                f"epochs"
            )

    def _add(self, point: Point) -> None:
        if point.number > int(self._known.get(point.kind, 0)):
            self._waiting = [*self._waiting[-MOST:], point]

    def _send(self) -> None:
        try:
            if not self._open:
                run = self.begin(self._folder, self._settings, self._record.get("run"))
                self._open = True
                self._note_down({"run": run})
            if self._waiting:
                ends = {each.kind: each.number for each in self._waiting if each.kind != "final"}
                self._note_down(ends)
                self.log(self._waiting)
                self._waiting = []
            self._failing = False
        except Exception as error:  # a tracker may raise anything
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._failing:
            self._tell(
                f"{self.name} failed with {type(error).__name__}: {str(error)[:300]}; training "
                f"goes on, and it is tried again after each epoch"
            )
        self._failing = True

    def _tell(self, sentence: str) -> None:
        try:
            RunFolder(self._folder).note(sentence)
        except SkinxaiError:  # the disk is full: the sentence stands above the bar alone
            with suppress(OSError):
                say(one_line(sentence))

    def _read(self) -> dict[str, Any]:
        try:
            found = strict_json(read_file(self._folder / RECORD, MAX_JSON_BYTES))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _note_down(self, values: Mapping[str, Any]) -> None:
        self._record |= values
        write_json(self._folder / RECORD, self._read() | {self.name: self._record})


def shown_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a tracker may have them: without paths, ids and names of your own."""
    shown = dict(settings)
    shown["not_copies"] = len(settings["not_copies"])
    for name in PRIVATE:
        if str(settings[name]).lower() not in WORDS:
            shown[name] = "own"
    shown["image_size"] = "x".join(map(str, settings["image_size"]))
    options = ",".join(f"{n}={v}" for n, v in settings["loss_options"].items())
    return shown | {"loss_options": options}


def final_figures(run_folder: Path) -> dict[str, float]:
    """Figures of the run's final evaluation, on its validation part."""
    found, _ = read_evaluation(run_folder / "evaluation.json")
    figures = {
        "accuracy": found.accuracy, "balanced_accuracy": found.balanced_accuracy,
        "macro_f1": found.macro_f1, "brier_score": found.brier_score,
        "expected_calibration_error": found.expected_calibration_error,
    } | {f"recall_{code}": figure for code, figure in found.recall.items()}  # fmt: skip
    return {f"final/{name}": figure.value for name, figure in figures.items()}
