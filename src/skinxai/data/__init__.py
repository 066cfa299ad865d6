"""Data sets: records, splits, and the registry of loaders.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy.
"""

from skinxai import plugins
from skinxai.data.records import Record, Records, load_folder, load_ham10000
from skinxai.data.splits import Splits, split

names = plugins.datasets.names
get = plugins.datasets.get
entries = plugins.datasets.entries
register = plugins.datasets.register

__all__ = [
    "Record",
    "Records",
    "Splits",
    "entries",
    "get",
    "load_folder",
    "load_ham10000",
    "names",
    "register",
    "split",
]
