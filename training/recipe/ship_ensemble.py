"""Put the members that ship into one calibrated ensemble of at most 40 MB.

    python training/recipe/ship_ensemble.py IMAGES STUDENT_RUN MEMBERS ENSEMBLE.json OUTPUT

MEMBERS holds the members' folders, ``lite1-0``, ``lite2-0`` and so on; ENSEMBLE.json is that of the
recipe, whose weights were fitted on out-of-fold answers. As many members as fit are taken, fold
after fold. The ensemble is calibrated on the validation part of STUDENT_RUN, which no member
learnt. IMAGES as for ``ship.py``. A person then opens the test with
``training/open_test.py HAM10000_FOLDER OUTPUT OUTPUT``, once.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ship
from settings import MEMBERS

from skinxai.model_folders.ensembles import write_ensemble

MOST_BYTES = 40 * 10**6
NAME = "skinxai-ham10000-ensemble"
CARD = """\
# {name}

Classifies dermatoscopic images of skin lesions into seven diagnoses. **A research tool, not a
medical device:** do not use it for diagnosis.

| | |
| --- | --- |
| members | {members} |
| output | one probability for each class, the weighted mean of the members', not calibrated |
| licence of the weights | CC BY-NC 4.0, as the training data: no commercial use |

Each member learnt four of five folds of the training part of HAM10000 (Tschandl, Rosendahl &
Kittler, Sci Data 5:180161, 2018; ViDIR Group, Department of Dermatology, Medical University of
Vienna). The weights of the networks have the least macro log loss on out-of-fold answers; on those,
the mean of both networks had accuracy {out_of_fold[accuracy]:.3f}, balanced accuracy \
{out_of_fold[balanced_accuracy]:.3f} and
macro-F1 {out_of_fold[macro_f1]:.3f}, four flips. No member learnt the validation part.

## Limits

* HAM10000 comes from two clinics (Vienna and Queensland), mostly from people with light skin, and
  has lesions that were worth a photograph: prevalence elsewhere is another.
* A heatmap shows where the score depends on the image, not whether the answer is right.
"""


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_turn(members: Path) -> list[Path]:
    """The members' folders: fold after fold, each network in turn."""
    folders = [path for network in MEMBERS for path in sorted(members.glob(f"{network}-[0-9]"))]
    return sorted(folders, key=lambda path: int(path.name.rpartition("-")[2]))


def weights_of(folders: Sequence[Path], networks: Mapping[str, float]) -> list[float]:
    """Each member's weight: its network's, shared by the members of that network."""
    names = [path.name.rpartition("-")[0] for path in folders]
    raw = [networks[name] / names.count(name) for name in names]
    return [each / sum(raw) for each in raw]


def write(folders: Sequence[Path], content: Mapping[str, Any], output: Path) -> None:
    """The ensemble of these members, not calibrated."""
    weights = weights_of(folders, content["weights"])
    listed = ", ".join(f"`{f.name}` {w:.3f}" for f, w in zip(folders, weights, strict=True))
    card = CARD.format(name=NAME, members=listed, out_of_fold=content["out_of_fold"])
    write_ensemble(output, folders, weights=weights, name=NAME, card=card)


def main(images: Path, run: Path, members: Path, ensemble: Path, output: Path) -> None:
    from build_calibration import calibrate

    splits, content = ship.splits_of_run(images, run), json.loads(ensemble.read_text())
    folders = in_turn(members)
    for count in range(len(folders), 1, -1):
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / "ensemble"
            write(folders[:count], content, made)
            if size_of(made) <= MOST_BYTES:
                calibrate(splits.val, made)
            size = size_of(made)
            names = ", ".join(path.name for path in folders[:count])
            print(f"{names}: {size / 1e6:.1f} MB", flush=True)
            if size <= MOST_BYTES:
                shutil.copytree(made, output)
                return
    raise SystemExit(
        f"{members} must hold two members or more that fit in {MOST_BYTES / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:6]))
