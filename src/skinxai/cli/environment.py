"""What ``skinxai doctor`` prints: enough to reproduce a report of a problem."""

import os
import platform
from contextlib import suppress
from pathlib import Path

from skinxai import plugins, samples
from skinxai.model_folders import opening
from skinxai.plain_text import agreeing, counted
from skinxai.plugins.registry import installed_version
from skinxai.version import __version__

SHARE = Path("/sys/fs/cgroup/cpu.max")
"""Of a container on Linux: microseconds of processor time, or ``max``, and in how many."""
OLD_SHARE = Path("/sys/fs/cgroup/cpu")
"""Folder of the same in control groups of the first version: two files, and -1 for no limit."""


def describe_environment() -> dict[str, str]:
    """Versions, device, threads, cache, plugins and the bundled model's hash."""
    import numpy
    import PIL
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    bundled = opening.open_model(None)
    statuses = plugins.statuses()
    broken = sum(status.error is not None for status in statuses)
    cuda = torch.cuda.is_available()
    return {
        "skinxai": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
        "timm": installed_version("timm"),
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": threads_line(torch.get_num_threads()),
        "cache": HF_HUB_CACHE,
        "plugins": f"{len(statuses)} installed, {broken} broken",
        "bundled model": f"sha256 {bundled.digest}, every file verified",
        "sample images": str(samples.FOLDER),
    }


def threads_line(threads: int) -> str:
    """Threads that torch computes with, and what they share the cores with."""
    parts = [f"{threads} of {counted(os.cpu_count() or 1, 'core')}"]
    if hasattr(os, "getloadavg"):  # not on Windows
        parts.append(f"load {os.getloadavg()[0]:.1f}")
    if (share := _share()) is not None:
        parts.append(f"this container has {share:.3g} {agreeing(share, 'core', 'cores')}")
    chosen = os.environ.get("OMP_NUM_THREADS")
    parts.append(f"OMP_NUM_THREADS={chosen}" if chosen else "OMP_NUM_THREADS is not set")
    return ", ".join(parts)


def use_share_of_container() -> None:
    """Let torch compute with as many threads as the container has cores, where it has fewer.

    OpenMP sees which cores a process may use, but no quota of their time: with more threads than
    the quota pays for, all of them are stopped again and again. It must be called before torch is
    imported. What the environment says already stays.
    """
    share, cores = _share(), _cores()
    said = any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    if share is not None and share < cores and not said:
        os.environ["OMP_NUM_THREADS"] = str(max(1, int(share)))


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _share() -> float | None:
    """Cores that the container may use, or ``None`` where that is not limited or not known."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        most, period = SHARE.read_text(encoding="utf-8").split()
        return int(most) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        most, period = (
            (OLD_SHARE / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")
            for name in ("quota", "period")
        )
        return int(most) / int(period) if int(most) > 0 else None
    return None
