"""Train the bundled model on the frozen split: small images first, then the final size.

Killed and started again, it goes on after the newest checkpoint. The test part is not read::

    python training/train_bundled.py HAM10000_FOLDER IMAGENET_WEIGHTS.safetensors RUNS_FOLDER lite1

The last word names one of `RECIPES`; ``lite1`` is the bundled model's. The starting weights are
those of ``training/convert_imagenet.py`` for its network. ``student`` and those that begin
with ``mixed`` start from a model folder, ``src/skinxai/bundled``; the student learns from the
ensemble in ``models`` as well. In place of HAM10000_FOLDER, the mixed ones take the work folder of
``training/recipe … --until unpack``, which has each image as JPEG and as WebP file. The logged runs
of ``student``, ``mixed`` and ``mixed-hard`` began with the model that was bundled before (revision
6b81ea5773ed), and the student's teacher was the ensemble with it; both are in the history.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from frozen_split import frozen_split

from skinxai import Trainer
from skinxai.data import Splits
from skinxai.training.callbacks import Callback

HERE = Path(__file__).parent
SHARED = {
    "sampler": "square_root",
    "augmentation": "heavy",
    "weight_decay": 0.05,
    "clip_norm": 5.0,
    "amp": True,  # on the machine of the logged runs: bfloat16
}
LITE1 = {
    "backbone": "tf_efficientnet_lite1",
    "loss_options": {"label_smoothing": 0.05},
    "mixup": 0.2,
}
LITE2 = {"backbone": "tf_efficientnet_lite2", "drop_rate": 0.3}
MIXED = {"image_size": (224, 304), "epochs": 3, "learning_rate": 3e-4, "drop_path_rate": 0.15}
RECIPES: dict[str, tuple[dict[str, object], ...]] = {
    "lite1": (  # the bundled one
        LITE1 | dict(image_size=(144, 192), epochs=12, stop_after=6, learning_rate=8e-4,
                     drop_path_rate=0.1),
        LITE1 | dict(image_size=(224, 304), epochs=9, learning_rate=4e-4, drop_path_rate=0.15,
                     seed=1),
    ),
    "lite2": (
        LITE2 | dict(image_size=(144, 192), epochs=10, stop_after=8, learning_rate=1e-3,
                     drop_path_rate=0.1),
        LITE2 | dict(image_size=(192, 256), epochs=13, learning_rate=6e-4, drop_path_rate=0.2,
                     seed=1),
    ),
    "student": (
        dict(backbone="tf_efficientnet_lite1", mixup=0.2, image_size=(224, 304), epochs=5,
             learning_rate=3e-4, drop_path_rate=0.15, seed=2, teacher_share=0.7,
             teacher=str(HERE.parent / "models/skinxai-ham10000-ensemble"),
             teacher_temperature=2.0),
    ),
    "mixed": (LITE1 | MIXED | dict(seed=3),),
    "mixed-again": (LITE1 | MIXED | dict(seed=4),),
    "mixed-hard": (
        MIXED | dict(backbone="tf_efficientnet_lite1", drop_rate=0.3, drop_path_rate=0.2, seed=6),
    ),
    "mixed-lite0": (LITE1 | MIXED | dict(backbone="tf_efficientnet_lite0", seed=7),),
    "mixed-lite2": (
        LITE1 | LITE2 | dict(image_size=(144, 192), epochs=8, stop_after=7, learning_rate=1e-3,
                             drop_path_rate=0.1),
        LITE1 | LITE2 | dict(image_size=(192, 256), epochs=4, learning_rate=6e-4,
                             drop_path_rate=0.2, seed=8),
    ),
    "mixed-long": (
        LITE1 | dict(image_size=(144, 192), epochs=20, learning_rate=1e-3, drop_path_rate=0.1,
                     seed=9),
        LITE1 | dict(image_size=(224, 304), epochs=8, learning_rate=4e-4, drop_path_rate=0.2,
                     seed=10),
    ),
}  # fmt: skip


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


def mixed_split(work: Path, first: int) -> Splits:
    """The training part as JPEG and WebP files, judged on JPEG files.

    Nevi, two thirds of the images, are there once, every second of them as WebP file, from the
    ``first`` (0 or 1) on; the images of all other classes are there twice.
    """
    sys.path.insert(0, str(HERE / "recipe"))
    from material import WEBP, Material

    material = Material(work)
    splits = material.splits("train")
    nevi = {item.image_id for item in splits.train if item.label == "nv"}
    once = sorted(name for name in nevi if not name.endswith(WEBP))
    left_out = {*once[first::2], *(name + WEBP for name in once[1 - first :: 2])}
    parts = {"train": splits.train, "val": splits.val}
    ids = {name: {item.image_id for item in part} - left_out for name, part in parts.items()}
    return Splits.of(material.records, ids)


def main(root: Path, weights: Path, runs: Path, recipe: str = "lite1") -> None:
    *before, last = RECIPES[recipe]
    if recipe.startswith("mixed"):
        splits = mixed_split(root, first=0 if recipe == "mixed" else 1)
    else:
        splits = frozen_split(root)
    for settings in before:
        weights = stage(splits, runs / f"{recipe}-small", init_weights=weights, **settings)
    stage(splits, runs / f"skinxai-ham10000-{recipe}", init_weights=weights, **last)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:5])
