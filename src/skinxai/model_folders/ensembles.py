"""Ensembles as folders: ``config.json``, ``README.md``, ``manifest.json`` and ``members/NAME``.

The config lists each member's folder, weight and whole digest, and the manifest hashes the
config: an edited, exchanged or missing member is refused. Needs no torch.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import zip_longest
from operator import or_
from pathlib import Path

from skinxai.configs import EnsembleConfig, MemberConfig, ModelConfig
from skinxai.disk.regular_files import (
    resolved,
)
from skinxai.disk.staging import Staged
from skinxai.errors import IntegrityError, ModelConfigError, ModelError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders.files import (
    Fits,
    ModelFiles,
    read_config,
    read_model_folder,
    weights_digest,
)
from skinxai.model_folders.folder_manifest import manifest_file, manifest_of
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.parts import CARD, CONFIG, MANIFEST, WEIGHTS, in_order
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.numeric import plain
from skinxai.plain_text import MAX_NAME, counted, markdown
from skinxai.results.folder import RESERVED


def write_ensemble(
    folder: str | os.PathLike[str],
    members: Iterable[str | os.PathLike[str]],
    *,
    weights: Sequence[float] | None = None,
    name: str,
    card: str = "",
) -> str:
    """Copy verified model folders into an ensemble's folder and return its revision.

    An existing folder is replaced whole or not at all.

    Args:
        folder: folder to write; it is created if it does not exist.
        members: folders of single models with one label set.
        weights: weight of each member, > 0, with sum 1 within 1e-9; ``None`` for equal weights.
        name: the ensemble's name.
        card: its model card, Markdown; if empty, a list of the members is written.

    Raises:
        ModelNotFoundError: if a member is not a model folder.
        IntegrityError: if a member is damaged.
        UnsafeFormatError: if a member has pickled weights.
        ModelError: if a member is an ensemble.
        ModelConfigError: if members have different labels, or weights are outside their range.
        OptionError: if there are no members, they or the weights have no order, the number of
            weights differs, or the folder is a member.
        OutputError: if the folder cannot be written.
    """
    for given, own in (("members", members), ("weights", weights)):
        if isinstance(own, set | frozenset | Mapping):
            raise OptionError(
                f"{given} must be a list, so that each weight has its member, got "
                f"{type(own).__name__}."
            )
    found = [_single(open_model(member)) for member in members]
    shares = [1 / len(found) for _ in found] if weights is None else list(map(plain, weights))
    if not found or len(shares) != len(found):
        raise OptionError(
            f"weights must be one for each of at least one member, got "
            f"{counted(len(shares), 'weight')} for {counted(len(found), 'member')}."
        )
    if resolved(folder) in [resolved(files.folder) for files in found]:
        raise OptionError(f"folder must be none of the members' own, got {os.fspath(folder)!r}.")
    config, made = _together(found, shares, name)
    return write_members(folder, config, [files.files for files in found], card or made)


def open_models(
    models: Sequence[str | os.PathLike[str] | None],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    fits: Fits | None = None,
) -> ModelFiles:
    """Open several models as one ensemble with equal weights; nothing is written.

    Its revision is the one that its folder would have. An ensemble among them counts as one model,
    and a single one is opened as that model. The other arguments are those of `open_model`.

    Raises:
        ModelNotFoundError: if there is no such model, or it is an exported file.
        ModelConfigError: if models have different labels.
        OptionError: if there is no model.
    """
    found = [
        open_model(
            each, cache_dir=cache_dir, local_files_only=local_files_only, token=token, fits=fits
        )
        for each in models
    ]
    if not found:
        raise OptionError("model must be a list of at least one model, got an empty one.")
    if len(found) == 1:
        return found[0]
    members: list[ModelFiles] = []
    weights: list[float] = []
    names: list[str] = []
    for files in found:
        names.append(config_of(files).name)
        for own, weight in members_of(files):
            members.append(own)
            weights.append(weight / len(found))
    name = f"mean({', '.join(names)})"
    if len(names) > 3 or len(name) > MAX_NAME:
        name = f"mean of {len(names)} models"
    config, card = _together(members, weights, name)
    made = _own_files(config, card)
    return ModelFiles(Path(), made, manifest_of(made)[1], tuple(members))


def config_of(files: ModelFiles) -> ModelConfig | EnsembleConfig:
    """The config of a model, or of an ensemble."""
    if files.is_ensemble:
        return read_config(files, EnsembleConfig)
    return read_config(files, ModelConfig)


def members_of(files: ModelFiles) -> Iterator[tuple[ModelFiles, float]]:
    """The model itself, or an ensemble's members as `read_members` gives them, with weights."""
    config = config_of(files)
    if isinstance(config, ModelConfig):
        yield files, 1.0
        return
    for own, entry in zip(read_members(files, config), config.members, strict=True):
        yield own, entry.weight


def weights_of(files: ModelFiles) -> tuple[str, int, int]:
    """What is bound to the weights of a folder: their digest, and how many classes and networks."""
    if not files.is_ensemble:
        config = read_config(files, ModelConfig)
        return weights_digest([files.files[WEIGHTS]]), len(config.labels), 1
    own = read_config(files, EnsembleConfig)
    weights = [member.files[WEIGHTS] for member in read_members(files, own)]
    digest = weights_digest(weights, [member.weight for member in own.members])
    return digest, len(own.labels), len(weights)


def _together(
    members: Sequence[ModelFiles], weights: Sequence[float], name: str
) -> tuple[EnsembleConfig, str]:
    """Config and model card of an ensemble of single models with one label set."""
    configs = [read_config(files, ModelConfig) for files in members]
    names = _folder_names([config.name for config in configs])
    entries = [
        MemberConfig(f"members/{own}", files.digest, share)
        for own, files, share in zip(names, members, weights, strict=True)
    ]
    config = EnsembleConfig(name, configs[0].labels, tuple(entries))
    for files, own in zip(members, configs, strict=True):
        _check_labels(config.labels, own, files.folder)
    return config, _card(config, configs)


