"""Processes that were forked: torch computes with one thread in them, and locks are free. No torch.

The threads with which torch computes do not survive ``os.fork``, and its OpenMP library waits for
them for ever. A forked process (gunicorn's ``--preload``, `multiprocessing.Pool` on Linux, a worker
of a data loader) therefore gets one thread, as data loaders do; one that is started by ``spawn``
has all of them.

Nor do other threads of the parent survive, and what one of them had locked, such as while it loaded
a model or explained an image, nobody would unlock: a forked process gets new locks.
"""

import os
import sys
import threading

LOCKS = (
    ("skinxai.backbones.evaluation_mode", "_changing"),
    ("skinxai.backbones.exact_float32", "_changing"),
    ("skinxai.explaining.attributing", "_one_plugin_at_a_time"),
    ("skinxai.explaining.views", "_one_at_a_time"),
    ("skinxai.graphs.exported", "_making_the_core"),
    ("skinxai.plugins.installed", "_lock"),
    ("skinxai.plugins.installed", "_reading"),
    ("skinxai.predicting.in_use", "_building"),
)
"""Modules with a lock for the whole process, and the lock's name."""


def _own_locks() -> None:
    for module, name in LOCKS:
        if (found := sys.modules.get(module)) is not None:
            setattr(found, name, threading.RLock())


def _one_thread() -> None:
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=_own_locks)
    os.register_at_fork(after_in_child=_one_thread)
