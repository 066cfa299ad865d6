"""Find which images a run's model will have been trained on; none may be validation images."""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_

from skinxai.configs import PreprocessConfig
from skinxai.data.hashing import check_ids
from skinxai.data.records import Records
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.training.data_checks import check_images, check_unseen, most_skipped
from skinxai.training.initial_weights import InitialWeights
from skinxai.training.ranks import ALONE, Ranks
from skinxai.training.settings import TrainConfig
from skinxai.training.teaching import Teacher


def learnt_images(
    config: TrainConfig, train: Records, val: Records, origins: Sequence[InitialWeights | Teacher],
    preprocessing: PreprocessConfig, ranks: Ranks = ALONE,
) -> tuple[TrainedOn | None, list[str | None]]:  # fmt: skip
    """Find the images of the training part and of everything else that the run learns from.

    Returns:
        The images, ``None`` if an origin does not say which images it was trained on; and the
        `skinxai.data.pixel_hash` of each image of ``train`` and then of ``val``, ``None`` of one
        that cannot be read, where the settings let it pass. It is among no images that anything is
        compared with, so the run must not use it later either.

    Raises:
        DatasetImageError: if images cannot be read.
        LeakageError: if validation images are among them, or look like copies of them.
        OptionError: if ``not_copies`` has ids that are not in the validation part.
    """
    check_ids(config.not_copies, val)
    fits = val.pixels is not None and val.pixels.fits(preprocessing)  # else validation reads files
    most = config.max_pixels
    checked = check_images(
        val, "validation", spare=_spare(config, val), cached=fits, max_pixels=most, ranks=ranks
    )
    learnt = check_images(
        train, "training", spare=_spare(config, train), max_pixels=most, ranks=ranks
    )
    trained_on = known_images(
        learnt, checked, origins, leaked=train.leaked and val.leaked,
        not_copies=config.not_copies, ranks=ranks,
    )  # fmt: skip
    found = [learnt.get(item.image_id) for item in train]
    found += [checked.get(item.image_id) for item in val]
    return trained_on, [look and look.digest for look in found]


def known_images(
    learnt: Mapping[str, Look], checked: Mapping[str, Look],
    origins: Sequence[InitialWeights | Teacher], *, leaked: bool, not_copies: Collection[str],
    ranks: Ranks = ALONE,
) -> TrainedOn | None:  # fmt: skip
    """The images that a model learns from, none of which may be validation images.

    If the parts are ``leaked``, by their user's will, nothing is refused. The result is ``None`` if
    an origin does not say which images it was trained on.

    Raises:
        LeakageError: if validation images are among them, or look like copies of them.
    """
    own = TrainedOn.of_looks(learnt.values())
    found = [origin.trained_on for origin in origins if origin.trained_on is not None]
    if not leaked:
        # each: a silent member hides none of the others'; what is learnt anyway is checked below
        for known in (known for origin in origins for known in origin.known):
            if not known.is_within(own):
                check_unseen(
                    checked, known, "what the starting weights or the teacher were trained on",
                    "take other images, or start from 'imagenet' without a teacher",
                    not_copies, ranks=ranks,
                )  # fmt: skip
        check_unseen(
            checked, own, "the training part",
            "find them with skinxai.data.audit() and put both copies into one part (linked= of "
            "split())",
            not_copies, ranks=ranks,
            command="remove one of both images, or give both one lesion in the table, so that they "
            "come into one part",
        )  # fmt: skip
    return reduce(or_, found, own) if len(found) == len(origins) else None


def _spare(config: TrainConfig, records: Records) -> int:
    return most_skipped(records) if config.unreadable == "skip" else 0
