"""The Hub's cache when a download ends early, cannot be noted, or is not all there."""

from pathlib import Path

import pytest
from hub_server import Answer
from loopback_hub import NAME
from test_hub import model, published

from skinxai.errors import HubError, OutputError, SkinxaiWarning
from skinxai.model_folders.downloading import snapshot
from skinxai.model_folders.opening import models_at_hand, open_model
from skinxai.model_folders.repository import Repository

__all__ = ["published"]  # a fixture
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content="),  # the client's own
    pytest.mark.filterwarnings("ignore:.*is used at its current"),
]


def refuse_weights(method: str, path: str, answer: Answer) -> Answer | None:
    return Answer(500, b"", {}) if path.endswith("model.safetensors") else None


def refs(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models--tester--lesions" / "refs"


def test_an_update_that_ends_early_leaves_the_model_before(hub, published) -> None:
    first = open_model(NAME)
    newer = hub.repos[NAME].commit(model(fill=9))
    hub.faults.append(refuse_weights)
    with pytest.raises(HubError, match=r"download of model\.safetensors"):
        open_model(NAME)
    assert open_model(NAME, local_files_only=True) == first
    hub.faults.clear()
    assert open_model(NAME).folder.name == newer
    assert open_model(NAME, local_files_only=True).folder.name == newer


def test_a_damaged_note_of_a_branch_is_written_anew(hub, published, tmp_path) -> None:
    first = open_model(NAME)
    note = refs(tmp_path) / "main"
    for damaged in (b"\xff" * 40, b"", first.folder.name.encode()[:20], b"\0" * 40):
        note.write_bytes(damaged)
        with pytest.raises(HubError, match="'main' is not completely in the cache and skinxai may"):
            open_model(NAME, local_files_only=True)
        assert open_model(NAME) == first
        assert note.read_text() == first.folder.name
        assert open_model(NAME, local_files_only=True) == first


def test_what_to_do_offline_without_a_model_in_the_cache() -> None:
    remedy = f"not a folder here either. Run 'skinxai pull {NAME}@v1 --out FOLDER' on a machine"
    with pytest.raises(HubError, match=remedy):
        open_model(NAME, revision="v1", local_files_only=True)


def test_only_whole_models_are_at_hand(hub, published, classifier, tmp_path) -> None:
    hub.faults.append(refuse_weights)
    with pytest.raises(HubError):
        open_model(NAME, revision=published)
    assert [each.model for each in models_at_hand(tmp_path / "cache")] == [None]
    hub.faults.clear()
    open_model(NAME, revision=published)
    known = models_at_hand(tmp_path / "cache")
    assert [each.model for each in known] == [None, f"{NAME}@{published}"]


def test_an_ensemble_is_at_hand_with_all_its_members(hub, classifier, tmp_path) -> None:
    from hub_server import TOKEN

    from skinxai.model_folders.ensembles import write_ensemble
    from skinxai.model_folders.uploading import upload

    classifier.save_pretrained(tmp_path / "a", name="a")
    write_ensemble(tmp_path / "both", [tmp_path / "a", tmp_path / "a"], name="both")
    pushed = upload(tmp_path / "both", NAME, token=TOKEN)
    folder = open_model(pushed).folder
    assert [each.model for each in models_at_hand(tmp_path / "cache")] == [None, pushed]
    (folder / "members" / "a-2" / "model.safetensors").unlink()
    assert len(models_at_hand(tmp_path / "cache")) == 1
    (folder / "members" / "a-2" / "manifest.json").unlink()
    assert len(models_at_hand(tmp_path / "cache")) == 1


def test_a_branch_that_cannot_be_noted(hub, published, tmp_path) -> None:
    """As in a cache that is for reading only, which root could write."""
    (refs(tmp_path) / "main").mkdir(parents=True)
    with pytest.warns(SkinxaiWarning, match=rf"cannot be noted .* name '{NAME}@{published}'"):
        found = open_model(NAME)
    assert open_model(NAME, revision=published, local_files_only=True) == found


def test_what_is_noted_already_is_not_written(hub, published, tmp_path) -> None:
    open_model(NAME)
    noted = refs(tmp_path) / "main"
    before = noted.stat()
    open_model(NAME)
    assert noted.stat() == before and noted.read_text() == published
    assert [*refs(tmp_path).iterdir()] == [noted]


def test_what_is_damaged_and_cannot_be_removed(hub, published) -> None:
    weights = open_model(NAME, revision=published).folder / "model.safetensors"
    weights.unlink()
    weights.mkdir()  # which is removed no more than a file in a cache for reading only
    with pytest.raises(OutputError, match=r"is damaged and cannot be removed: .*; name another"):
        open_model(NAME, revision=published)


def test_a_branch_that_another_process_moves_meanwhile(hub, published, tmp_path) -> None:
    first = open_model(NAME)
    newer = hub.repos[NAME].commit(model(fill=9))
    open_model(NAME, revision=newer)

    class Moving(Repository):
        def load(self, *names: str, again: bool = False, local: bool = False) -> Path:
            found = super().load(*names, again=again, local=local)
            (refs(tmp_path) / "main").write_text(newer)
            return found

    assert snapshot(Moving(NAME, local_files_only=True), "main") == first.folder


def test_a_tag_with_a_plus(hub, published) -> None:
    hub.repos[NAME].branches["v1.0+cpu"] = published
    hub.repos[NAME].commit(model(fill=9))
    assert open_model(f"{NAME}@v1.0+cpu").folder.name == published


def test_a_pointer_of_git_lfs_is_named(tmp_path) -> None:
    from skinxai.errors import IntegrityError
    from skinxai.model_folders.files import read_model_folder

    for name, data in model().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "model.safetensors").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 20000\n"
    )
    with pytest.raises(IntegrityError, match=r"model\.safetensors .* a pointer of Git LFS; run"):
        read_model_folder(tmp_path)
