"""Whole folders of each kind, and how they are forged and opened."""

import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from forging.graphs import forge_graph
from forging.model_folders import forge_ensemble, forge_model, forge_run
from forging.tables import forge_prepared, forge_tables
from PIL import Image

from skinxai import Classifier, Trainer
from skinxai.backbones.network import SkinClassifier
from skinxai.data import Splits, load_csv
from skinxai.data.prepared import load_prepared
from skinxai.data.preparing import prepare
from skinxai.model_folders.ensembles import write_ensemble

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}


@dataclass
class Kind:
    """One kind of folder.

    Args:
        whole: the folder that is not forged.
        forge: changes a copy, and says whether another answer is what the change means.
        answer: opens a folder and gives what is compared.
    """

    whole: Path
    forge: Callable[[Path, Random], tuple[str, bool]]
    answer: Callable[[Path], Any]


class Small(torch.nn.Module):
    """Two layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5, 4, 2), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.fc = torch.nn.Linear(8, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(images)
        return found

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(maps.mean((2, 3)))
        return found


def build(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
    network = Small(num_classes)
    return SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f))


def kinds(place: Path) -> dict[str, Kind]:
    """Whole folders of each kind, and how they are forged and opened."""
    pictures, draws = place / "pictures", np.random.default_rng(0)
    pictures.mkdir(parents=True)
    rows = ["image,label,lesion_id"]
    for code, colour in COLOURS.items():
        for number in range(4):
            pixels = (np.array(colour) + draws.integers(-20, 20, (40, 56, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(pictures / f"{code}{number}.png")
            rows.append(f"{code}{number}.png,{code},{code}{number}")
    table = place / "tables"
    table.mkdir()
    (table / "t.csv").write_text("\n".join(rows) + "\n")
    columns = {"image": "image", "label": "label", "lesion_id": "lesion_id"}

    def records(folder: Path = table) -> Any:
        return load_csv(folder / "t.csv", pictures, columns=columns)

    known = records()
    ids = {part: [f"{code}{number}" for code in COLOURS for number in numbers]
           for part, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,)))}  # fmt: skip
    splits = Splits.of(
        known,
        {
            p: [i for i in (r.image_id for r in known) if Path(i).stem in own]
            for p, own in ids.items()
        },
    )
    splits.to_csv(table / "splits.csv")
    settings: dict[str, Any] = dict(
        backbone="colours",
        init_weights=None,
        amp=False,
        image_size=(32, 48),
        batch_size=6,
        epochs=1,
        workers=0,
        device="cpu",
    )
    run, model, exported, ensemble = (
        place / name for name in ("run", "model", "exported", "ensemble")
    )

    def make() -> None:
        Trainer(**settings, output_dir=run).fit(splits)
        made = Classifier.from_pretrained(run).with_graph()
        made.save_pretrained(model)
        shutil.copytree(model, exported)
        made.export(exported / "model.onnx")
        made.export(exported / "model.xml")
        write_ensemble(ensemble, [model, run], name="two")
        prepare(known, place / "prepared")

    # In a process of its own: OpenVINO's threads do not survive in a fork.
    process = multiprocessing.get_context("fork").Process(target=make)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    picture = pictures / "red0.png"

    def predicted(model: Any, **options: Any) -> Any:
        classifier = Classifier.from_pretrained(model, device="cpu", **options)
        return [round(p, 6) for p in classifier.predict(picture).probabilities.values()]

    def graph_answer(folder: Path) -> Any:
        which = (folder / "which").read_text() if (folder / "which").exists() else "own"
        if which == "own":
            return predicted(folder, backend="onnx")
        return predicted(
            folder / f"model.{which}", backend={"onnx": "onnx", "xml": "openvino"}[which]
        )

    def resumed(folder: Path) -> Any:
        weights = Trainer.resume(folder).fit(splits).network.network.state_dict()
        return {name: tensor.tolist() for name, tensor in weights.items()}

    def prepared_answer(folder: Path) -> Any:
        found = load_prepared(folder)
        return [int(found.pixels.read(item.image_id).sum()) for item in found]

    def table_answer(folder: Path) -> Any:
        found = records(folder)
        own = Splits.from_csv(folder / "splits.csv", found)
        return [len(own.train), len(own.val), len(own.test)]

    return {
        "model": Kind(model, forge_model, predicted),
        "ensemble": Kind(ensemble, forge_ensemble, predicted),
        "prepared": Kind(place / "prepared", forge_prepared, prepared_answer),
        "run": Kind(run, forge_run, resumed),
        "graph": Kind(exported, forge_graph, graph_answer),
        "table": Kind(table, forge_tables, table_answer),
    }
