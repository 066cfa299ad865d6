"""Data sets: records, splits, and the registry of loaders.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy.
"""

from typing import TYPE_CHECKING, Any

from skinxai import plugins
from skinxai.data.class_folders import load_folder
from skinxai.data.given import given_part, given_split
from skinxai.data.loading import load_csv
from skinxai.data.prepared import load_prepared
from skinxai.data.preparing import prepare
from skinxai.data.published import load_ham10000
from skinxai.data.records import Record, Records
from skinxai.data.splits import Splits, folds, split
from skinxai.data.tar_preparing import write_shards
from skinxai.data.tar_shards import load_shards
from skinxai.images.pixels import pixel_hash
from skinxai.model_folders.trained_on import TrainedOn

if TYPE_CHECKING:
    from skinxai.data.auditing import audit

names = plugins.datasets.names
get = plugins.datasets.get
entries = plugins.datasets.entries
register = plugins.datasets.register

__all__ = [
    "Record",
    "Records",
    "Splits",
    "TrainedOn",
    "audit",
    "entries",
    "folds",
    "get",
    "given_part",
    "given_split",
    "load_csv",
    "load_folder",
    "load_ham10000",
    "load_prepared",
    "load_shards",
    "names",
    "pixel_hash",
    "prepare",
    "register",
    "split",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name == "audit":  # on first use: it loads OpenCV
        from skinxai.data.auditing import audit

        return audit
    raise AttributeError(f"module 'skinxai.data' has no attribute {name!r}")
