"""Give model folders the fingerprints of their training images, which find copies of them.

The images are read from the data set; each must be one that the folder's hashes know, and the
folder's hashes must know no other. Weights and everything else keep their bytes. An ensemble's
folder gets them in each member::

    python training/build_fingerprints.py HAM10000_FOLDER src/skinxai/bundled \\
        models/skinxai-ham10000-ensemble
"""

import sys
from pathlib import Path

from frozen_split import frozen_split

from skinxai.configs import EnsembleConfig
from skinxai.data import TrainedOn
from skinxai.data.hashing import looks
from skinxai.model_folders.ensembles import read_members, write_members
from skinxai.model_folders.files import read_config, read_model_folder, write_model_folder
from skinxai.model_folders.parts import CARD, CONFIG, WEIGHTS

ROW = "| copies of them | fingerprints in `training_fingerprints.safetensors` |"
AFTER = "| training images |"


def main(root: Path, *folders: Path) -> None:
    splits = frozen_split(root)
    known = TrainedOn.of_looks(looks(splits.train))
    for folder in folders:
        files = read_model_folder(folder)
        if WEIGHTS in files.files:
            print(folder, write_model_folder(folder, with_fingerprints(files.files, known))[:12])
            continue
        config = read_config(files, EnsembleConfig)
        members = [with_fingerprints(e.files, known) for e in read_members(files, config)]
        print(folder, write_members(folder, config, members, files.files[CARD].decode()))


def with_fingerprints(files: dict[str, bytes], known: TrainedOn) -> dict[str, bytes]:
    """The files with the part, and the card with a line about it."""
    own = TrainedOn.from_files(files)
    if own is None or own.prefixes != known.prefixes:
        raise SystemExit(f"the training part must be what the model of {files[CONFIG]!r:.80} saw")
    lines = [line for line in files[CARD].decode().split("\n") if line != ROW]
    place = next((n for n, line in enumerate(lines) if line.startswith(AFTER)), None)
    if place is not None:
        lines.insert(place + 1, ROW)
    return {**files, **known.files(), CARD: "\n".join(lines).encode()}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
