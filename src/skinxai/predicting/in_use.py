"""What a `Classifier` is made of: config, card, what predicts, and torch's network when needed."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from skinxai.configs import EnsembleConfig, ModelConfig
from skinxai.errors import ModelError
from skinxai.model_folders.files import UNSAVED
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.predictor import Predictor
from skinxai.predicting.streaming import predictions
from skinxai.results import ItemError, Prediction
from skinxai.results.observation import Monitor
from skinxai.trust.calibration import Calibration
from skinxai.trust.reference_sample import ReferenceSample

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
        made = self.with_loaded(
            replace(self.loaded, calibration=calibration, reference=reference, revision=UNSAVED)
        )
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
        """Torch's answers, whatever predicts."""
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
        """What predicts."""
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

        count = check_passes(dropout_passes)
        doubts = partial(dropout_uncertainty, self.torch_predictor, passes=count)
        return predictions(self.predictor, images, options, tta=tta, doubts=doubts, monitor=monitor)


def _given(loaded: LoadedModel | LoadedEnsemble) -> LoadedModel | LoadedEnsemble:
    return loaded


def _with_reference(
    load: Callable[[], LoadedModel | LoadedEnsemble], reference: ReferenceSample
) -> LoadedModel | LoadedEnsemble:
    return replace(load(), reference=reference)
