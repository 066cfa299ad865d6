"""Models in use, of names, folders and exported files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skinxai.configs import ModelConfig
from skinxai.disk.regular_files import is_folder
from skinxai.errors import ModelError, OptionError
from skinxai.graphs.exported import open_exported
from skinxai.model_folders.ensembles import config_of, members_of, open_models
from skinxai.model_folders.files import EXPORTED, ModelFiles
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.part_bytes import HUGE
from skinxai.model_folders.parts import CARD, GRAPH
from skinxai.model_folders.probe import TOLERANCE, picture, read_probes
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import Prepared
from skinxai.predicting.runners import RUNNERS, check_backend, choose
from skinxai.results.probabilities import weighted_mean
from skinxai.trust.reference_sample import reference_of

if TYPE_CHECKING:
    from skinxai.checkpoints import LoadedEnsemble, LoadedModel


ModelName = str | os.PathLike[str] | None
"""Of a model: a folder, ``"org/name"``, or the bundled one."""
PRECISIONS = ("float32", "bfloat16", "float16")


def opened(
    model: ModelName | list[ModelName] | tuple[ModelName, ...],
    *,
    revision: str | None,
    device: str,
    backend: str | None,
    precision: str,
    compiled: bool,
    check: bool,
    hub: Mapping[str, Any],
) -> ModelInUse:
    """Of a name or folder, of several, or of an exported file; see `from_pretrained`."""
    if isinstance(model, str | os.PathLike) and _is_exported(model):
        if check or compiled or precision != "float32" or revision is not None:
            raise OptionError(
                "check, compile, precision and revision must be left out for an exported file: "
                "it has no probe, and its precision and revision are fixed."
            )
        return of_exported(Path(model), device, backend)
    backend = backend or "torch"
    check_backend(backend)  # this and the next before anything is downloaded
    if device not in ("auto", "cpu") and backend in ("torch", "auto"):
        from skinxai.predicting.devices import device_named

        device_named(device)
    if isinstance(model, list | tuple):
        if revision is not None:
            raise OptionError(
                "revision must be left out for a list of models: name each one's own, "
                "'org/name@revision'."
            )
        files = open_models(model, fits=_check_header, **hub)
    else:
        files = open_model(model, revision=revision, fits=_check_header, **hub)
    plain = precision != "float16" and not compiled
    if backend == "auto" and plain and files.is_ensemble:
        files = replace(files, members=tuple(own for own, _ in members_of(files)))
    graphs = all(GRAPH in each.files for each in files.members or (files,))
    runner = choose(backend, has_graph=graphs and plain, device=device)
    parts = of_folder(files, device, runner, precision, compiled=compiled)
    if check:
        _check_answer(parts, files)
    return parts


def of_folder(
    files: ModelFiles,
    device: str,
    runner: str,
    precision: str = "float32",
    *,
    compiled: bool = False,
) -> ModelInUse:
    """Of a verified folder."""
    if precision not in PRECISIONS:
        raise OptionError(f"precision must be one of {PRECISIONS}, got {precision!r}.")
    if runner == "torch":
        return ModelInUse.of_loaded(_read(files), device, precision, compiled=compiled)
    if compiled:
        raise OptionError(f"compile must be left out for backend {runner!r}: only torch compiles.")
    _on_cpu(runner, device)
    card = files.files.get(CARD, b"").decode(errors="replace")
    graph = GraphPredictor.of_folder(files, runner, precision)
    return ModelInUse(
        config_of(files), card, partial(_read, files), device, graph, precision=precision,
        reference=reference_of(files),
    )  # fmt: skip


def of_exported(path: Path, device: str, runner: str | None) -> ModelInUse:
    """Of a single exported file, which has no network for torch; its suffix names a runner."""
    if runner in (None, "auto"):
        runner = EXPORTED[path.suffix.lower()]
    if runner not in RUNNERS:
        raise OptionError(
            f"backend of the exported {path.name!r} must be 'onnx' or 'openvino', got "
            f"{runner!r}; load the model's folder for torch."
        )
    _on_cpu(runner, device)
    check_backend(runner)
    found = open_exported(path, _check_bytes)
    graph = GraphPredictor.of_exported(found, runner)
    return ModelInUse(found.config, "", partial(_exported, path.name), device, graph, exported=True)


def _check_answer(parts: ModelInUse, files: ModelFiles) -> None:
    """Ask for the drawn picture that the folder keeps an answer for.

    Raises:
        ModelError: an answer that differs by more than `TOLERANCE`, or a folder that keeps none.
        OptionError: a model that rounds.
    """
    if parts.precision != "float32":
        raise OptionError(f"check needs precision='float32', got {parts.precision!r}.")
    models, weights = zip(*members_of(files), strict=True)
    probes = read_probes(models, len(parts.config.labels))
    predictor = parts.predictor
    arrays = {each: picture(each) for each in predictor.preprocessings}
    (answer,) = predictor.uncalibrated.predict([Prepared(0, "probe", arrays, (), None)])
    gap = float(np.abs(answer.row - weighted_mean(weights, probes)).max())
    if not gap <= TOLERANCE:
        raise ModelError(
            f"{predictor.model} does not answer as when it was saved: through {predictor.backend} "
            f"a probability of its probe differs by {gap:.2g}, more than {TOLERANCE:g}. Another "
            f"version of a package may build another network: install the versions it was saved "
            f"with."
        )


def _is_exported(model: str | os.PathLike[str]) -> bool:
    path = Path(model)
    return path.suffix.lower() in EXPORTED and not is_folder(path)


def _read(files: ModelFiles) -> LoadedModel | LoadedEnsemble:
    from skinxai import checkpoints

    return checkpoints.load(files)


def _check_header(config: bytes, folder: Path, header: Mapping[str, Any]) -> None:
    """`skinxai.backbones.check_header`, which is imported where it is needed."""
    from skinxai import backbones

    backbones.check_header(config, folder, header)


def _check_bytes(config: ModelConfig, size: int) -> None:
    if size <= HUGE:  # torch is not imported for it
        return
    from skinxai import backbones

    backbones.check_bytes(config, size)


def _exported(name: str) -> LoadedModel:
    raise ModelError(
        f"the exported {name!r} gives only predictions, and Grad-CAM where it has class activation "
        f"maps; load the model's folder for everything else."
    )


def _on_cpu(runner: str, device: str) -> None:
    if device not in ("auto", "cpu"):
        raise OptionError(f"device must be 'cpu' for backend {runner!r}, got {device!r}.")
