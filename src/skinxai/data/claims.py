"""What writers of whole folders share: their images, one process at a time, and work in order."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from skinxai.data.records import Records
from skinxai.data.tar_shards import ResizedImages
from skinxai.errors import DatasetError, OutputError, SkinxaiWarning
from skinxai.interruption import signals_wait
from skinxai.plain_text import quoted

Item = TypeVar("Item")
Result = TypeVar("Result")


def check_originals(records: Records) -> None:
    """Refuse no images, and images that were resized already."""
    if not len(records):
        raise DatasetError("records must hold at least one image, but they hold none.")
    if isinstance(records.pixels, ResizedImages):
        raise DatasetError(
            f"records must be the original images, but these are {records.pixels.describe()}, "
            f"resized already; give the originals."
        )


def check_attributes(records: Records, holder: str, *kinds: type) -> None:
    """Refuse attributes that would not come back from a file, before the first image is read.

    Args:
        records: the records.
        holder: what is to hold them, for the message.
        *kinds: of the values that come back, but for NaN.
    """
    wrong: dict[object, str] = {}
    for item in records:
        for name, value in item.attributes.items():
            sound = isinstance(name, str) and isinstance(value, kinds) and value == value
            if not sound and name not in wrong:
                wrong[name] = f"{quoted(item.image_id)}, whose {name!r:.80} is {value!r:.80}"
    if wrong:
        raise DatasetError(
            f"attributes must be text that {holder} can hold, but these records change when they "
            f"are written and read:",
            tuple(wrong.values()),
            python="give such attributes as text, '' for what is not known",
        )


def other(target: Path, how: str = "", what: str = "") -> OutputError:
    """The error of a folder that is not what would be written: no such folder, or another one."""
    if not how:
        return OutputError(
            f"folder {str(target)!r} must be new or empty, but it holds something else",
            python="pass another one", command="give another OUT",
        )  # fmt: skip
    return OutputError(
        f"folder {str(target)!r} must be new, empty or {how} from the same images, but {what}",
        python="pass another folder, or delete this one",
        command="give another OUT, or delete this folder",
    )


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yield results in order; at most ``2 * workers`` of them are computed ahead."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            with signals_wait():
                waiting.append(pool.submit(function, item))
            if len(waiting) == 2 * workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _result(future: Future[Result]) -> Result:
    with signals_wait():
        return future.result()


def taken(target: Path) -> bool:
    """Whether a folder, or something else, is there that is not empty."""
    try:
        return target.exists() and not (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise OutputError(
            f"reading the folder {str(target)!r} failed: {error.strerror}."
        ) from error


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold the lock beside a folder while it is prepared; other processes wait for it."""
    from filelock import FileLock, Timeout

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            message = f"another process is preparing {str(target)!r}; waiting until it is done."
            warnings.warn(message, SkinxaiWarning, 4)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise OutputError(
            f"locking a file in the folder {str(target.parent)!r} failed: {error}; choose a folder "
            f"on another disk."
        ) from error
    try:
        yield
    except BaseException:
        Path(lock.lock_file).unlink(missing_ok=True)  # so that a folder made for it can go
        raise
    finally:
        lock.release()
