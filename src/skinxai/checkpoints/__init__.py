"""Model folders to networks and back: packing and loading weights, and importing timm's."""

from skinxai.checkpoints.packing import (
    LoadedEnsemble,
    LoadedModel,
    is_bound,
    load,
    load_weights,
    pack,
    save,
    unpack,
)

__all__ = [
    "LoadedEnsemble",
    "LoadedModel",
    "is_bound",
    "load",
    "load_weights",
    "pack",
    "save",
    "unpack",
]
