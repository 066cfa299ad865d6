"""Every error that skinxai raises.

Each has a stable ``code`` for programs and one sentence for people, which names the thing,
the rule, the value and the remedy::

    SkinxaiError
    ├── InputError                an image, an array or a path that cannot be used
    │   ├── ImageDecodeError          damaged, truncated or empty image data
    │   ├── ImageTooLargeError        more pixels or bytes than the limit
    │   ├── ImageTooSmallError        fewer pixels than a lesion needs
    │   ├── UnsupportedImageError     a format or kind that is not read
    │   ├── InputShapeError           an array of the wrong shape
    │   ├── InputDtypeError           an array, or an object, of the wrong type
    │   ├── InputRangeError           array values outside the declared range, or not finite
    │   ├── InputNotFoundError        no such file
    │   ├── InputPathError            a path that is no regular file or cannot be followed
    │   ├── InputPermissionError      a file that may not be read
    │   ├── NoInputsError             a folder or pattern without any image
    │   └── UrlBlockedError           a URL, or a kind of URL, that is not allowed
    ├── OutputError               a result that cannot be written where it was asked for
    │   └── PartsError                parts of answers that are missing, damaged or of another run
    ├── OptionError               an argument outside its rule
    ├── UnknownNameError          a name that no registry, label set or model has
    ├── DatasetError              records, labels or splits that cannot be used
    │   ├── DatasetSchemaError        missing columns, doubled rows, damaged tables
    │   ├── DatasetLabelError         labels that are empty, unknown or contradict each other
    │   ├── DatasetPathError          listed files that are missing or outside their folder
    │   ├── DatasetImageError         images that cannot be read
    │   ├── LeakageError              one lesion, patient or image in two parts, or a part misused
    │   └── CalibrationError          images that a model cannot be calibrated on
    ├── ModelError                a model that cannot be used
    │   ├── ModelNotFoundError        no such model folder or Hub name
    │   ├── HubError                  the Hub does not answer, or not as it should
    │   ├── IntegrityError            files that do not agree with the manifest or the weights
    │   ├── UnsafeFormatError         weights in a format that can run code
    │   ├── ModelConfigError          a config that breaks its schema
    │   ├── ExportError               a network that cannot be exported, or whose export differs
    │   └── NonFiniteOutputError      NaN or infinite logits
    ├── ExplainError              an explanation that cannot be made
    │   └── ExplainTimeoutError       no time left for all network passes
    ├── PluginError               a plugin that breaks its contract
    │   └── PluginMannersError        an explainer that left the network or the process changed
    ├── StoreError                cases and labels that cannot be kept or read
    │   ├── StoreUnavailableError     a database that does not answer, or is locked
    │   ├── StoreFullError            no room on the disk of the database or of the images
    │   ├── StoreVersionError         a database of a newer version
    │   ├── StoreConflictError        another case has this id already
    │   └── UnknownCaseError          no case has this id
    ├── OutOfMemoryError          no memory even for the smallest part of a batch
    └── TrainingError             a training run that cannot go on
        ├── NonFiniteLossError        NaN or infinite loss, gradients or weights
        ├── CheckpointWriteError      a checkpoint that cannot be written
        ├── CheckpointCorruptError    a checkpoint that is damaged or of another network
        ├── ResumeMismatchError       a run resumed with other data, labels or network
        ├── WorkerCrashError          a decoding process that died or hangs
        └── RankLostError             another process of the run that has ended or does not answer
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from skinxai.plain_text import one_line


class SkinxaiWarning(UserWarning):
    """Something that does not change a result but that its reader should know, on one line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class SkinxaiError(Exception):
    r"""Base of all errors of this package.

    Messages quote what came from elsewhere: each is one line of bounded length, with an escape
    such as ``\x1b`` in the place of a hidden character (see `skinxai.plain_text`).

    ``index`` and ``source`` are set where the error belongs to one of several inputs:
    the position in the call's order, and what came in, as text.

    Args:
        message: the sentence. It is complete where no remedy follows as an argument of its own.
        python: a remedy in Python, without a full stop, such as ``"pass max_pixels=60_000_000"``.
        command: the same remedy as the command line has it; ``python`` where it is empty.
    """

    code = "skinxai"
    index: int | None = None
    source: str | None = None

    def __init__(self, message: str = "", *, python: str = "", command: str = "") -> None:
        super().__init__(_with_remedy(message, python))
        self.on_command_line = _with_remedy(message, command or python)

    def prefixed(self, text: str) -> Self:
        """The same error with ``text`` and a colon in front of both of its sentences."""
        made = copy.copy(self)
        made.args = (one_line(f"{text}: {self}"),)
        made.on_command_line = one_line(f"{text}: {self.on_command_line}")
        return made

    def at(self, index: int, source: str) -> SkinxaiError:
        """Note which input this error belongs to, and return the error itself."""
        if self.index is None:
            self.index, self.source = index, source
            self.add_note(f"input {index}: {source}")
        return self


