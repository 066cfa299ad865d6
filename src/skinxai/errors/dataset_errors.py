"""Errors of data sets, which list every problem that was found."""

from collections.abc import Sequence

from skinxai.errors.root import SkinxaiError, with_remedy


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
        self.on_command_line = with_remedy(_listing(message, own, stop), command or python)


def _listing(message: str, problems: Sequence[str], stop: str) -> str:
    """A message, and the first twenty problems behind it."""
    if not problems:
        return message
    shown = "; ".join(each.rstrip(".") for each in problems[:20])
    more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
    return f"{message} {shown}{more}" + ("" if shown.endswith("?") and not more else stop)


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
