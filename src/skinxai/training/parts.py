"""What `Trainer.fit` asks of its images before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from skinxai.configs import canonical_json
from skinxai.data.hashing import pixel_hashes
from skinxai.data.membership import TrainedOn
from skinxai.data.records import Records
from skinxai.errors import DatasetImageError, LeakageError, TrainingError
from skinxai.limits import MAX_PIXELS
from skinxai.progress import watched


def check_parts(train: Records, val: Records) -> None:
    """Refuse parts that nothing can be learnt or chosen on.

    Raises:
        LeakageError: shared lesions or patients, or a test part.
        TrainingError: a class without images, different labels, or no images.
    """
    for name, records in (("train", train), ("val", val)):
        if records.part == "test":
            raise LeakageError(
                f"{name} must not be the test part: what is learnt or chosen on it says nothing "
                f"about other images."
            )
    if not len(train) or not len(val):
        raise TrainingError(f"train and val must hold images, got {len(train)} and {len(val)}.")
    if train.labels != val.labels:
        raise TrainingError(
            f"train and val must have one label set, got {list(train.labels)} and "
            f"{list(val.labels)}."
        )
    allowed = train.leaked and val.leaked
    for kind, key in (("lesion", "lesion_id"), ("patient", "patient_id")):
        sets = [{getattr(item, key) for item in part} - {None} for part in (train, val)]
        if (shared := sets[0] & sets[1]) and not allowed:
            raise LeakageError(
                f"train and val must share no {kind}, {len(shared)} are in both, e.g. "
                f"{min(shared)!r}; split with skinxai.data.split()."
            )
    if absent := [c for c, n in zip(train.labels, train.class_counts(), strict=True) if not n]:
        raise TrainingError(f"train must hold images of every class, it has none of {absent}.")


def fingerprint(train: Records, val: Records) -> dict[str, str]:
    """Hashes of what a resumed run must find as it was: labels and both parts."""
    rows: dict[str, object] = {
        "labels": train.labels.to_dict(),
        "train": [(item.image_id, item.label) for item in train],
        "val": [(item.image_id, item.label) for item in val],
        "prepared pixels": [part.pixels.digest if part.pixels else None for part in (train, val)],
    }
    return {name: hashlib.sha256(canonical_json(row)).hexdigest() for name, row in rows.items()}


def most_skipped(records: Records) -> int:
    """Images that ``unreadable="skip"`` lets through: one in a thousand, at least one."""
    return max(1, len(records) // 1000)


def check_images(
    records: Records,
    what: str,
    *,
    spare: int = 0,
    cached: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> list[str]:
    """Read every image once and return the hashes of their pixels.

    Args:
        records: a part; those of a prepared folder were read when it was prepared.
        what: the part, for the progress bar and messages.
        spare: unreadable images that are let through, without a hash.
        cached: whether prepared pixels are what will be read; else the files are checked.
        max_pixels: most pixels of an image that are decoded.

    Raises:
        DatasetImageError: more unreadable images, all of them named.
    """
    found = pixel_hashes(records, cached=cached, max_pixels=max_pixels)
    hashes, problems = [], []
    for item, value in zip(
        records, watched(found, len(records), None, "image", f"check {what} images"),
        strict=True,
    ):  # fmt: skip
        if isinstance(value, str):
            hashes.append(value)
        else:
            problems.append(f"{item.image_id!r} ({item.path}): {value}")
    if len(problems) > spare:
        raise DatasetImageError(
            f"{what} images must be readable, {len(problems)} of {len(records)} are not:",
            tuple(sorted(problems)),
        )
    return hashes


def check_unseen(hashes: Sequence[str], trained_on: TrainedOn, leaked: bool) -> None:
    """Refuse validation images that the starting weights, or a teacher, were trained on.

    Raises:
        LeakageError: such images, where leakage was not allowed.
    """
    if leaked:
        return
    if seen := sum(value in trained_on for value in hashes):
        raise LeakageError(
            f"val must hold no image that the starting weights or the teacher were trained on, "
            f"{seen} of {len(hashes)} are; take other images, or start from 'imagenet' without a "
            f"teacher."
        )