def closest(
    name: object, known: Iterable[str], *, cutoff: float = 0.6, plain: Callable[[str], str] = str
) -> str | None:
    """The known name that is most like ``name``, or ``None`` where none is like it.

    Args:
        name: what came.
        known: what there is.
        cutoff: how alike it must be, 0–1.
        plain: makes both comparable, such as `str.lower`.
    """
    written = {plain(each): each for each in known}
    near = difflib.get_close_matches(plain(str(name)), written, n=1, cutoff=cutoff)
    return written[near[0]] if near else None


def did_you_mean(
    name: object, known: Iterable[str], *, cutoff: float = 0.6, plain: Callable[[str], str] = str
) -> str:
    """``" Did you mean 'x'?"``, with its blank, of `closest`; empty where nothing is like it."""
    near = closest(name, known, cutoff=cutoff, plain=plain)
    return "" if near is None else f" Did you mean {near!r}?"


def _listing(message: str, problems: Sequence[str], stop: str) -> str:
    """A message, and the first twenty problems behind it."""
    if not problems:
        return message
    shown = "; ".join(each.rstrip(".") for each in problems[:20])
    more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
    return f"{message} {shown}{more}" + ("" if shown.endswith("?") and not more else stop)


def _with_remedy(message: str, remedy: str) -> str:
    return one_line(f"{message}; {remedy}." if remedy else message)


class InputError(SkinxaiError):
    """An image, an array or a path that cannot be used."""

    code = "input"


class ImageDecodeError(InputError):
    """Damaged, truncated or empty image data."""

    code = "image_decode"


class ImageTooLargeError(InputError):
    """More pixels or bytes than the limit."""

    code = "image_too_large"


class ImageTooSmallError(InputError):
    """Fewer pixels than a lesion needs."""

    code = "image_too_small"


class UnsupportedImageError(InputError):
    """A format or kind of image that is not read."""

    code = "image_unsupported"


class InputShapeError(InputError):
    """An array of the wrong shape."""

    code = "input_shape"


class InputDtypeError(InputError):
    """An array, or an object, of the wrong type."""

    code = "input_dtype"


class InputRangeError(InputError):
    """Array values outside the declared range, or not finite."""

    code = "input_range"


class InputNotFoundError(InputError):
    """No such file."""

    code = "input_not_found"


class InputPathError(InputError):
    """A path that is no regular file or cannot be followed."""

    code = "input_path"


class InputPermissionError(InputError):
    """A file that may not be read."""

    code = "input_permission"


class NoInputsError(InputError):
    """A folder or pattern without any image."""

    code = "no_inputs"


class UrlBlockedError(InputError):
    """A URL, or a kind of URL, that is not allowed."""

    code = "url_blocked"


class OutputError(SkinxaiError):
    """A result that cannot be written where it was asked for."""

    code = "output"


class PartsError(OutputError):
    """Parts of answers that are missing, damaged, there twice, or of another run."""

    code = "parts"


class OptionError(SkinxaiError, ValueError):
    """An argument outside its rule."""

    code = "option"


class UnknownNameError(SkinxaiError, LookupError):
    """A name that no registry, label set or model has."""

    code = "unknown_name"


class DatasetError(SkinxaiError):
    """Records, labels or splits that cannot be used.

    ``problems`` lists everything that was found, as texts; the message has the first twenty. Those
    given as errors have the command line's remedies on the command line.
    """

    code = "dataset"

    def __init__(
        self,
        message: str,
        problems: Sequence[str | SkinxaiError] = (),
        *,
        python: str = "",
        command: str = "",
    ) -> None:
        self.problems = tuple(str(each) for each in problems)
        stop = "" if python or command else "."
        super().__init__(_listing(message, self.problems, stop), python=python, command=command)
        own = [getattr(each, "on_command_line", str(each)) for each in problems]
        self.on_command_line = _with_remedy(_listing(message, own, stop), command or python)


