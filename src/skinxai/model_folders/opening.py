"""Models by name: the bundled one, folders, and repositories of the Hugging Face Hub. No torch."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skinxai.configs import EnsembleConfig
from skinxai.disk.regular_files import is_file, is_folder
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelNotFoundError,
    OptionError,
    UnsafeFormatError,
    did_you_mean,
)
from skinxai.model_folders.downloading import snapshot
from skinxai.model_folders.files import (
    BUNDLED,
    EXPORTED,
    PICKLES,
    Fits,
    ModelFiles,
    parse_config,
    read_model_folder,
)
from skinxai.model_folders.folder_manifest import parse_manifest
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS
from skinxai.model_folders.repository import Repository

_NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w.+/-]+))?", re.ASCII)


def open_model(
    model: str | os.PathLike[str] | None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    fits: Fits | None = None,
) -> ModelFiles:
    """Read the verified files of a model: the bundled one, a folder, or a repository of the Hub.

    Arguments are those of `Classifier.from_pretrained`, but for ``fits``, which is that of
    `read_model_folder`. A folder takes precedence over a repository of its name; to open a folder
    called ``bundled``, pass ``"./bundled"``.

    Raises:
        ModelNotFoundError: if there is no such folder, repository or revision, or it is not a
            model.
        HubError: if the Hub does not answer as it should.
        UnsafeFormatError: if it is a weights file in a format that can run code.
        IntegrityError: if files do not match their manifest.
        OptionError: if ``model`` is neither a name nor a path, a revision is no text or is given
            twice, or a token cannot be one.
    """
    if not isinstance(model, str | os.PathLike | None):
        raise OptionError(
            f"model must be a folder, 'org/name', 'bundled' or None, got {type(model).__name__}."
        )
    if not isinstance(revision, str | None):
        raise OptionError(f"revision must be text or None, got {revision!r}.")
    if model is None or model == BUNDLED.name:
        return read_model_folder(BUNDLED, revision=revision)
    path = Path(model)
    if is_folder(path):
        return read_model_folder(path, revision=revision, fits=fits)
    if path.suffix.lower() in PICKLES:
        raise UnsafeFormatError(
            f"model must be a folder with {WEIGHTS}, got {str(model)!r}; pickled weights can run "
            f"code and are never opened."
        )
    if is_file(path):  # the name of a repository, perhaps, but no file is looked for on the Hub
        is_export = path.suffix.lower() in EXPORTED
        raise ModelNotFoundError(
            f"model must be a folder here, but {str(model)!r} is "
            f"{'an exported file' if is_export else 'a file'}; give the folder of "
            f"{'the model that it was exported from' if is_export else 'a model'}."
        )
    if not isinstance(model, str):  # a Path is a folder
        raise ModelNotFoundError(
            f"model must be a folder, found no folder {str(model)!r}; check the path."
        )
    if not (found := _NAME.fullmatch(model)):
        raise ModelNotFoundError(
            f"model must be a folder, 'org/name', 'org/name@revision' or the text 'bundled', found "
            f"no folder {model!r}.{did_you_mean(model, [BUNDLED.name])}"
        )
    if revision and found["revision"]:
        raise OptionError(
            f"revision must be given once, got {found['revision']!r} in the name and {revision!r}."
        )
    repository = Repository(found["repo"], cache_dir, token, local_files_only)
    folder = snapshot(repository, revision or found["revision"] or "main")
    return read_model_folder(folder, fits=fits)


def is_repository(model: str) -> bool:
    """Whether ``model`` has the form ``"org/name"`` or ``"org/name@revision"``."""
    return _NAME.fullmatch(model) is not None


@dataclass(frozen=True)
class ModelAtHand:
    """A model that can be loaded offline.

    Args:
        model: argument for `Classifier.from_pretrained`: ``"org/name@commit"`` with the commit's
            40 digits, or ``None`` for the bundled model.
        folder: folder of its files.
        revision: first twelve digits of the manifest's digest.
        files: name → sha256 in its manifest; the files are compared with it on loading.
    """

    model: str | None
    folder: Path
    revision: str
    files: Mapping[str, str]


def models_at_hand(cache_dir: str | os.PathLike[str] | None = None) -> list[ModelAtHand]:
    """The bundled model, and those of the Hugging Face Hub that were downloaded whole.

    Args:
        cache_dir: where downloads are kept; the Hub's own cache by default.
    """
    found = [_at_hand(None, BUNDLED)]
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(None if cache_dir is None else Path(cache_dir)).repos
    except (CacheNotFound, ValueError):  # no cache, or a file in its place
        return found
    for repository in sorted(repositories, key=lambda each: each.repo_id):
        for commit in sorted(repository.revisions, key=lambda each: each.commit_hash):
            if repository.repo_type == "model" and (commit.snapshot_path / MANIFEST).is_file():
                try:
                    name = f"{repository.repo_id}@{commit.commit_hash}"
                    model = _at_hand(name, commit.snapshot_path)
                    if _is_whole(model.folder, model.files):  # its download was not interrupted
                        found.append(model)
                except (IntegrityError, ModelConfigError):  # of another program, or damaged
                    continue
    return found


def _is_whole(folder: Path, listed: Mapping[str, str]) -> bool:
    """Whether all files of a model are there, and of an ensemble those of its members."""
    if not all(is_file(folder / name) for name in listed):
        return False
    if WEIGHTS in listed:
        return True
    config = parse_config(read_part(folder / CONFIG), folder, EnsembleConfig)
    places = [folder / member.folder for member in config.members]
    return all(
        is_file(place / MANIFEST)
        and _is_whole(place, parse_manifest(read_part(place / MANIFEST), place)[0])
        for place in places
    )


def _at_hand(model: str | None, folder: Path) -> ModelAtHand:
    files, digest = parse_manifest(read_part(folder / MANIFEST), folder)
    return ModelAtHand(model, folder, digest[:12], files)
