"""A run's folder: its settings, log, events and lock."""

import csv
import datetime
import errno
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from skinxai.configs import MAX_JSON_BYTES, SCHEMA_VERSION, check_schema, strict_json
from skinxai.disk.regular_files import check_file, read_file
from skinxai.disk.staging import finish_writing
from skinxai.disk.writing import append_line, made_folder, write_atomic, write_json
from skinxai.errors import ModelConfigError, ResumeMismatchError, TrainingError
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.tensors import pack_bytes, unpack_bytes
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import one_line
from skinxai.progress import say
from skinxai.reporting import read_log
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.precision import PRECISIONS
from skinxai.training.settings import TrainConfig

SETTINGS, LOG, EVENTS = "train.json", "log.csv", "events.log"
IMAGES = "image_hashes.safetensors"
_HASHES_NAME = "hashes"
CROSS_VALIDATION, STUDY = "cross_validation.json", "study.db"
_HELD = {SETTINGS: "a run", CROSS_VALIDATION: "a cross-validation", STUDY: "a search"}
_KEYS = (
    "schema_version", "settings", "precision", "init_weights", "teacher", "data", "splits_sha256",
    "versions",
)  # fmt: skip
_OPTIONAL = ("command",)  # of a run that the command line began
_HASHES = ("labels", "train", "val", "prepared pixels", "files")
_UNREAD = bytes(16)


def check_keys(
    values: Any, keys: Sequence[str] | None, name: str, *, optional: Sequence[str] = ()
) -> None:
    """Refuse anything but a JSON object with exactly these keys; ``None`` allows any.

    Raises:
        ValueError: if it is not an object, or a key is missing or unknown.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{name} must be a JSON object, got {type(values).__name__}")
    if keys is None:
        return
    if missing := sorted(set(keys) - set(values)):
        raise ValueError(f"{name} lacks {missing}")
    if unknown := sorted(set(values) - {*keys, *optional}):
        raise ValueError(f"{name} has the unknown keys {unknown}; update skinxai")


def _check_kinds(values: dict[str, Any]) -> None:
    about, texts = values["data"], ("init_weights", "splits_sha256", "teacher")
    named = {name: values[name] for name in texts} | {"data.name": about["name"]}
    named |= {f"data.sha256.{name}": value for name, value in about["sha256"].items()}
    for name, value in named.items():
        if not isinstance(value, str) and (value is not None or name != "teacher"):
            raise ValueError(f"{name} must be text, got {value!r:.80}")
    for name in ("train", "val"):
        counts = about[name]
        if not isinstance(counts, list) or not all(type(count) is int for count in counts):
            raise ValueError(f"data.{name} must be a list of whole numbers, got {counts!r:.80}")


def held_in(path: Path) -> str | None:
    """The file that marks work which a folder holds already; ``None`` if it holds none."""
    return next((name for name in _HELD if (path / name).exists()), None)


def taken(path: Path, held: str, own: str, *, python: str = "") -> TrainingError:
    """The refusal of a folder for new work that holds other work, as `held_in` has found it.

    ``own`` is the file that marks the new work; ``python`` says how Python goes on with work of the
    same kind, where there is a way.
    """
    same = held == own
    return TrainingError(
        f"output_dir must be a new folder, but {str(path)!r} holds {_HELD[held]}",
        python=python if same else "pass another output_dir",
        command=f"{'go on with it with --resume, or ' if same else ''}give another --out",
    )


def as_logged(value: float) -> float:
    """A figure as ``log.csv`` has it: whole, or of six significant digits."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


