"""Train the bundled model on the frozen split: small images first, then the final size.

Killed and started again, it goes on after the newest checkpoint. The test part is not read::

    python training/train_bundled.py HAM10000_FOLDER IMAGENET_WEIGHTS.safetensors RUNS_FOLDER

The starting weights are those of ``training/convert_imagenet.py`` for ``tf_efficientnet_lite1``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from skinxai import Trainer
from skinxai.data import Splits, load_ham10000
from skinxai.training.callbacks import Callback

HERE = Path(__file__).parent
NAME = "skinxai-ham10000-lite1"
SHARED = {
    "backbone": "tf_efficientnet_lite1",
    "loss_options": {"label_smoothing": 0.05},
    "sampler": "square_root",
    "augmentation": "heavy",
    "mixup": 0.2,
    "weight_decay": 0.05,
    "clip_norm": 5.0,
    "amp": "bfloat16",
}


class StopAfter(Callback):
    """Ends a stage before its schedule does."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch(self, row: Mapping[str, float]) -> None:
        if row["epoch"] >= self.epochs:
            raise KeyboardInterrupt


def epochs_done(folder: Path) -> int:
    log = folder / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def stage(splits: Splits, folder: Path, *, stop_after: int = 10_000, **settings: object) -> Path:
    if epochs_done(folder) >= stop_after:
        return folder
    callbacks = [StopAfter(stop_after)]
    if (folder / "train.json").exists():
        trainer = Trainer.resume(folder, callbacks=callbacks)
    else:
        trainer = Trainer(**SHARED, **settings, output_dir=folder, callbacks=callbacks)
    try:
        trainer.fit(splits)
    except KeyboardInterrupt:
        if epochs_done(folder) < stop_after:
            raise
    return folder


def main(root: Path, weights: Path, runs: Path) -> None:
    sha256 = (HERE / "splits.sha256").read_text().strip()
    splits = Splits.from_csv(HERE / "splits.csv", load_ham10000(root), sha256=sha256)
    small = stage(
        splits,
        runs / "lite1-small",
        init_weights=weights,
        image_size=(144, 192),
        epochs=12,
        stop_after=6,
        learning_rate=8e-4,
        drop_path_rate=0.1,
    )
    stage(
        splits,
        runs / NAME,
        init_weights=small,
        image_size=(224, 304),
        epochs=9,
        learning_rate=4e-4,
        drop_path_rate=0.15,
        seed=1,
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
