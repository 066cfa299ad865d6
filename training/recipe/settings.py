"""What is trained: networks, settings shared by all runs, the ladder of choices, the student.

A choice changes one thing. `choose` in answers.py keeps, for each axis, the change whose mean over
the folds is better than the base by more than the spread; ``chosen.json`` in the work folder holds
what was kept and may be edited by hand before the members are trained.
"""

from collections.abc import Mapping
from typing import Any

NETWORKS = {name: f"tf_efficientnet_{name}" for name in ("lite0", "lite1", "lite2")}
SIZE = (288, 384)
"""Input of members, student and the runs without a source, before a choice changes it."""
LARGEST = (336, 448)  # of the images themselves
MEMBERS = ("lite1", "lite2")
STUDENT = "lite1"

SHARED: Mapping[str, Any] = {
    "batch_size": 128,
    "learning_rate": 1.5e-3,
    "weight_decay": 0.05,
    "clip_norm": 5.0,
    "sampler": "square_root",
    "augmentation": "heavy",
    "average_decay": 0.99,
    "drop_path_rate": 0.1,
    "amp": True,
    "checkpoint_minutes": 1.0,
    "keep_checkpoints": 1,
}
BASE: Mapping[str, Any] = {"image_size": (192, 256)}
"""Of all choices, with the smallest network: what helps it is taken to help its elders."""

LADDER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    # name: (axis, what it changes); in the order in which they are trained while minutes last
    "size-240x320": ("size", {"image_size": (240, 320)}),
    "logit-adjustment": ("imbalance", {"loss": "logit_adjusted", "sampler": None}),
    "twice-the-epochs": ("epochs", {"epochs": 2}),
    "mixup": ("mixing", {"mixup": 0.2}),
    "standard-augmentation": ("crops", {"augmentation": "standard"}),
    "label-smoothing": ("loss", {"loss_options": {"label_smoothing": 0.1}}),
    "cutmix": ("mixing", {"cutmix": 1.0}),
    "average-0.998": ("average", {"average_decay": 0.998}),
    "drop-path-0.2": ("drop path", {"drop_path_rate": 0.2}),
    "layer-decay-0.8": ("layer decay", {"layer_decay": 0.8}),
    "no-sampler": ("imbalance", {"sampler": None}),
    "size-288x384": ("size", {"image_size": (288, 384)}),
    "focal": ("loss", {"loss": "focal", "loss_options": {"gamma": 1.0}}),
    "size-336x448": ("size", {"image_size": (336, 448)}),
    "light-augmentation": ("crops", {"augmentation": "light"}),
}
"""``epochs`` is a factor on the planned number; a kept size enlarges `SIZE` like `BASE`."""

DISTILLED: Mapping[str, Any] = {
    "teacher_answers": "unseen",
    "teacher_share": 0.7,
    "teacher_temperature": 2.0,
    "drop_path_rate": 0.1,
    "mixup": 0.0,  # a blend of two images has no member that learnt neither
    "cutmix": 0.0,
    "average_decay": 0.998,
}
TINY: Mapping[str, Any] = {"image_size": (64, 80), "batch_size": 16}
"""For a try on processors."""
