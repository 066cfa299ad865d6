"""The doors: registries, hooks, and the entries that ship with skinxai or come from plugins."""

from skinxai.plugins.installed import (
    PluginStatus,
    backbones,
    datasets,
    explainers,
    load,
    losses,
    methods_for_any_network,
    read_image_hook,
    statuses,
)

__all__ = [
    "PluginStatus",
    "backbones",
    "datasets",
    "explainers",
    "load",
    "losses",
    "methods_for_any_network",
    "read_image_hook",
    "statuses",
]
