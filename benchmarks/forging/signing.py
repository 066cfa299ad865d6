"""Manifests and bindings of forged folders, made anew as a forger would."""

import hashlib
import json
from pathlib import Path
from typing import Any

from forging.binaries import joined
from forging.values import dumped

from skinxai.configs import ModelConfig, canonical_json
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS
from skinxai.model_folders.tensors import BINDING


def sign(folder: Path) -> None:
    """The manifest of what is there; of files that cannot be read it keeps the hash."""
    path = folder / MANIFEST
    try:
        old = json.loads(path.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        old = {}
    found = {}
    for name in sorted(old):
        own = folder / name
        small = own.is_file() and own.stat().st_size < 2**24 and not own.is_symlink()
        found[name] = hashlib.sha256(own.read_bytes()).hexdigest() if small else old[name]
    write_manifest(path, {"files": found, "schema_version": 1})


def write_manifest(path: Path, content: Any) -> None:
    if path.is_symlink():  # it was forged already, and is not written through
        return
    if isinstance(content, dict):
        content.pop("digest", None)
    try:
        digest = hashlib.sha256(canonical_json(content)).hexdigest()
        path.write_bytes(canonical_json(content | {"digest": digest}))
    except (ValueError, TypeError):
        path.write_bytes(dumped(content))


def bind(folder: Path) -> bool:
    """Bind the weights to a config that was changed, as a forger who knows how would."""
    try:
        binding = ModelConfig.from_dict(json.loads((folder / CONFIG).read_bytes())).binding()
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"] = {BINDING: binding}
        (folder / WEIGHTS).write_bytes(joined(json.dumps(header).encode(), data[8 + length :]))
    except Exception:  # of any kind: the config was forged
        return False
    return True
