"""The Hub's client keeps large files once for all repositories of its cache."""

import hashlib
from pathlib import Path

import pytest
from hub_server import Repo
from loopback_hub import NAME, files_of
from test_hub import model

from skinxai.errors import IntegrityError
from skinxai.model_folders.opening import open_model

shared_blobs = pytest.importorskip("huggingface_hub.utils._shared_blobs")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own


def share(folder: Path, cache: Path) -> Path:
    """Do with the weights of a snapshot what the client does when they come from Xet."""
    weights = folder / "model.safetensors"
    blob, data = weights.parent / weights.readlink(), weights.read_bytes()
    done = shared_blobs.publish_blob_to_shared_store(
        blob_path=str(blob.resolve()), xet_hash=hashlib.sha256(data).hexdigest(),
        cache_dir=str(cache), expected_size=len(data),
    )  # fmt: skip
    assert done and blob.is_symlink()
    return weights.resolve()


def publish(hub, name: str, files: dict[str, bytes]) -> str:
    hub.repos[name] = Repo()
    return hub.repos[name].commit(files)


def test_weights_that_repositories_share_are_read(hub, tmp_path) -> None:
    commit = publish(hub, NAME, model())
    first = open_model(NAME, revision=commit)
    share(first.folder, tmp_path / "cache")
    assert open_model(NAME, revision=commit, local_files_only=True) == first


def test_damaged_shared_weights_are_fetched_once_more(hub, tmp_path) -> None:
    commit = publish(hub, NAME, model())
    first = open_model(NAME, revision=commit)
    payload = share(first.folder, tmp_path / "cache")
    payload.chmod(0o600)
    payload.write_bytes(b"\0" + payload.read_bytes()[1:])
    assert open_model(NAME, revision=commit) == first


def test_a_wrong_manifest_takes_no_weights_from_another_repository(hub, tmp_path) -> None:
    commit = publish(hub, NAME, model())
    first = open_model(NAME, revision=commit)
    share(first.folder, tmp_path / "cache")
    wrong = files_of({name: data for name, data in model(9).items() if name != "manifest.json"})
    other = publish(hub, "tester/other", wrong)
    second = open_model("tester/other", revision=other)
    weights = second.folder / "model.safetensors"
    blob = (weights.parent / weights.readlink()).resolve()
    blob.unlink()
    blob.symlink_to((first.folder / "model.safetensors").resolve())  # not what the manifest lists
    hub.repos["tester/other"].commits[other]["model.safetensors"] = b"\7" * 20_000
    with pytest.raises(IntegrityError, match="must have the sha256"):
        open_model("tester/other", revision=other)
    assert open_model(NAME, revision=commit, local_files_only=True) == first


def test_a_link_to_another_folder_is_refused(hub, tmp_path) -> None:
    commit = publish(hub, NAME, model())
    folder = open_model(NAME, revision=commit).folder
    weights = folder / "model.safetensors"
    for place in (tmp_path / "blobs" / "ab", tmp_path / "cache" / "other" / "blobs"):
        place.mkdir(parents=True)
        (place / "weights").write_bytes(weights.read_bytes())
        weights.unlink()
        weights.symlink_to(place / "weights")
        from skinxai.model_folders.files import read_model_folder

        with pytest.raises(IntegrityError, match="must be in its folder, but it is a link"):
            read_model_folder(folder)
