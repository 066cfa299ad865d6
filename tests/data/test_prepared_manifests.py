"""Manifests of prepared folders that are signed, and not what `prepare` writes."""

import hashlib
import json
from pathlib import Path

import pytest
from test_preparing import pictures, records

from skinxai.configs import canonical_json
from skinxai.data import Records, load_prepared, prepare, shards
from skinxai.errors import IntegrityError

__all__ = ["pictures", "records"]
WRONG = [
    ({"images": "10"}, "images must be a number, and leaked true or false"),
    ({"leaked": 1}, "images must be a number, and leaked true or false"),
    ({"image_size": [8, 8]}, "must both be there, or neither"),
    ({"image_size": [0, 8], "interpolation": "bilinear"}, "image_size"),
    ({"name": 3}, "must be text, and notes a list"),
    ({"notes": "one"}, "must be text, and notes a list"),
    ({"notes": [1]}, "notes must be texts"),
    ({"labels": {"codes": "mel", "names": {}, "malignant": []}}, "must have codes, names"),
]
"""Values that the description of either kind of folder must not have, and what is said of them."""


@pytest.mark.parametrize("own", [{"sha256": 1}, {"bytes": "9"}, {"mode": 1}, 3])
def test_what_a_manifest_says_of_its_files(own: object, records, tmp_path: Path) -> None:
    prepare(records, tmp_path / "out", progress=False)
    listed = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["files"]
    one = listed["records.csv"] | own if isinstance(own, dict) else own
    sign(tmp_path / "out", {"files": listed | {"records.csv": one}})
    with pytest.raises(IntegrityError, match="the bytes and sha256 of each file"):
        load_prepared(tmp_path / "out")


def sign(folder: Path, changes: dict[str, object], name: str = "manifest.json") -> None:
    """Change what a folder says of itself, and give it the digest of its new content."""
    path = folder / name
    values = json.loads(path.read_bytes()) | changes
    del values["digest"]
    values["digest"] = hashlib.sha256(canonical_json(values)).hexdigest()
    path.write_bytes(canonical_json(values))


def test_another_format_is_refused(records: Records, tmp_path: Path) -> None:
    prepare(records, tmp_path / "out", progress=False)
    sign(tmp_path / "out", {"schema_version": 2})
    with pytest.raises(
        IntegrityError, match="version 1, but it is of 'prepared images', version 2"
    ):
        load_prepared(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": 9}, "images must be 10, got 9"),
        *WRONG,
        ({"labels": {"codes": ["mel", "nv"]}}, "must have codes, names and malignant"),
        ({"image_size": 64, "interpolation": "bilinear"}, "must be as skinxai writes it"),
        ({"more": 1}, "its keys must be"),
    ],
)
def test_values_of_a_signed_manifest(changes: dict, words: str, records, tmp_path: Path) -> None:
    prepare(records, tmp_path / "out", progress=False)
    sign(tmp_path / "out", changes)
    with pytest.raises(IntegrityError, match=words):
        load_prepared(tmp_path / "out")


@pytest.mark.parametrize("verify", [True, False])
def test_a_shard_holds_nothing_but_its_images(verify: bool, records, tmp_path: Path) -> None:
    """Else a signed folder could make a reader hash gigabytes of nothing."""
    prepare(records, tmp_path / "out", progress=False)
    path = tmp_path / "out" / shards.shard_name(0)
    path.write_bytes(path.read_bytes() + b"\0")
    listed = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["files"]
    own = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    sign(tmp_path / "out", {"files": listed | {path.name: own}})
    with pytest.raises(IntegrityError, match="the pixels of the images and nothing else"):
        load_prepared(tmp_path / "out", verify=verify)
