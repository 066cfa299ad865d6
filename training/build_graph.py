"""Give a model folder its graph, for the backends without torch, and its probe::

    python training/build_graph.py src/skinxai/bundled FOLDER_OF_IMAGES

The graph's answers are compared with torch's on the images in each backend.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from skinxai import Classifier


def add_graph(folder: Path, images: Path | Sequence[Path]) -> None:
    print(Classifier.from_pretrained(folder).with_graph(images).save_pretrained(folder))


if __name__ == "__main__":
    add_graph(*map(Path, sys.argv[1:3]))
