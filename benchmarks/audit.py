"""What the audit finds among all of HAM10000: planted copies, and pairs of different lesions.

Plants a copy of each of 200 random images (turned, flipped, resized, re-encoded, or cropped to
70 % of the area) under a lesion of its own, and audits all images together::

    python benchmarks/audit.py HAM10000_FOLDER

Writes results/audit.json, and results/audit_pairs.csv with every pair of different lesions that
was found. audit_verdicts.csv says of each what it looks like side by side: same, not same or
unsure.
"""

import csv
import io
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from skinxai import read_image
from skinxai.data import Record, Splits, audit, load_ham10000
from skinxai.reporting import write_audit

ROOT = Path(__file__).parent
COPIES = 200


def cropped(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    tall, wide = round(0.7**0.5 * height), round(0.7**0.5 * width)
    top, left = draws.integers(0, height - tall + 1), draws.integers(0, width - wide + 1)
    return pixels[top : top + tall, left : left + wide]


def shrunk(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = draws.uniform(0.5, 0.9)
    size = (round(scale * width), round(scale * height))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


CHANGES = {
    "exact": lambda pixels, draws: pixels,
    "flipped": lambda pixels, draws: pixels[:, ::-1],
    "rotated": lambda pixels, draws: np.rot90(pixels, draws.integers(1, 4)),
    "resized": shrunk,
    "re-encoded": lambda pixels, draws: pixels,
    "cropped": cropped,
}


def save(pixels: np.ndarray, path: Path, change: str) -> None:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if change == "exact":
        image.save(path, "PNG")
    else:
        image.save(path, "JPEG", quality=50 if change == "re-encoded" else 80)


def main(root: Path) -> None:
    draws = np.random.default_rng(0)
    records = load_ham10000(root)
    with tempfile.TemporaryDirectory() as folder:
        copies, planted = [], {}
        for number, place in enumerate(draws.permutation(len(records))[: COPIES * len(CHANGES)]):
            change = list(CHANGES)[number // COPIES]
            item, name = records[int(place)], f"copy_{number:04d}"
            pixels = CHANGES[change](read_image(item.path).pixels, draws)
            path = Path(folder) / f"{name}.{'png' if change == 'exact' else 'jpg'}"
            save(pixels, path, change)
            copies.append(Record(name, path, item.label))
            planted[name] = (item.image_id, item.lesion_id, change)
        together = replace(records, items=(*records, *copies))
        ids = {"train": [i.image_id for i in records], "test": list(planted)}
        splits = Splits.of(together, ids)
        start = time.perf_counter()
        report = audit(splits, progress=True)
        seconds = time.perf_counter() - start
        found = {name: set() for name in planted}
        real = []
        for pair in report.pairs:
            names = (pair.image_id, pair.other_id)
            copy = [name for name in names if name in planted]
            if not copy:
                real.append(pair)
            for name in copy:
                found[name].add(next(other for other in names if other != name))
        hits = {c: sum(origin in found[n] for n, (origin, _, k) in planted.items() if k == c)
                for c in CHANGES}  # fmt: skip
        lesion_of = {item.image_id: item.lesion_id for item in together}
        strangers = sum(
            lesion_of[other] != planted[name][1]
            for name in planted for other in found[name] if other not in planted
        )  # fmt: skip
        write_audit(replace(report, pairs=tuple(real)), splits, "results/audit")
    with (ROOT / "audit_verdicts.csv").open() as lines:
        verdicts = {(v["image_id"], v["other_id"]): v["verdict"] for v in csv.DictReader(lines)}
    seen = [verdicts.get((p.image_id, p.other_id), "not looked at") for p in real]
    result = {
        "images": len(together),
        "seconds on this machine": round(seconds),
        "share of planted copies found": {c: hits[c] / COPIES for c in CHANGES},
        "copies paired with another lesion": strangers,
        "pairs of different lesions of HAM10000": {v: seen.count(v) for v in sorted(set(seen))},
    }
    (ROOT / "results/audit.json").write_text(json.dumps(result, indent=2) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["image_id", "other_id", "label", "other_label", "similarity", "keypoints", "verdict"]
    writer.writerow(head)
    writer.writerows(
        (p.image_id, p.other_id, *p.labels, p.similarity, p.keypoints, verdict)
        for p, verdict in zip(real, seen, strict=True)
    )
    (ROOT / "results/audit_pairs.csv").write_text(text.getvalue())
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
