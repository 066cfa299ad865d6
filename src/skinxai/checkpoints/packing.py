"""Model folder ↔ network. Weights are bound to the config; a pickle is never opened."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from skinxai import backbones
from skinxai.backbones.exact_float32 import exact_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints.optional_parts import read_optional, write_optional
from skinxai.configs import EnsembleConfig, ModelConfig
from skinxai.errors import IntegrityError, ModelError
from skinxai.model_folders import ensembles
from skinxai.model_folders.files import (
    UNSAVED,
    ModelFiles,
    read_config,
    weights_digest,
    write_model_folder,
)
from skinxai.model_folders.neighbours import Neighbours
from skinxai.model_folders.parts import CARD, CONFIG, REFERENCE, WEIGHTS, in_order
from skinxai.model_folders.probe import picture
from skinxai.model_folders.probe import to_bytes as probe_bytes
from skinxai.model_folders.tensors import BINDING, stored_tensors, weights_metadata
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.results.probabilities import from_logits
from skinxai.trust.calibration import Calibration, calibration_of
from skinxai.trust.reference_sample import ReferenceSample, reference_of


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode with its config; an ensemble of one.

    Args:
        network: float32, on the CPU.
        config: everything else that is needed to use it.
        card: the model card, Markdown.
        revision: of the folder it came from.
        trained_on: the images that the weights were trained on; ``None`` where the folder
            does not say.
        neighbours: embeddings of the training lesions, where the folder has them.
        calibration: what was fitted on images that the weights were not trained on.
        reference: what answers for such images look like, for drift.
        graph: for backends other than torch, where the folder has one.
        probe: what it answered when it was saved, where the folder has it.
    """

    network: SkinClassifier
    config: ModelConfig
    card: str
    revision: str
    trained_on: TrainedOn | None = None
    neighbours: Neighbours | None = None
    calibration: Calibration | None = None
    reference: ReferenceSample | None = None
    graph: bytes | None = None
    probe: bytes | None = None

    @property
    def members(self) -> tuple["LoadedModel", ...]:
        """The model itself."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """One, of the model itself."""
        return (1.0,)

    @property
    def digest(self) -> str:
        """Digest of the weights, as `save` writes them."""
        return weights_digest([_weights(self, _tensors(self.network))])

    def save(self, folder: str, name: str | None = None) -> str:
        """Write a model folder and return its revision; the backbone must be a registered one."""
        if not self.config.backbone:
            raise ModelError(
                "a model from from_module() cannot be saved: nothing could build it again; "
                "register its builder as a backbone."
            )
        config = replace(self.config, name=name) if name else self.config
        return write_model_folder(folder, replace(self, config=config).files())[:12]

    def files(self) -> dict[str, bytes]:
        """Of the model folder, without the manifest."""
        return _files(self, _tensors(self.network))


@dataclass(frozen=True)
class LoadedEnsemble:
    """The members of an ensemble, with the ensemble's own config.

    Args:
        members: in the config's order.
        config: names and weights.
        card: the ensemble's model card, Markdown.
        revision: of the ensemble's folder.
        calibration: of the ensemble's mean; those of the members alone are not used.
        reference: of the ensemble's mean, with the first member's embeddings.
    """

    members: tuple[LoadedModel, ...]
    config: EnsembleConfig
    card: str
    revision: str
    calibration: Calibration | None = None
    reference: ReferenceSample | None = None

    @property
    def weights(self) -> tuple[float, ...]:
        """Each member's share of the mean; they sum to 1."""
        return tuple(member.weight for member in self.config.members)

    @property
    def trained_on(self) -> TrainedOn | None:
        """The members' images together; ``None`` where a member does not say.

        A part would pass for the whole.
        """
        found = [member.trained_on for member in self.members]
        known = [each for each in found if each is not None]
        return reduce(or_, known) if len(known) == len(found) else None

    @property
    def neighbours(self) -> None:
        """None: each member has embeddings of its own."""

    @property
    def digest(self) -> str:
        """Digest of the members' weights and shares, as `save` writes them."""
        weights = (_weights(each, _tensors(each.network)) for each in self.members)
        return weights_digest(weights, self.weights)

    def save(self, folder: str, name: str | None = None) -> str:
        """Write an ensemble's folder, members and all, and return its revision."""
        config = replace(self.config, name=name) if name else self.config
        files = [member.files() for member in self.members]
        digest = weights_digest([each[WEIGHTS] for each in files], self.weights)
        own = {} if self.calibration is None else self.calibration.to_files(digest)
        if self.reference is not None:
            own[REFERENCE] = self.reference.to_bytes(digest)
        return ensembles.write_members(folder, config, files, self.card, own)


def pack(
    network: SkinClassifier,
    config: ModelConfig,
    card: str,
    trained_on: TrainedOn | None = None,
    neighbours: Neighbours | None = None,
    *,
    half: bool = False,
) -> dict[str, bytes]:
    """Files of a model folder for a network that was not saved before; arguments as in `save`."""
    tensors = _tensors(network, half)
    probe = _probe(network, config, tensors)
    made = LoadedModel(network, config, card, UNSAVED, trained_on, neighbours, probe=probe)
    return _files(made, tensors)


def _weights(loaded: LoadedModel, tensors: dict[str, Tensor]) -> bytes:
    # One key only: safetensors writes several in random order, and one model has one digest.
    return save_tensors(tensors, {BINDING: loaded.config.binding()})


