"""Train the bundled model on the frozen split: small images first, then the final size.

Killed and started again, it goes on after the last finished epoch. The test part is not read::

    python training/train_bundled.py HAM10000_FOLDER IMAGENET_WEIGHTS.safetensors RUNS_FOLDER
"""

import sys
from pathlib import Path

from skinxai.data import Splits, load_ham10000
from skinxai.training.trainer import Trainer

HERE = Path(__file__).parent
SHARED = {"backbone": "tf_efficientnet_lite0", "sampler": "square_root", "amp": True}


def stage(splits: Splits, folder: Path, **settings: object) -> Path:
    if (folder / "train.json").exists():
        trainer = Trainer.resume(folder)
    else:
        trainer = Trainer(**SHARED, **settings, output_dir=folder)
    trainer.fit(splits.train, splits.val)
    return folder


def main(root: Path, weights: Path, runs: Path) -> None:
    sha256 = (HERE / "splits.sha256").read_text().strip()
    splits = Splits.from_csv(HERE / "splits.csv", load_ham10000(root), sha256=sha256)
    small = stage(
        splits,
        runs / "small",
        init_weights=weights,
        image_size=(128, 160),
        epochs=6,
        learning_rate=1e-3,
    )
    stage(
        splits,
        runs / "skinxai-ham10000-lite0",
        init_weights=small,
        image_size=(192, 256),
        epochs=4,
        learning_rate=4e-4,
        seed=1,
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
