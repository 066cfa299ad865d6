"""What "out of memory" looks like on devices, on the host and in Python."""

from __future__ import annotations

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that a device or the host has no memory left.

    CUDA raises ``torch.OutOfMemoryError``, the host's allocator a plain ``RuntimeError``
    ("DefaultCPUAllocator: can't allocate memory"), Python itself ``MemoryError``.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)
