"""Fine-tuning on "private" data, by the commands that users type; and what the audit says of leaks.

Usage: python benchmarks/private_data.py HAM10000_FOLDER IMAGENET_WEIGHTS.safetensors

1. Images of the frozen test part under new names, ids, columns and four merged classes go from
   ImageNet weights to a model, a report and predictions. (The bundled model is not involved, and
   nothing is chosen on these images but this run's own epoch.)
2. Images of the training part under new names: an audit for training from the bundled weights must
   say that those have seen them.

Writes results/private_data.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TABLE = "--images {0}/fotos --delimiter ; --column image=datei --column label=diagnose "
TABLE += "--column lesion_id=laesion"
SETTINGS = {
    "backbone": "tf_efficientnet_lite1", "image-size": "144x192", "epochs": "10",
    "learning-rate": "5e-4", "augmentation": "heavy", "loss-options": "label_smoothing=0.1",
}  # fmt: skip


def run(*words: str, ok: tuple[int, ...] = (0,)) -> str:
    program = [sys.executable] if words[0] == "python" else [Path(sys.executable).parent / words[0]]
    done = subprocess.run([*program, *words[1:]], capture_output=True, text=True)
    if done.returncode not in ok:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def private(folder: Path, root: Path, part: str, images: int) -> list[str]:
    script = str(HERE.parent / "examples/private_data.py")
    run("python", script, str(folder), "--ham10000", str(root), "--part", part, "--images",
        str(images))  # fmt: skip
    return [str(folder / "befunde.csv"), *TABLE.format(folder).split()]


def main(root: Path, weights: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        own = private(place / "own", root, "test", 600)
        run("skinxai", "audit", *own, "--out", str(place / "audit"), ok=(0, 1))
        audit = json.loads((place / "audit/audit.json").read_text())
        settings = [word for key, value in SETTINGS.items() for word in (f"--{key}", value)]
        run("skinxai", "train", "--data", *own, "--out", str(place / "run"), "--init-weights",
            str(weights), *settings)  # fmt: skip
        run("skinxai", "evaluate", *own, "--model", str(place / "run"), "--splits",
            str(place / "run/splits.csv"), "--part", "test", "--out",
            str(place / "report"))  # fmt: skip
        report = json.loads((place / "report/evaluation.json").read_text())
        run("skinxai", "predict", str(place / "own/fotos"), "--model", str(place / "run"), "--out",
            str(place / "results"))  # fmt: skip
        rows = json.loads((place / "results/results.json").read_text())
        seen = private(place / "seen", root, "train", 120)
        run("skinxai", "audit", *seen, "--init-weights", "bundled", "--out", str(place / "leaks"),
            ok=(1,))  # fmt: skip
        leaks = json.loads((place / "leaks/audit.json").read_text())
        refused = subprocess.run(
            [Path(sys.executable).parent / "skinxai", "train", "--data", *seen, "--out",
             str(place / "no"), "--backbone", "tf_efficientnet_lite1", "--init-weights", "bundled"],
            capture_output=True, text=True,
        )  # fmt: skip
        if refused.returncode != 2 or "were trained on" not in refused.stderr:
            raise SystemExit(f"training on seen images was not refused:\n{refused.stderr}")
    figures = ("accuracy", "balanced_accuracy", "macro_f1")
    found = {
        "own images": len(rows),
        "own: findings of the audit": [f"{f['kind']}: {f['message']}" for f in audit["findings"]],
        "own: test images and lesions": [report["images"], report["lesions"]],
        "own: test": {figure: report[figure] for figure in figures},
        "seen: findings of the audit": [
            f"{f['kind']}: {f['count']}" for f in leaks["findings"] if f["severity"] == "error"
        ],
        "seen: images outside the training part": sum(
            count for part, count in leaks["counts"].items() if part != "train"
        ),
        "seen: training from bundled": refused.stderr.strip().splitlines()[-1],
    }
    (HERE / "results/private_data.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
