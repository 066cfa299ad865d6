"""What is asked of the Hub, and of which size: refused by name or size before it is fetched."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from skinxai.configs import MAX_JSON_BYTES, canonical_json
from skinxai.errors import HubError, IntegrityError, OptionError
from skinxai.model_folders.downloading import checked_files, snapshot
from skinxai.model_folders.files import write_model_folder as write
from skinxai.model_folders.hub_client import SECONDS, bars_of_client
from skinxai.model_folders.parts import CARD, CONFIG, MANIFEST, WEIGHTS
from skinxai.model_folders.repository import Repository


@dataclass(frozen=True)
class Fetched(Repository):
    """A repository whose files are in a folder."""

    folder: Path = Path()

    def load(self, name: str, revision: str, *, again: bool = False, local: bool = False) -> Path:
        path = self.folder / "cache" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((self.folder / name).read_bytes())  # a damaged one is removed and fetched
        return path


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors.pkl", "config.json.py", "extra.json ", ".hidden.json", "model.pkl",
        f"{CARD}.html", "a b.json", "x.safetensors\n",
    ],
)  # fmt: skip
def test_only_files_of_a_model_are_fetched(name: str, tmp_path: Path) -> None:
    write(tmp_path, {CONFIG: b"{}", WEIGHTS: b"weights", name: b"x"})
    with pytest.raises(IntegrityError, match=r"must list (only files of a model|plain names)"):
        list(checked_files(Fetched("org/model", folder=tmp_path), "main"))


def test_the_files_of_a_model_are_fetched(tmp_path: Path) -> None:
    names = [CONFIG, WEIGHTS, CARD, "metrics.v2.json"]
    write(tmp_path, dict.fromkeys(names, b"{}"))
    found = list(checked_files(Fetched("org/model", folder=tmp_path), "main"))
    assert sorted(path.name for path in found[1:]) == sorted(names)


@pytest.mark.parametrize("digit", [0, 11, 12, 63])
def test_each_digit_of_a_files_hash_is_compared(digit: int, tmp_path: Path) -> None:
    """The manifest agrees with its own digest, and one digit of a hash is another."""
    write(tmp_path, {CONFIG: b"{}", WEIGHTS: b"weights"})
    content = json.loads((tmp_path / MANIFEST).read_bytes())
    right = content["files"][WEIGHTS]
    wrong = "0" if right[digit] != "0" else "1"
    content["files"][WEIGHTS] = right[:digit] + wrong + right[digit + 1 :]
    del content["digest"]
    content["digest"] = hashlib.sha256(canonical_json(content)).hexdigest()
    (tmp_path / MANIFEST).write_bytes(canonical_json(content))
    with pytest.raises(IntegrityError, match=f"{WEIGHTS} of 'org/model' must have the sha256"):
        list(checked_files(Fetched("org/model", folder=tmp_path), "main"))


@pytest.mark.parametrize("revision", ["main?x", "main x", "a..b", "main\n", "/main", "", "m" * 201])
def test_a_revision_is_a_name(revision: str, tmp_path: Path) -> None:
    own = Repository("org/model", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(OptionError, match="revision must be a commit, tag or branch, got"):
        snapshot(own, revision)


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "v1.0-rc_1", "m" * 200])
def test_names_of_branches_and_tags_are_looked_for(revision: str, tmp_path: Path) -> None:
    own = Repository("org/model", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(HubError, match="and skinxai may not go online"):
        snapshot(own, revision)


@pytest.mark.parametrize(
    ("size", "taken"),
    [(None, False), (MAX_JSON_BYTES + 1, False), (MAX_JSON_BYTES, True), (0, True)],
)
def test_a_file_of_unknown_size_or_too_large_is_not_fetched(
    size: int | None, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def download(repository: str, name: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        fetched.append(name)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(size=size)
    )
    own = Repository("org/model", cache_dir=tmp_path)
    if taken:
        assert own.load(CONFIG, "main") == tmp_path / CONFIG
    else:
        with pytest.raises(IntegrityError, match=f"must have at most .* bytes, got {size}"):
            own.load(CONFIG, "main")
    assert fetched == [CONFIG] * taken


def test_the_clients_bars_obey_quiet() -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    from skinxai.progress import quiet

    before = are_progress_bars_disabled()
    with bars_of_client():
        assert are_progress_bars_disabled() == before
    with quiet(), bars_of_client():
        assert are_progress_bars_disabled()
    assert are_progress_bars_disabled() == before


def test_the_hub_is_asked_with_the_token_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object, object]] = []

    def answer(url: str, *, token: object = None, timeout: object = None) -> SimpleNamespace:
        asked.append((url.rpartition("/org/")[2], token, timeout))
        return SimpleNamespace(commit_hash=commit)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", answer)
    own = Repository("org/model", token="secret")
    commit: str | None = 40 * "a"
    assert own.look_up("v1") == commit and own.look_up("v1", CONFIG) == commit
    address = "model/resolve/v1"
    expected = [(f"{address}/{file}", "secret", SECONDS) for file in (MANIFEST, CONFIG)]
    assert asked == expected
    for other in (None, "", 39 * "a", 41 * "a", 40 * "g", 40 * "a" + "\n"):
        commit = other
        with pytest.raises(HubError, match="did not say which commit 'org/model' is at"):
            own.look_up("v1")
