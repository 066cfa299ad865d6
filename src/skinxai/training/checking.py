"""Look up the names in a run's settings before any image is read."""

from collections.abc import Collection
from pathlib import Path

from skinxai import backbones, losses
from skinxai.disk.regular_files import is_folder
from skinxai.errors import OptionError, did_you_mean
from skinxai.model_folders.opening import is_repository
from skinxai.predicting.devices import device_named
from skinxai.training.augmentation import Augmentation
from skinxai.training.device_augmentation import DeviceAugmentation
from skinxai.training.settings import OF_TEACHER, TrainConfig

_WEIGHTS = {"init_weights": ("imagenet", "bundled"), "teacher": ("bundled",)}


def check_names(config: TrainConfig) -> None:
    """Refuse unknown names, and a device that this machine lacks; errors are those of `Trainer`."""
    backbones.check_name(config.backbone)
    losses.bind(config.loss, config.loss_options, class_counts=(1, 1))
    Augmentation(config.image_size, config.augmentation)
    if config.augment_on == "device":
        DeviceAugmentation(config.image_size, config.augmentation, hair=config.hair)
    device_named(config.device)
    for name, words in _WEIGHTS.items():
        value = getattr(config, name)
        if value is not None and value not in words and not _may_be_weights(value):
            raise OptionError(
                f"{name} must be None, {', '.join(map(repr, words))}, a model folder or "
                f"'org/name', found no folder {value!r}.{did_you_mean(value, words)}"
            )


def check_teacher(config: TrainConfig, searched: Collection[str] = ()) -> None:
    """Refuse what is asked of a teacher where there is none; it would be left out.

    Args:
        config: settings whose values are already checked.
        searched: names of settings that a search varies.

    Raises:
        OptionError: if there is such a setting.
    """
    for name in OF_TEACHER:
        given = name in searched or getattr(config, name) != getattr(TrainConfig, name)
        if given and config.teacher is None and "teacher" not in searched:
            raise OptionError(
                f"{name} must be left out where there is no teacher, to whose answers it applies",
                python="leave it out, or pass teacher",
                command="leave it out, or give --teacher",
            )


def _may_be_weights(value: str) -> bool:
    path = Path(value)
    return path.suffix == ".safetensors" or is_folder(path) or is_repository(value)
