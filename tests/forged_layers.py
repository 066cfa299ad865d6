"""OpenVINO's XML with its weights, as nobody but a test or a forger writes it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from skinxai.graphs.followed_layers import check_layers
from skinxai.graphs.layers import read_layers

IMAGE = (1, 3, 32, 48)
PIXELS = 32 * 48


class Net:
    """OpenVINO's XML with its weights, layer by layer; the first takes the images."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.weights = b""
        self.add("Parameter", [], [(-1, 3, 32, 48)], shape="?,3,32,48", element_type="f32")

    def add(self, kind: str, inputs: Sequence[int], outputs: Any, **data: object) -> int:
        own = len(self.layers)
        attributes = " ".join(f'{name}="{value}"' for name, value in data.items())
        ports = "".join(f'<port id="{n}"/>' for n in range(len(inputs)))
        dims = ["".join(f"<dim>{side}</dim>" for side in sizes) for sizes in outputs]
        made = "".join(f'<port id="{len(inputs) + n}">{d}</port>' for n, d in enumerate(dims))
        self.layers.append(
            f'<layer id="{own}" type="{kind}" version="opset1"><data {attributes}/>'
            f"<input>{ports}</input><output>{made}</output></layer>"
        )
        for place, source in enumerate(inputs):
            port = self.layers[source].split("<output>")[0].count("<port")
            self.edges.append(
                f'<edge from-layer="{source}" from-port="{port}" to-layer="{own}" '
                f'to-port="{place}"/>'
            )
        return own

    def constant(self, values: Any, kind: str = "i64", **changes: object) -> int:
        array = np.asarray(values, {"i64": np.int64, "f32": np.float32}.get(kind, np.int64))
        place = {"offset": len(self.weights), "size": max(1, array.nbytes)} | changes
        self.weights += array.tobytes() or b"\0"
        shape = ", ".join(str(side) for side in array.shape)
        return self.add("Const", [], [array.shape], element_type=kind, shape=shape, **place)

    def xml(self) -> bytes:
        layers, edges = "".join(self.layers), "".join(self.edges)
        return f"<net><layers>{layers}</layers><edges>{edges}</edges></net>".encode()

    def check(self) -> None:
        found = read_layers(self.xml(), "x")
        assert found.size == len(self.weights)
        check_layers(found, io.BytesIO(self.weights), "x")
