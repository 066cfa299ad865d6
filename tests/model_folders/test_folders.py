"""A model folder's hashes and its revision are compared to the last digit that is given."""

import hashlib
import json
from pathlib import Path

import pytest

from skinxai.configs import canonical_json
from skinxai.errors import IntegrityError
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.files import write_model_folder as write
from skinxai.model_folders.folder_manifest import manifest_of, parse_manifest
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import MANIFEST
from skinxai.model_folders.tensors import weights_metadata

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


@pytest.mark.parametrize("name", FILES)
def test_hashes_are_compared_to_the_last_digit(name: str, tmp_path: Path) -> None:
    """The manifest agrees with its own digest, and the wrong hash begins as the right one."""
    write(tmp_path, FILES)
    content, _ = manifest_of(FILES)
    right = content["files"][name]
    content["files"][name] = right[:-1] + ("0" if right[-1] != "0" else "1")
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (tmp_path / MANIFEST).write_bytes(canonical_json(content | {"digest": digest}))
    with pytest.raises(
        IntegrityError, match=f"{name} in .* must have the sha256 that its manifest"
    ):
        read_model_folder(tmp_path)


def test_a_manifests_digest_is_compared_to_the_last_digit(tmp_path: Path) -> None:
    digest = write(tmp_path, FILES)
    content = json.loads((tmp_path / MANIFEST).read_bytes())
    assert parse_manifest(canonical_json(content), tmp_path)[1] == digest
    content["digest"] = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    with pytest.raises(IntegrityError, match="must be whole and match its own digest"):
        parse_manifest(canonical_json(content), tmp_path)


def test_a_revision_has_at_least_seven_digits(tmp_path: Path) -> None:
    digest = write(tmp_path, FILES)
    for count in (7, 12, 64):
        assert read_model_folder(tmp_path, revision=digest[:count]).digest == digest
    for revision in ("", digest[:1], digest[:6], digest[1:8], digest[:7] + "x", digest + "0"):
        with pytest.raises(IntegrityError, match=r"must begin with '.*' \(at least 7 digits\)"):
            read_model_folder(tmp_path, revision=revision)


@pytest.mark.parametrize("noticed", ["by its hash", "by its length"])
def test_a_revision_still_counts_where_the_folder_was_overwritten_meanwhile(
    noticed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, reads = write(tmp_path, FILES), []

    def read(path: Path, *left: int) -> bytes:
        reads.append(path.name)
        if len(reads) == 2:  # the first file after the manifest
            write(tmp_path, FILES | {"config.json": b'{"other": 1}'})
            if noticed == "by its length":
                raise IntegrityError("another length")
        return read_part(path, *left)

    monkeypatch.setattr("skinxai.model_folders.files.read_part", read)
    with pytest.raises(IntegrityError, match="must begin with"):
        read_model_folder(tmp_path, revision=digest[:12])
    assert reads.count(MANIFEST) == 3


@pytest.mark.parametrize("header", [b"{}", b'{"__metadata__":{}}'])
def test_a_header_is_read_by_the_length_that_it_tells(header: bytes) -> None:
    whole = len(header).to_bytes(8, "little") + header
    assert weights_metadata(whole) == {}
    with pytest.raises(
        IntegrityError, match=f"describes {len(whole)} bytes, but the file has {len(whole) + 6}"
    ):
        weights_metadata(whole + b"values")
    for length in (0, 1, len(header) + 1, 2**63):
        with pytest.raises(IntegrityError, match=f"must be whole safetensors: .* {length}"):
            weights_metadata(length.to_bytes(8, "little") + header)


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {}}'])
def test_a_header_without_places_is_refused(header: bytes) -> None:
    with pytest.raises(IntegrityError, match="must be whole safetensors"):
        weights_metadata(len(header).to_bytes(8, "little") + header)


def test_a_headers_metadata_is_what_it_says() -> None:
    header = b'{"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    assert weights_metadata(len(header).to_bytes(8, "little") + header) == {"k": "v"}
