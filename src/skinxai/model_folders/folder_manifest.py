"""``manifest.json`` of a model folder: the sha256 of each file, and its own digest.

The digest's first twelve digits are the model's revision. It proves integrity, not origin.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinxai.configs import canonical_json, check_schema, strict_json
from skinxai.errors import IntegrityError
from skinxai.model_folders.parts import ALWAYS, MANIFEST

MAX_FILES = 16
_FILE = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def manifest_file(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The bytes of a folder's manifest, and its digest."""
    content, digest = manifest_of(files)
    return canonical_json(content | {"digest": digest}), digest


def manifest_of(files: Mapping[str, bytes]) -> tuple[dict[str, Any], str]:
    """The content of a folder's manifest, and its digest."""
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    content: dict[str, Any] = {"files": listed, "schema_version": 1}
    return content, hashlib.sha256(canonical_json(content)).hexdigest()


def parse_manifest(data: bytes, folder: Path) -> tuple[dict[str, str], str]:
    """Parse a manifest; returns names with hashes, and the digest.

    A deviation from the schema is an `IntegrityError`.
    """
    where = f"{MANIFEST} in {str(folder)!r}"
    damaged = IntegrityError(
        f"{where} must be whole and match its own digest; fetch or save the model again."
    )
    try:
        content = strict_json(data)
        canonical = canonical_json(content) == data
        digest = content.pop("digest")
        listed: dict[str, str] = content["files"]
        whole = hashlib.sha256(canonical_json(content)).hexdigest() == digest
        version = content["schema_version"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise damaged from error
    if not canonical or not whole or not isinstance(digest, str):
        raise damaged
    check_schema(version, where)
    if unknown := sorted(set(content) - {"files", "schema_version"}):
        raise IntegrityError(
            f"{where} must only have the keys digest, files and schema_version, got {unknown}; "
            f"update skinxai, or save the model again."
        )
    if not isinstance(listed, dict) or not 1 <= len(listed) <= MAX_FILES:
        raise IntegrityError(f"{where} must list one to {MAX_FILES} files with their sha256.")
    for name, sha256 in listed.items():
        if Path(name).name != name or not _FILE.fullmatch(name):
            raise IntegrityError(
                f"{where} must list plain names of files, but it lists {name[:80]!r}; save the "
                f"model again."
            )
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise IntegrityError(
                f"{where} must list a sha256 of 64 hexadecimal digits for {name!r}, got "
                f"{sha256!r:.80}."
            )
    if not listed.keys() >= {*ALWAYS}:
        raise damaged
    return listed, digest
