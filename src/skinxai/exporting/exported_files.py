"""Models as files for other runtimes, and as folders with a graph, each compared with torch."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinxai.backbones.evaluation_mode import plain_float32
from skinxai.checkpoints import LoadedModel, pack
from skinxai.configs import canonical_json
from skinxai.disk.regular_files import (
    check_path,
)
from skinxai.disk.staging import write_together
from skinxai.errors import ExportError, IntegrityError, OptionError, OutputError, did_you_mean
from skinxai.exporting.onnx_graphs import describe, graph_of
from skinxai.exporting.parity import PARITY, Parity, check_parity
from skinxai.graphs.exported import (
    ARRAY,
    CALIBRATED,
    CONFIG,
    LAYER,
    MODEL,
    SEAL,
    UNSEALED,
    WEIGHTS_DIGEST,
    open_exported,
    openvino_core,
    seal,
)
from skinxai.model_folders.files import EXPORTED, ModelFiles
from skinxai.model_folders.parts import GRAPH, PROBE, WEIGHTS
from skinxai.model_folders.tensors import BINDING, pack_bytes
from skinxai.plain_text import one_line
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.runners import RUNNERS, installed

if TYPE_CHECKING:
    from skinxai.predicting.torch_predictor import TorchPredictor


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
        OutputError: the files cannot be written.
    """
    path, runner = exported_path(path, format)
    try:
        check_path(path)
    except OSError as error:
        raise OutputError(f"writing {str(path)!r} failed: {error.strerror}.") from error
    with plain_float32(predictor.device), predictor.evaluating():
        graph = graph_of(loaded.network, loaded.config.preprocessing.image_size, own_weights=True)
    metadata = {
        BINDING: loaded.config.binding(), CONFIG: canonical_json(loaded.config.to_dict()).decode(),
        LAYER: loaded.network.layer, MODEL: predictor.model, SEAL: UNSEALED.decode(),
    }  # fmt: skip
    if loaded.calibration is not None:  # which the file does not have
        metadata[CALIBRATED] = "true"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "model").with_suffix(path.suffix)  # OpenVINO takes no name of any text
        try:
            if runner == "onnx":
                made.write_bytes(seal(describe(graph, metadata)))
            else:
                _write_openvino(describe(graph, {}), metadata, made)  # which would copy them
            found = GraphPredictor.of_exported(open_exported(made), runner)
        except IntegrityError as error:
            reason = str(error).replace(str(made), path.name)
            raise _unusable(path.name, runner, reason) from error
        parity = check_parity(predictor, found, images, options)
        made_files = {
            path.with_suffix(each.suffix).name: each.read_bytes()
            for each in sorted(Path(folder).iterdir())
        }
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
    try:
        model = openvino_core().read_model(data)
    except RuntimeError as error:
        raise IntegrityError(
            f"OpenVINO could not read the graph: {one_line(str(error), 300)}"
        ) from error
    for key, value in metadata.items():
        model.set_rt_info(value, key.split("."))
    import openvino

    lower = path.with_suffix(".xml")  # OpenVINO takes no other suffix, such as .XML
    openvino.save_model(model, str(lower), compress_to_fp16=False)
    graph = lower.read_bytes()
    lower.unlink()
    path.write_bytes(seal(graph, path.with_suffix(".bin").read_bytes()))


def _unusable(name: str, runner: str, reason: str) -> ExportError:
    """Of a graph that torch wrote and that cannot be opened: it would be so each time."""
    reason = reason.removesuffix(".").removesuffix("; export the model again")
    return ExportError(
        f"{name} would be of no use: backend {runner!r} cannot open what torch wrote. {reason}. "
        f"If the network's weights are not float32, cast it with .float(); else try another "
        f"format, or predict with torch."
    )


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
            try:
                found = GraphPredictor.of_folder(files, name)
            except IntegrityError as error:
                raise _unusable(GRAPH, name, str(error)) from error
            check_parity(predictor, found, images, options)
    return made
