"""Networks as ONNX graphs and OpenVINO files, each checked against the network it came from."""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from skinxai import samples
from skinxai.backbones.evaluation_mode import plain_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints import LoadedModel, pack
from skinxai.configs import canonical_json
from skinxai.disk.staging import write_together
from skinxai.errors import ExplainError, ExportError, OptionError, did_you_mean
from skinxai.explainers.cam import GradCAM
from skinxai.graphs.exported import (
    ARRAY,
    CONFIG,
    FLOAT,
    KERNEL,
    LAYER,
    MODEL,
    SEAL,
    UNSEALED,
    WEIGHTS_DIGEST,
    open_exported,
    openvino_core,
    seal,
)
from skinxai.graphs.names import EMBEDDINGS, IMAGES, LOGITS, MAPS
from skinxai.model_folders.files import EXPORTED, ModelFiles
from skinxai.model_folders.parts import PROBE, WEIGHTS
from skinxai.model_folders.tensors import BINDING, pack_bytes
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.runners import RUNNERS, installed

if TYPE_CHECKING:
    from skinxai.predicting.torch_predictor import TorchPredictor

TOLERANCE = 1e-3
"""Largest difference of a probability, and of a map as a share of its largest value."""
PARITY = InputOptions(batch_size=8)
"""How the images of a comparison are read."""


@dataclass(frozen=True)
class Parity:
    """How an exported graph differs from torch on real images.

    Args:
        images: how many were compared.
        probability: largest difference of a probability.
        map: largest difference of a Grad-CAM, as a share of its largest value; ``None`` where the
            graph has no maps.
        backend: that ran the graph.
    """

    images: int
    probability: float
    map: float | None
    backend: str


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
        found = [head(self.network, channels)]
        if self._pooled and pool is not None:
            found.append(pool(self.network, channels))
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


def class_map_kernel(model: SkinClassifier, image_size: tuple[int, int]) -> Tensor | None:
    """``w_kc / (h · w)`` ``(K, C)`` where the head is the mean over space and a linear layer.

    That is seen in its gradient, the same in every cell and for two images; else ``None``.
    """
    draws = torch.Generator().manual_seed(0)
    device = next(model.network.parameters()).device
    images = torch.randn(2, 3, *image_size, generator=draws).to(device)
    with torch.no_grad():
        features = model.features(images)
    try:
        if model.grid(features, image_size).shape != features.shape:
            return None
    except ExplainError:  # no map
        return None
    with torch.enable_grad():
        leaf = features.detach().clone().requires_grad_()
        logits = model.logits(leaf)
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
        with warnings.catch_warnings(), torch.no_grad():
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
    graph.ClearField("metadata_props")
    _split_into_tensors(graph.graph)
    del graph.graph.value_info[:]
    for node in graph.graph.node:  # each has the Python lines it came from
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    if not own_weights:
        _name_weights(graph, set(model.network.state_dict()))
    return graph


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
    """Leave weights out, and name them without the ``network.`` in front."""
    renamed = {}
    for own in graph.graph.initializer:
        own.ClearField("metadata_props")
        plain = own.name.removeprefix("network.")
        if plain in names and plain != own.name and own.data_type == FLOAT:
            renamed[own.name] = own.name = plain
            own.ClearField("raw_data")
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)


def describe(graph: Any, values: dict[str, str]) -> bytes:
    """The graph with metadata, serialised."""
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    return bytes(graph.SerializeToString(deterministic=True))


def checked_graph(
    predictor: TorchPredictor, loaded: LoadedModel, images: list[Any] | None,
    options: InputOptions = PARITY,
) -> LoadedModel:  # fmt: skip
    """The model with its ``graph.safetensors`` (see `exported`), compared with torch.

    Args:
        predictor: of the model.
        loaded: the same.
        images: real ones, for the check in each backend that is installed; ``None``: the samples.
        options: of reading and batching.

    Raises:
        ExportError: the graph's answers differ.
    """
    with plain_float32(predictor.device), predictor.evaluating():
        graph = graph_of(loaded.network, loaded.config.preprocessing.image_size, own_weights=False)
    weights = replace(loaded, graph=None).files()[WEIGHTS]
    data = describe(graph, {
        BINDING: loaded.config.binding(), LAYER: loaded.network.layer,
        WEIGHTS_DIGEST: hashlib.sha256(weights).hexdigest(),
    })  # fmt: skip
    made = replace(loaded, graph=pack_bytes(ARRAY, np.frombuffer(data, np.uint8)))
    if made.probe is None:
        made = replace(made, probe=pack(made.network, made.config, "")[PROBE])
    files = ModelFiles(Path(), made.files(), "0" * 64)
    for name in RUNNERS:
        if installed(name):
            check_parity(predictor, GraphPredictor.of_folder(files, name), images, options)
    return made


