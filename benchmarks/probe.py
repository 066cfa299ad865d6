"""A linear probe, nearest neighbours and fine-tuning on few images of HAM10000.

Usage: python benchmarks/probe.py HAM10000 WEIGHTS [--images 300] [--repeats 3] [--epochs 5]

WEIGHTS are ImageNet weights of tf_efficientnet_lite0. Each repeat takes other training images.
Half of the validation part, by lesion, chooses C, k and the epoch; the other half judges. The test
part is not read. Writes results/probe.json and prints a table.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from skinxai import Trainer
from skinxai.data import Records, load_ham10000, split
from skinxai.probing import probe

RESULT = Path(__file__).parent / "results/probe.json"
BACKBONE, SIZE = "tf_efficientnet_lite0", (192, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ham10000", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--judged", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    parts = split(load_ham10000(given.ham10000))
    lesions = sorted({item.lesion_id for item in parts.val})
    random.Random(0).shuffle(lesions)
    first = set(lesions[: len(lesions) // 2])
    chosen = _some(parts.val, [i.image_id for i in parts.val if i.lesion_id in first], 300, 0)
    rest = [item.image_id for item in parts.val if item.lesion_id not in first]
    judged = _some(parts.val, rest, given.judged, 0)
    rows = [
        row
        for repeat in range(given.repeats)
        for row in measured(_few(parts.train, given.images, repeat), chosen, judged, given, repeat)
    ]
    found = {
        "backbone": BACKBONE, "image_size": SIZE, "epochs": given.epochs, "images": given.images,
        "chosen_on": len(chosen), "judged_on": len(judged), "rows": rows,
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(rows))


def measured(
    train: Records, chosen: Records, judged: Records, given: argparse.Namespace, seed: int
) -> list[dict]:
    weights, rows = str(given.weights), []
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        found = probe(
            train, chosen, backbone=BACKBONE, init_weights=weights, image_size=SIZE,
            class_weights="balanced", resamples=10, device="cpu", cache=name,
        )  # fmt: skip
        rows.append(
            {"way": "linear probe", "seconds": time.perf_counter() - start}
            | _figures(found.classifier, judged)
        )
        start = time.perf_counter()
        trainer = Trainer(
            BACKBONE, init_weights=weights, image_size=SIZE, epochs=given.epochs, device="cpu",
            output_dir=f"{name}/run", seed=seed, sampler="square_root", workers=0,
        )  # fmt: skip
        classifier = trainer.fit(train, chosen)
        rows.append(
            {"way": f"fine-tuning, {given.epochs} epochs", "seconds": time.perf_counter() - start}
            | _figures(classifier, judged)
        )
    for row in rows:
        print(row, flush=True)
    return rows


def _few(records: Records, count: int, seed: int) -> Records:
    return _some(records, [item.image_id for item in records], count, seed + 1)


def _some(records: Records, ids: list[str], count: int, seed: int) -> Records:
    return records.subset(random.Random(seed).sample(ids, min(count, len(ids))))


def _figures(classifier, judged: Records) -> dict:
    found = classifier.evaluate(judged, resamples=200)
    return {
        name: getattr(found, name).value
        for name in ("macro_f1", "balanced_accuracy", "accuracy")
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    lines = ["| way | seconds | macro-F1 | balanced accuracy | accuracy |", "| --- " * 5 + "|"]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        cells = [
            f"{statistics.mean(row['seconds'] for row in own):.0f}",
            *(
                f"{statistics.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"
                for values in (
                    [row[name] for row in own]
                    for name in ("macro_f1", "balanced_accuracy", "accuracy")
                )
            ),
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
