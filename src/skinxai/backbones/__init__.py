"""Backbones: the registry, and the networks that its names build.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy. A backbone
is a builder ``(name, num_classes, drop_rate) -> skinxai.backbones.network.SkinClassifier``, which
may take the keyword ``drop_path_rate`` as well.
"""

from skinxai.backbones.building import (
    TIMM,
    build,
    build_timm,
    check_name,
    entries,
    get,
    names,
    register,
)
from skinxai.backbones.fitting import check_bytes, check_fit, check_header, compare, no_more_than
from skinxai.backbones.stages import classifier_names, layer_groups

__all__ = [
    "TIMM",
    "build",
    "build_timm",
    "check_bytes",
    "check_fit",
    "check_header",
    "check_name",
    "classifier_names",
    "compare",
    "entries",
    "get",
    "layer_groups",
    "names",
    "no_more_than",
    "register",
]
