"""Sizes and values that OpenVINO's layers compute, told from those of their inputs."""

import math
from typing import Any

import numpy as np

from skinxai.graphs.computing_rules import COMPUTED, COMPUTING, JOINED
from skinxai.graphs.described_layer import Layer, Rule, Values
from skinxai.graphs.moving_rules import MOVED, MOVING

RULES: dict[str, Rule] = {**MOVING, **COMPUTING, "Result": lambda layer, own, known: []}
"""Sizes of the outputs of each kind; of one without a rule, those that the file tells of."""
VALUES: dict[str, Values] = {**MOVED, **COMPUTED}
"""Kinds of layers that decide sizes, on arrays."""


def count(layer: Layer, known: list[Any]) -> float:
    """Elements that a value will have, at most."""
    if layer.kind == "Range":
        first, last, step = (float(each) for each in known)
        if not step:
            raise ValueError("a Range has the step 0")
        return abs((last - first) / step)
    if layer.kind == "Broadcast":
        target = tuple(max(1, int(each)) for each in known[1].ravel())
        return float(math.prod(np.broadcast_shapes(known[0].shape, target)))
    if layer.kind == "Tile":
        return float(known[0].size * math.prod(max(1, int(each)) for each in known[1].ravel()))
    if layer.kind in JOINED:
        return float(math.prod(np.broadcast_shapes(*(each.shape for each in known))))
    return 0.0  # not more than it is given