class RunFolder:
    """The folder of one run; holds ``train.json`` as soon as the run has begun.

    Args:
        path: the folder; it is created when something is written.
        keep: number of newest checkpoints to keep.
        writes: whether this process writes to the folder; of several ranks the first one does.
    """

    def __init__(self, path: Path, keep: int = 2, *, writes: bool = True) -> None:
        self.path, self._writes = path, writes
        self.checkpoints = CheckpointFolder(path / "checkpoints", keep)

    @property
    def begun(self) -> bool:
        """Whether a run has written its settings here."""
        return (self.path / SETTINGS).exists()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Context in which no other process can train here: a `TrainingError` if one does.

        Leftovers of killed writes are removed.
        """
        if not self._writes:
            yield
            return
        try:
            with made_folder(self.path), self._locked():
                finish_writing(self.path)
                for place in (self.path, self.checkpoints.folder):
                    for stray in place.glob(".*.part"):
                        stray.unlink(missing_ok=True)
                yield
        except Timeout as error:
            raise TrainingError(
                f"output_dir must be used by one run at a time, but another process trains in "
                f"{str(self.path)!r}; wait for it or choose another folder."
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path / ".lock"
        try:
            if path.is_symlink():
                raise OSError(errno.ELOOP, "it is a link")
            check_file(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise TrainingError(
                f"{str(path)!r} must be a regular file: {error.strerror}; delete it."
            ) from error
        with FileLock(path, timeout=0):
            try:
                yield
            except BaseException:
                if all(each == path for each in self.path.iterdir()):
                    path.unlink()  # so that a folder made for nothing can go
                raise

    def read_settings(self) -> dict[str, Any]:
        """Read what `write_settings` wrote.

        Raises:
            TrainingError: if no run has begun here, or its file is damaged.
        """
        path = self.path / SETTINGS
        try:
            values: dict[str, Any] = strict_json(read_file(path, MAX_JSON_BYTES))
            check_keys(values, _KEYS, "train.json", optional=_OPTIONAL)
            check_schema(values["schema_version"], "train.json")
            check_keys(values["settings"], TrainConfig.names(), "settings")
            check_keys(values["data"], ("name", "train", "val", "sha256"), "data")
            check_keys(values["data"]["sha256"], _HASHES, "data.sha256")
            check_keys(values["versions"], None, "versions")
            _check_kinds(values)
            if values["precision"] not in tuple(PRECISIONS):
                raise ValueError(
                    f"precision must be a type of numbers, got {values['precision']!r}"
                )
        except FileNotFoundError as error:
            raise TrainingError(f"found no run in {str(self.path)!r}; check the path.") from error
        except (OSError, ValueError, ModelConfigError) as error:
            reason = str(error).rstrip(".")
            raise TrainingError(
                f"{str(path)!r} must hold a run's settings: {reason}; start the run again in a new "
                f"folder."
            ) from error
        return values

    def check_epochs(self, epochs: int) -> None:
        """Refuse to go on with fewer epochs than have been trained, by a `ResumeMismatchError`."""
        if (trained := len(read_log(self.path))) > epochs:
            raise ResumeMismatchError(
                f"epochs must be at least {trained} to go on with {str(self.path)!r}, which has "
                f"trained that many, got {epochs}; for fewer, start a new run in another folder."
            )

    def write_settings(self, values: Mapping[str, Any]) -> None:
        """Write ``train.json``."""
        if not self._writes:
            return
        write_json(self.path / SETTINGS, {**values, "schema_version": SCHEMA_VERSION})

    def read_trained_on(self) -> TrainedOn | None:
        """Read what `write_trained_on` wrote.

        Raises:
            IntegrityError: if a file is damaged, or there are fingerprints without hashes.
        """
        paths = [self.path / name for name in TrainedOn.NAMES]
        return TrainedOn.from_files({p.name: read_part(p) for p in paths if p.exists()})

    def write_trained_on(self, trained_on: TrainedOn | None) -> None:
        """Store which images the run learns from; ``None`` if unknown."""
        if not self._writes:
            return
        for name in TrainedOn.NAMES:  # of a try before
            (self.path / name).unlink(missing_ok=True)
        for name, data in (trained_on.files() if trained_on is not None else {}).items():
            write_atomic(self.path / name, data)

    def read_images(self, count: int) -> list[str | None]:
        """Read what `write_images` wrote.

        Raises:
            TrainingError: if there is no such file.
            IntegrityError: if the file is damaged, or of another number of images.
        """
        path = self.path / IMAGES
        if not path.exists():
            raise TrainingError(
                f"{str(path)!r} must hold what each image was when the run began, but it is "
                f"missing; put it back, or start the run again in a new folder."
            )
        rows = unpack_bytes(_HASHES_NAME, read_part(path), (count, len(_UNREAD)), IMAGES)
        each = (rows[n : n + len(_UNREAD)] for n in range(0, len(rows), len(_UNREAD)))
        return [None if row == _UNREAD else row.hex() for row in each]

    def write_images(self, hashes: Sequence[str | None]) -> None:
        """Store what each training image and then each validation image was when the run began.

        It is the first 32 digits of its `skinxai.data.pixel_hash`; ``None`` of an unreadable one.
        """
        if not self._writes:
            return
        rows = [_UNREAD if one is None else bytes.fromhex(one)[: len(_UNREAD)] for one in hashes]
        table = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, len(_UNREAD))
        write_atomic(self.path / IMAGES, pack_bytes(_HASHES_NAME, table))

    def write_log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write ``log.csv``, one row for each epoch."""
        if not self._writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: as_logged(value) for name, value in row.items()} for row in rows)
        write_atomic(self.path / LOG, text.getvalue().encode())

    def note(self, sentence: str) -> None:
        """Print a sentence above the progress bar and add it, with the time, to ``events.log``."""
        if not self._writes:
            return
        sentence = one_line(sentence)
        say(sentence)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        append_line(self.path / EVENTS, f"{now} {sentence}")
