"""Compare a model with the one bundled before it, on the test part, in both kinds of file::

    python training/compare_on_test.py HAM10000_FOLDER FOLDER_OF_WEBP_TARS BEFORE NOW

The images are those of HAM10000_FOLDER, and the same ones as WebP files at 448 × 336. Both openings
are logged in test_openings.csv; the paired differences go to logs/compared-on-test.json.
"""

import csv
import json
import sys
import tarfile
import tempfile
from pathlib import Path

from frozen_split import frozen_split, split_sha256, without_copies
from open_test import ALARMS, append, digest_of

from skinxai import Classifier
from skinxai.data import Records, load_csv

OUTPUT = Path(__file__).parent / "logs/compared-on-test.json"


def webp_of(part: Records, tars: Path, folder: Path) -> Records:
    """The same images and diagnoses, from WebP files that are unpacked into a folder."""
    names = {item.image_id for item in part}
    for path in sorted(tars.glob("*.tar")):
        with tarfile.open(path) as tar:
            own = [each for each in tar if Path(each.name).stem in names]
            tar.extractall(folder, own, filter="data")
    with (folder / "table.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("image", "label", "lesion_id"))
        writer.writerows((each.image_id, each.label, each.lesion_id) for each in part)
    return load_csv(folder / "table.csv", folder, labels=part.labels)


def main(root: Path, tars: Path, before: Path, now: Path) -> None:
    test = without_copies(frozen_split(root).test)
    old, new = (Classifier.from_pretrained(each, backend="torch") for each in (before, now))
    with tempfile.TemporaryDirectory() as name:
        kinds = {"JPEG files": test, "WebP files": webp_of(test, tars, Path(name))}
        found = {}
        for kind, part in kinds.items():
            evaluation = new.evaluate(part, against=old, not_copies=ALARMS, progress=True)
            found[kind] = evaluation.to_dict()["comparison"]
            append(
                f"one view, {kind}, against {digest_of(before):.8}", digest_of(now),
                split_sha256(), evaluation,
            )  # fmt: skip
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
