"""Prepared images to probabilities and features, by torch."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.backbones.evaluation_mode import evaluating, plain_float32
from skinxai.backbones.folding import folded
from skinxai.backbones.module_walk import tensors_of
from skinxai.backbones.network import SkinClassifier, without_gradients
from skinxai.checkpoints import LoadedEnsemble, LoadedModel
from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelError, OptionError
from skinxai.memory import in_batches
from skinxai.plain_text import first_line
from skinxai.predicting.devices import device_named
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.network_passes import Member, NetworkPass, Outputs
from skinxai.predicting.predictor import Predictor


def to_batch(
    items: Sequence[Prepared], preprocessing: PreprocessConfig, device: torch.device
) -> Tensor:
    """Network input ``(N, 3, h, w)`` float32, channels last in memory, of prepared images.

    Raises:
        ModelError: a CUDA device, in a process that was forked after CUDA was used.
    """
    batch = torch.from_numpy(np.stack([item.arrays[preprocessing] for item in items]))
    try:
        if device.type == "cuda":  # the copy goes on while the processor reads the next images
            batch = batch.pin_memory()
        return batch.to(device, memory_format=torch.channels_last, non_blocking=True)
    except RuntimeError as error:
        if "forked subprocess" not in str(error):
            raise
        raise ModelError(
            "a forked process cannot use a model that was loaded on a CUDA device before; load it "
            "in each process, or start them with multiprocessing.get_context('spawn')."
        ) from error


@dataclass(frozen=True, kw_only=True)
class TorchMember(Member):
    """One network.

    Args:
        network: on the predictor's device; in evaluation mode, unless it is its owner's.
        folded: the same, or a folded copy of it.
        seen: tensors of ``network`` and how often each had been written to, when it was copied or
            its training lesions were embedded.
    """

    network: SkinClassifier
    folded: SkinClassifier
    seen: tuple[tuple[Tensor, int], ...]

    @classmethod
    def of(
        cls, network: SkinClassifier, folded: SkinClassifier, preprocessing: PreprocessConfig,
        weight: float, model: str,
    ) -> "TorchMember":  # fmt: skip
        """From the networks as they are now; the arguments are the fields."""
        return cls(
            network=network, folded=folded, seen=_versions(network), preprocessing=preprocessing,
            weight=weight, model=model,
        )  # fmt: skip

    @property
    def answering(self) -> SkinClassifier:
        """What answers."""
        self.check_unchanged()
        return self.folded

    def check_unchanged(self) -> None:
        """Refuse to answer by a copy of a network that is no longer as it was.

        Raises:
            ModelError: the network was changed after the copy was made of it.
        """
        if self.is_changed:
            raise ModelError(
                f"the network of {self.model} was changed after it was loaded, and its answers "
                f"would still be the old ones; wrap the changed one in from_module()."
            )

    @property
    def is_changed(self) -> bool:
        """Whether the network was written to after a copy was made of it, which is the old one."""
        return self.folded is not self.network and self.is_written

    @property
    def is_written(self) -> bool:
        """Whether the network was written to after it was seen, whatever answers."""
        now = _versions(self.network)
        return len(now) != len(self.seen) or any(
            one is not two or first != second
            for (one, first), (two, second) in zip(now, self.seen, strict=True)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies count afresh what is written to their own tensors."""
        folded = self.answering  # an outdated one is not copied
        return TorchMember.of, (
            self.network, folded, self.preprocessing, self.weight, self.model,
        )  # fmt: skip


def _versions(model: SkinClassifier) -> tuple[tuple[Tensor, int], ...]:
    tensors = tensors_of(model.network)
    return tuple((t, 0 if t.is_inference() else int(t._version)) for t in tensors)


