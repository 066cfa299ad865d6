"""What downloads and uploads share of the Hub's own client: its errors, bars and limits."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skinxai.errors import OptionError
from skinxai.progress import is_quiet

SECONDS = 4  # that the first answer of the Hub may take
_NUMBER = re.compile(r"\[(?:Errno|WinError) -?\d+\] ")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w.+/-]{0,199}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+")


def check_revision(revision: str) -> None:
    """Refuse what cannot be a commit, tag or branch."""
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise OptionError(f"revision must be a commit, tag or branch, got {revision!r}.")


def check_token(token: str | None) -> None:
    """Refuse what cannot be sent: the HTTP library's error would show it."""
    if isinstance(token, str) and not _TOKEN.fullmatch(token):
        raise OptionError(
            "token must be ASCII characters without blanks and line ends; if it was read from a "
            "file, pass token.strip()."
        )


def failures() -> tuple[type[Exception], ...]:
    """Errors that the client raises if the connection or the Hub fails; its HTTP library varies."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (HFValidationError, OSError, *HfHubHTTPError.__bases__)  # the second is the library's


def line(error: BaseException) -> str:
    """The first line of a client's message, without the system's error number."""
    text = _NUMBER.sub("", str(error)).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


@contextmanager
def bars_of_client() -> Iterator[None]:
    """Context in which the client's own progress bars are hidden if `quiet` is in force."""
    from huggingface_hub import utils as exported

    utils: Any = exported  # its types are told of the module that these come from alone

    if not is_quiet() or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()
