"""`GraphPredictor`: logits and class activation maps of prepared images, by graphs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, ModelError
from skinxai.graphs import EMBEDDINGS, LOGITS, MAPS
from skinxai.graphs.exported import Exported, with_weights
from skinxai.model_folders.ensembles import config_of, members_of
from skinxai.model_folders.files import ModelFiles, read_config
from skinxai.model_folders.parts import GRAPH, WEIGHTS
from skinxai.predicting.inputs import Prepared
from skinxai.predicting.network_passes import Member, NetworkPass, Outputs
from skinxai.predicting.predictor import Predictor
from skinxai.predicting.runners import RUNNERS, Runner
from skinxai.trust.calibration import calibration_of


@dataclass(frozen=True, kw_only=True)
class GraphMember(Member):
    """One network.

    Args:
        run: its compiled graph.
        layer: where it is split, for explanations.
    """

    run: Runner
    layer: str

    def __post_init__(self) -> None:
        if LOGITS not in self.run.names:
            raise IntegrityError(
                f"the graph of {self.model} must have the output {LOGITS!r}, and has "
                f"{self.run.names}; export the model again."
            )

    @classmethod
    def of_folder(
        cls, files: ModelFiles, runner: str, precision: str = "float32", weight: float = 1.0
    ) -> Self:
        """The network of a model folder."""
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
        return cls(
            preprocessing=config.preprocessing, weight=weight, model=name, run=run, layer=layer
        )

    def run_on(
        self, items: Sequence[Prepared], flip: tuple[int, ...] = ()
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Of the graph, for images with some dimensions of ``(N, 3, h, w)`` reversed."""
        images = np.stack([item.arrays[self.preprocessing] for item in items])
        return self.run(np.ascontiguousarray(np.flip(images, flip)) if flip else images)


@dataclass(frozen=True, kw_only=True)
class GraphPredictor(Predictor[GraphMember]):
    """One model, or an ensemble of several, by their graphs."""

    @classmethod
    def of_folder(cls, files: ModelFiles, runner: str, precision: str = "float32") -> Self:
        """Of verified files.

        Raises:
            ModelError: a folder, or a member's, without a graph.
            IntegrityError: a graph of another model, or without logits; or as in `read_members`.
        """
        calibration, config = calibration_of(files), config_of(files)
        members = tuple(
            GraphMember.of_folder(own, runner, precision, weight)
            for own, weight in members_of(files)
        )
        name = f"{config.name}@{files.revision}"
        return cls(members=members, labels=config.labels, model=name, calibration=calibration)

    def __post_init__(self) -> None:
        if self.calibration is not None:
            self._check_embeddings()

    def _check_embeddings(self) -> None:
        for member in self.members:
            if EMBEDDINGS not in member.run.names:
                raise ModelError(
                    f"the graph of {member.model} must have the output {EMBEDDINGS!r}, which the "
                    f"novelty of a calibrated model needs, and has {member.run.names}",
                    python="make it again with Classifier.with_graph(), or take backend='torch'",
                    command="take --backend torch",
                )

    @classmethod
    def of_exported(cls, found: Exported, runner: str) -> Self:
        """Of an exported file."""
        run = RUNNERS[runner](found.graph, found.weights, found.precision)
        member = GraphMember(
            preprocessing=found.config.preprocessing, weight=1.0, model=found.model, run=run,
            layer=found.layer,
        )  # fmt: skip
        return cls(members=(member,), labels=found.config.labels, model=found.model)

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

    def outputs(
        self, items: Sequence[Prepared], passes: Sequence[NetworkPass[GraphMember]], *,
        embeddings: bool,
    ) -> list[Outputs]:  # fmt: skip
        """By the members' graphs; see `Predictor.outputs`."""
        if embeddings:
            self._check_embeddings()
        found = []
        for each in passes:
            made = each.member.run_on(items, each.flip)
            pooled = made[EMBEDDINGS] if embeddings and not each.flip else None
            found.append(Outputs(self.probabilities(made[LOGITS]), pooled))
        return found
