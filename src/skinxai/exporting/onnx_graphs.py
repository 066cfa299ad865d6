"""Networks as ONNX graphs, with embeddings and, where the head allows it, class activation maps."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinxai.backbones.network import SkinClassifier, copied, is_pooled
from skinxai.errors import ExplainError, ExportError, OptionError
from skinxai.graphs import EMBEDDINGS, IMAGES, LOGITS, MAPS
from skinxai.graphs.exported import FLOAT, KERNEL
from skinxai.plain_text import counted


class _Traced(nn.Module):
    """Images to logits, embeddings and, for a pooled linear head, all class activation maps."""

    def __init__(self, model: SkinClassifier, kernel: Tensor | None, *, pooled: bool) -> None:
        super().__init__()
        self.network = model.network
        self._functions = (model._features, model._head, model._pool, model._grid)
        self._pooled = pooled
        self.kernel: Tensor | None
        self.register_buffer(KERNEL, None if kernel is None else kernel[:, :, None, None])

    @property
    def outputs(self) -> list[str]:
        """Their names."""
        return [LOGITS] + [EMBEDDINGS] * self._pooled + [MAPS] * (self.kernel is not None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features, head, pool, grid = self._functions
        channels = features(self.network, images)
        found = [head(self.network, copied(channels))]
        if self._pooled and pool is not None:
            found.append(pool(self.network, copied(channels)))
        elif self._pooled and is_pooled(channels):
            found.append(copied(channels))
        elif self._pooled:
            cells = channels if grid is None else grid(self.network, channels, None)
            found.append(cells.mean(dim=(2, 3)))
        if self.kernel is not None:
            found.append(nn.functional.conv2d(channels, self.kernel))
        return tuple(found)


@torch.no_grad()
def _is_pooled(model: SkinClassifier, image_size: tuple[int, int]) -> bool:
    device = next(model.network.parameters()).device
    try:
        model.pool(model.features(torch.zeros(1, 3, *image_size, device=device)))
    except ExplainError:  # no map
        return False
    return True


def _drawn(network: nn.Module, image_size: tuple[int, int]) -> Tensor:
    """Two images of normal noise, the same each time, on the network's device."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *image_size, generator=draws, device="cpu")
    return images.to(next(network.parameters()).device)


def class_map_kernel(model: SkinClassifier, image_size: tuple[int, int]) -> Tensor | None:
    """``w_kc / (h · w)`` ``(K, C)`` where the head is the mean over space and a linear layer.

    That is seen in its gradient, the same in every cell and for two images; else ``None``, as it is
    where a ``grid`` of the network's places cells otherwise than its features have them.
    """
    images = _drawn(model.network, image_size)
    with torch.no_grad():
        features = model.features(images)
    try:
        if not torch.equal(model.grid(features, image_size), features):
            return None
    except ExplainError:  # no map
        return None
    with torch.enable_grad():
        leaf = features.detach().clone().requires_grad_()
        logits = model.logits(leaf)
        if not logits.requires_grad:  # a head without gradients
            return None
        rows = [torch.autograd.grad(k.sum(), leaf, retain_graph=True)[0] for k in logits.T]
    gradient = torch.stack(rows, dim=1)  # (2, K, C, h, w)
    kernel = gradient.mean(dim=(0, 3, 4))
    spread = (gradient - kernel[None, :, :, None, None]).abs().max()
    bias = logits.detach() - (gradient * features[:, None]).sum(dim=(2, 3, 4))
    linear = torch.allclose(bias[0], bias[1], rtol=1e-4, atol=1e-4)
    return kernel if linear and spread <= 1e-5 * kernel.abs().max() else None


