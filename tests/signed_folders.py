"""Model folders that were changed and agree with their manifest, as a forger would see to."""

import hashlib
import json
from pathlib import Path

from skinxai.configs import canonical_json


def sign(folder: Path) -> None:
    """Make the manifest agree with the files again, as a forger would."""
    names = ("model.safetensors", "config.json", "README.md", "graph.safetensors", "probe.json")
    files = {
        n: hashlib.sha256((folder / n).read_bytes()).hexdigest()
        for n in names
        if (folder / n).exists()
    }
    content = {"files": files, "schema_version": 1}
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
