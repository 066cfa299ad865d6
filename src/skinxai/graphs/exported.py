"""Graphs as bytes: a model folder's own, without weights, and exported files with them.

``graph.safetensors`` has the operations alone, ONNX as bytes. Its weights are those of the folder's
``model.safetensors``, by name: what torch and what a graph answers rests on the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinxai.configs import ModelConfig, strict_json
from skinxai.disk.regular_files import MAX_TEXT_BYTES, open_file, read_file
from skinxai.disk.staging import at_present, present
from skinxai.errors import (
    ExportError,
    IntegrityError,
    ModelConfigError,
    ModelNotFoundError,
    OptionError,
)
from skinxai.graphs.skeletons import skeleton
from skinxai.model_folders.files import UNSAVED
from skinxai.model_folders.part_bytes import LARGE
from skinxai.model_folders.parts import GRAPH, WEIGHTS, size_limit
from skinxai.model_folders.tensors import BINDING, load_arrays, unpack_bytes, weights_metadata

if TYPE_CHECKING:
    import onnx

CONFIG, LAYER, MODEL = "skinxai.config", "skinxai.layer", "skinxai.model"
PRECISION, WEIGHTS_DIGEST = "skinxai.precision", "skinxai.weights"
CALIBRATED = "skinxai.calibrated"
SEAL = "skinxai.seal"
"""Keys of a graph's metadata; a folder's has no config and model, which are the folder's own."""
UNSEALED = b"sha256:" + 64 * b"0"
"""What stands in the place of a digest while it is computed."""
FLOAT = 1
"""ONNX's number of float32."""
ARRAY = "onnx"
"""Name of the array that holds the graph of a folder."""
KERNEL = "kernel"
"""Name of the constant that makes maps of features."""


@dataclass(frozen=True)
class Exported:
    """A graph with its weights, and all that is needed to use it.

    Args:
        graph: ONNX, or the XML of OpenVINO's own format.
        weights: of OpenVINO's format; empty for ONNX, which holds its own.
        config: of the model.
        model: ``name@revision``. Where no folder answers as the file does, since its model was
            calibrated or never saved, or since it rounds, the revision is the file's own digest.
        layer: where the network was split, for explanations.
        precision: ``"float32"``, or ``"int8"`` (`skinxai.exporting.eight_bits`).
    """

    graph: bytes
    weights: bytes
    config: ModelConfig
    model: str
    layer: str
    precision: str = "float32"


def with_weights(graph: bytes, weights: bytes, binding: str) -> tuple[bytes, str]:
    """A whole ONNX graph of a folder's own, and its layer.

    Args:
        graph: ``graph.safetensors``, without weights.
        weights: safetensors that hold them, by name; half precision becomes float32.
        binding: of the config that the graph must have been made with.

    Raises:
        IntegrityError: a damaged graph, or one of another model.
    """
    parsed = _parse(unpack_bytes(ARRAY, graph, (-1,), GRAPH), GRAPH)
    metadata = {each.key: each.value for each in parsed.metadata_props}
    bound = metadata.get(BINDING) == weights_metadata(weights).get(BINDING) == binding
    if not bound or metadata.get(WEIGHTS_DIGEST) != hashlib.sha256(weights).hexdigest():
        raise IntegrityError(
            f"{GRAPH} must belong to the weights and config of its folder, but it belongs to "
            f"others; save the model again."
        )
    tensors = load_arrays(weights, WEIGHTS)
    for own in parsed.graph.initializer:
        if own.HasField("raw_data"):
            continue  # a constant of the graph
        name = own.doc_string or own.name
        values = tensors.get(name)
        fits = values is not None and values.shape == tuple(own.dims) and own.data_type == FLOAT
        if values is None or not fits:
            raise IntegrityError(
                f"{GRAPH} must take weights of its folder, but {name!r} {tuple(own.dims)} is none "
                f"of them."
            )
        if not np.isfinite(values).all():
            raise IntegrityError(f"{WEIGHTS} must hold finite values, but {name!r} does not.")
        own.raw_data = values.astype(np.float32).tobytes()
    return _check(parsed, GRAPH).SerializeToString(), metadata.get(LAYER, "features")


def seal(graph: bytes, weights: bytes = b"") -> bytes:
    """The graph with a digest of itself and of its weights in the place of `UNSEALED`."""
    if graph.count(UNSEALED) != 1:
        raise ExportError("an exported graph must have exactly one place for its digest.")
    return graph.replace(UNSEALED, _digest(graph, weights))


def _digest(unsealed: bytes, weights: bytes) -> bytes:
    found = hashlib.sha256(hashlib.sha256(unsealed).digest() + hashlib.sha256(weights).digest())
    return b"sha256:" + found.hexdigest().encode()


def _is_sealed(graph: bytes, weights: bytes, digest: str) -> bool:
    own = digest.encode()
    if len(own) != len(UNSEALED) or graph.count(own) != 1:
        return False
    return _digest(graph.replace(own, UNSEALED), weights) == own


