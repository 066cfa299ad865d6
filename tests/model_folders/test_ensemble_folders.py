"""Folders of ensembles are written and read strictly, and refused when they are torn."""

import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from test_ensembles import ensemble, folders, members, tiny, write, written
from typer.testing import CliRunner

from skinxai import Classifier, checkpoints
from skinxai.cli import app
from skinxai.configs import canonical_json
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    SkinxaiWarning,
    UnsafeFormatError,
)
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.model_folders.ensembles import training_pixels, write_ensemble
from skinxai.model_folders.files import read_model_folder

__all__ = ["ensemble", "folders", "members", "tiny", "written"]  # fixtures


@pytest.fixture
def torn(written, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "torn"))


def test_save_and_load_keep_every_bit(ensemble, photos, tmp_path) -> None:
    revision = ensemble.save_pretrained(tmp_path / "again")
    again = Classifier.from_pretrained(tmp_path / "again", revision=revision)
    assert again.model == ensemble.model == f"three@{revision}"
    assert again.config == ensemble.config and again.card == ensemble.card
    assert again.trained_on == ensemble.trained_on
    assert again.predict(photos) == ensemble.predict(photos)
    np.testing.assert_array_equal(
        again.explain(photos[0]).heatmap, ensemble.explain(photos[0]).heatmap
    )
    renamed = ensemble.save_pretrained(tmp_path / "renamed", name="other")
    other = Classifier.from_pretrained(tmp_path / "renamed")
    assert other.model == f"other@{renamed}" and renamed != revision
    assert other.config.members == ensemble.config.members


def test_members_are_whole_model_folders(written, members, photos) -> None:
    for name, member in zip("abc", members, strict=True):
        own = Classifier.from_pretrained(written / "members" / name)
        assert own.model == member.model and own.card == f"Card of {name}."
        assert own.predict(photos[0]) == member.predict(photos[0])


def test_the_command_line_takes_it(ensemble, written, photos) -> None:
    arguments = ["predict", str(photos[0]), "--model", str(written), "--format", "json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["model"] == ensemble.model
    assert row["probabilities"] == dict(ensemble.predict(photos[0]).probabilities)


def test_writing_needs_no_torch(folders, tmp_path) -> None:
    code = (
        "import sys\nfrom skinxai.model_folders.ensembles import write_ensemble\n"
        "write_ensemble(sys.argv[1], sys.argv[2:], name='x')\nprint('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x"), *map(str, folders)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert Classifier.from_pretrained(tmp_path / "x").model.startswith("x@")


@pytest.mark.parametrize(
    "labels",
    [
        LabelSet(HAM10000_LABELS.codes[::-1], malignant=HAM10000_LABELS.malignant),
        LabelSet(HAM10000_LABELS.codes, malignant=frozenset({"mel", "bcc"})),
        LabelSet(HAM10000_LABELS.codes),
        LabelSet(("nv", "mel")),
    ],
)
def test_other_labels(folders, tmp_path, labels) -> None:
    other = write(tmp_path / "other", 5, (64, 96), labels=labels)
    with pytest.raises(ModelConfigError, match="all members must have the labels"):
        write_ensemble(tmp_path / "both", [folders[0], other], name="both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([0.5, 0.4], ModelConfigError, "must sum to 1, but they sum to 0.9"),
        ([0.5, 0.5 + 3e-9], ModelConfigError, "must sum to 1"),
        ([1.0, 0.0], ModelConfigError, "must be a number > 0, got 0.0"),
        ([1.5, -0.5], ModelConfigError, "must be a number > 0, got -0.5"),
        ([float("nan"), 0.5], ModelConfigError, "must be a number > 0, got nan"),
        ([True, 0.5], ModelConfigError, "must be a number > 0, got True"),
        ([1.0], OptionError, "got 1 weight for 2 members"),
        ([0.3, 0.3, 0.4], OptionError, "got 3 weights for 2 members"),
        ({0.3, 0.7}, OptionError, "weights must be a list, .* got set"),
    ],
)
def test_weight_rules(folders, tmp_path, weights, error, words) -> None:
    with pytest.raises(error, match=words):
        write_ensemble(tmp_path / "both", folders[:2], weights=weights, name="both")
    assert not (tmp_path / "both").exists()


def test_weights_are_equal_by_default(folders, tmp_path) -> None:
    write_ensemble(tmp_path / "three", folders, name="three")
    config = Classifier.from_pretrained(tmp_path / "three").config
    assert [member.weight for member in config.members] == [1 / 3] * 3


