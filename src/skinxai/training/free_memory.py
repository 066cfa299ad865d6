"""How much memory a device and its host have left."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

_GROUP = Path("/sys/fs/cgroup")
_NUMBERS = Path("/proc/meminfo")


class Free(NamedTuple):
    """Free memory in bytes.

    Args:
        device: of the device; ``None`` if it has none of its own.
        host: of the host, within the limit of this process's container.
        among: number of ranks on the host, each of which may take its part of that.
    """

    device: int | None
    host: int
    among: int = 1


def free_memory(device: torch.device, among: int = 1) -> Free:
    """The free memory of a device and of its host, which so many ranks share.

    Memory that torch keeps for reuse counts as free.
    """
    own = None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        own = free + kept
    return Free(own, min([_of_system(), *_of_container()]) // among, among)


def is_pinned_for(device: torch.device) -> bool:
    """Whether the host's memory is page-locked for this device."""
    return device.type == "cuda"


def _of_system() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = _NUMBERS.read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 * 2**30  # Windows: no way to ask without another package


def _of_container() -> list[int]:
    with suppress(OSError, ValueError):
        limit, used = (
            int((_GROUP / name).read_text(encoding="utf-8"))
            for name in ("memory.max", "memory.current")
        )
        lines = (
            line.split()
            for line in (_GROUP / "memory.stat").read_text(encoding="utf-8").splitlines()
        )
        files = sum(int(n) for name, n in lines if name in ("inactive_file", "active_file"))
        return [max(0, limit - used + files)]  # cached files give way
    return []
