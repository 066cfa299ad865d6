"""Models on the Hub, by the real client against a server on the loopback interface."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import TOKEN, Answer, Repo
from loopback_hub import DAMAGE, NAME, files_of
from waiting import wait_for

from skinxai import Classifier
from skinxai.errors import (
    HubError,
    IntegrityError,
    ModelNotFoundError,
    OptionError,
    OutputError,
    SkinxaiWarning,
)
from skinxai.model_folders import hub_client
from skinxai.model_folders.opening import models_at_hand, open_model

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own
PATIENCE = hub_client.SECONDS
WARNS = "is used at its current 'main', which may change"


def model(fill: int = 7) -> dict[str, bytes]:
    """Files as of a model; nothing here reads the weights."""
    return files_of({
        "model.safetensors": bytes([fill]) * 20_000,
        "config.json": b'{"filled": %d}' % fill,
        "README.md": b"A card.",
    })  # fmt: skip


@pytest.fixture
def published(hub) -> str:
    """The commit of a model in a public repository, beside files that are not its own."""
    hub.repos[NAME] = Repo()
    return hub.repos[NAME].commit(model() | {"pytorch_model.bin": b"x", "code.py": b"raise"})


def cached(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and "lock" not in p.name]


def test_pushed_pulled_and_without_a_network_the_same_bits(
    hub, classifier, photos, monkeypatch
) -> None:
    pushed = classifier.push_to_hub(NAME, private=True, token=TOKEN)
    name, commit = pushed.split("@")
    assert name == NAME and hub.repos[NAME].branches == {"main": commit}
    pulled = Classifier.from_pretrained(NAME, revision=commit, token=TOKEN)
    hub.close()
    again = Classifier.from_pretrained(pushed, local_files_only=True)
    for other in (pulled, again):
        assert other.predict(photos[0]).probabilities == classifier.predict(photos[0]).probabilities
        maps = [each.explain(photos[0], target="mel").heatmap for each in (classifier, other)]
        np.testing.assert_array_equal(*maps)
        assert other.trained_on == classifier.trained_on and other.model == pulled.model


def test_models_at_hand_are_named_as_they_load_without_a_network(hub, published, tmp_path) -> None:
    cache = tmp_path / "own cache"
    (bundled,) = models_at_hand(cache)
    assert bundled.model is None and bundled.revision == Classifier.from_pretrained().model[-12:]
    with pytest.warns(SkinxaiWarning):
        open_model(NAME, cache_dir=cache)
    other = cache / "models--an--other" / "snapshots" / ("0" * 40)
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    _, found = models_at_hand(cache)
    assert found.model == f"{NAME}@{published}"
    hub.close()
    files = open_model(found.model, cache_dir=cache, local_files_only=True)
    assert files.revision == found.revision
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.files.items()}
    assert sums == found.files


def test_only_a_models_own_files_are_asked_for(hub, published) -> None:
    open_model(NAME, revision=published)
    paths = [path for path in (*hub.paths(), *hub.paths("HEAD")) if "/resolve/" in path]
    asked = {path.rpartition("/")[2] for path in paths}
    assert asked == {"manifest.json", "config.json", "README.md", "model.safetensors"}


def test_what_is_pinned_and_cached_is_not_asked_for(hub, published) -> None:
    first = open_model(f"{NAME}@{published}")
    hub.requests.clear()
    assert open_model(NAME, revision=published) == first and hub.requests == []


def test_a_branch_warns_and_names_its_commit(hub, published) -> None:
    with pytest.warns(SkinxaiWarning, match=WARNS) as seen:
        open_model(NAME)
    assert f"@{published}' to stay with this commit" in str(seen[0].message)


def test_a_branch_that_moves_between_two_files(hub, published) -> None:
    def move(method: str, path: str, answer: Answer) -> None:
        if method == "GET" and path.endswith("manifest.json"):
            hub.repos[NAME].commit(model(fill=9))

    hub.faults.append(move)
    with pytest.warns(SkinxaiWarning, match=WARNS):
        found = open_model(NAME)
    assert dict(found.files) == {k: v for k, v in model().items() if k != "manifest.json"}


def test_a_card_that_was_edited_on_the_hub_warns(hub, published) -> None:
    commit = hub.repos[NAME].commit({"README.md": b"Edited."})
    for cached in (False, True):
        with pytest.warns(SkinxaiWarning, match=r"README\.md .* the model itself is unchanged"):
            found = open_model(NAME, revision=commit)
        assert found.files["README.md"] == b"Edited."
        assert bool(hub.requests) is not cached
        hub.requests.clear()
    hub.close()
    with pytest.warns(SkinxaiWarning, match="unchanged"):
        assert open_model(NAME, revision=commit).files["README.md"] == b"Edited."


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors"])
def test_a_damaged_file_is_fetched_once_more(hub, published, tmp_path, name, damage) -> None:
    """And never given out; what stays in the cache is right."""
    left = [1]

    def fault(method: str, path: str, answer: Answer) -> Answer | None:
        if method == "GET" and path.endswith(name) and answer.status in (200, 206) and left[0]:
            left[0] -= 1
            return DAMAGE[damage](answer)
        return None

    hub.faults.append(fault)
    found = dict(open_model(NAME, revision=published).files)
    assert found == {k: v for k, v in model().items() if k != "manifest.json"}
    whole = set(model().values())
    for path in cached(tmp_path):
        assert path.name in ("CACHEDIR.TAG", ".gitignore") or path.read_bytes() in whole


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors"])
def test_a_file_that_stays_damaged_is_refused_and_thrown_away(
    hub, published, tmp_path, name
) -> None:
    def fault(method: str, path: str, answer: Answer) -> Answer | None:
        return (
            DAMAGE["flipped"](answer)
            if method == "GET" and path.endswith(name) and answer.body
            else None
        )

    hub.faults.append(fault)
    with pytest.raises(IntegrityError, match=name):
        open_model(NAME, revision=published)
    assert sum(path.endswith(name) for path in hub.paths()) == 2
    whole = set(model().values())
    assert all(p.read_bytes() in whole for p in cached(tmp_path) if "snapshots" in p.parts)
    with pytest.raises(HubError, match="is not completely in the cache"):
        open_model(NAME, revision=published, local_files_only=True)


def test_a_cache_that_was_damaged_is_mended(hub, published, tmp_path) -> None:
    folder = open_model(NAME, revision=published).folder
    weights = (folder / "model.safetensors").resolve()
    weights.write_bytes(b"\0" + weights.read_bytes()[1:])
    with pytest.raises(HubError, match="is not completely in the cache"):
        open_model(NAME, revision=published, local_files_only=True)
    assert open_model(NAME, revision=published).files["model.safetensors"] == b"\7" * 20_000


@pytest.mark.parametrize("listed", ["weights.pkl", "../config.json", "code.py", "a/b.json"])
def test_a_manifest_that_lists_other_files(hub, listed) -> None:
    hub.repos[NAME] = Repo()
    files = files_of({"config.json": b"{}", listed: b"x"})
    commit = hub.repos[NAME].commit(files)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        open_model(NAME, revision=commit)
    assert not any(path.endswith(("pkl", "py", "b.json")) for path in hub.paths())


def test_sizes_are_looked_at_before_anything_is_fetched(hub, published) -> None:
    def fault(method: str, path: str, answer: Answer) -> Answer | None:
        if method == "HEAD" and path.endswith("config.json"):
            return Answer(200, b"", answer.headers, length=2**40)
        return None

    hub.faults.append(fault)
    with pytest.raises(IntegrityError, match=r"config\.json .* at most 1048576 bytes, got 1099511"):
        open_model(NAME, revision=published)
    assert not any(path.endswith("config.json") for path in hub.paths())


def told(status: int, code: str = "") -> Answer:
    return Answer(status, b"{}", {"X-Error-Code": code} if code else {})


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (told(401, "RepoNotFound"), ModelNotFoundError, "was not found on the Hub.* HF_TOKEN"),
        (Answer(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"}),
         HubError, "refused the access token.*: renew it"),
        (told(403, "GatedRepo"), ModelNotFoundError, "is gated, .*: accept its terms"),
        (told(404, "RevisionNotFound"), ModelNotFoundError, "'tester/lesions' has no revision '"),
        (told(404, "EntryNotFound"), ModelNotFoundError, "import it: 'skinxai import hf-hub:"),
        (told(403), HubError, "403"),
        (told(429), HubError, "429"),
        (told(500), HubError, "500"),
        (Answer(200, b"<html></html>", {}), HubError, "HF_ENDPOINT and the proxy"),
    ],
)  # fmt: skip
def test_what_the_hub_may_answer(hub, published, answer, error, words) -> None:
    hub.faults.append(lambda method, path, usual: answer)
    with pytest.raises(error, match=words) as info:
        open_model(NAME, revision=published, token=TOKEN)
    assert "\n" not in str(info.value) and TOKEN not in str(info.value)


def test_a_cache_that_cannot_be_written(hub, published, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cache .* must be a folder .* cache_dir or"):
        open_model(NAME, revision=published, cache_dir=tmp_path / "file" / "cache")


def test_killed_in_the_middle_of_a_download(hub, published, tmp_path) -> None:
    def stall(method: str, path: str, answer: Answer) -> Answer | None:
        slow = method == "GET" and path.endswith("model.safetensors") and answer.body
        return Answer(answer.status, answer.body, answer.headers, stall=60) if slow else None

    hub.faults.append(stall)
    code = (
        f"from skinxai.model_folders.opening import open_model\n"
        f"open_model({NAME!r}, revision={published!r})"
    )
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        wait_for(lambda: any(path.endswith("model.safetensors") for path in hub.paths()))
        wait_for(lambda: [*(tmp_path / "cache").rglob("*.incomplete")])
        process.kill()
    hub.faults.clear()
    assert open_model(NAME, revision=published).files["model.safetensors"] == b"\7" * 20_000


def test_private_repositories_and_those_that_are_not_there(hub, published) -> None:
    hub.repos[NAME].private = True
    for name, token in ((NAME, None), ("tester/absent", TOKEN)):
        with pytest.raises(ModelNotFoundError, match="was not found"):
            open_model(name, revision=published, token=token)
    assert open_model(NAME, revision=published, token=TOKEN)


def test_a_dead_network_is_told_soon(hub, published, monkeypatch) -> None:
    """Of a host that answers nothing: what all questions together wait for it is counted."""
    from huggingface_hub import constants, get_session

    kind = type(get_session())
    library = sys.modules[kind.__module__.partition(".")[0]]  # httpx, or what follows it
    waited: list[float] = []

    def silence(client: object, request: Any, **options: object) -> None:
        waited.append(request.extensions["timeout"]["connect"])
        raise library.ConnectTimeout("timed out", request=request)

    with pytest.warns(SkinxaiWarning, match=WARNS):
        known = open_model(NAME)
    monkeypatch.setattr(hub_client, "SECONDS", PATIENCE)
    monkeypatch.setattr(kind, "send", silence)
    with pytest.warns(
        SkinxaiWarning, match=f"the Hub did not answer .* The cached {published[:12]} is used"
    ):
        assert open_model(NAME) == known
    with pytest.raises(
        HubError, match=r"fetch the files of the repository \(manifest\.json and those listed"
    ):
        open_model("tester/other")
    assert waited and sum(waited) <= 60
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_model(NAME) == known
    with pytest.raises(HubError, match="skinxai may not go online"):
        open_model("tester/other")


@pytest.mark.parametrize("name", ["lesions", "a/b/c", "a/../b", "a/b@", "./a/b", "a b/c"])
def test_names(hub, name) -> None:
    with pytest.raises(ModelNotFoundError, match="must be a folder, 'org/name'"):
        open_model(name)
    for name in ("a--b/c", "a/b-"):
        with pytest.raises(ModelNotFoundError, match="must be a folder or 'org/name'"):
            open_model(name, revision="0" * 40)
    assert hub.requests == []


def test_revisions(hub, published) -> None:
    for revision in ("../main", "a..b", "/x", ""):
        with pytest.raises(OptionError, match="revision must be"):
            open_model(NAME, revision=revision or " ")
    for model in (NAME, None, "."):
        with pytest.raises(OptionError, match=r"revision must be text or None, got 1234567\.$"):
            open_model(model, revision=1234567)
    with pytest.raises(OptionError, match="must be given once"):
        open_model(f"{NAME}@main", revision="main")
    assert hub.requests == []


def test_a_path_is_a_folder_and_never_a_name(hub) -> None:
    with pytest.raises(ModelNotFoundError, match="found no folder 'runs/mine'"):
        open_model(Path("runs/mine"))
    assert hub.requests == []
