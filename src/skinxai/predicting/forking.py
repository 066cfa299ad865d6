"""Processes that were forked: torch computes with one thread in them. No torch.

The threads with which torch computes do not survive ``os.fork``, and its OpenMP library waits for
them for ever. A forked process (gunicorn's ``--preload``, `multiprocessing.Pool` on Linux, a worker
of a data loader) therefore gets one thread, as data loaders do; one that is started by ``spawn``
has all of them.
"""

from __future__ import annotations

import os
import sys


def _one_thread() -> None:
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=_one_thread)