class DatasetSchemaError(DatasetError):
    """Missing columns, doubled rows, damaged tables."""

    code = "dataset_schema"


class DatasetLabelError(DatasetError):
    """Labels that are empty, unknown or contradict each other."""

    code = "dataset_label"


class DatasetPathError(DatasetError):
    """Listed files that are missing or outside their folder."""

    code = "dataset_path"


class DatasetImageError(DatasetError):
    """Images that cannot be read."""

    code = "dataset_image"


class LeakageError(DatasetError):
    """One lesion, patient or image in two parts, or a part used for what it is not for."""

    code = "leakage"


class CalibrationError(DatasetError):
    """Images that a model cannot be calibrated on."""

    code = "calibration"


class ModelError(SkinxaiError):
    """A model that cannot be used."""

    code = "model"


class ModelNotFoundError(ModelError):
    """No such model folder or Hub name."""

    code = "model_not_found"


class HubError(ModelError):
    """The Hugging Face Hub does not answer, or not as it should."""

    code = "hub"


class IntegrityError(ModelError):
    """Files that do not agree with the manifest or the weights."""

    code = "integrity"


class UnsafeFormatError(ModelError):
    """Weights in a format that can run code."""

    code = "unsafe_format"


class ModelConfigError(ModelError):
    """A config that breaks its schema."""

    code = "model_config"


class ExportError(ModelError):
    """A network that cannot be exported, or an exported one that answers otherwise."""

    code = "export"


class NonFiniteOutputError(ModelError):
    """NaN or infinite logits."""

    code = "non_finite_output"


class ExplainError(SkinxaiError):
    """An explanation that cannot be made."""

    code = "explain"


class ExplainTimeoutError(ExplainError):
    """No time left for all network passes; ``predictions`` has the answers that were ready."""

    code = "explain_timeout"

    def __init__(self, message: str) -> None:
        self.predictions: tuple[object, ...] = ()
        super().__init__(message)


class PluginError(SkinxaiError):
    """A plugin that breaks its contract."""

    code = "plugin"


class PluginMannersError(PluginError):
    """An explainer that left the network or the process changed."""

    code = "plugin_manners"


class StoreError(SkinxaiError):
    """Cases and labels that cannot be kept or read."""

    code = "store"


class StoreUnavailableError(StoreError):
    """A database that does not answer, or is locked; what was asked may be asked again."""

    code = "store_unavailable"


class StoreFullError(StoreError):
    """No room on the disk of the database or of the images."""

    code = "store_full"


class StoreVersionError(StoreError):
    """A database that a newer version of skinxai wrote."""

    code = "store_version"


class StoreConflictError(StoreError):
    """Another case has this id already."""

    code = "store_conflict"


class UnknownCaseError(StoreError, LookupError):
    """No case has this id."""

    code = "unknown_case"


class OutOfMemoryError(SkinxaiError):
    """No memory even for the smallest part of a batch."""

    code = "out_of_memory"


class TrainingError(SkinxaiError):
    """A training run that cannot go on."""

    code = "training"


class NonFiniteLossError(TrainingError):
    """NaN or infinite loss, gradients or weights."""

    code = "non_finite_loss"


class CheckpointWriteError(TrainingError):
    """A checkpoint that cannot be written; ``errno`` says why."""

    code = "checkpoint_write"

    def __init__(self, message: str, errno: int | None = None) -> None:
        self.errno = errno
        super().__init__(message)


class CheckpointCorruptError(TrainingError):
    """A checkpoint that is damaged or of another network."""

    code = "checkpoint_corrupt"


class ResumeMismatchError(TrainingError):
    """A run resumed with other data, labels or network."""

    code = "resume_mismatch"


class WorkerCrashError(TrainingError):
    """A decoding process that died or hangs."""

    code = "worker_crash"


class RankLostError(TrainingError):
    """Another process of the run that has ended or does not answer."""

    code = "rank_lost"
