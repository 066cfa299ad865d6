"""Networks that timm has on the Hub: their config and weights, never a file that could run code."""

import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from skinxai.errors import HubError, ModelError
from skinxai.model_folders import hub_client
from skinxai.model_folders.hub_client import line
from skinxai.model_folders.parts import CONFIG, WEIGHTS
from skinxai.model_folders.repository import COMMIT, Repository


def timm_snapshot(name: str, token: str | None = None) -> Path:
    """Return a folder with ``config.json`` and ``model.safetensors`` of a network that timm pushed.

    Its name is ``org/name`` or ``org/name@revision``. A commit of 40 digits whose two files are in
    the cache is not requested; a branch or tag is looked up.

    Raises:
        ModelNotFoundError: if there is no such repository, revision or file.
        HubError: if the Hub does not answer as it should.
    """
    repo, _, revision = name.partition("@")
    repository = Repository(repo, token=token)
    if COMMIT.fullmatch(revision):
        with suppress(HubError):
            repository.load(CONFIG, revision, local=True)
            return repository.load(WEIGHTS, revision, local=True).parent
    commit = repository.look_up(revision or "main", CONFIG)
    repository.load(CONFIG, commit)
    return repository.load(WEIGHTS, commit).parent


def weights_of_timm(name: str) -> Path:
    """Fetch the weights of a network of timm's, ``timm/name``, from the cache or the Hub.

    Only ``model.safetensors`` is requested, never a file that could run code. It is a `HubError` if
    the Hub does not answer within some seconds as it should.
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
        answer.result(hub_client.SECONDS + 1)
    except TimeoutError:
        raise HubError(f"no answer within {hub_client.SECONDS + 1} seconds.") from None
    except ModelError as error:
        raise HubError(f"{line(error.__cause__ or error)}.") from error
    return repository.load(WEIGHTS, "main")