def _files(loaded: LoadedModel, tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """Of the model's folder, with these weights."""
    config = loaded.config
    files = {
        WEIGHTS: _weights(loaded, tensors),
        CONFIG: json.dumps(config.to_dict(), indent=2).encode() + b"\n",
        CARD: loaded.card.encode(),
    }
    return in_order(files | write_optional(loaded, files))


def save(
    folder: str,
    network: SkinClassifier,
    config: ModelConfig,
    card: str,
    trained_on: TrainedOn | None = None,
    neighbours: Neighbours | None = None,
    *,
    half: bool = False,
) -> str:
    """Write the folder of a network that was not saved before, and return its revision.

    The network is asked about a drawn picture, and its answer is kept beside the weights, which
    hold the hash of the config. Matrices and kernels that half precision holds exactly are stored
    in it; vectors (biases, batch statistics) keep float32.

    Args:
        folder: to write.
        network: as `Classifier.network` gives it.
        config: of the model.
        card: the model card, Markdown.
        trained_on: every image that the weights, and those they started from, were trained on;
            with ``None``, no hashes and no fingerprints are written.
        neighbours: the training lesions, for `Classifier.nearest`.
        half: store all matrices and kernels in half precision, rounded.
    """
    files = pack(network, config, card, trained_on, neighbours, half=half)
    return write_model_folder(folder, files)[:12]


def load(files: ModelFiles) -> LoadedModel | LoadedEnsemble:
    """Build the network, or all of an ensemble's networks, of verified files.

    Errors are those of `unpack` and of `skinxai.model_folders.ensembles.read_members`.
    """
    if not files.is_ensemble:
        return unpack(files)
    config = read_config(files, EnsembleConfig)
    members = tuple(unpack(member) for member in ensembles.read_members(files, config))
    calibration = calibration_of(files)
    reference = reference_of(files)
    return LoadedEnsemble(members, config, _card(files), files.revision, calibration, reference)


def unpack(files: ModelFiles) -> LoadedModel:
    """Build the network of verified files.

    Raises:
        ModelError: an ensemble, which is several networks.
        ModelConfigError: a config that breaks its schema.
        IntegrityError: weights that belong to another config, do not fit the backbone, or are
            not finite.
    """
    if files.is_ensemble:
        raise ModelError(
            f"model folder {str(files.folder)!r} must be one network with {WEIGHTS}, but it lists "
            f"none; of an ensemble, name one of the folders in members/."
        )
    config = read_config(files, ModelConfig)
    weights = files.files[WEIGHTS]
    if weights_metadata(weights).get(BINDING) != config.binding():
        raise IntegrityError(
            f"{CONFIG} in {str(files.folder)!r} must be the one its weights were saved with "
            f"(labels, preprocessing, backbone), but it is another; fetch the model again."
        )
    stored = stored_tensors(weights, WEIGHTS)
    backbones.check_fit(config.backbone, len(config.labels), stored)
    with backbones.no_more_than(stored, config.backbone):
        network = backbones.build(config.backbone, len(config.labels), config.drop_rate)
    network.float()  # torch's default type may be another
    load_weights(network, weights)
    return LoadedModel(
        network,
        config,
        _card(files),
        files.revision,
        **read_optional(files.files, config),
    )


def load_weights(network: SkinClassifier, weights: bytes) -> None:
    """Load safetensors bytes into ``network``, every name and shape matching, all values finite.

    Anything else is an `IntegrityError`.
    """
    try:
        tensors = load_tensors(weights)
    except SafetensorError as error:
        raise IntegrityError(f"{WEIGHTS} must be whole safetensors: {error}") from error
    backbones.compare(network, stored_tensors(weights, WEIGHTS))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise IntegrityError(f"{WEIGHTS} must hold finite values, but {name!r} does not.")
    network.network.load_state_dict(
        {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}, strict=True
    )


def is_bound(weights: bytes) -> bool:
    """Whether safetensors bytes are a model folder's, bound to its config."""
    return BINDING in weights_metadata(weights)


def apart(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """On the CPU and contiguous, each in its own memory: safetensors refuses tied weights."""
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in named:
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in places else own
        places.add(place)
    return found


def _tensors(network: SkinClassifier, half: bool = False) -> dict[str, Tensor]:
    tensors = apart(network.network.state_dict().items())
    return {name: _stored(tensor, half) for name, tensor in tensors.items()}


def _stored(tensor: Tensor, half: bool) -> Tensor:
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    rounded = tensor.half()
    return rounded if half or torch.equal(rounded.to(tensor.dtype), tensor) else tensor


@torch.no_grad()
def _probe(network: SkinClassifier, config: ModelConfig, tensors: dict[str, Tensor]) -> bytes:
    """What the network that will be loaded answers."""
    copied = copy.deepcopy(network).cpu().eval()
    own = copied.network.state_dict()
    copied.network.load_state_dict({n: t.to(own[n].dtype) for n, t in tensors.items()})
    with torch.autocast("cpu", enabled=False), exact_float32():
        logits = copied(torch.from_numpy(picture(config.preprocessing)[None]))
    return probe_bytes(from_logits(logits.double().numpy())[0].tolist())


def _card(files: ModelFiles) -> str:
    return files.files.get(CARD, b"").decode(errors="replace")
