"""Explainers: the registry. Built-in methods and plugins stand side by side.

``names()``, ``entries()`` and ``register(name)`` load nothing heavy.
"""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from typing import TYPE_CHECKING

from skinxai import plugins
from skinxai.errors import PluginError

if TYPE_CHECKING:
    from skinxai.explainers.base import Explainer

names = plugins.explainers.names
entries = plugins.explainers.entries
register = plugins.explainers.register


def get(name: str) -> type[Explainer]:
    """Class of a registered explainer; a `PluginError` where it is none or cannot be imported."""
    found = plugins.explainers.get(name)
    from skinxai.explainers.base import Explainer

    if not (inspect.isclass(found) and issubclass(found, Explainer)):
        raise PluginError(f"explainer {name!r} must be a subclass of skinxai.Explainer.")
    if not is_dataclass(found.options_type):
        raise PluginError(f"options_type of explainer {name!r} must be a frozen dataclass.")
    return found
