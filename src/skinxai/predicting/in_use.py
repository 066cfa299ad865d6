"""What a `Classifier` is made of: config, card, what predicts, and torch's network when needed."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import EnsembleConfig, ModelConfig
from skinxai.disk.regular_files import is_folder
from skinxai.errors import ModelError, OptionError
from skinxai.graphs.exported import open_exported
from skinxai.model_folders.ensembles import open_models, read_members
from skinxai.model_folders.files import EXPORTED, UNSAVED, ModelFiles, read_config
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.part_bytes import HUGE
from skinxai.model_folders.parts import CARD, GRAPH
from skinxai.model_folders.probe import TOLERANCE, picture, read_probes
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions, Prepared
from skinxai.predicting.predictor import Predictor, predictions
from skinxai.predicting.runners import RUNNERS, check_backend, choose
from skinxai.results import ItemError, Prediction
from skinxai.results.observation import Monitor
from skinxai.results.probabilities import weighted_mean
from skinxai.trust.calibration import Calibration
from skinxai.trust.reference_sample import ReferenceSample, reference_of

if TYPE_CHECKING:
    from skinxai.checkpoints import LoadedEnsemble, LoadedModel
    from skinxai.model_folders.neighbours import Neighbours
    from skinxai.predicting.torch_predictor import TorchPredictor


ModelName = str | os.PathLike[str] | None
"""Of a model: a folder, ``"org/name"``, or the bundled one."""

_building = threading.RLock()
PRECISIONS = ("float32", "bfloat16", "float16")


class ModelInUse:
    """A model, or an ensemble of several. Copies and pickles with the classifier.

    Args:
        config: labels, preprocessing, names, licences.
        card: the model card, Markdown.
        load: makes the networks; called once, when something needs torch.
        device: where they compute.
        graph: what predicts in their place, or ``None``.
        exported: there are no networks to load.
        precision: of predictions.
        compiled: whether torch compiles the networks.
        reference: of a graph's folder.
    """

    def __init__(
        self,
        config: ModelConfig | EnsembleConfig,
        card: str,
        load: Callable[[], LoadedModel | LoadedEnsemble],
        device: str,
        graph: GraphPredictor | None = None,
        *,
        exported: bool = False,
        precision: str = "float32",
        compiled: bool = False,
        reference: ReferenceSample | None = None,
    ) -> None:
        self.config, self.card, self.device = config, card, device
        self._graph, self.exported, self.precision = graph, exported, precision
        self._load, self._compiled, self._reference = load, compiled, reference
        self.operating_point: str | None = None

    @classmethod
    def opened(
        cls,
        model: ModelName | list[ModelName] | tuple[ModelName, ...],
        *,
        revision: str | None,
        device: str,
        backend: str | None,
        precision: str,
        compiled: bool,
        check: bool,
        hub: Mapping[str, Any],
    ) -> Self:
        """Of a name or folder, of several, or of an exported file; see `from_pretrained`.

        Args:
            model: names and folders.
            revision: of a single one.
            device: of torch's networks.
            backend: ``"torch"``, a runtime's name, ``"auto"`` or ``None``.
            precision: of predictions.
            compiled: whether torch compiles the networks.
            check: whether the drawn picture is asked for.
            hub: ``cache_dir``, ``local_files_only`` and ``token`` of downloads.
        """
        if isinstance(model, str | os.PathLike) and _is_exported(model):
            if check or compiled or precision != "float32" or revision is not None:
                raise OptionError(
                    "check, compile, precision and revision must be left out for an exported file: "
                    "it has no probe, and its precision and revision are fixed."
                )
            return cls.of_exported(Path(model), device, backend)
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
            files = open_models(model, fits=check_header, **hub)
        else:
            files = open_model(model, revision=revision, fits=check_header, **hub)
        plain = precision != "float16" and not compiled
        runner = choose(backend, has_graph=GRAPH in files.files and plain, device=device)
        parts = cls.of_files(files, device, runner, precision, compiled=compiled)
        if check:
            parts.check(files)
        return parts

    @classmethod
    def of_loaded(
        cls,
        loaded: LoadedModel | LoadedEnsemble,
        device: str,
        precision: str = "float32",
        *,
        compiled: bool = False,
    ) -> Self:
        """Of networks that there are."""
        found = cls(
            loaded.config, loaded.card, partial(_given, loaded), device, precision=precision,
            compiled=compiled,
        )  # fmt: skip
        found.torch_predictor  # noqa: B018  (what is wrong with the device, or a network, is said now)
        return found

    @classmethod
    def of_files(
        cls,
        files: ModelFiles,
        device: str,
        runner: str,
        precision: str = "float32",
        *,
        compiled: bool = False,
    ) -> Self:
        """Of a verified folder.

        Args:
            files: of a model, or of an ensemble.
            device: of torch's networks.
            runner: ``"torch"``, or a name in `skinxai.predicting.runners.RUNNERS`.
            precision: of predictions.
            compiled: whether torch compiles the networks.
        """
        if precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {PRECISIONS}, got {precision!r}.")
        if runner == "torch":
            return cls.of_loaded(_read(files), device, precision, compiled=compiled)
        if compiled:
            raise OptionError(
                f"compile must be left out for backend {runner!r}: only torch compiles."
            )
        _on_cpu(runner, device)
        config: ModelConfig | EnsembleConfig
        if files.is_ensemble:
            config = read_config(files, EnsembleConfig)
        else:
            config = read_config(files, ModelConfig)
        card = files.files.get(CARD, b"").decode(errors="replace")
        graph = GraphPredictor.of_folder(files, runner, precision)
        return cls(
            config, card, partial(_read, files), device, graph, precision=precision,
            reference=reference_of(files),
        )  # fmt: skip

    @classmethod
    def of_exported(cls, path: Path, device: str, runner: str | None) -> Self:
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
        return cls(found.config, "", partial(_exported, path.name), device, graph, exported=True)

    def with_loaded(self, loaded: LoadedModel | LoadedEnsemble) -> Self:
        """The same networks, with something added to what is saved with them."""
        made = copy.copy(self)
        made.__dict__["loaded"] = loaded
        return made

    def with_neighbours(self, neighbours: Neighbours) -> Self:
        """The same single network, with embeddings of its training lesions as it is now."""
        (loaded,) = self.loaded.members
        made = self.with_loaded(replace(loaded, neighbours=neighbours))
        made.__dict__["torch_predictor"] = self.torch_predictor.seen_anew()
        return made

    def at(self, operating_point: str | None) -> Self:
        """The same networks, deciding at an operating point; see `Predictor.at`."""
        if operating_point is None:
            return self
        made = copy.copy(self)
        made.operating_point = operating_point
        made._graph = self._graph and self._graph.at(operating_point)
        made.__dict__.pop("torch_predictor", None)
        if "torch_predictor" in self.__dict__:
            made.__dict__["torch_predictor"] = self.torch_predictor.at(operating_point)
        return made

    def with_calibration(self, calibration: Calibration, reference: ReferenceSample) -> Self:
        """The same networks, calibrated, with what their answers for these images look like.

        Their answers are no longer those of the folder that they came from: its revision goes.
        """
        made = self.with_loaded(replace(
            self.loaded, calibration=calibration, reference=reference, revision=UNSAVED
        ))  # fmt: skip
        own: dict[str, Any] = {"calibration": calibration, "model": f"{self.config.name}@{UNSAVED}"}
        made._graph = self._graph and replace(self._graph, **own)
        made.__dict__["torch_predictor"] = replace(self.torch_predictor, **own)
        return made

    def with_reference(self, reference: ReferenceSample) -> Self:
        """The same networks, with another reference; torch's are not loaded for it."""
        made = copy.copy(self)
        made._reference, made._load = reference, partial(_with_reference, self._load, reference)
        if "loaded" in self.__dict__:
            made.__dict__["loaded"] = replace(self.loaded, reference=reference)
        return made

    @property
    def reference(self) -> ReferenceSample | None:
        """What answers look like while nothing has drifted, where the model's folder has it."""
        if self.exported:
            return None
        if self._graph is not None and "loaded" not in self.__dict__:
            return self._reference  # torch is not imported for it
        return self.loaded.reference

    @property
    def configs(self) -> tuple[ModelConfig, ...]:
        """Of each network."""
        if isinstance(self.config, ModelConfig):
            return (self.config,)
        return tuple(member.config for member in self.loaded.members)

    @cached_property
    def loaded(self) -> LoadedModel | LoadedEnsemble:
        """Torch's networks, with all that their folder holds.

        Raises:
            ModelError: an exported file, which has none.
        """
        with _building:
            return self.__dict__.get("loaded") or self._load()

    @cached_property
    def torch_predictor(self) -> TorchPredictor:
        """Torch's answers, whatever predicts.

        Raises:
            ModelError: an exported file, which has no network.
        """
        from skinxai.predicting.torch_predictor import TorchPredictor

        precision = "float32" if self._graph else self.precision
        with _building:
            known: TorchPredictor | None = self.__dict__.get("torch_predictor")
            if known is not None:
                return known
            made = TorchPredictor.of(self.loaded, self.device, precision, compiled=self._compiled)
            return made.at(self.operating_point)

    def check_unchanged(self) -> None:
        """Refuse to save networks that are no longer those that were loaded.

        Raises:
            ModelError: one was changed, and what is saved with it is of the old one.
        """
        known: TorchPredictor | None = self.__dict__.get("torch_predictor")
        for member in () if known is None else known.members:
            if member.is_changed:
                raise ModelError(
                    f"the network of {member.model} was changed after it was loaded, but its "
                    f"training images, calibration and card are those of the old one; save the "
                    f"changed one by skinxai.checkpoints.save(), with its own."
                )

    def check(self, files: ModelFiles) -> None:
        """Ask for the drawn picture that the folder keeps an answer for.

        Raises:
            ModelError: another answer, or a folder that keeps none.
            OptionError: a model that rounds.
        """
        if self.precision != "float32":
            raise OptionError(f"check needs precision='float32', got {self.precision!r}.")
        models, weights = [files], [1.0]
        if isinstance(self.config, EnsembleConfig):
            models = list(read_members(files, self.config))
            weights = [member.weight for member in self.config.members]
        check_probe(self.predictor, read_probes(models, len(self.config.labels)), weights)

    @property
    def graph(self) -> GraphPredictor | None:
        """What predicts in the networks' place, or ``None``.

        Raises:
            ModelError: a network was changed after it was loaded, and the graph is the old one.
        """
        if self._graph is not None and "torch_predictor" in self.__dict__:
            for member in self.torch_predictor.members:
                member.check_unchanged()
        return self._graph

    @property
    def predictor(self) -> Predictor[Any]:
        """What predicts.

        Raises:
            ModelError: as `graph`.
        """
        return self.graph or self.torch_predictor

    @property
    def described(self) -> Predictor[Any]:
        """The same, for its names alone, which a changed network has too."""
        return self._graph or self.torch_predictor

    def predictions(
        self, images: Iterable[Any], options: InputOptions, *, tta: bool, dropout_passes: int = 0,
        monitor: Monitor | None = None,
    ) -> Iterator[Prediction | ItemError]:  # fmt: skip
        """Predict lazily, in order; see `Classifier.predict`."""
        if not dropout_passes:
            return predictions(self.predictor, images, options, tta=tta, monitor=monitor)
        from skinxai.predicting.dropout import check_passes, dropout_uncertainty

        check_passes(dropout_passes)
        doubts = partial(dropout_uncertainty, self.torch_predictor, passes=dropout_passes)
        return predictions(self.predictor, images, options, tta=tta, doubts=doubts, monitor=monitor)


def _is_exported(model: str | os.PathLike[str]) -> bool:
    path = Path(model)
    return path.suffix.lower() in EXPORTED and not is_folder(path)


def _given(loaded: LoadedModel | LoadedEnsemble) -> LoadedModel | LoadedEnsemble:
    return loaded


def _with_reference(
    load: Callable[[], LoadedModel | LoadedEnsemble], reference: ReferenceSample
) -> LoadedModel | LoadedEnsemble:
    return replace(load(), reference=reference)


def _read(files: ModelFiles) -> LoadedModel | LoadedEnsemble:
    from skinxai import checkpoints

    return checkpoints.load(files)


def check_header(config: bytes, folder: Path, header: Mapping[str, Any]) -> None:
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


def check_probe(
    predictor: Predictor[Any], probes: Sequence[npt.NDArray[np.float64]], weights: Sequence[float]
) -> None:
    """Ask a model for the drawn picture.

    Args:
        predictor: of one model, or of an ensemble.
        probes: what each network answered when it was saved.
        weights: of the networks.

    Raises:
        ModelError: a probability that differs by more than `TOLERANCE`.
    """
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
