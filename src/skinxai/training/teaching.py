"""`Teacher`: a model or ensemble whose answers a run learns from besides the labels."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from skinxai import backbones, checkpoints
from skinxai.checkpoints import LoadedModel
from skinxai.configs import PreprocessConfig
from skinxai.data.hashing import looks
from skinxai.data.records import Records
from skinxai.errors import TrainingError
from skinxai.interruption import mapped
from skinxai.labels import LabelSet
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.plain_text import agreeing, each_once
from skinxai.training.precision import expected_kernels
from skinxai.training.transfers import to_device


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
        unseen: bool ``(M, N)``: whether a member did not learn an image of the training part, and
            so answers it; ``None``: all members answer every image.
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
    unseen: npt.NDArray[np.bool_] | None = None

    @property
    def known(self) -> list[TrainedOn]:
        """The training images of each member that names them."""
        return [m.trained_on for m in self.members if m.trained_on is not None]

    @torch.no_grad()
    def __call__(self, images: Tensor, positions: Sequence[int] = ()) -> Tensor:
        """The teacher's softened probabilities ``(N, K)``, float32, of the images as they are.

        It gets the same input ``(N, 3, h, w)`` as the student, with the same crop, colours and
        mixture: a teacher that sees another view than the student teaches worse (Beyer et al.,
        "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022). With
        ``unseen`` it needs the position of each image in the training part.
        """
        if self.unseen is None:
            asked = [np.arange(len(images))] * len(self.members)
        else:
            asked = [np.flatnonzero(row[list(positions)]) for row in self.unseen]
        rows, parts = [], []
        with nullcontext() if self.unseen is None else expected_kernels():  # sizes differ each step
            for member, weight, own in zip(self.members, self.weights, asked, strict=True):
                if len(own):
                    rows.append(place := to_device(own, images))
                    some = images if len(own) == len(images) else images[place]
                    answer = member.network(_as_expected(some, self.expected, member)).float()
                    parts.append((weight, answer.softmax(dim=1)))
        mean = torch.zeros(len(images), parts[0][1].shape[1], device=images.device)
        total = torch.zeros(len(images), 1, device=images.device)
        for place, (weight, answer) in zip(rows, parts, strict=True):
            mean.index_add_(0, place, weight * answer)
            total.index_add_(0, place, torch.full_like(answer[:, :1], weight))
        mean = mean / total
        softened: Tensor = (mean.clamp_min(1e-12).log() / self.temperature).softmax(dim=1)
        return softened

    def distance(self, answer: Tensor, logits: Tensor) -> Tensor:
        """Distance of a student from the teacher: ``T² · KL(teacher ‖ student)``, mean over images.

        Both are ``(N, K)``: the teacher's probabilities, the student's logits in float32. Hinton et
        al., "Distilling the Knowledge in a Neural Network", 2015, section 2: T² keeps the
        gradient's size whatever the temperature T is.
        """
        own = functional.log_softmax(logits / self.temperature, dim=1)
        return self.temperature**2 * functional.kl_div(own, answer, reduction="batchmean")


def load_teacher(
    model: str, labels: LabelSet, expected: PreprocessConfig, temperature: float,
    device: torch.device,
) -> Teacher:  # fmt: skip
    """Load a model or ensemble, as of `Trainer`, to learn from on a device.

    Its networks get input that is normalised as ``expected``.

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
        "; ".join(each_once(c.training_data.get(name, "") for c in configs))
        for name in ("attribution", "leaked")
    )
    return Teacher(
        loaded.members, loaded.weights, expected, temperature,
        f"{loaded.config.name}@{loaded.revision}",
        " AND ".join(each_once(c.licence for c in configs)), attribution, leaked,
        loaded.trained_on,
    )  # fmt: skip


def only_unseen(teacher: Teacher, train: Records, max_pixels: int) -> Teacher:
    """The teacher that answers each training image by the members that did not learn it.

    A member's answer to an image that it learnt is mostly that image's label. Copies of an image
    that a member learnt, as its fingerprints find them, count as learnt.

    Raises:
        TrainingError: if a member does not say what it was trained on, or all members learnt an
            image.
    """
    if silent := len(teacher.members) - len(teacher.known):
        raise TrainingError(
            f"with teacher_answers 'unseen' each member of the teacher must say which images it "
            f"was trained on, but {silent} of {len(teacher.members)} "
            f"{agreeing(silent, 'does', 'do')} not; take another teacher, or teacher_answers 'all'."
        )
    found = {item.image_id: look
             for item, look in zip(train, looks(train, max_pixels=max_pixels), strict=True)
             if isinstance(look, Look)}  # fmt: skip
    unseen = np.zeros((len(teacher.members), len(train)), np.bool_)
    different = list(dict.fromkeys(teacher.known))  # networks of one fold learnt the same images
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each takes seconds for thousands of images
        every = mapped(pool, lambda known: known.seen(found), different)
        seen = dict(zip(different, every, strict=True))
    for row, known in zip(unseen, teacher.known, strict=True):
        learnt = {*seen[known].exact, *seen[known].copies}
        row[:] = [item.image_id not in learnt for item in train]
    if left := int((~unseen.any(axis=0)).sum()):
        raise TrainingError(
            f"with teacher_answers 'unseen' each training image must be new to a member of the "
            f"teacher, but all members learnt {left} of {len(train)}; train the members on folds "
            f"of these images, or take teacher_answers 'all'."
        )
    return replace(teacher, unseen=unseen)


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
