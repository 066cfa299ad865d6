"""Folds: for each, what is learnt, what the epoch is chosen on, and what is answered."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from skinxai.data.given import in_two, names_parts
from skinxai.data.hashing import check_ids
from skinxai.data.linking import alike_pairs
from skinxai.data.records import Records, check_records
from skinxai.data.splits import PARTS, Splits, folds
from skinxai.data.stratifying import group
from skinxai.errors import DatasetError, LeakageError, ResumeMismatchError
from skinxai.model_folders.ensembles import training_pixels
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.trained_on import Look
from skinxai.numeric import whole
from skinxai.training.data_checks import check_images, check_parts, check_unseen
from skinxai.training.settings import TrainConfig

Pairs = Iterable[tuple[str, str]]


def pooled(records: Records | Splits) -> Records:
    """The images that are folded; of `Splits` those of the train and validation part alone."""
    parts = (records.train, records.val) if isinstance(records, Splits) else (records,)
    for each in parts:
        check_records(each, "cross_validate()")
    if any(each.part == "test" for each in parts):
        raise LeakageError(
            "records must not be the test part: folds of it are learnt, and then it says nothing "
            "about other images."
        )
    if isinstance(records, Splits):
        both = (item for each in parts for item in each)
        items = tuple(sorted(both, key=lambda item: item.image_id))
        leaked = any(each.leaked for each in parts)
        return replace(records.train, items=items, part="", leaked=leaked)
    if names_parts(records):
        raise LeakageError(
            "records hold several parts of the split that their data came with, and the test part "
            "must not be learnt; pass skinxai.data.given_split(records), whose train and "
            "validation parts are folded."
        )
    return records


def copies_among(records: Records, config: TrainConfig) -> tuple[tuple[str, str], ...]:
    """Read every image; pairs of images of different lesions and patients that look like copies.

    Errors are those of `cross_validate`.
    """
    check_ids(config.not_copies, records)
    looks = check_images(records, "all", max_pixels=config.max_pixels)
    if not records.leaked:
        _check_origins(looks, config)
    return alike_pairs(group(records), looks, not_copies=config.not_copies)


def _check_origins(looks: dict[str, Look], config: TrainConfig) -> None:
    names = [config.teacher]
    if config.init_weights != "imagenet" and not str(config.init_weights).endswith(".safetensors"):
        names.append(config.init_weights)
    for name in filter(None, names):
        check_unseen(
            looks, training_pixels(open_model(name)).known,
            "what the starting weights or the teacher were trained on",
            "take other images, or start from 'imagenet' without a teacher", config.not_copies,
            part="records",
        )  # fmt: skip


def fold_splits(records: Records, k: int, seed: int, linked: Pairs = ()) -> tuple[Splits, ...]:
    """A split for each fold, whose test part is the fold.

    The folds come from `skinxai.data.folds`. Of the images outside a fold, 15 % are its validation
    part, on which the epoch is chosen; the network learns the rest. So neither the weights nor the
    epoch of a fold's model depend on the fold.

    Raises:
        DatasetError: if a class is in fewer lesions, with their patients and copies, than there
            are folds, or some training part would lack a class.
    """
    k = whole("folds", k, 2, error=DatasetError)
    pairs = tuple(linked)
    return tuple(
        _splits(records, each, seed, pairs) for each in folds(records, k, seed, linked=pairs)
    )


def check_linked(splits: Iterable[Splits], linked: Pairs) -> None:
    """Refuse pairs that folds which were drawn before have in two parts."""
    pairs = tuple(linked)
    for each in splits if pairs else ():
        part_of = {item.image_id: part for part in PARTS for item in getattr(each, part)}
        for pair in pairs:
            if unknown := [name for name in pair if name not in part_of]:
                raise DatasetError(f"linked must name images that are folded, got {unknown[0]!r}.")
            if len({part_of[name] for name in pair}) > 1:
                raise ResumeMismatchError(
                    f"linked must be the pairs that the cross-validation began with, but its folds "
                    f"part {' and '.join(map(repr, pair))}; start a new one in another folder."
                )


def _splits(
    records: Records, fold: Splits, seed: int, linked: tuple[tuple[str, str], ...]
) -> Splits:
    outside = {item.image_id for item in fold.train}
    own = [pair for pair in linked if outside.issuperset(pair)]
    train, val = in_two(fold.train, seed, own)
    made = Splits.of(
        records, {"train": train, "val": val, "test": [item.image_id for item in fold.val]}
    )
    counts = zip(records.labels, made.train.class_counts(), records.class_counts(), strict=True)
    if absent := [code for code, learnt, all_of in counts if all_of and not learnt]:
        raise DatasetError(
            f"each fold's training part must hold images of every class, but one would have none "
            f"of {absent}; use fewer folds or merge classes."
        )
    check_parts(made.train, made.val)
    return made


def notes_on(splits: Iterable[Splits]) -> Iterator[str]:
    """Remarks on the folds for the reader of their figures."""
    for number, each in enumerate(splits, start=1):
        for text in each.notes:
            yield f"fold {number}: {text.replace('the test part', 'the fold')}"
