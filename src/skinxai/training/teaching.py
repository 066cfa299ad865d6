"""`Teacher`: a model or ensemble whose answers a run learns from besides the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skinxai import backbones, checkpoints
from skinxai.checkpoints import LoadedModel
from skinxai.configs import PreprocessConfig
from skinxai.errors import TrainingError
from skinxai.labels import LabelSet
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.trained_on import TrainedOn


@dataclass(frozen=True)
class Teacher:
    """Networks that a run learns from, with their licence and training images.

    Args:
        members: networks of the teacher, in evaluation mode, on the run's device.
        weights: weights of the members' mean, with sum 1.
        expected: ``(mean, std)`` of the input of the run's own network.
        temperature: temperature that softens both answers.
        source: ``name@revision``.
        licence: licence of its weights, which the trained model inherits.
        attribution: who must be named for them.
        leaked: why its figures are worthless, if they are marked as leaked.
        trained_on: the images it was trained on; ``None`` if a member does not say.
    """

    members: Sequence[LoadedModel]
    weights: Sequence[float]
    expected: PreprocessConfig
    temperature: float
    source: str
    licence: str
    attribution: str
    leaked: str
    trained_on: TrainedOn | None

    @property
    def known(self) -> list[TrainedOn]:
        """The training images of each member that names them."""
        return [m.trained_on for m in self.members if m.trained_on is not None]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The teacher's softened probabilities ``(N, K)``, float32, of the images as they are.

        It gets the same input as the student, with the same crop, colours and mixture: a teacher
        that sees another view than the student teaches worse (Beyer et al.,
        "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022).

        Args:
            images: input of the run's own network ``(N, 3, h, w)``.
        """
        answers = [m.network(_as_expected(images, self.expected, m)).float() for m in self.members]
        parts = [
            weight * answer.softmax(dim=1)
            for weight, answer in zip(self.weights, answers, strict=True)
        ]
        mean = torch.stack(parts).sum(dim=0)
        softened: Tensor = (mean.clamp_min(1e-12).log() / self.temperature).softmax(dim=1)
        return softened

    def distance(self, answer: Tensor, logits: Tensor) -> Tensor:
        """Distance of a student from the teacher: ``T² · KL(teacher ‖ student)``, mean over images.

        Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2: T² keeps
        the gradient's size whatever the temperature T is.

        Args:
            answer: probabilities of the teacher, ``(N, K)``.
            logits: logits of the student, float32 ``(N, K)``.
        """
        own = functional.log_softmax(logits / self.temperature, dim=1)
        return self.temperature**2 * functional.kl_div(own, answer, reduction="batchmean")


def load_teacher(
    model: str, labels: LabelSet, expected: PreprocessConfig, temperature: float,
    device: torch.device,
) -> Teacher:  # fmt: skip
    """Load a model or ensemble to learn from.

    Args:
        model: ``"bundled"``, a folder, or ``"org/name"``.
        labels: labels of the run.
        expected: ``(mean, std)`` of the input of the run's own network.
        temperature: temperature, > 0.
        device: device that it computes on.

    Raises:
        TrainingError: if the teacher has other labels, or the same in another order.
    """
    loaded = checkpoints.load(open_model(model, fits=backbones.check_header))
    if loaded.config.labels.codes != labels.codes:
        raise TrainingError(
            f"teacher {model!r} must have the labels of the images in the same order, "
            f"{list(labels)}, but it has {list(loaded.config.labels)}; take another teacher."
        )
    for member in loaded.members:
        member.network.eval().requires_grad_(requires_grad=False)
        member.network.to(device).to(memory_format=torch.channels_last)
    configs = [member.config for member in loaded.members]
    attribution, leaked = (
        "; ".join(dict.fromkeys(filter(None, (c.training_data.get(name) for c in configs))))
        for name in ("attribution", "leaked")
    )
    return Teacher(
        loaded.members, loaded.weights, expected, temperature,
        f"{loaded.config.name}@{loaded.revision}",
        " AND ".join(dict.fromkeys(c.licence for c in configs if c.licence)), attribution, leaked,
        loaded.trained_on,
    )  # fmt: skip


def _as_expected(images: Tensor, given: PreprocessConfig, member: LoadedModel) -> Tensor:
    """Convert images that are normalised for one network to the normalisation of another."""
    wanted = member.config.preprocessing
    if (given.mean, given.std) == (wanted.mean, wanted.std):
        return images
    mean, std, own_mean, own_std = (
        images.new_tensor(values)[:, None, None]
        for values in (given.mean, given.std, wanted.mean, wanted.std)
    )
    return (images * (std / own_std) + (mean - own_mean) / own_std).contiguous(
        memory_format=torch.channels_last
    )