def export(
    predictor: TorchPredictor, loaded: LoadedModel, path: Path, images: Iterable[Any] | None,
    format: str | None = None, options: InputOptions = PARITY,
) -> Parity:  # fmt: skip
    """Write ``*.onnx``, or ``*.xml`` and ``*.bin``, after a check against torch.

    Args:
        predictor: of the model.
        loaded: the same.
        path: whose suffix is the format.
        images: real ones, for the check; ``None``: the sample images.
        format: for a path without a suffix, to which it is added.
        options: of reading and batching.

    Raises:
        ExportError: the graph's answers differ; nothing is written.
        OptionError: no format, an unknown one, or another than the suffix's.
    """
    path, runner = exported_path(path, format)
    with plain_float32(predictor.device), predictor.evaluating():
        graph = graph_of(loaded.network, loaded.config.preprocessing.image_size, own_weights=True)
    metadata = {
        BINDING: loaded.config.binding(), CONFIG: canonical_json(loaded.config.to_dict()).decode(),
        LAYER: loaded.network.layer, MODEL: predictor.model, SEAL: UNSEALED.decode(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        if runner == "onnx":
            made.write_bytes(seal(describe(graph, metadata)))
        else:
            _write_openvino(describe(graph, {}), metadata, made)  # which would copy them
        found = GraphPredictor.of_exported(open_exported(made), runner)
        parity = check_parity(predictor, found, images, options)
        made_files = {each.name: each.read_bytes() for each in sorted(Path(folder).iterdir())}
    write_together(path.parent, made_files)
    return parity


def exported_path(path: Path, format: str | None) -> tuple[Path, str]:
    """Where a model is exported to, and the runtime of its format.

    Args:
        path: with the suffix of a format; or without one, which is then added.
        format: ``"onnx"`` or ``"openvino"``; ``None``: the suffix names it.

    Raises:
        OptionError: no format, an unknown one, or another than the suffix's.
    """
    suffixes = {runner: suffix for suffix, runner in EXPORTED.items()}
    if format is not None and format not in suffixes:
        raise OptionError(
            f"format must be one of {list(suffixes)}, got {format!r}."
            f"{did_you_mean(str(format).lower(), suffixes)}"
        )
    named = EXPORTED.get(path.suffix.lower())
    foreign = re.fullmatch(r"\.[A-Za-z]\w*", path.suffix) or not path.name
    if named is None and (format is None or foreign):
        raise OptionError(
            f"path must end in {' or '.join(EXPORTED)}, got {path.name!r}",
            python="name the format where it has no suffix, format='onnx'",
            command="give OUT one of these, or no suffix for a folder",
        )
    if named is not None and format not in (None, named):
        raise OptionError(
            f"format must be what the suffix of the path names, {named!r} for {path.name!r}, got "
            f"{format!r}; leave it out, or let the path end in {suffixes[format]}."
        )
    if named is None and format is not None:
        return path.with_name(path.name + suffixes[format]), format
    return path, str(named)


def _write_openvino(data: bytes, metadata: dict[str, str], path: Path) -> None:
    model = openvino_core().read_model(data)
    for key, value in metadata.items():
        model.set_rt_info(value, key.split("."))
    import openvino

    openvino.save_model(model, str(path), compress_to_fp16=False)
    path.write_bytes(seal(path.read_bytes(), path.with_suffix(".bin").read_bytes()))


def check_parity(
    predictor: TorchPredictor, graph: GraphPredictor, images: Iterable[Any] | None = None,
    options: InputOptions = PARITY,
) -> Parity:  # fmt: skip
    """Compare a graph with torch: probabilities of all classes, labels, Grad-CAM of the top class.

    Args:
        predictor: torch's.
        graph: the same model's.
        images: real ones, at least one; ``None``: the sample images.
        options: of reading and batching.

    Raises:
        ExportError: a probability, or a share of a map, that differs by more than `TOLERANCE`, or
            another label.
        OptionError: ``on_error="return"``, which would leave images out.
    """
    if options.on_error != "raise":
        raise OptionError("on_error must be 'raise' for a comparison: no image may be left out.")
    predictor = predictor.in_float32().uncalibrated
    member = predictor.single("a graph")
    kernel = graph.members[0]
    worst, worst_map, count = 0.0, 0.0, 0
    many = samples.paths() if images is None else images
    for batch in prepared_batches(many, predictor.preprocessings, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        expected = np.stack([answer.row for answer in predictor.predict(items)])
        outputs = kernel.run_on(items)
        rows = graph.probabilities(outputs[LOGITS])
        gap = float(np.abs(rows - expected).max())
        top = expected.argmax(axis=1)
        worst, count = max(worst, gap), count + len(items)
        if not gap <= TOLERANCE or (rows.argmax(axis=1) != top).any():
            raise ExportError(
                f"an exported graph must give torch's probabilities within {TOLERANCE:g}, and its "
                f"labels; it differs by {gap:.2g} for one of {[item.source for item in items]}."
            )
        if graph.maps:
            with plain_float32(predictor.device), predictor.evaluating():
                own = _grad_cam(member.answering, items, member.preprocessing, top)
            chosen = np.maximum(outputs[MAPS][np.arange(len(items)), top], 0)
            share = np.abs(chosen - own).max() / max(float(own.max()), 1e-12)
            worst_map = max(worst_map, float(share))
    if not worst_map <= TOLERANCE or not count:
        raise ExportError(
            f"an exported graph must give torch's Grad-CAM within {TOLERANCE:g} of its largest "
            f"value on at least one image; it differs by {worst_map:.2g} on {count} images."
        )
    return Parity(count, worst, worst_map if graph.maps else None, graph.backend)


def _grad_cam(network: SkinClassifier, items: list[Prepared], preprocessing: Any, top: Any) -> Any:
    device = next(network.network.parameters()).device
    images = torch.from_numpy(np.stack([item.arrays[preprocessing] for item in items])).to(device)
    target = torch.from_numpy(top).to(device)
    found = GradCAM(network).attribute(images, target, options=None)
    return found.maps["gradcam"].detach().cpu().numpy()
