"""Layers followed from one image to the answers: sizes, whole numbers and the work they ask for.

OpenVINO follows the numbers of a file without asking whether they make sense: a step of zero ends
the process. Every constant is therefore compared with the weights' file, every input with what
computes it, and sizes and whole numbers are followed from one image through all layers, before
OpenVINO sees the file.
"""

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from skinxai.errors import IntegrityError
from skinxai.graphs.budget import Step, check_budget, largest
from skinxai.graphs.described_layer import MAX_SIDE, TYPES, Layer, Place, Sizes, numbers
from skinxai.graphs.layer_rules import RULES, VALUES, count
from skinxai.graphs.layers import Layers, refused
from skinxai.plain_text import counted

SMALL = 2**20
"""Elements of values that are computed here."""
FEW = 4096
"""Elements of constants of other numbers than whole ones that are read."""
DIVIDING = ("Divide", "FloorMod", "Mod")


def check_layers(found: Layers, weights: BinaryIO, name: str) -> None:
    """Refuse layers whose numbers do not fit each other, or that compute more than networks do.

    Args:
        found: of `read_layers`.
        weights: the file that its constants are parts of; large ones are not read.
        name: of the file, for messages.

    Raises:
        IntegrityError: one of these.
    """
    try:
        with np.errstate(all="ignore"):
            _Followed(found.layers, weights, name).follow()
    except IntegrityError:
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, MemoryError) as error:
        raise refused(name, error) from error