def write_members(
    folder: str | os.PathLike[str],
    config: EnsembleConfig,
    members: Sequence[Mapping[str, bytes]],
    card: str,
    parts: Mapping[str, bytes] | None = None,
) -> str:
    """Write the folder of an ensemble; an existing one is replaced whole or not at all.

    The members' revisions in the config are replaced by those of the files that are written;
    ``parts`` are other files of the ensemble's own. What is returned is the revision, the first
    twelve digits of the manifest's digest.
    """
    written = []
    with Staged(folder) as staged:
        for member, files in zip(config.members, members, strict=True):
            manifest, digest = manifest_file(files)
            for name, data in in_order({**files, MANIFEST: manifest}).items():
                staged.add(f"{member.folder}/{name}", data)
            written.append(replace(member, revision=digest))
        own = _own_files(replace(config, members=tuple(written)), card) | dict(parts or {})
        manifest, digest = manifest_file(own)
        for name, data in in_order({**own, MANIFEST: manifest}).items():
            staged.add(name, data)
    return digest[:12]


def _own_files(config: EnsembleConfig, card: str) -> dict[str, bytes]:
    """Files of an ensemble's folder, without those of its members."""
    text = json.dumps(config.to_dict(), indent=2)
    return {CONFIG: text.encode() + b"\n", CARD: card.encode()}


def read_members(files: ModelFiles, config: EnsembleConfig) -> Iterator[ModelFiles]:
    """Read and verify the files of each member, one member after the other.

    Raises:
        ModelNotFoundError: if a member is missing.
        IntegrityError: if a member is damaged or was replaced.
        UnsafeFormatError: if a member has pickled weights.
        ModelConfigError: if a member has other labels than the ensemble.
    """
    for member, at_hand in zip_longest(config.members, files.members):
        found = at_hand or _single(_read_member(files, member))
        _check_labels(config.labels, read_config(found, ModelConfig), found.folder)
        yield found


def _read_member(files: ModelFiles, member: MemberConfig) -> ModelFiles:
    try:
        return read_model_folder(
            files.folder / member.folder, revision=member.revision, fits=files.fits
        )
    except ModelError:
        if read_model_folder(files.folder).digest == files.digest:
            raise
        raise IntegrityError(
            f"ensemble {str(files.folder)!r} was overwritten while it was read; open it again."
        ) from None


@dataclass(frozen=True)
class TrainingPixels:
    """What model folders say about the images that their weights were trained on.

    Args:
        known: training images of all models that name them.
        models: ``name@revision`` of these models.
        silent: ``name@revision`` of models whose folder says nothing.
    """

    known: TrainedOn
    models: tuple[str, ...]
    silent: tuple[str, ...]


def training_pixels(files: ModelFiles) -> TrainingPixels:
    """Read the training images of a model, or of all members of an ensemble."""
    found = [
        (f"{read_config(each, ModelConfig).name}@{each.revision}", TrainedOn.from_files(each.files))
        for each, _ in members_of(files)
    ]
    return TrainingPixels(
        reduce(or_, [known for _, known in found if known is not None], TrainedOn()),
        tuple(model for model, known in found if known is not None),
        tuple(model for model, known in found if known is None),
    )


def _single(files: ModelFiles) -> ModelFiles:
    if files.is_ensemble:
        raise ModelError(
            f"a member must be a single model with {WEIGHTS}, but {str(files.folder)!r} has none; "
            f"name the members of an ensemble one by one."
        )
    return files


def _check_labels(labels: LabelSet, config: ModelConfig, folder: Path) -> None:
    own = config.labels
    if (own.codes, own.malignant) != (labels.codes, labels.malignant):
        raise ModelConfigError(
            f"all members must have the labels {_described(labels)}, but {str(folder)!r} has "
            f"{_described(own)}."
        )


def _described(labels: LabelSet) -> str:
    malignant = None if labels.malignant is None else sorted(labels.malignant)
    return f"{list(labels)} (malignant: {malignant})"


def _folder_names(names: Iterable[str]) -> list[str]:
    """A plain, unique folder name for each model's name, which Windows takes as well."""
    found: list[str] = []
    for name in names:
        stem = (
            re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")[:60].rstrip(".") or "model"
        )
        stem = f"model-{stem}" if RESERVED.fullmatch(stem) else stem
        own, count = stem, 1
        while own.lower() in [other.lower() for other in found]:
            count += 1
            own = f"{stem}-{count}"
        found.append(own)
    return found


def _leak(config: ModelConfig) -> str:
    leaked = config.training_data.get("leaked")
    return f" (**LEAKED: {markdown(leaked)}; no figure of it is worth anything**)" if leaked else ""


def _card(config: EnsembleConfig, members: Sequence[ModelConfig]) -> str:
    rows = "".join(
        f"| {markdown(own.name)}@{entry.revision[:12]} | {entry.weight:.4g} "
        f"| {markdown(own.training_data.get('name', 'unknown'))}{_leak(own)} "
        f"| {markdown(own.licence or 'unknown')} |\n"
        for entry, own in zip(config.members, members, strict=True)
    )
    return (
        f"# {markdown(config.name)}\n\n**A research tool, not a medical device.**\n\n"
        f"An ensemble: its probabilities are the weighted mean of its members'. Each member's card "
        f"is in its folder, and each member's licence holds for the whole.\n\n"
        f"| member | weight | training data | licence |\n| --- | --- | --- | --- |\n{rows}"
    )
