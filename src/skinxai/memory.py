"""Memory of the process: what "out of memory" looks like, backing off, giving back. No torch."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from skinxai.errors import OutOfMemoryError

if TYPE_CHECKING:
    from torch import Tensor

_WORDS = (
    "out of memory", "can't allocate memory", "not enough memory", "alloc_failed",
    "allocation_failed", "unable to find an engine to execute",
    "unable to find a valid cudnn algorithm",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that a device or the host has no memory left.

    CUDA raises ``torch.OutOfMemoryError``, the host's allocator a plain ``RuntimeError``
    ("DefaultCPUAllocator: can't allocate memory"), Python itself ``MemoryError``, and skinxai
    `OutOfMemoryError` where the smallest part of a batch did not fit: a smaller batch may. A
    convolution whose every algorithm lacks memory to work in raises a plain ``RuntimeError``
    ("GET was unable to find an engine to execute this computation").
    """
    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)


@cache
def gnu_library() -> ctypes.CDLL | None:
    """The C library of this process; ``None`` where it is not GNU's."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "gnu_get_libc_version") else None


def give_back() -> None:
    """Return memory that was freed to the system, in about a millisecond.

    The GNU C library keeps freed blocks for each thread that had them, so that a server of many
    threads would hold what each of them once needed. Changes nothing with other libraries.
    """
    if (library := gnu_library()) is not None:
        library.malloc_trim(0)


PART = 32
"""Passes at once: more are not faster on a CPU, whose activations then leave its caches."""
DIFFERENTIATED_PART = 8
"""Passes at once where activations are kept for a gradient, some 140 MiB each at 288 × 384."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def backing_off(run: Callable[[int], Result], size: int = PART) -> Result:
    """What ``run(size)`` returns, with half the size each time that memory runs out.

    Args:
        run: does all of its work anew, in parts of the given size.
        size: to begin with, >= 1.

    Raises:
        OutOfMemoryError: no memory for parts of one item.
    """
    while True:
        try:
            return run(size)
        except (RuntimeError, MemoryError, OutOfMemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        if size == 1:
            raise OutOfMemoryError(
                f"out of memory with one image: {reason}; use a smaller model, or free memory."
            )
        size = size // 2


def in_batches(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Iterable[Result]]
) -> list[Result]:
    """Results of all items, in one batch, or in smaller ones where memory runs out.

    Args:
        items: at least one.
        run: one result for each item of a batch, in order.

    Raises:
        OutOfMemoryError: no memory for one item.
    """
    found: list[Result] = []

    def go_on(size: int) -> None:
        while len(found) < len(items):
            found.extend(run(items[len(found) : len(found) + size]))

    backing_off(go_on, len(items))
    return found


def in_parts(count: int, scores: Callable[[slice], Tensor], size: int = PART) -> Tensor:
    """Results of items 0 … count − 1, a part at a time, in smaller ones where memory runs out.

    Args:
        count: of items, >= 1.
        scores: of the items of a slice, ``(stop − start, …)``.
        size: of a part, to begin with.

    Raises:
        OutOfMemoryError: no memory for one item.
    """
    import torch

    found: list[Tensor] = []

    def go_on(size: int) -> None:
        while (start := sum(map(len, found))) < count:
            found.append(scores(slice(start, min(start + size, count))))

    backing_off(go_on, size)
    return torch.cat(found)
