"""`Repository`: one of the Hugging Face Hub, through its own client, which checks no content."""

import errno
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skinxai.errors import HubError, IntegrityError, ModelNotFoundError, OutputError
from skinxai.model_folders import hub_client
from skinxai.model_folders.hub_client import bars_of_client, check_token, failures, line
from skinxai.model_folders.parts import MANIFEST, size_limit

COMMIT = re.compile(r"[0-9a-f]{40}")
_CACHE_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST)


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

    def __post_init__(self) -> None:
        check_token(self.token)

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
            found = get_hf_file_metadata(url, token=self.token, timeout=hub_client.SECONDS)
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
        if not COMMIT.fullmatch(found.commit_hash or ""):
            raise HubError(
                f"the Hub did not say which commit {self.name!r} is at; check HF_ENDPOINT and the "
                f"proxy settings."
            )
        return str(found.commit_hash)

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
        except (LocalEntryNotFoundError, ValueError) as error:  # also a branch's damaged note
            if local:
                raise HubError(f"{self.not_cached(revision)}: {name}.") from error
        download = partial(
            hf_hub_download, self.name, name, token=self.token, library_name="skinxai", **place
        )
        try:
            url = hf_hub_url(self.name, name, revision=revision)
            size = get_hf_file_metadata(url, token=self.token, timeout=hub_client.SECONDS).size
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
            if isinstance(error, OSError) and error.errno in _CACHE_ERRORS:
                raise OutputError(
                    f"the Hub's cache {str(self.cache_dir or constants.HF_HUB_CACHE)!r} must be a "
                    f"folder that can be written: {line(error)}",
                    python="name another with cache_dir or HF_HUB_CACHE",
                    command="name another with HF_HUB_CACHE",
                ) from error
            raise HubError(
                f"download of {name} of {self.name!r} failed: {line(error)}; try again."
            ) from error

    def not_cached(self, revision: str) -> str:
        """The start of an error, of a model that would have to be downloaded."""
        return f"{self.name!r} at {revision!r} is not completely in the cache"
