"""Checks of `Trainer.fit` on its images before the first step."""

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import compress

from skinxai.configs import canonical_json
from skinxai.data.hashing import looks
from skinxai.data.records import Records
from skinxai.data.splits import in_two_parts
from skinxai.disk.tar_members import read_stored, stored_size
from skinxai.errors import (
    DatasetImageError,
    DatasetSchemaError,
    LeakageError,
    OptionError,
    TrainingError,
)
from skinxai.images.limits import MAX_BYTES, MAX_PIXELS
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.plain_text import agreeing, quoted
from skinxai.progress import watched
from skinxai.results import SeenImages
from skinxai.training.ranks import ALONE, Ranks

HASHED_FILES = 64
"""Image files of a part whose content `fingerprint` reads, about."""


def check_parts(train: Records, val: Records) -> None:
    """Refuse parts that are unfit to learn from or to choose on; errors as of `Trainer.fit`."""
    for name, records in (("train", train), ("val", val)):
        _refuse_test(name, records)
    if not len(train) or not len(val):
        raise TrainingError(f"train and val must hold images, got {len(train)} and {len(val)}.")
    if train.labels != val.labels:
        got = f"{list(train.labels)} and {list(val.labels)}"
        if train.labels.codes == val.labels.codes:
            got = f"{list(train.labels)} twice, with other long names or malignant labels in val"
        raise TrainingError(
            f"train and val must have one label set, got {got}; read val with labels=train.labels."
        )
    _refuse_same_names(train, val)
    allowed = train.leaked and val.leaked
    for kind, key in (("lesion", "lesion_id"), ("patient", "patient_id")):
        if (shared := in_two_parts((train, val), key)) and not allowed:
            raise LeakageError(
                f"train and val must share no {kind}, but {len(shared)} "
                f"{agreeing(len(shared), 'is', 'are')} in both, e.g. {shared[0]!r}",
                python="split with skinxai.data.split()",
                command="leave --splits out, so that the images are split anew",
            )
    check_classes(train)


def check_alone(train: Records) -> None:
    """Refuse images that are unfit to learn from, where there is no validation part."""
    _refuse_test("train", train)
    if not len(train):
        raise TrainingError("train must hold images, got none.")
    check_classes(train)


def check_classes(train: Records) -> None:
    """Refuse a training part without images of a class; raises `TrainingError`."""
    if absent := [c for c, n in zip(train.labels, train.class_counts(), strict=True) if not n]:
        raise TrainingError(f"train must hold images of every class, but it has none of {absent}.")


def check_prepared(train: Records, image_size: tuple[int, int]) -> None:
    """Refuse an input that is larger than the pixels that a prepared folder keeps."""
    size = train.pixels.image_size if train.pixels is not None else None
    if size is not None and (size[0] < image_size[0] or size[1] < image_size[1]):
        raise OptionError(
            f"image_size must be at most what the images were prepared at, {size}, got "
            f"{image_size}; take a smaller one, or prepare them larger or without a size."
        )


def _refuse_test(name: str, records: Records) -> None:
    if records.part == "test":
        raise LeakageError(
            f"{name} must not be the test part: what is learnt or chosen on it says nothing "
            f"about other images."
        )


def _refuse_same_names(train: Records, val: Records) -> None:
    """Refuse two images of one id: what a run writes down of its images could be of either."""
    paths = {item.image_id: item.path for item in train}
    if same := [i.image_id for i in val if paths.get(i.image_id, i.path) != i.path]:
        raise DatasetSchemaError(
            f"train and val must have each image_id for one file, but {len(same)} "
            f"{agreeing(len(same), 'is', 'are')} that of another file in each, e.g. "
            f"{quoted(same[0])}; read both from one table with a column 'part', or from one folder "
            f"that holds the folders train and val, and pass skinxai.data.given_split(records)."
        )