def test_what_cannot_be_a_member(folders, written, tmp_path) -> None:
    with pytest.raises(ModelError, match="a member must be a single model"):
        write_ensemble(tmp_path / "x", [folders[0], written], name="x")
    with pytest.raises(ModelNotFoundError, match="found no folder"):
        write_ensemble(tmp_path / "x", [folders[0], tmp_path / "nowhere"], name="x")
    with pytest.raises(OptionError, match=r"members must be a list, .* got set"):
        write_ensemble(tmp_path / "x", set(folders), weights=[0.2, 0.3, 0.5], name="x")
    with pytest.raises(OptionError, match="at least one member, got 0 weights for 0"):
        write_ensemble(tmp_path / "x", [], name="x")
    own = Path(shutil.copytree(folders[0], tmp_path / "own"))
    with pytest.raises(OptionError, match="none of the members' own"):
        write_ensemble(tmp_path / "own" / ".", [own, folders[1]], name="x")
    assert Classifier.from_pretrained(own).model.startswith("a@")
    (own / "model.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        write_ensemble(tmp_path / "x", [folders[0], own], name="x")
    assert not (tmp_path / "x").exists()


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_pickled_members(folders, torn, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    only = tmp_path / "only"
    only.mkdir()
    (only / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    for bad in (only, only / "pytorch_model.bin"):
        with pytest.raises(UnsafeFormatError, match="never opened"):
            write_ensemble(tmp_path / "x", [folders[0], bad], name="x")
    shutil.rmtree(torn / "members" / "b")
    shutil.move(only, torn / "members" / "b")
    with pytest.raises(UnsafeFormatError, match="never opened"):
        Classifier.from_pretrained(torn)
    assert not (tmp_path / "exploded").exists()


def test_no_starting_weights_of_several_networks(written) -> None:
    with pytest.raises(ModelError, match="must be one network"):
        checkpoints.unpack(read_model_folder(written))


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def verify(folder: Path) -> None:
    """Read every file, as loading does, without building the networks."""
    training_pixels(read_model_folder(folder))


def test_any_missing_file_is_refused(written, torn) -> None:
    names = files_of(written)
    assert len(names) == 3 + 3 * 6
    for name in names:
        (torn / name).rename(torn / "away")
        with pytest.raises(ModelError):
            verify(torn)
        (torn / "away").rename(torn / name)
    verify(torn)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_any_torn_file_is_refused(written, torn, share) -> None:
    for name in files_of(written):
        if name.endswith("README.md"):  # a changed card warns: it changes no answer
            continue
        whole = (torn / name).read_bytes()
        (torn / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(IntegrityError):
            verify(torn)
        (torn / name).write_bytes(whole)
    (torn / "manifest.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        Classifier.from_pretrained(torn)


def test_a_missing_or_exchanged_member(torn, folders) -> None:
    shutil.rmtree(torn / "members" / "b")
    with pytest.raises(ModelNotFoundError, match=r"members/b.*must hold manifest\.json"):
        Classifier.from_pretrained(torn)
    shutil.copytree(folders[0], torn / "members" / "b")  # whole, and another model
    with pytest.raises(IntegrityError, match=r"revision of .*members/b"):
        Classifier.from_pretrained(torn)


def test_an_edited_and_signed_member(torn) -> None:
    """A member whose own manifest agrees again is not the one that the ensemble was made of."""
    member = torn / "members" / "c"
    Classifier.from_pretrained(member).save_pretrained(member, name="renamed")
    assert Classifier.from_pretrained(member).model.startswith("renamed@")
    with pytest.raises(IntegrityError, match=r"revision of .*members/c"):
        Classifier.from_pretrained(torn)


def test_a_changed_card_warns(torn, ensemble) -> None:
    (torn / "members" / "a" / "README.md").write_text("The best model ever.")
    with pytest.warns(SkinxaiWarning, match=r"README\.md"):
        assert Classifier.from_pretrained(torn).model == ensemble.model


def test_the_card_names_leaked_members(tmp_path) -> None:
    loaded = Classifier.from_pretrained(write(tmp_path / "a", 1, (64, 96)))
    config = replace(loaded.config, training_data={"name": "Own", "leaked": "one lesion in both"})
    checkpoints.save(str(tmp_path / "a"), loaded.network, config, "")
    write_ensemble(tmp_path / "both", [tmp_path / "a"], name="both")
    card = Classifier.from_pretrained(tmp_path / "both").card
    assert "Own (**LEAKED: one lesion in both; no figure of it is worth anything**)" in card


def forge(folder: Path, **changes: object) -> None:
    """Edit the ensemble's config and sign its manifest again."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    names = ("config.json", "README.md")
    files = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    content = {"files": files, "schema_version": 1}
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 2}, "schema_version of an ensemble's config must be 1, got 2"),
        ({"kind": "committee"}, "kind must be 'ensemble'"),
        ({"temperature": 1.5}, "must only have the keys"),
        ({"members": []}, "must be one to 64 folders"),
        ({"members": 3}, "members must be a list, got 3"),
        ({"members": ["members/a"]}, "must be a JSON object"),
        ({"name": 3}, "name must be text"),
        ({"labels": {"codes": ["a"], "names": {}, "malignant": None}}, "at least two"),
        ({"labels": HAM10000_LABELS.to_dict() | {"codes": [*HAM10000_LABELS.codes[::-1]]}},
         "all members must have the labels"),
        ({"labels": HAM10000_LABELS.to_dict() | {"malignant": None}},
         "all members must have the labels"),
    ],
)  # fmt: skip
def test_configs_are_read_strictly(torn, changes, words) -> None:
    forge(torn, **changes)
    with pytest.raises(ModelConfigError, match=words):
        Classifier.from_pretrained(torn)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": 0.1}, "must sum to 1"),
        ({"weight": "0.2"}, "must be a number > 0"),
        ({"folder": "members/../../outside"}, "must be members/NAME"),
        ({"folder": "/members/a"}, "must be members/NAME"),
        ({"folder": "members/.."}, "must be members/NAME"),
        ({"folder": "members/B"}, "each listed once"),
        ({"revision": "0123456"}, "64 hexadecimal digits"),
        ({"more": 1}, "must only have the keys"),
    ],
)
def test_members_are_read_strictly(torn, changes, words) -> None:
    entries = json.loads((torn / "config.json").read_text())["members"]
    forge(torn, members=[entries[0] | changes, *entries[1:]])
    with pytest.raises(ModelConfigError, match=words):
        Classifier.from_pretrained(torn)


def test_the_how_to_runs(folders, photos, tmp_path, monkeypatch) -> None:
    page = (ROOT / "docs/how-to/ensemble.md").read_text()
    monkeypatch.chdir(tmp_path)
    for name, folder in zip(("first", "second", "third"), folders, strict=True):
        Classifier.from_pretrained(folder).save_pretrained(tmp_path / "runs" / name, name=name)
    with Image.open(photos[0]) as photo:
        photo.save("lesion.jpg")
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "why.png").exists()
