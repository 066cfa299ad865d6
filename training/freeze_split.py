"""Write the frozen split of HAM10000: 70/15/15, grouped by lesion, stratified by class.

Pairs of near_duplicates.csv count as one lesion. The lesions of the 70 sample images at 600×450
stay in the test part, so that no picture in the documentation was trained on.

``splits.csv`` was written once and stays: the bundled model was trained on it. `split` up to commit
1f7fc3b, which went through the classes in label order, gives the same file again (its sha256 is in
``splits.sha256``). Since then `split` places groups by the rarest class that they contain, which
gives other parts. This script therefore refuses to run where the file exists::

    python training/freeze_split.py HAM10000_FOLDER
"""

import csv
import sys
from pathlib import Path

from skinxai.data import load_ham10000, split

HERE = Path(__file__).parent


def main(root: Path) -> None:
    target = HERE / "splits.csv"
    if target.exists():
        raise SystemExit(f"{target} exists, and the bundled model was trained on it; it stays.")
    with (HERE / "near_duplicates.csv").open() as lines:
        linked = [(row["image_id"], row["other_image_id"]) for row in csv.DictReader(lines)]
    samples = [path.stem for path in sorted((root / "samples_600x450").glob("*.jpg"))]
    splits = split(load_ham10000(root), seed=0, linked=linked, keep_in_test=samples)
    digest = splits.to_csv(target)
    (HERE / "splits.sha256").write_text(digest + "\n")
    for part in (splits.train, splits.val, splits.test):
        print(len(part), dict(zip(part.labels, part.class_counts(), strict=True)))
    print(digest)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
