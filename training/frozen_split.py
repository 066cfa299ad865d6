"""The frozen split, its hash checked, and the images of its judged parts that are no fair question.

`COPIES` are pictures of training lesions under other lesions' ids; docs/explanation/splits.md.
"""

from dataclasses import replace
from pathlib import Path

from skinxai.data import Records, Splits, load_ham10000

HERE = Path(__file__).parent
COPIES = {
    "val": {"ISIC_0024408", "ISIC_0027559", "ISIC_0027932"},
    "test": {"ISIC_0027619", "ISIC_0027689", "ISIC_0031362"},
}


def split_sha256() -> str:
    """The hash that the split must have."""
    return (HERE / "splits.sha256").read_text().strip()


def frozen_split(root: Path) -> Splits:
    """The three parts of HAM10000 in a folder that has all of its images."""
    return Splits.from_csv(HERE / "splits.csv", load_ham10000(root), sha256=split_sha256())


def without_copies(part: Records) -> Records:
    """A judged part without the pictures of training lesions."""
    return replace(
        part, items=tuple(each for each in part if each.image_id not in COPIES[part.part])
    )
