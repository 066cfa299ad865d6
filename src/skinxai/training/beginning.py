"""Build a run: `new_run` from settings, `resumed_run` from its folder."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy
import PIL
import torch

from skinxai.backbones.network import SkinClassifier
from skinxai.data.splits import Splits
from skinxai.errors import OptionError, ResumeMismatchError, SkinxaiWarning
from skinxai.memory import is_out_of_memory
from skinxai.plain_text import agreeing, counted, quoted
from skinxai.training.augmentation import ALBUMENTATIONS
from skinxai.training.data_checks import check_parts, fingerprint
from skinxai.training.loaders import Failure, TrainingImages, network_input
from skinxai.training.materials import Materials
from skinxai.training.membership import learnt_images
from skinxai.training.precision import PRECISIONS, choose_precision, precision_name
from skinxai.training.randomness import seed_all
from skinxai.training.ranks import ALONE, Ranks
from skinxai.training.run import Run
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig
from skinxai.training.step import SMALLEST
from skinxai.training.stored_images import StoredImages
from skinxai.training.watched_files import WatchedFiles


def new_run(config: TrainConfig, folder: RunFolder, splits: Splits, ranks: Ranks = ALONE) -> Run:
    """Build a run and store what it began with; the test part is only stored."""
    train, val = splits.train, splits.val
    files = WatchedFiles([*train, *val])
    images = fingerprint(train, val)
    _check_alike(ranks, config, images)
    made = Materials.of(config, splits, stored=None, ranks=ranks)
    trained_on, hashes = learnt_images(config, train, val, made.origins, made.preprocessing, ranks)
    files.hashes = dict(zip(_ids(splits), hashes, strict=True))
    if unread := _unread(splits, hashes):
        made = Materials.of(config, _without(splits, unread), stored=None, ranks=ranks)
    precision = ranks.from_first(
        lambda: _measured(config, made.network, made.images, made.device, ranks.count)
    )
    split_hash = ranks.from_first(lambda: splits.to_csv(folder.path / "splits.csv"))
    folder.write_trained_on(trained_on)
    folder.write_images(hashes)
    if trained_on is not None and (missing := trained_on.without_fingerprint):
        folder.note(
            f"{missing} of the {len(trained_on)} images that this model was trained on "
            f"{agreeing(missing, 'has', 'have')} no fingerprint, so only exact copies of these can "
            f"be found"
        )
    if trained_on is None:
        folder.note(
            "the starting weights, or the teacher, do not say which images they were trained "
            "on, so this model will not say it either"
        )
    folder.write_settings(
        {
            "settings": config.to_dict(),
            "precision": precision_name(precision),
            "init_weights": made.start.source,
            "teacher": made.teacher.source if made.teacher else None,
            "data": {
                "name": train.name, "train": made.splits.train.class_counts(),
                "val": made.splits.val.class_counts(), "sha256": images,
            },
            "splits_sha256": split_hash,
            "versions": _versions(),
        }
    )  # fmt: skip
    shared = "" if ranks.alone else f", each step shared by {ranks.count} ranks"
    folder.note(f"training in {precision_name(precision)} on {made.device}{shared}")
    if unread:
        folder.note(f"images that cannot be read are left out: {', '.join(map(quoted, unread))}")
    if made.start.note:
        folder.note(made.start.note)
    return made.run(folder, trained_on, precision, split_hash, files)


def resumed_run(
    config: TrainConfig, folder: RunFolder, splits: Splits, ranks: Ranks = ALONE
) -> Run:
    """Build a run again, of the split that it began with, and restore its newest checkpoint.

    Raises:
        TrainingError: if data, starting weights or teacher differ from those that the run began
            with, or a checkpoint is damaged.
    """
    known, files = folder.read_settings(), WatchedFiles([*splits.train, *splits.val])
    images = fingerprint(splits.train, splits.val)
    _check_alike(ranks, config, images)
    _check_same(known, images, skips=config.unreadable == "skip")
    stored = ranks.from_first(folder.checkpoints.network)
    hashes = folder.read_images(len(splits.train) + len(splits.val))
    read = _without(splits, _unread(splits, hashes))
    made = Materials.of(config, read, stored=stored, known=known, ranks=ranks)
    files.hashes = dict(zip(_ids(splits), hashes, strict=True))
    if known["data"]["sha256"]["files"] != images["files"]:
        _check_changed(config, made, files.hashes)
    precision = PRECISIONS[known["precision"]]
    run = made.run(folder, folder.read_trained_on(), precision, known["splits_sha256"], files)
    state = run.state
    if found := ranks.from_first(lambda: folder.checkpoints.newest(state.most_bytes)):
        same = state.restore(found[1], ranks.rank, ranks.count)
        if not same:  # another number of ranks: what they draw begins anew
            seed_all(ranks.seed(config.seed, state.progress.epoch, state.progress.step))
            folder.note(f"resumed by {counted(ranks.count, 'rank')}: dropout draws other numbers")
    if config.accumulate != known["settings"]["accumulate"]:
        state.progress.accumulate = config.accumulate
        run.checkpoint()  # before the settings say so: a kill in between loses nothing
    if state.best_weights:  # a kill may have left these half written, or not written
        run.write_model()
        folder.write_log(state.progress.log)
    folder.write_settings(known | {"settings": config.to_dict()})
    return run


def _check_alike(ranks: Ranks, config: TrainConfig, images: Mapping[str, str]) -> None:
    """Refuse a batch that ranks cannot share, and ranks that were given different things."""
    least = config.accumulate * max(SMALLEST, ranks.count)
    if config.batch_size < least:
        raise OptionError(
            f"batch_size is the batch of all ranks and must be at least {least} for {ranks.count} "
            f"ranks and accumulate {config.accumulate}, so that each has an image of each "
            f"micro-batch, got {config.batch_size}; raise it, or start fewer ranks."
        )
    settings = config.to_dict()
    for name in ("device", "workers"):
        del settings[name]
    data = {f"data ({name})": value for name, value in images.items()}
    ranks.check_same({**settings, **data, **_versions()})


def _ids(splits: Splits) -> list[str]:
    """Of the training images, and then of the validation images."""
    return [item.image_id for part in (splits.train, splits.val) for item in part]


def _unread(splits: Splits, hashes: Sequence[str | None]) -> list[str]:
    """Ids of images without a hash: they could not be read when the run began."""
    pairs = zip(_ids(splits), hashes, strict=True)
    return sorted(name for name, one in pairs if one is None)


def _without(splits: Splits, unread: Collection[str]) -> Splits:
    """The parts that are learnt from and chosen on, without images that cannot be read.

    Such an image may be readable later: it would be learnt, and not be among the images that the
    model knows that it was trained on.
    """
    parts = [
        part.subset([item.image_id for item in part if item.image_id not in unread])
        for part in (splits.train, splits.val)
    ]
    check_parts(*parts)
    return replace(splits, train=parts[0], val=parts[1])


def _check_changed(config: TrainConfig, made: Materials, before: Mapping[str, str | None]) -> None:
    """Refuse images that the run did not begin with; those that cannot be read are none."""
    judged = {item.image_id for item in made.splits.val}  # without those that are left out
    config = replace(config, not_copies=tuple(n for n in config.not_copies if n in judged))
    _, now = learnt_images(
        config, made.splits.train, made.splits.val, made.origins, made.preprocessing, made.ranks
    )
    pairs = zip(_ids(made.splits), now, strict=True)
    others = [name for name, one in pairs if one and not one.startswith(before.get(name) or "-")]
    if others:
        raise ResumeMismatchError(
            f"a resumed run must have the images it began with, but {len(others)} that can be read "
            f"are other ones, e.g. {quoted(others[0])}; give the same ones or start a new run."
        )


def _check_same(known: dict[str, Any], now: dict[str, str], *, skips: bool) -> None:
    """Refuse other images; files that became unreadable, where those are skipped, are a warning."""
    before = known["data"]["sha256"]
    changed = [name for name in before if before[name] != now[name]]
    if changed == ["files"] and skips:
        warnings.warn(
            "image files changed since the run began; those that cannot be read are skipped.",
            SkinxaiWarning,
            stacklevel=5,
        )
    elif changed:
        changed = [name for name in changed if name != "files"] or changed  # others' files differ
        raise ResumeMismatchError(
            f"a resumed run must have the images and labels it began with, but {changed} changed; "
            f"give the same ones or start a new run."
        )
    versions = _versions()
    if changed := [name for name in versions if known["versions"].get(name) != versions[name]]:
        warnings.warn(
            f"the run began with {known['versions']} and goes on with other versions of "
            f"{changed}: its bits may differ from an uninterrupted run's.",
            SkinxaiWarning,
            stacklevel=5,
        )


def _versions() -> dict[str, str]:
    """Versions of everything that affects the bits of a run."""
    modules = (cv2, numpy, PIL, torch)
    found = {module.__name__: str(module.__version__) for module in modules}
    return found | {"albumentations": ALBUMENTATIONS}


def _measured(
    config: TrainConfig, network: SkinClassifier, images: TrainingImages | StoredImages,
    device: torch.device, ranks: int,
) -> torch.dtype | None:  # fmt: skip
    if config.amp is not True or device.type != "cpu":
        return choose_precision(config.amp, device)
    count = max(SMALLEST, min(config.batch_size // config.accumulate // ranks, len(images)))
    items = [images[position, 0] for position in range(count)]
    sound = [item[1] for item in items if not isinstance(item, Failure)]
    if not sound:
        return None
    batch = network_input(torch.stack(sound), images.preprocessing, device)
    while True:
        try:
            return choose_precision(config.amp, device, network.train(), batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(batch) < 4:
                raise
            batch = batch[: len(batch) // 2]