def graph_of(model: SkinClassifier, image_size: tuple[int, int], *, own_weights: bool) -> Any:
    """The network as an ``onnx.ModelProto`` for any number of images, without metadata.

    Args:
        model: in evaluation mode.
        image_size: ``(H, W)`` of its input.
        own_weights: keep them in the graph; else it names them as ``model.safetensors`` does.

    Raises:
        OptionError: the packages that write it are not installed.
        ExportError: torch cannot write the network as a graph.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"export needs the package {error.name}: pip install 'skinxai[onnx]'."
        ) from error
    kernel, pooled = class_map_kernel(model, image_size), _is_pooled(model, image_size)
    traced = _Traced(model, kernel, pooled=pooled).eval()
    device = next(model.network.parameters()).device
    try:
        with warnings.catch_warnings(), torch.no_grad(), _out_of_place(traced, image_size):
            warnings.simplefilter("ignore")  # of what torch itself calls
            program = torch.onnx.export(
                traced, (torch.zeros(2, 3, *image_size, device=device),), dynamo=True,
                input_names=[IMAGES], output_names=traced.outputs, optimize=False, verbose=False,
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # of many kinds, which wrap the one that says why
        reason = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"torch could not export the network as a graph: {reason}") from error
    assert program is not None
    graph: Any = program.model_proto
    if (many := graph.graph.input[0].type.tensor_type.shape.dim[0]).HasField("dim_value"):
        raise ExportError(
            f"torch could export the network only for {counted(many.dim_value, 'image')} at once: "
            f"it takes their number as an int, as len(images) does; write images.shape[0] in its "
            f"code, and no loop over images."
        )
    graph.ClearField("metadata_props")
    _split_into_tensors(graph.graph)
    del graph.graph.value_info[:]
    for node in graph.graph.node:  # each has the Python lines it came from
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    if not own_weights:
        _name_weights(graph, set(model.network.state_dict()))
    return graph


@contextmanager
def _out_of_place(traced: _Traced, image_size: tuple[int, int]) -> Iterator[None]:
    """Let activations that work in place write elsewhere, where that gives the same values.

    Torch writes one that works in place as many small operations first, which takes as long as all
    the rest. A network may use what is then in the place, and not what the activation returns: it
    is traced as it is.
    """
    working = [each for each in traced.modules() if getattr(each, "inplace", None) is True]
    images = _drawn(traced, image_size)
    try:
        if working:
            before = traced(images)
            _set(working, in_place=False)
            after = traced(images)
            if not all(map(torch.allclose, before, after)):
                _set(working, in_place=True)
        yield
    finally:
        _set(working, in_place=True)


def _set(working: list[nn.Module], *, in_place: bool) -> None:
    for each in working:
        each.inplace = in_place  # type: ignore[assignment]


def _split_into_tensors(graph: Any) -> None:
    """Let splits give tensors where torch writes a sequence of them, and takes each by its place.

    Sequences have no bounded size; a graph that keeps some is refused when it is opened.
    """
    from onnx import helper, numpy_helper

    known = {own.name: own for own in graph.initializer if len(own.dims) < 2}
    known |= {
        node.output[0]: own.t for node in graph.node if node.op_type == "Constant"
        for own in node.attribute if own.HasField("t")
    }  # fmt: skip
    values = [*graph.value_info, *graph.input]
    sides = {own.name: [d.dim_value for d in own.type.tensor_type.shape.dim] for own in values}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(graph.node):
        own = {each.name: each.i for each in node.attribute}
        taking = readers.get(node.output[0], []) if node.op_type == "SplitToSequence" else []
        if not taking or own.get("keepdims") != 1 or node.input[1] not in known:
            continue
        widths, axis = numpy_helper.to_array(known[node.input[1]]), own.get("axis", 0)
        if widths.ndim == 0:
            side = sides[node.input[0]][axis] if node.input[0] in sides else 0
            widths = np.diff([*range(0, side, int(widths)), side])
        asked = {
            int(numpy_helper.to_array(known[each.input[1]])): each
            for each in taking
            if each.op_type == "SequenceAt" and each.input[1] in known
        }
        if len(asked) < len(taking) or not set(asked) <= set(range(len(widths))):
            continue  # it is used in another way, or of a size that only images decide
        name = f"{node.output[0]}_widths"
        parts = [asked[k].output[0] if k in asked else f"{name}_{k}" for k in range(len(widths))]
        node.CopyFrom(helper.make_node("Split", [node.input[0], name], parts, axis=axis))
        graph.initializer.append(numpy_helper.from_array(np.asarray(widths, np.int64), name))
        for each in asked.values():
            graph.node.remove(each)
    read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for node in list(graph.node):
        if node.op_type == "Constant" and node.output[0] not in read:
            graph.node.remove(node)


def _name_weights(graph: Any, names: set[str]) -> None:
    """Leave weights out, and name them without the ``network.`` in front.

    Where the graph has that name already, as its own ``mean`` beside a network's, the weights keep
    theirs, and their ``doc_string`` is the name in ``model.safetensors``.
    """
    taken = {each.name for each in (*graph.graph.input, *graph.graph.initializer)}
    taken |= {name for node in graph.graph.node for name in node.output}
    renamed = {}
    for own in graph.graph.initializer:
        own.ClearField("metadata_props")
        own.ClearField("doc_string")
        plain = own.name.removeprefix("network.")
        if plain not in names or plain == own.name or own.data_type != FLOAT:
            continue
        own.ClearField("raw_data")
        if plain in taken:
            own.doc_string = plain
        else:
            renamed[own.name] = own.name = plain
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)


def describe(graph: Any, values: dict[str, str]) -> bytes:
    """The graph with metadata, serialised."""
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    return bytes(graph.SerializeToString(deterministic=True))
