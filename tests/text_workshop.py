"""A model, pictures, a table and a prepared folder into which foreign text is planted."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from foreign_text import COLOURS, SAMPLES
from PIL import Image
from safetensors.torch import load, save
from signed_folders import sign
from small_runs import model_folder

from skinxai import Classifier
from skinxai.configs import canonical_json
from skinxai.data import load_csv, prepare
from skinxai.labels import LabelSet


class Workshop:
    """A small model, pictures, a table and a prepared folder, into which text is planted."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        self.refused = False  # whether the last call was: the next need not be made
        self.labels = LabelSet(tuple(sorted(COLOURS)))
        self.pictures, self.table = root / "pictures", root / "table.csv"
        self.pictures.mkdir(parents=True)
        draws, rows = np.random.default_rng(0), ["image,label,lesion_id,patient_id,site"]
        for code, colour in COLOURS.items():
            for number in range(SAMPLES):
                noise = draws.integers(-50, 50, (40, 56, 3))
                pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(self.pictures / f"{code}{number}.png")
                rows.append(f"{code}{number},{code},L{code}{number},P{code}{number},back")
        self.rows = rows
        self.table.write_text("\n".join(rows) + "\n")
        self.records = load_csv(self.table, self.pictures)
        plain = model_folder(root / "plain", self.labels, seed=1, trained_on=None)
        self.model = root / "model"
        indexed = Classifier.from_pretrained(plain).index(self.records, dimensions=2)
        indexed.save_pretrained(self.model)
        self.prepared = root / "prepared"
        prepare(self.records, self.prepared)
        self.picture = self.pictures / "red0.png"

    def new(self) -> Path:
        """A folder of its own for each case."""
        self.count += 1
        path = self.root / f"case{self.count}"
        path.mkdir()
        return path

    def forged(self, change: Callable[[dict], object], name: str = "forged") -> Path:
        """The model with another config, bound and signed as its forger would."""
        folder = Path(shutil.copytree(self.model, self.new() / name))
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        bound = {k: v for k, v in config.items() if k not in ("name", "training_data", "licence")}
        binding = hashlib.sha256(canonical_json(bound)).hexdigest()
        weights = load((folder / "model.safetensors").read_bytes())
        (folder / "model.safetensors").write_bytes(save(weights, {"skinxai.binding": binding}))
        for extra in ("neighbours.safetensors", "probe.json"):
            (folder / extra).unlink(missing_ok=True)
        sign(folder)
        return folder
