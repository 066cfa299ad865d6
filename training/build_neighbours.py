"""Give a model folder the embeddings of its training lesions, for ``Classifier.nearest``.

Recall is that of the compressed embeddings against the whole ones, asked with the validation
images; no diagnosis is read::

    python training/build_neighbours.py HAM10000_FOLDER src/skinxai/bundled
"""

import sys
from dataclasses import replace
from pathlib import Path

from frozen_split import frozen_split

from skinxai import Classifier, checkpoints
from skinxai.data import Splits
from skinxai.data.hashing import pixel_hashes
from skinxai.explaining.by_example import first_of_each_lesion, recall
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.neighbours import Neighbours
from skinxai.model_folders.parts import NEIGHBOURS

ROW = "| training lesions |"
AFTER = "| training images |"


def add_neighbours(splits: Splits, folder: Path) -> None:
    """Write the embeddings of the training part's lesions into a model folder, and its card.

    Args:
        splits: the training part is what the model learnt; the validation part asks.
        folder: its card has the row `AFTER`.
    """
    classifier = Classifier.from_pretrained(folder)
    lesions = first_of_each_lesion(splits.train)
    training = classifier.embed([item.path for item in lesions], progress=True)
    asked = classifier.embed([item.path for item in splits.val], progress=True)
    hashes = [str(value) for value in pixel_hashes(lesions)]
    neighbours = Neighbours.build(training, lesions.targets(), hashes)
    found = recall(neighbours, training, hashes, asked)
    loaded = replace(checkpoints.unpack(read_model_folder(folder)), neighbours=neighbours)
    row = (
        f"{ROW} embeddings of {len(neighbours)} in `{NEIGHBOURS}`: `classifier.nearest(image)`; "
        f"of the 5 nearest of the whole embeddings they find {found:.2f} |"
    )
    lines = [line for line in loaded.card.split("\n") if not line.startswith(ROW)]
    place = next(n for n, line in enumerate(lines) if line.startswith(AFTER)) + 1
    card = "\n".join([*lines[:place], row, *lines[place:]])
    print(row, replace(loaded, card=card).save(str(folder)))


if __name__ == "__main__":
    add_neighbours(frozen_split(Path(sys.argv[1])), Path(sys.argv[2]))