def fingerprint(train: Records, val: Records) -> dict[str, str]:
    """Hashes of what must not change before a run is resumed: labels, both parts, their images.

    Of image files, these are all sizes, and the content of some: reading all would take as long as
    an epoch. Other copies of the same files have the same hashes, wherever they lie.
    """
    rows: dict[str, object] = {
        "labels": train.labels.to_dict(),
        "train": [(item.image_id, item.label) for item in train],
        "val": [(item.image_id, item.label) for item in val],
        "prepared pixels": [part.pixels.digest if part.pixels else None for part in (train, val)],
        "files": [None if part.pixels else _files(part) for part in (train, val)],
    }
    return {name: hashlib.sha256(canonical_json(row)).hexdigest() for name, row in rows.items()}


def _files(part: Records) -> list[list[object]]:
    """The size of each image file, and the hash of some: files without compression have one size.

    A file that cannot be read has neither.
    """
    every = max(1, len(part) // HASHED_FILES)
    found: list[list[object]] = []
    for place, item in enumerate(part):
        row: list[object] = []
        with suppress(OSError):
            row.append(stored_size(item.path))
            if place % every == 0:
                row.append(hashlib.sha256(read_stored(item.path, MAX_BYTES)).hexdigest())
        found.append(row)
    return found


def most_skipped(records: Records) -> int:
    """Number of images that ``unreadable="skip"`` tolerates: one in a thousand, at least one."""
    return max(1, len(records) // 1000)


def check_images(
    records: Records,
    what: str,
    *,
    spare: int = 0,
    cached: bool = True,
    max_pixels: int = MAX_PIXELS,
    ranks: Ranks = ALONE,
) -> dict[str, Look]:
    """Read every image once; returns what each is recognised by, by image id.

    Several ranks read a part of the images each, and all get all results. Images that cannot be
    read are left out, up to ``spare`` of them. Where ``cached``, prepared pixels are read in the
    place of files; those were read when they were prepared.

    Raises:
        DatasetImageError: if more images are unreadable; the message lists all of them.
    """
    own = replace(records, items=records.items[ranks.part])
    found = looks(own, cached=cached, max_pixels=max_pixels)
    read = watched(found, len(own), None, "image", f"check {what} images")
    seen: dict[str, Look] = {}
    problems = []
    for item, value in zip(records, ranks.merged(read), strict=True):
        if isinstance(value, Look):
            seen[item.image_id] = value
        else:
            problems.append(value.prefixed(f"{quoted(item.image_id)} ({item.path})"))
    if len(problems) > spare:
        raise DatasetImageError(
            f"{len(problems)} of {len(records)} {what} images cannot be read:",
            sorted(problems, key=str),
        )
    return seen


def check_unseen(
    val: Mapping[str, Look], trained_on: TrainedOn, source: str, remedy: str,
    not_copies: Collection[str], part: str = "val", ranks: Ranks = ALONE, command: str = "",
) -> None:  # fmt: skip
    """Refuse validation images that something was trained on, or copies of such images.

    ``source`` says what was trained on them, ``part`` names the argument that holds the images,
    and the remedy is ``remedy`` in Python and ``command``, or the same, on the command line.

    Raises:
        LeakageError: if there are such images.
    """
    names = list(val)
    own = names[ranks.part]
    found = trained_on.seen({name: val[name] for name in own}, not_copies=not_copies)
    kinds = ([name in some for name in own] for some in map(set, (found.exact, found.copies)))
    seen = SeenImages(*(tuple(compress(names, ranks.merged(kind))) for kind in kinds))
    if not seen:
        return
    message = f"{part} must hold no image of {source}: of {len(val)}, {seen.describe()}"
    command = command or remedy
    if not seen.exact:
        ids = [*not_copies, *seen.copies]
        look = "Look at the images first; where they show other skin"
        remedy += f". {look}, pass not_copies={ids!r}"
        command += f". {look}, give --not-copies {','.join(ids)}"
    raise LeakageError(message, python=remedy, command=command)
