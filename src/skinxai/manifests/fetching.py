"""Images at addresses such as ``s3://bucket/lesion.jpg``, by fsspec: the only file with it."""

import re
import time
from typing import Any

from skinxai.errors import (
    InputError,
    InputNotFoundError,
    InputPathError,
    InputPermissionError,
    OptionError,
)
from skinxai.images.limits import MAX_BYTES
from skinxai.images.sources import NamedBytes, describe

_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]*(::|://)")
ATTEMPTS = 3
"""How often an address is asked that fails otherwise than by not being there."""
PAUSE = 0.5
"""Seconds before the second attempt; twice as many before the next one."""


def is_address(image: str) -> bool:
    """Whether an image of a manifest is an address, and no path."""
    return _ADDRESS.match(image) is not None


def fetch(address: str) -> NamedBytes:
    """The bytes at an address.

    Raises:
        OptionError: fsspec, or the package that it needs for this kind of address, is missing.
        InputError: nothing is there, or it cannot be read.
    """
    kind, failure = _ADDRESS.match(address), None
    fsspec = _fsspec(address)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with fsspec.open(address, "rb") as file:
                return NamedBytes.of(file.read(MAX_BYTES + 1), address)
        except ImportError as error:
            raise OptionError(
                f"addresses that begin with {kind and kind[0]!r} need another package: {error}."
            ) from error
        except FileNotFoundError as error:
            raise InputNotFoundError(f"found no image at {describe(address)}.") from error
        except PermissionError as error:
            raise InputPermissionError(f"{describe(address)} may not be read.") from error
        except ValueError as error:  # no such kind of address
            raise _failed(address, error) from error
        except Exception as error:  # of many kinds: each file system has its own
            failure = error
    raise _failed(address, failure) from failure


def _failed(address: str, error: BaseException | None) -> InputError:
    return InputPathError(f"{describe(address)} cannot be read: {error}.")


def _fsspec(address: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise OptionError(
            f"the address {describe(address)} needs the package fsspec; run pip install fsspec, or "
            f"list paths of files."
        ) from error
    return fsspec
