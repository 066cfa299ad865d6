"""Downloads from the Hugging Face Hub: checked, and all of one commit.

The Hub's client only checks the length of the files in its cache. Here each file must have the
sha256 that its manifest lists, a damaged file is deleted and fetched once more, and only names that
a model folder has are requested.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from skinxai.configs import EnsembleConfig
from skinxai.disk.writing import write_atomic
from skinxai.errors import HubError, IntegrityError, OutputError, SkinxaiWarning
from skinxai.model_folders.files import parse_config
from skinxai.model_folders.folder_manifest import parse_manifest
from skinxai.model_folders.hub_client import check_revision, line
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS, part_of, warns
from skinxai.model_folders.repository import COMMIT, Repository

_PLAIN = re.compile(r"\w[\w.-]*\.(json|safetensors)")
"""Names that files of a later version may have."""


def snapshot(repository: Repository, revision: str) -> Path:
    """Return a folder with every file of the model, all of one commit and checked.

    A commit that is completely in the cache is not requested. A branch or tag is looked up; if the
    Hub does not answer, it is taken from the cache with a warning.

    Raises:
        ModelNotFoundError: if there is no such repository, revision or model, or the token has
            no access.
        HubError: if the Hub does not answer as it should, and the cache lacks the model.
        IntegrityError: if a file is damaged each time.
    """
    from huggingface_hub import constants

    check_revision(revision)
    pinned = COMMIT.fullmatch(revision) is not None
    offline = repository.local_files_only or constants.HF_HUB_OFFLINE
    if (pinned or offline) and (folder := _cached(repository, revision)):
        return folder
    if offline:
        raise HubError(
            f"{repository.not_cached(revision)} and skinxai may not go online; it is not a folder "
            f"here either. Run 'skinxai pull {repository.name}@{revision} --out FOLDER' on a "
            f"machine with a network, and give a copy of that folder."
        )
    try:
        commit = repository.look_up(revision)
    except HubError as error:
        if folder := _cached(repository, revision):
            warnings.warn(f"{error} The cached {folder.name[:12]} is used.", SkinxaiWarning, 4)
            return folder
        raise
    if not pinned:
        warnings.warn(
            f"{repository.name!r} is used at its current {revision!r}, which may change; name "
            f"'{repository.name}@{commit}' to stay with this commit.",
            SkinxaiWarning,
            4,
        )
    manifest, *_ = checked_files(repository, commit)
    _remember(repository, revision, manifest.parent)  # now that all of its files are there
    return manifest.parent


def _cached(repository: Repository, revision: str) -> Path | None:
    """The folder, if the cache has all of its files and they match the manifests."""
    try:
        folder = repository.load(MANIFEST, revision, local=True).parent
        for _ in checked_files(
            repository, folder.name, local=True
        ):  # of one commit, whatever moves
            pass
    except (IntegrityError, HubError, OSError):
        return None
    return folder


def checked_files(
    repository: Repository, revision: str, prefix: str = "", *, local: bool = False
) -> Iterator[Path]:
    """Yield each checked file of the model, the manifest first, members after the ensemble."""
    manifest = _fetch(repository, prefix + MANIFEST, revision, local=local)
    listed, _ = parse_manifest(read_part(manifest), manifest.parent)
    yield manifest
    for name, sha256 in listed.items():
        if part_of(name) is None and not _PLAIN.fullmatch(name):
            raise IntegrityError(
                f"{MANIFEST} of {repository.name!r} must list only files of a model, got {name!r}."
            )
        try:
            yield _fetch(repository, prefix + name, revision, sha256, local=local)
        except IntegrityError:
            if not warns(name):
                raise
            yield repository.load(prefix + name, revision, local=local)  # edited there: warns later
    if WEIGHTS not in listed:
        folder = manifest.parent
        config = parse_config(read_part(folder / CONFIG), folder, EnsembleConfig)
        for member in config.members:
            yield from checked_files(repository, revision, f"{prefix}{member.folder}/", local=local)


def _fetch(
    repository: Repository,
    name: str,
    revision: str,
    sha256: str | None = None,
    *,
    local: bool = False,
) -> Path:
    """Fetch one file from the cache or the Hub; a damaged file is fetched once more."""
    for again in (False, True):
        path = repository.load(name, revision, again=again, local=local)
        try:
            data = read_part(path)
            if sha256 is None:
                parse_manifest(data, path.parent)
            elif hashlib.sha256(data).hexdigest() != sha256:
                raise IntegrityError(
                    f"{name} of {repository.name!r} must have the sha256 that its manifest lists, "
                    f"{sha256[:12]}…, but it has another each time it comes."
                )
        except IntegrityError:
            if local:
                raise
            _throw_away(path)
            if again:
                raise
        else:
            return path
    raise AssertionError  # the loop returns or raises


def _remember(repository: Repository, revision: str, folder: Path) -> None:
    """Store the commit of a branch or tag for offline use, where the client does."""
    if COMMIT.fullmatch(revision):
        return
    path = folder.parent.parent / "refs" / revision
    try:
        if path.is_file() and path.read_bytes() == folder.name.encode():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, folder.name.encode())
    except (OSError, OutputError) as error:
        warnings.warn(
            f"{repository.name!r} cannot be noted in the Hub's cache ({line(error)}), so that "
            f"without a network its {revision!r} is not found there, or an older one; name "
            f"'{repository.name}@{folder.name}'.",
            SkinxaiWarning,
            4,
        )


def _throw_away(path: Path) -> None:
    """Remove a file of a snapshot and what its repository has of it, so that it is fetched anew.

    What repositories share stays: it may be right, and another's manifest wrong.
    """
    try:
        blob = path.parent / path.readlink() if path.is_symlink() else path
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
    except OSError as error:  # such as in a cache for reading only
        raise OutputError(
            f"{str(path)!r} in the Hub's cache is damaged and cannot be removed: {line(error)}",
            python="name another cache with cache_dir or HF_HUB_CACHE",
            command="name another cache with HF_HUB_CACHE",
        ) from error
