"""Downloads from the Hugging Face Hub, through its own client: checked, and all of one commit.

The Hub's client only checks the length of the files in its cache. Here each file must have the
sha256 that its manifest lists, a damaged file is deleted and fetched once more, and only names that
a model folder has are requested.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skinxai.configs import EnsembleConfig
from skinxai.disk.writing import write_atomic
from skinxai.errors import (
    HubError,
    IntegrityError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    OutputError,
    SkinxaiWarning,
)
from skinxai.model_folders.files import parse_config
from skinxai.model_folders.folder_manifest import parse_manifest
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS, part_of, size_limit, warns
from skinxai.progress import is_quiet

SECONDS = 4  # that the first answer of the Hub may take
CACHE_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST)
_NUMBER = re.compile(r"\[(?:Errno|WinError) -?\d+\] ")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w.+/-]{0,199}", re.ASCII)
_PLAIN = re.compile(r"\w[\w.-]*\.(json|safetensors)")
"""Names that files of a later version may have."""


@dataclass(frozen=True)
class Repository:
    """A model's repository on the Hub, and its files in the cache.

    Args:
        name: ``org/name``.
        cache_dir: folder for downloads; the client's own by default.
        token: access token; the client's own by default.
        local_files_only: never go online.
    """

    name: str
    cache_dir: str | os.PathLike[str] | None = None
    token: str | None = None
    local_files_only: bool = False

    def snapshot(self, revision: str) -> Path:
        """Return a folder with every file of the model, all of one commit and checked.

        A commit that is completely in the cache is not requested. A branch or tag is looked up;
        if the Hub does not answer, it is taken from the cache with a warning.

        Args:
            revision: commit, tag or branch.

        Raises:
            ModelNotFoundError: if there is no such repository, revision or model, or the token has
                no access.
            HubError: if the Hub does not answer as it should, and the cache lacks the model.
            IntegrityError: if a file is damaged each time.
        """
        from huggingface_hub import constants

        check_revision(revision)
        pinned = _COMMIT.fullmatch(revision) is not None
        offline = self.local_files_only or constants.HF_HUB_OFFLINE
        if (pinned or offline) and (folder := self._cached(revision)):
            return folder
        if offline:
            raise HubError(f"{self._in_cache(revision)} and skinxai may not go online.")
        try:
            commit = self.look_up(revision)
        except HubError as error:
            if folder := self._cached(revision):
                warnings.warn(f"{error} The cached {folder.name[:12]} is used.", SkinxaiWarning, 4)
                return folder
            raise
        if not pinned:
            warnings.warn(
                f"{self.name!r} is used at its current {revision!r}, which may change; name "
                f"'{self.name}@{commit}' to stay with this commit.",
                SkinxaiWarning,
                4,
            )
        manifest, *_ = self._files(commit)
        self._remember(revision, manifest.parent)  # now that all of its files are there
        return manifest.parent

    def look_up(self, revision: str, file: str = MANIFEST) -> str:
        """Ask the Hub for the commit of a revision that has this file."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import (
            GatedRepoError,
            RemoteEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            url = hf_hub_url(self.name, file, revision=revision)
            found = get_hf_file_metadata(url, token=self.token, timeout=SECONDS)
        except GatedRepoError as error:
            raise ModelNotFoundError(
                f"repository {self.name!r} is gated, and the token has no access: accept its "
                f"terms on its page, then set HF_TOKEN."
            ) from error
        except RepositoryNotFoundError as error:
            raise ModelNotFoundError(
                f"repository {self.name!r} was not found on the Hub, and there is no folder of "
                f"that name here. If it is private, set HF_TOKEN to a token that may read it."
            ) from error
        except RevisionNotFoundError as error:
            raise ModelNotFoundError(
                f"repository {self.name!r} has no revision {revision!r}."
            ) from error
        except RemoteEntryNotFoundError as error:
            raise ModelNotFoundError(
                f"repository {self.name!r} must hold {file}, found none. If it is a network of "
                f"timm, import it: 'skinxai import hf-hub:{self.name} FOLDER --labels mel,nv,…'."
            ) from error
        except failures() as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 401:
                raise HubError(
                    f"the Hub refused the access token, asked for {self.name!r}: renew it by "
                    f"'hf auth login', or unset HF_TOKEN where the repository is public."
                ) from error
            raise HubError(
                f"the Hub did not answer for {self.name!r}, which is not a folder here: "
                f"{line(error)}. If it cannot be reached, fetch the files of the repository "
                f"({MANIFEST} and those listed in it) by hand into a folder, and give the folder."
            ) from error
        if not _COMMIT.fullmatch(found.commit_hash or ""):
            raise HubError(
                f"the Hub did not say which commit {self.name!r} is at; check HF_ENDPOINT and the "
                f"proxy settings."
            )
        return str(found.commit_hash)

    def _cached(self, revision: str) -> Path | None:
        """The folder, if the cache has all of its files and they match the manifests."""
        try:
            folder = self.load(MANIFEST, revision, local=True).parent
            for _ in self._files(folder.name, local=True):  # of one commit, whatever moves
                pass
        except (IntegrityError, HubError, OSError):
            return None
        return folder

    def _files(self, revision: str, prefix: str = "", *, local: bool = False) -> Iterator[Path]:
        """Yield each checked file of the model, the manifest first, members after the ensemble."""
        manifest = self._fetch(prefix + MANIFEST, revision, local=local)
        listed, _ = parse_manifest(read_part(manifest), manifest.parent)
        yield manifest
        for name, sha256 in listed.items():
            if part_of(name) is None and not _PLAIN.fullmatch(name):
                raise IntegrityError(
                    f"{MANIFEST} of {self.name!r} must list only files of a model, got {name!r}."
                )
            try:
                yield self._fetch(prefix + name, revision, sha256, local=local)
            except IntegrityError:
                if not warns(name):
                    raise
                yield self.load(prefix + name, revision, local=local)  # edited there: warns later
        if WEIGHTS not in listed:
            folder = manifest.parent
            config = parse_config(read_part(folder / CONFIG), folder, EnsembleConfig)
            for member in config.members:
                yield from self._files(revision, f"{prefix}{member.folder}/", local=local)

    def _fetch(
        self, name: str, revision: str, sha256: str | None = None, *, local: bool = False
    ) -> Path:
        """Fetch one file from the cache or the Hub; a damaged file is fetched once more."""
        for again in (False, True):
            path = self.load(name, revision, again=again, local=local)
            try:
                data = read_part(path)
                if sha256 is None:
                    parse_manifest(data, path.parent)
                elif hashlib.sha256(data).hexdigest() != sha256:
                    raise IntegrityError(
                        f"{name} of {self.name!r} must have the sha256 that its manifest lists, "
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

    def load(self, name: str, revision: str, *, again: bool = False, local: bool = False) -> Path:
        """Fetch one file through the client, without checking it."""
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        place: dict[str, Any] = {"cache_dir": self.cache_dir, "revision": revision}
        try:
            return Path(hf_hub_download(self.name, name, local_files_only=True, **place))
        except HFValidationError as error:
            raise ModelNotFoundError(
                f"model must be a folder or 'org/name', got {self.name!r}: {line(error)}."
            ) from error
        except LocalEntryNotFoundError as error:
            if local:
                raise HubError(f"{self._in_cache(revision)}: {name}.") from error
        download = partial(
            hf_hub_download, self.name, name, token=self.token, library_name="skinxai", **place
        )
        try:
            url = hf_hub_url(self.name, name, revision=revision)
            size = get_hf_file_metadata(url, token=self.token, timeout=SECONDS).size
            most = size_limit(name)
            if size is None or size > most:
                raise IntegrityError(
                    f"{name} of {self.name!r} must have at most {most} bytes, got {size}."
                )
            try:
                with bars_of_client():
                    return Path(download(force_download=again))
            except HfHubHTTPError:
                raise
            except failures():  # cut, or of another length: some clients would go on with that
                with bars_of_client():
                    return Path(download(force_download=True))
        except failures() as error:
            if isinstance(error, OSError) and error.errno in CACHE_ERRORS:
                raise OutputError(
                    f"the Hub's cache {str(self.cache_dir or constants.HF_HUB_CACHE)!r} must be a "
                    f"folder that can be written: {line(error)}",
                    python="name another with cache_dir or HF_HUB_CACHE",
                    command="name another with HF_HUB_CACHE",
                ) from error
            raise HubError(
                f"download of {name} of {self.name!r} failed: {line(error)}; try again."
            ) from error

    def _remember(self, revision: str, folder: Path) -> None:
        """Store the commit of a branch or tag for offline use, where the client does."""
        if _COMMIT.fullmatch(revision):
            return
        path = folder.parent.parent / "refs" / revision
        try:
            if path.is_file() and path.read_text() == folder.name:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, folder.name.encode())
        except (OSError, OutputError) as error:
            warnings.warn(
                f"{self.name!r} cannot be noted in the Hub's cache ({line(error)}), so that "
                f"without a network its {revision!r} is not found there, or an older one; name "
                f"'{self.name}@{folder.name}'.",
                SkinxaiWarning,
                4,
            )

    def _in_cache(self, revision: str) -> str:
        return f"{self.name!r} at {revision!r} is not completely in the cache"


