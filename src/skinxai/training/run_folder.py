"""A run's folder: its settings, log, events and lock."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from skinxai.configs import MAX_JSON_BYTES
from skinxai.errors import TrainingError
from skinxai.plain_text import one_line
from skinxai.progress import say
from skinxai.reading import read_file
from skinxai.staging import finish_writing
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.writing import append_line, made_folder, write_atomic

SETTINGS, LOG, EVENTS = "train.json", "log.csv", "events.log"


class RunFolder:
    """The folder of one run; holds ``train.json`` as soon as the run has begun.

    Args:
        path: created when something is written.
        keep: checkpoints that stay.
    """

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.path = path
        self.checkpoints = CheckpointFolder(path / "checkpoints", keep)

    @property
    def begun(self) -> bool:
        """Whether a run has written its settings here."""
        return (self.path / SETTINGS).exists()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Context in which no other process can train here; removes what a killed write left.

        Raises:
            TrainingError: another process does.
        """
        try:
            with made_folder(self.path), self._locked():
                finish_writing(self.path)
                for place in (self.path, self.checkpoints.folder):
                    for stray in place.glob(".*.part"):
                        stray.unlink(missing_ok=True)
                yield
        except Timeout as error:
            raise TrainingError(
                f"output_dir must be used by one run at a time, another process trains in "
                f"{str(self.path)!r}; wait for it or choose another folder."
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path / ".lock"
        with FileLock(path, timeout=0):
            try:
                yield
            except BaseException:
                if all(each == path for each in self.path.iterdir()):
                    path.unlink()  # so that a folder made for nothing can go
                raise

    def read_settings(self) -> dict[str, Any]:
        """What `write_settings` wrote.

        Raises:
            TrainingError: no run has begun here, or its file is damaged.
        """
        path = self.path / SETTINGS
        try:
            values: dict[str, Any] = json.loads(read_file(path, MAX_JSON_BYTES))
            values["settings"]["backbone"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{str(path)!r} must hold a run's settings: {error}") from error
        return values

    def write_settings(self, values: Mapping[str, Any]) -> None:
        """Write ``train.json``."""
        write_atomic(self.path / SETTINGS, json.dumps(values, indent=2).encode() + b"\n")

    def write_log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write ``log.csv``, one row for each epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: round(value, 5) for name, value in row.items()} for row in rows)
        write_atomic(self.path / LOG, text.getvalue().encode())

    def note(self, sentence: str) -> None:
        """Print a sentence above the progress bar and add it, with the time, to ``events.log``."""
        sentence = one_line(sentence)
        say(sentence)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        append_line(self.path / EVENTS, f"{now} {sentence}")