def open_exported(path: Path, fits: Callable[[ModelConfig, int], None] | None = None) -> Exported:
    """What `export` wrote: ``*.onnx``, or ``*.xml`` with its ``*.bin``.

    What a file is made of is looked at before its constants are read.

    Args:
        path: of the file.
        fits: raises where a model cannot have constants of so many bytes.

    Raises:
        ModelNotFoundError: no such file.
        IntegrityError: a file that is damaged, too large, or without skinxai's metadata.
        OptionError: the package that reads it is not installed.
    """
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path, fits)
    from skinxai.graphs.followed_layers import check_layers
    from skinxai.graphs.layers import metadata_of, read_layers

    graph = _read(path, MAX_TEXT_BYTES)
    layers = read_layers(graph, str(path))
    metadata = metadata_of(graph)
    config = _config(metadata, path)
    if fits is not None:
        fits(config, layers.size)
    if layers.size > LARGE:
        place = path.with_suffix(".bin")
        try:
            with open_file(present(place), layers.size) as file:
                check_layers(layers, file, str(path))
        except OSError as error:
            raise _unreadable(place, error) from error
    weights = _read(path.with_suffix(".bin"), layers.size)
    if _read(path, MAX_TEXT_BYTES) != graph:
        return open_exported(path, fits)  # overwritten meanwhile
    if len(weights) != layers.size:
        raise IntegrityError(
            f"{str(path)!r} must have {layers.size} bytes of constants beside it, but it has "
            f"{len(weights)}; export the model again."
        )
    check_layers(layers, io.BytesIO(weights), str(path))
    return _exported(graph, weights, metadata, config, path)


def _open_onnx(path: Path, fits: Callable[[ModelConfig, int], None] | None) -> Exported:
    most = size_limit(path.name)
    try:
        start, size = at_present(path, lambda place: _skeleton(place, most))
    except OSError as error:
        raise _unreadable(path, error) from error
    metadata = {
        each.key: each.value for each in _check(_parse(start, str(path)), str(path)).metadata_props
    }
    config = _config(metadata, path)
    if fits is not None:
        fits(config, size)
    graph = _read(path, most)
    if skeleton(io.BytesIO(graph), len(graph), str(path)) != start:
        return _open_onnx(path, fits)  # overwritten meanwhile
    return _exported(graph, b"", metadata, config, path)


def _skeleton(path: Path, most: int) -> tuple[bytes, int]:
    with open_file(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        return skeleton(file, size, str(path)), size


def _config(metadata: Mapping[str, str], path: Path) -> ModelConfig:
    try:
        return ModelConfig.from_dict(strict_json(metadata[CONFIG].encode()))
    except (KeyError, ValueError, TypeError, ModelConfigError) as error:
        raise _without_metadata(path, error) from error


def _exported(
    graph: bytes, weights: bytes, metadata: Mapping[str, str], config: ModelConfig, path: Path
) -> Exported:
    try:
        bound = metadata[BINDING] == config.binding()
        sealed = _is_sealed(graph, weights, metadata[SEAL])
        precision, model = metadata.get(PRECISION, "float32"), metadata[MODEL]
        if model.endswith(f"@{UNSAVED}") or CALIBRATED in metadata or precision != "float32":
            model = f"{model.rpartition('@')[0]}@{metadata[SEAL].partition(':')[2][:12]}"
        found = Exported(graph, weights, config, model, metadata[LAYER], precision)
    except (KeyError, ValueError) as error:
        raise _without_metadata(path, error) from error
    if not bound or not sealed or precision not in ("float32", "int8"):
        raise IntegrityError(
            f"{str(path)!r} must be as exported, but it was changed or belongs to other weights; "
            f"export the model again."
        )
    return found


def _without_metadata(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{str(path)!r} must carry the labels and preprocessing that Classifier.export() writes, "
        f"but it does not: {error}; export the model again."
    )


def _read(path: Path, most: int) -> bytes:
    try:
        return at_present(path, lambda place: read_file(place, most))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ModelNotFoundError:
    return ModelNotFoundError(f"exported model {str(path)!r} must be readable: {error.strerror}.")


def _parse(graph: bytes, name: str) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise OptionError(f"{name} needs the package onnx: pip install 'skinxai[onnx]'.") from error
    try:
        parsed = onnx.load_from_string(graph)
    except Exception as error:  # protobuf's own kinds
        raise IntegrityError(f"{name} must be a whole ONNX graph: {error}") from error
    attributes = [a for node in parsed.graph.node for a in node.attribute]
    constants = [t for a in attributes for t in ([a.t] if a.HasField("t") else []) + [*a.tensors]]
    if (
        any(each.domain not in ("", "ai.onnx") for each in parsed.opset_import)
        or any(each.external_data for each in (*parsed.graph.initializer, *constants))
        or parsed.functions
        or parsed.graph.sparse_initializer
        or any(a.HasField("g") or a.graphs or a.HasField("sparse_tensor") for a in attributes)
    ):
        raise IntegrityError(
            f"{name} must hold ONNX's own operators and nothing else: no functions, no subgraphs, "
            f"no values in other files; export the model again."
        )
    return parsed


def _check(parsed: onnx.ModelProto, name: str) -> onnx.ModelProto:
    from skinxai.graphs.onnx_checks import check_graph

    check_graph(parsed, name)
    return parsed


_making_the_core = threading.Lock()


def openvino_core() -> Any:
    """OpenVINO's ``Core``, one for the process and never let go of.

    Each that compiles gives the thread a stack for signals, and takes it back when it ends; where a
    second has begun meanwhile, that one then hands back what is gone, and the next signal, Ctrl-C
    say, ends the process.

    Raises:
        OptionError: not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise OptionError("OpenVINO is not installed: pip install 'skinxai[openvino]'.") from error
    with _making_the_core:
        return _core(openvino)


@cache
def _core(openvino: Any) -> Any:
    return openvino.Core()