def check_revision(revision: str) -> None:
    """Refuse what cannot be a commit, tag or branch.

    Raises:
        OptionError: if it has other characters than their names.
    """
    if not _REVISION.fullmatch(revision):
        raise OptionError(f"revision must be a commit, tag or branch, got {revision!r}.")


def timm_snapshot(name: str, token: str | None = None) -> Path:
    """Return a folder with ``config.json`` and ``model.safetensors`` of a network that timm pushed.

    Args:
        name: ``org/name`` or ``org/name@revision``.
        token: access token; the client's own by default.

    Raises:
        ModelNotFoundError: if there is no such repository, revision or file.
        HubError: if the Hub does not answer as it should.
    """
    repo, _, revision = name.partition("@")
    repository = Repository(repo, token=token)
    commit = repository.look_up(revision or "main", CONFIG)
    repository.load(CONFIG, commit)
    return repository.load(WEIGHTS, commit).parent


def weights_of_timm(name: str) -> Path:
    """Fetch the weights of a network of timm's own repositories, from the cache or the Hub.

    Only ``model.safetensors`` is requested, never a file that could run code.

    Args:
        name: ``timm/name``.

    Raises:
        HubError: if the Hub does not answer within some seconds as it should.
    """
    repository, answer = Repository(name), Future[str]()
    with suppress(HubError):
        return repository.load(WEIGHTS, "main", local=True)

    def ask() -> None:
        try:
            answer.set_result(repository.look_up("main", WEIGHTS))
        except Exception as error:  # for the thread that waits
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()  # looking a name up has no limit of its own
    try:
        answer.result(SECONDS + 1)
    except TimeoutError:
        raise HubError(f"no answer within {SECONDS + 1} seconds.") from None
    except ModelError as error:
        raise HubError(f"{line(error.__cause__ or error)}.") from error
    return repository.load(WEIGHTS, "main")


@contextmanager
def bars_of_client() -> Iterator[None]:
    """Context in which the client's own progress bars are hidden if `quiet` is in force."""
    from huggingface_hub import utils as exported

    utils: Any = exported  # its types are told of the module that these come from alone

    if not is_quiet() or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _throw_away(path: Path) -> None:
    """Remove a file of a snapshot and what its repository has of it, so that it is fetched anew.

    What repositories share stays: it may be right, and another's manifest wrong.

    Raises:
        OutputError: if it cannot be removed.
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


def failures() -> tuple[type[Exception], ...]:
    """Errors that the client raises if the connection or the Hub fails; its HTTP library varies."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (HFValidationError, OSError, *HfHubHTTPError.__bases__)  # the second is the library's


def line(error: BaseException) -> str:
    """The first line of a client's message, without the system's error number."""
    text = _NUMBER.sub("", str(error)).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
