"""A model that is pushed once more: what was there before, and what others do meanwhile."""

from pathlib import Path

import pytest
from hub_server import TOKEN, Answer, Hub
from loopback_hub import NAME
from test_hub import model

from skinxai.errors import HubError, OptionError
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import write_model_folder
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.parts import CALIBRATION, MANIFEST, TRAINING_FINGERPRINTS
from skinxai.model_folders.uploading import upload

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own


def saved(folder: Path, fill: int = 7, **more: bytes) -> Path:
    files = {name: data for name, data in model(fill).items() if name != MANIFEST}
    write_model_folder(folder, files | more)
    return folder


def present(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    return hub.repos[NAME].at(branch)


def test_parts_of_the_model_before_are_removed(hub, tmp_path) -> None:
    parts = {CALIBRATION: b"{}", TRAINING_FINGERPRINTS: b"reliefs"}
    upload(saved(tmp_path / "first", **parts), NAME, token=TOKEN)
    own = {"LICENSE": b"mine", ".gitattributes": b"", "figures/config.json": b"{}"}
    hub.repos[NAME].commit(own)
    upload(saved(tmp_path / "second", fill=9), NAME, token=TOKEN)
    assert present(hub) == model(fill=9) | own


def test_members_of_the_ensemble_before_are_removed(hub, classifier, tmp_path) -> None:
    classifier.save_pretrained(tmp_path / "a", name="a")
    write_ensemble(tmp_path / "both", [tmp_path / "a", tmp_path / "a"], name="both")
    upload(tmp_path / "both", NAME, token=TOKEN)
    assert "members/a-2/model.safetensors" in present(hub)
    upload(saved(tmp_path / "one"), NAME, token=TOKEN)
    assert present(hub) == model()
    upload(tmp_path / "both", NAME, token=TOKEN)
    assert "model.safetensors" not in present(hub)


def test_another_branch_keeps_its_files(hub, tmp_path) -> None:
    upload(saved(tmp_path / "first", **{CALIBRATION: b"{}"}), NAME, token=TOKEN)
    upload(saved(tmp_path / "second"), NAME, revision="plain", token=TOKEN)
    assert CALIBRATION in present(hub) and CALIBRATION not in present(hub, "plain")


def test_the_same_model_again_is_the_same_commit(hub, tmp_path) -> None:
    first = upload(saved(tmp_path / "model"), NAME, token=TOKEN)
    assert upload(tmp_path / "model", NAME, token=TOKEN) == first


def test_a_push_meanwhile_leaves_no_mixture(hub, tmp_path) -> None:
    """The client leaves out what the branch has, and the other push replaces that."""
    upload(saved(tmp_path / "first", **{CALIBRATION: b"{}"}), NAME, token=TOKEN)
    other = saved(tmp_path / "other", **{CALIBRATION: b'{"another": 1}'})
    left = [1]

    def meanwhile(method: str, path: str, answer: Answer) -> None:
        if "/preupload/" in path and left:
            left.clear()
            hub.repos[NAME].commit({each.name: each.read_bytes() for each in other.iterdir()})

    hub.faults.append(meanwhile)
    changed = saved(tmp_path / "changed", **{CALIBRATION: b"{}", "README.md": b"Another card."})
    with pytest.raises(HubError, match="the branch was changed meanwhile: push the model again"):
        upload(changed, NAME, token=TOKEN)
    again = upload(changed, NAME, token=TOKEN)
    assert open_model(again).files["README.md"] == b"Another card."


def test_what_was_to_be_private_is_not_made_public(hub, tmp_path) -> None:
    folder = saved(tmp_path / "model")
    upload(folder, NAME, private=True, token=TOKEN)
    upload(folder, NAME, private=True, token=TOKEN)
    hub.repos[NAME].private = False
    before = dict(hub.repos[NAME].branches)
    with pytest.raises(OptionError, match=r"private must be False for .* public already"):
        upload(saved(folder, fill=9), NAME, private=True, revision="new", token=TOKEN)
    assert hub.repos[NAME].branches == before


@pytest.mark.parametrize(
    ("at", "status", "said", "told"),
    [
        ("/commit/", 400, "the branch is protected", r"failed: the branch is protected\.$"),
        ("/commit/", 403, "no", "no; a token that may write is needed"),
        ("/commit/", 404, "no", "no; a token that may write is needed"),
        ("/commit/", 429, "too many", "too many; try again later"),
        ("/commit/", 500, "oh", "oh; try again later"),
        ("/_lfs/", 400, "too large", r"failed: too large\.$"),
        ("/_lfs/", 403, "no", "no; a token that may write is needed"),
    ],
)
def test_the_remedy_fits_the_refusal(hub, tmp_path, at, status, said, told) -> None:
    def refuse(method: str, path: str, answer: Answer) -> Answer | None:
        headers = {"X-Error-Message": said}
        return Answer(status, b"{}", headers) if at in path else None

    hub.faults.append(refuse)
    with pytest.raises(HubError, match=told):
        upload(saved(tmp_path / "model"), NAME, token=TOKEN)


@pytest.mark.parametrize("revision", ["a b", "", "x..y", "#1"])
def test_a_branch_that_could_not_be_loaded(hub, tmp_path, revision: str) -> None:
    with pytest.raises(OptionError, match="revision must be"):
        upload(saved(tmp_path / "model"), NAME, revision=revision, token=TOKEN)
    assert not hub.requests