class _Followed:
    """Sizes of all values for one image, and the values of those that decide sizes."""

    def __init__(self, layers: list[Layer], weights: BinaryIO, name: str) -> None:
        self._layers, self._weights, self._name = layers, weights, name
        self.sizes: dict[Place, Sizes] = {}
        self.values: dict[Place, Any] = {}
        self._whole: set[Place] = set()
        """Outputs of whole numbers."""

    def follow(self) -> None:
        parameters = [each for each in self._layers if each.kind == "Parameter"]
        sides = parameters[0].data["shape"].split(",") if len(parameters) == 1 else []
        if len(sides) != 4 or sides[1].strip() != "3":
            raise ValueError("it must take only images, (N, 3, h, w)")
        image = numbers(",".join(sides[2:]))
        if not all(0 < side <= MAX_SIDE for side in image) or len(image) != 2:
            raise ValueError(f"it must take images of at most {MAX_SIDE} pixels a side")
        most, constants, steps = largest(*image), 0, []
        varying: set[Place] = set()
        for number, layer in enumerate(self._layers):
            if layer.kind == "Const":
                constants += self._constant(number, layer)
                continue
            sizes = [(1, 3, *image)] if layer.kind == "Parameter" else self._sizes(number, layer)
            if len(sizes) != len(layer.outputs):
                raise ValueError(f"a {layer.kind} has {counted(len(layer.outputs), 'output')}")
            for port, (own, told) in enumerate(zip(sizes, layer.outputs, strict=True)):
                fits = len(own) == len(told) and all(
                    b in (a, -1) for a, b in zip(own, told, strict=True)
                )
                empty = min(own, default=1) < 1 and (number, port) not in self.values
                if not fits or empty:  # only what decides sizes may be empty, as ONNX writes it
                    raise ValueError(f"a {layer.kind} of {told} computes {own}")
                if math.prod(own) > most:
                    raise ValueError(
                        f"a value may have at most {most} elements for an image, but {layer.kind} "
                        f"would have {own}"
                    )
                self.sizes[number, port] = own
            made = {(number, port): math.prod(each) for port, each in enumerate(sizes)}
            if layer.kind == "Parameter" or varying.intersection(layer.inputs):
                varying |= set(made)
            self._note_type(number, layer)
            steps.append(
                Step(layer.inputs, made, self._products(number, layer), not varying & set(made))
            )
        read = {each for layer in self._layers for each in layer.inputs}
        for number, layer in enumerate(self._layers):
            large = layer.kind == "Const" and math.prod(layer.outputs[0]) > FEW
            if large and (number, 0) not in read:
                raise ValueError("a large constant is read by no layer")
        check_budget(steps, (image[0], image[1]), constants, self._name)

    def _constant(self, number: int, layer: Layer) -> int:
        shape, dtype = layer.outputs[0], np.dtype(TYPES[layer.data["element_type"]])
        count = math.prod(shape)
        self.sizes[number, 0] = shape
        if dtype.kind in "iub":
            self._whole.add((number, 0))
        if count <= (SMALL if dtype.kind in "iub" else FEW):
            self._weights.seek(int(layer.data["offset"]))
            data = self._weights.read(count * dtype.itemsize)
            self.values[number, 0] = np.frombuffer(data, dtype, count).reshape(shape)
        return count

    def _note_type(self, number: int, layer: Layer) -> None:
        kind = layer.kind
        source = {"ConvertLike": 1, "Select": 1}.get(kind, 0)
        whole = bool(layer.inputs) and layer.inputs[source] in self._whole
        if kind in ("ShapeOf", "Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"):
            whole = True
        for name in ("destination_type", "output_type"):
            if name in layer.data:
                whole = layer.data[name] not in ("f64", "f32", "f16")
        self._whole |= {(number, port) for port in range(len(layer.outputs)) if whole}

    def _sizes(self, number: int, layer: Layer) -> Sequence[Sizes]:
        own = [self.sizes[each] for each in layer.inputs]
        known = [self.values.get(each) for each in layer.inputs]
        divides = layer.kind in DIVIDING and layer.inputs[1] in self._whole
        if divides and (known[1] is None or not np.all(known[1])):
            raise ValueError(f"{layer.kind} would divide by zero")
        found = self._computed(number, layer, known)
        if found is not None:
            return [each.shape for each in found]
        told = [tuple(max(side, 1) for side in each) for each in layer.outputs]
        rule = RULES.get(layer.kind)
        return told if rule is None else rule(layer, own, known) or told

    def _computed(self, number: int, layer: Layer, known: list[Any]) -> list[Any] | None:
        """Values that decide sizes, and so depend on nothing but sizes and constants."""
        if layer.kind == "ShapeOf":
            found = [np.array(self.sizes[layer.inputs[0]], np.int64)]
        elif layer.kind in VALUES and all(each is not None for each in known):
            if sum(each.size for each in known) > SMALL or count(layer, known) > SMALL:
                return None
            made = VALUES[layer.kind](layer, known)
            found = [np.asarray(each) for each in made] if isinstance(made, list) else [
                np.asarray(made)]  # fmt: skip
        else:
            return None
        for port, each in enumerate(found):
            self.values[number, port] = each
        return found

    def _products(self, number: int, layer: Layer) -> int:
        if layer.kind in ("Convolution", "GroupConvolution", "ConvolutionBackpropData"):
            weights = self.sizes[layer.inputs[1]]
            grouped = layer.kind == "GroupConvolution"
            if layer.kind == "ConvolutionBackpropData":
                return math.prod(self.sizes[layer.inputs[0]]) * math.prod(weights[1:])
            return math.prod(self.sizes[number, 0]) * math.prod(weights[2 if grouped else 1 :])
        if layer.kind == "MatMul":
            first = self.sizes[layer.inputs[0]]
            inner = first[-2:][0] if layer.data.get("transpose_a") == "true" else first[-1:][0]
            return math.prod(self.sizes[number, 0]) * inner
        if layer.kind == "Einsum":
            return math.prod(max(self.sizes[each], default=1) for each in layer.inputs) * math.prod(
                self.sizes[number, 0]
            )
        if layer.kind in ("MaxPool", "AvgPool"):
            kernel = math.prod(numbers(layer.data.get("kernel", "")))
            return math.prod(self.sizes[number, 0]) * kernel
        return 0
