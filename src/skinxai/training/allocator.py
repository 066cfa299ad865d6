"""Keeping freed memory within the process while a run goes on.

The GNU C library returns large blocks to the kernel as soon as they are freed and fetches them
again a moment later, page by page. On a CPU a training step frees and fetches all of its
activations, which costs up to as much time as its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skinxai.memory import give_back, gnu_library

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Context in which freed memory stays with the process; it is returned at the end.

    Changes nothing where the C library is not GNU's.
    """
    if (library := gnu_library()) is None:
        yield
        return
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    library.mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        for name, value in _DEFAULTS.items():
            library.mallopt(name, value)
        give_back()
