"""Data sets: records, splits, and the registry of loaders.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy.
"""

from skinxai import plugins
from skinxai.data.loading import load_csv, load_folder, load_ham10000
from skinxai.data.records import Record, Records
from skinxai.data.splits import Splits, folds, split

names = plugins.datasets.names
get = plugins.datasets.get
entries = plugins.datasets.entries
register = plugins.datasets.register

__all__ = [
    "Record",
    "Records",
    "Splits",
    "entries",
    "folds",
    "get",
    "load_csv",
    "load_folder",
    "load_ham10000",
    "names",
    "register",
    "split",
]
