"""Uploads to the Hugging Face Hub, through its own client: a whole model in one commit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from skinxai.errors import HubError, OptionError
from skinxai.model_folders.files import contents
from skinxai.model_folders.hub_client import (
    bars_of_client,
    check_revision,
    check_token,
    failures,
    line,
)
from skinxai.model_folders.parts import CARD, part_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NO_FILE = "# ignores nothing\n"
"""A ``.gitignore`` in the place of the branch's own."""
_NO_ACCESS = (401, 403, 404)
"""Answers of the Hub for a token that may not write; 404 where it may not read either."""
_CHANGED = (409, 412)
"""Answers where another commit was made meanwhile."""


def upload(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = False,
    revision: str | None = None, message: str = "Upload a skinxai model", token: str | None = None,
) -> str:  # fmt: skip
    """Upload a model folder, or that of an ensemble with all members, in one commit.

    Only files that the manifests list are uploaded, after they were checked, and all of these, also
    what a ``.gitignore`` of the branch names. Files of a model folder that an earlier upload left
    in the branch, and that this model does not have, are removed from it in the same commit; other
    files stay. The repository and the branch are made where they do not exist.

    Returns:
        ``"org/name@commit"``.

    Raises:
        HubError: if the Hub does not answer, or refuses.
        IntegrityError: if files do not match their manifest.
        OptionError: if ``repo_id``, ``revision`` or ``token`` is not a valid one, or ``private`` is
            asked of a repository that is public already.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if revision is not None:
        check_revision(revision)
    check_token(token)
    files = dict(contents(Path(folder)))
    api = HfApi(token=token, library_name="skinxai")
    known: tuple[type[Exception], ...] = (RuntimeError, ValueError, *failures())
    try:
        return f"{repo_id}@{_commit(api, files, repo_id, private, revision, message)}"
    except OptionError:
        raise
    except HFValidationError as error:
        raise OptionError(f"repo_id must be 'org/name', got {repo_id!r}: {line(error)}.") from error
    except known as error:  # a RuntimeError of a large file, a ValueError of a card's metadata
        raise _refusal(error, repo_id) from error


def upload_saved(save: Callable[[str], object], repo_id: str, **options: Any) -> str:
    """`upload` what ``save(folder)``, of a model or an ensemble, writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return upload(folder, repo_id, **options)


def _commit(
    api: HfApi, files: Mapping[str, bytes], repo_id: str, private: bool, revision: str | None,
    message: str,
) -> str:  # fmt: skip
    """Make one commit upon the branch's present one, and return it.

    The client leaves out files that the branch has already: the commit is refused where the branch
    moved meanwhile, since it might lack them.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api.create_repo(repo_id, private=private, exist_ok=True)
    if private and api.model_info(repo_id).private is False:
        raise OptionError(
            f"private must be False for {repo_id!r}, which is public already: make it private in "
            f"its settings on the Hub, or name a new repository."
        )
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    now = api.model_info(repo_id, revision=revision)
    there = [each.rfilename for each in now.siblings or ()]
    own = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
           for name, data in files.items()]  # fmt: skip
    gone = [CommitOperationDelete(path_in_repo=name, is_folder=False)
            for name in there if name not in files and _is_part(name)]  # fmt: skip
    with bars_of_client():
        # first, since create_commit() leaves out what the branch's .gitignore names, with no word
        api.preupload_lfs_files(repo_id, own, revision=revision, gitignore_content=_NO_FILE)
        done = api.create_commit(
            repo_id, [*own, *gone], commit_message=message, revision=revision,
            parent_commit=now.sha,
        )  # fmt: skip
    return str(done.oid)


def _is_part(name: str) -> bool:
    """Whether a file of a repository is where a model, or a member of an ensemble, has a part."""
    path = PurePosixPath(name)
    above = path.parent.parts
    return part_of(path.name) is not None and (not above or above[0] == "members")


def _refusal(error: Exception, repo_id: str) -> HubError:
    """What the Hub, its client or the network said, and the remedy that fits it."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, failures()):
        error = error.__cause__  # of a large file
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = getattr(error, "server_message", None) or line(error)
    remedy = "check the connection, and try again"
    if isinstance(error, RuntimeError) or status in _NO_ACCESS:
        remedy = "a token that may write is needed: set HF_TOKEN, or run 'hf auth login'"
    elif status in _CHANGED:
        remedy = "the branch was changed meanwhile: push the model again"
    elif status == 429 or (status or 0) >= 500:
        remedy = "try again later"
    elif status is not None:
        remedy = ""  # the Hub's sentence says what it does not take
    elif isinstance(error, ValueError):
        said = str(error)
        remedy = "correct README.md" if CARD in said else "check HF_ENDPOINT"
    reason = " ".join(said.split()).rstrip(".")
    return HubError(
        f"upload to {repo_id!r} failed: {reason}" + ("" if remedy else "."), python=remedy
    )
