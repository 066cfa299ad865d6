"""Make the folder that ships of the student's run, on any machine; the test part is not read.

    python training/recipe/ship.py HAM10000_FOLDER RUN_FOLDER OUTPUT [--size 320x432] [--from STEP]

The steps, in order: ``model`` (weights, config, card), ``neighbours``, ``graph``, ``calibration``
(on the validation part, which neither the student nor its teachers learnt; it also draws the graph
anew). Each is a script in ``training``; ``--from`` goes on after one that was done. A person then
opens the test with ``training/open_test.py HAM10000_FOLDER OUTPUT OUTPUT``, once.
"""

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from skinxai import Classifier, checkpoints
from skinxai.configs import parse_size
from skinxai.model_folders.files import read_model_folder

HERE = Path(__file__).parent
TRAINING = HERE.parent
STEPS = ("model", "neighbours", "graph", "calibration")


def commands(root: Path, output: Path) -> dict[str, list[str]]:
    """The scripts after the first step, with their arguments."""
    images = next(path for path in sorted(root.glob("HAM10000_images*")) if path.is_dir())
    return {
        "neighbours": ["build_neighbours.py", str(root), str(output)],
        "graph": ["build_graph.py", str(output), str(images)],
        "calibration": ["build_calibration.py", str(root), str(output)],
    }


def write_model(run: Path, output: Path, size: str | None) -> None:
    """The run's weights with the card of the model that ships."""
    loaded = checkpoints.load(read_model_folder(run))
    config = loaded.config
    trained = config.preprocessing.image_size
    if size:
        preprocessing = replace(config.preprocessing, image_size=parse_size(size))
        config = replace(config, preprocessing=preprocessing)
    settings = json.loads((run / "train.json").read_text())["settings"]
    with (run / "log.csv").open(newline="") as lines:
        rows = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)
        ]
    names = ("batch_size", "learning_rate", "sampler", "augmentation", "drop_path_rate",
             "weight_decay", "average_decay", "loss", "loss_options")  # fmt: skip
    card = (HERE / "card.md").read_text().format(
        config=config,
        parameters=Classifier(loaded).num_parameters,
        trained=trained,
        epochs=len(rows),
        options=", ".join(f"{name} {settings[name]}" for name in names if settings[name]),
        share=settings["teacher_share"] if settings["teacher"] else 0,
        temperature=settings["teacher_temperature"],
        split_sha256=(TRAINING / "splits.sha256").read_text().strip(),
        log=max(rows, key=lambda row: row["macro_f1"]),
    )  # fmt: skip
    print(replace(loaded, config=config, card=card).save(str(output)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("root", "run", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--size", help="HEIGHTxWIDTH at which it answers; else that of the run")
    parser.add_argument("--from", dest="first", choices=STEPS, default=STEPS[0])
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1])
    given = parser.parse_args()
    for step in STEPS[STEPS.index(given.first) : STEPS.index(given.until) + 1]:
        print(f"== {step}", flush=True)
        if step == "model":
            write_model(given.run, given.output, given.size)
        else:
            script, *rest = commands(given.root, given.output)[step]
            subprocess.run([sys.executable, TRAINING / script, *rest], check=True)


if __name__ == "__main__":
    main()
