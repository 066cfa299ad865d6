"""`GraphEngine`: prepared images to probabilities and class activation maps, by graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import EnsembleConfig, ModelConfig, PreprocessConfig
from skinxai.errors import ModelError
from skinxai.graphs.exported import LOGITS, MAPS, Exported, with_weights
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import read_members
from skinxai.model_folders.files import GRAPH, WEIGHTS, ModelFiles, read_config
from skinxai.predicting.predictor import FLIPS, Predictor, Prepared, weighted_mean
from skinxai.predicting.runners import RUNNERS, Runner


@dataclass(frozen=True)
class GraphMember:
    """One network.

    Args:
        run: its compiled graph.
        preprocessing: of the evaluation transform.
        weight: its share of the mean.
        model: ``name@revision``.
        layer: where it is split, for explanations.
    """

    run: Runner
    preprocessing: PreprocessConfig
    weight: float
    model: str
    layer: str

    @classmethod
    def of_folder(
        cls, files: ModelFiles, runner: str, precision: str = "float32", weight: float = 1.0
    ) -> Self:
        """The network of a model folder.

        Raises:
            ModelError: a folder without a graph.
            IntegrityError: a graph of another model.
        """
        config = read_config(files, ModelConfig)
        if GRAPH not in files.files:
            raise ModelError(
                f"backend {runner!r} needs {GRAPH} in the model folder {str(files.folder)!r}, "
                f"found none",
                python="make one with Classifier.with_graph() and save_pretrained()",
                command="make one with 'skinxai export NEW_FOLDER --model FOLDER'",
            )
        graph, layer = with_weights(files.files[GRAPH], files.files[WEIGHTS], config.binding())
        name = f"{config.name}@{files.revision}"
        run = RUNNERS[runner](graph, precision=precision)
        return cls(run, config.preprocessing, weight, name, layer)

    def outputs(self, items: Sequence[Prepared]) -> dict[str, npt.NDArray[np.float32]]:
        """Of the graph, for images as they are."""
        return self.run(np.stack([item.arrays[self.preprocessing] for item in items]))


@dataclass(frozen=True)
class GraphEngine(Predictor):
    """One model, or an ensemble of several.

    Args:
        members: their weights sum to 1.
        labels: in logit order, of all members.
        model: ``name@revision``.
    """

    members: tuple[GraphMember, ...]
    labels: LabelSet
    model: str

    @classmethod
    def of_folder(cls, files: ModelFiles, runner: str, precision: str = "float32") -> Self:
        """Of verified files.

        Args:
            files: of a model, or of an ensemble.
            runner: name in `RUNNERS`.
            precision: that it computes in.

        Raises:
            ModelError: a folder, or a member's, without a graph.
            IntegrityError: as in `GraphMember.of_folder` and `read_members`.
        """
        if WEIGHTS in files.files:
            member = GraphMember.of_folder(files, runner, precision)
            return cls((member,), read_config(files, ModelConfig).labels, member.model)
        config = read_config(files, EnsembleConfig)
        members = tuple(
            GraphMember.of_folder(own, runner, precision, entry.weight)
            for own, entry in zip(read_members(files, config), config.members, strict=True)
        )
        return cls(members, config.labels, f"{config.name}@{files.revision}")

    @classmethod
    def of_exported(cls, found: Exported, runner: str) -> Self:
        """Of an exported file."""
        run = RUNNERS[runner](found.graph, found.weights, found.precision)
        member = GraphMember(run, found.config.preprocessing, 1.0, found.model, found.layer)
        return cls((member,), found.config.labels, found.model)

    @property
    def backend(self) -> str:
        """What computes, for results."""
        return self.members[0].run.backend

    @property
    def exact(self) -> bool:
        """Whether it computes in float32."""
        return all(member.run.precision == "float32" for member in self.members)

    @property
    def maps(self) -> bool:
        """Whether Grad-CAM can be had of it: of one model with such maps that does not round."""
        return len(self.members) == 1 and MAPS in self.members[0].run.names and self.exact

    @property
    def preprocessings(self) -> frozenset[PreprocessConfig]:
        """The members', each once."""
        return frozenset(member.preprocessing for member in self.members)

    def predict(self, items: Sequence[Prepared], *, tta: bool = False) -> npt.NDArray[np.float64]:
        """The weighted mean of the members' probabilities; see `Predictor`."""
        return self.mean([self._predict_one(member, items, tta) for member in self.members])

    def mean(self, values: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Weighted mean over the members."""
        return weighted_mean([member.weight for member in self.members], values)

    def _predict_one(
        self, member: GraphMember, items: Sequence[Prepared], tta: bool
    ) -> npt.NDArray[np.float64]:
        images = np.stack([item.arrays[member.preprocessing] for item in items])
        views = FLIPS if tta else FLIPS[:1]
        rows = [
            self.probabilities(member.run(np.ascontiguousarray(np.flip(images, view)))[LOGITS])
            for view in views
        ]
        return np.asarray(sum(rows) / len(views), np.float64)

    def probabilities(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Softmax ``(N, K)`` float64 of logits; a row that is not finite becomes NaN.

        Raises:
            ModelError: the graph's logits are not ``(N, K)``.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self.labels):
            raise ModelError(
                f"logits must be (N, {len(self.labels)}), one for each label, got {logits.shape}."
            )
        wide = logits.astype(np.float64)
        finite = np.isfinite(wide).all(axis=1, keepdims=True)
        wide = np.where(finite, wide, 0.0)
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        return np.where(finite, powers / powers.sum(axis=1, keepdims=True), np.nan)