@dataclass(frozen=True, kw_only=True)
class TorchPredictor(Predictor[TorchMember]):
    """Torch networks with all that is needed to answer for them.

    Args:
        device: where they compute.
        precision: of predictions; explanations and embeddings are float32 always.
        compiled: whether torch has compiled the networks' calls; their parts never.
    """

    device: torch.device
    precision: str = "float32"
    compiled: bool = False

    @classmethod
    def of(
        cls,
        loaded: LoadedModel | LoadedEnsemble,
        device: str,
        precision: str = "float32",
        *,
        compiled: bool = False,
    ) -> Self:
        """Of a model, or an ensemble, whose networks are moved there; see `from_pretrained`."""
        place = device_named(device)
        if precision == "float16" and place.type != "cuda":
            raise OptionError(
                f"precision 'float16' needs a CUDA device, got {place.type!r}; take 'bfloat16'."
            )
        members = tuple(
            TorchMember.of(
                _settled(part, place),
                _answering(part),
                part.config.preprocessing,
                weight,
                f"{part.config.name}@{part.revision}",
            )
            for part, weight in zip(loaded.members, loaded.weights, strict=True)
        )
        config = loaded.config
        name = f"{config.name}@{loaded.revision}"
        made = cls(
            members=members, labels=config.labels, model=name, device=place, precision=precision,
            compiled=compiled, calibration=loaded.calibration,
        )  # fmt: skip
        if compiled:
            made._compile()
        return made

    def _compile(self) -> None:
        """Let torch compile the networks' calls, now and for single images and batches."""
        try:
            for member in self.members:
                member.folded.compile()
                for count in (1, 2, 3):  # of two sizes it learns that the number may change
                    size = (count, 3, *member.preprocessing.image_size)
                    images = torch.zeros(size, device=self.device)
                    images = images.contiguous(memory_format=torch.channels_last)
                    with torch.inference_mode(), self.evaluating(), self._cast():
                        if self.measured:
                            member.folded.with_embeddings(images)
                        else:
                            member.folded(images)
        except Exception as error:  # of many kinds: no compiler, or a network it cannot follow
            raise OptionError(
                f"compile needs a C++ compiler and a network that torch.compile can follow: "
                f"{first_line(error)}; leave it out."
            ) from error

    @property
    def backend(self) -> str:
        """What computes, for results."""
        calls = (each.folded._compiled_call_impl for each in self.members)  # copies have none
        name = "torch compiled" if self.compiled and all(calls) else "torch"
        return f"{name} {self.device.type} {self.precision}"

    def _cast(self) -> torch.autocast:
        """Within it, networks compute in the predictor's precision, whatever a caller's is."""
        dtype = getattr(torch, self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def in_float32(self) -> "TorchPredictor":
        """The same, for what must not be rounded."""
        return replace(self, precision="float32", compiled=False)

    @property
    def digest(self) -> str:
        """sha256 of the networks' tensors and of the calibration, as they are now.

        It tells models apart that were never saved, and have no revision.
        """
        found = hashlib.sha256()
        for member in self.members:
            for each in tensors_of(member.network):
                found.update(f"{each.dtype} {tuple(each.shape)}\n".encode())
                found.update(each.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        if self.calibration is not None:
            for data in self.calibration.to_files("").values():
                found.update(data)
        return found.hexdigest()

    def seen_anew(self) -> Self:
        """The same networks, seen as they are now."""
        members = (replace(each, seen=_versions(each.network)) for each in self.members)
        return replace(self, members=tuple(members))

    def single(self, wanted_by: str) -> TorchMember:
        """The only member.

        Raises:
            ModelError: an ensemble of several.
        """
        if len(self.members) > 1:
            raise ModelError(
                f"{wanted_by} needs a single network, but {self.model} is an ensemble of "
                f"{len(self.members)}, each with features of its own; load one of the folders in "
                f"its members/."
            )
        return self.members[0]

    def evaluating(self) -> AbstractContextManager[None]:
        """Within it, what answers is in evaluation mode; see `evaluation_mode`.

        Raises:
            ModelError: a network that its owner moved to another device.
        """
        for member in self.members:
            place = next((weight.device for weight in member.answering.parameters()), self.device)
            if place.type != self.device.type:
                raise ModelError(
                    f"the network of {member.model} must stay on {self.device}, where it was "
                    f"wrapped, but it was moved to {place}; move it back, or wrap it again."
                )
        return evaluating(member.answering for member in self.members)

    @torch.inference_mode()
    def outputs(
        self, items: Sequence[Prepared], passes: Sequence[NetworkPass[TorchMember]], *,
        embeddings: bool,
    ) -> list[Outputs]:  # fmt: skip
        """By the members' networks; see `Predictor.outputs`."""
        found, batch, last = [], None, None
        with self.evaluating():
            for each in passes:
                if batch is None or each.member is not last:
                    last = each.member
                    batch = to_batch(items, last.preprocessing, self.device)
                images, pooled = batch.flip(each.flip) if each.flip else batch, None
                with self._cast():
                    if embeddings and not each.flip:
                        logits, features = last.answering.with_embeddings(images)
                        pooled = np.asarray(features.float().cpu().numpy(), np.float32)
                    else:
                        logits = last.answering(images)
                found.append(Outputs(self.probabilities(logits.float().cpu().numpy()), pooled))
        return found


def _settled(part: LoadedModel, place: torch.device) -> SkinClassifier:
    """A network on its device; the flags of one that came from its owner stay as they are."""
    if part.config.backbone:
        part.network.eval()
    part.network.training = False
    return part.network.to(place)


def _answering(part: LoadedModel) -> SkinClassifier:
    """What answers: a copy without gradients, where the weights are a model folder's."""
    if not part.config.backbone:
        return part.network
    device = next(part.network.network.parameters()).device
    with plain_float32(device):
        made = folded(part.network, part.config.preprocessing.image_size)
        if made is part.network:  # nothing to fold: it is the caller's, and stays as it is
            return without_gradients(made)
        made.network.requires_grad_(False)
        return made


def embeddings(
    predictor: TorchPredictor, images: Iterable[Any], options: InputOptions
) -> npt.NDArray[np.float32]:
    """Pooled features, float32 ``(N, D)``; ``(0, 0)`` for no image.

    Raises:
        ModelError: an ensemble, whose members have features of their own.
        OptionError: ``on_error="return"``, since a row has no place for errors.
    """
    if options.on_error != "raise":
        raise OptionError("on_error must be 'raise' for embeddings: a row has no place for errors.")
    member = predictor.single("embed()")
    rows: list[npt.NDArray[np.float32]] = []
    for batch in prepared_batches(images, predictor.preprocessings, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        rows += in_batches(items, lambda some: _embed(predictor, member, some)) if items else []
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)


@torch.inference_mode()
def _embed(
    predictor: TorchPredictor, member: TorchMember, items: Sequence[Prepared]
) -> npt.NDArray[np.float32]:
    images = to_batch(items, member.preprocessing, predictor.device)
    with predictor.evaluating(), torch.autocast(predictor.device.type, enabled=False):
        features = member.answering.pool(member.answering.features(images))
    return np.asarray(features.float().cpu().numpy(), np.float32)
