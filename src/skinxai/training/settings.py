"""`TrainConfig`: every setting of a run with its default and range. Loads no torch."""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from types import NoneType
from typing import Any, Self, get_args

from skinxai.configs import as_size, parse_size
from skinxai.errors import OptionError, ResumeMismatchError, did_you_mean
from skinxai.images.limits import MAX_PIXELS
from skinxai.numeric import plain, plain_fields
from skinxai.readonly import ReadOnly

CHANGEABLE = frozenset(
    ("epochs", "learning_rate", "weight_decay", "patience", "accumulate", "device", "workers",
     "strategy", "checkpoint_minutes", "keep_checkpoints", "unreadable", "augmentation",
     "max_pixels")
)  # fmt: skip
"""Settings that `Trainer.resume` may change; any other change would make it another run."""
OF_TEACHER = ("teacher_share", "teacher_temperature", "teacher_answers")
"""Settings that mean nothing without a teacher."""
MAX_WORKERS = 1024
Rule = tuple[Callable[[Any], bool], str]


def _at_least(low: float) -> Rule:
    return (lambda value: low <= value < math.inf, f">= {low:g}")


_POSITIVE: Rule = (lambda value: 0 < value < math.inf, "> 0")
_SHARE: Rule = (lambda value: 0 <= value <= 1, "in [0, 1]")
_BELOW_ONE: Rule = (lambda value: 0 <= value < 1, "in [0, 1)")
_ABOVE_ZERO: Rule = (lambda value: 0 < value <= 1, "in (0, 1]")


def _setting(
    default: Any, help: str, rule: Rule | None = None, *, choices: tuple[Any, ...] = ()
) -> Any:
    """A setting: its number passes the rule, or its value is one of the choices."""
    metadata = {"help": help, "rule": rule, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run. `Trainer` and ``skinxai train`` take them under these names."""

    backbone: str = _setting("efficientnet_b0", "Name of the backbone, in skinxai.backbones.")
    init_weights: str | None = _setting(
        "imagenet",
        "imagenet, bundled, a model folder, a .safetensors file, or none for random weights.",
    )
    image_size: tuple[int, int] = _setting(
        (192, 256), "HEIGHTxWIDTH of the network's input, or one number for a square."
    )
    epochs: int = _setting(30, "Passes over the training part.", _at_least(1))
    batch_size: int = _setting(32, "Images in one optimiser step.", _at_least(2))
    accumulate: int = _setting(
        1, "Micro-batches into which a step is split, to save memory.", _at_least(1)
    )
    learning_rate: float = _setting(
        1e-3, "Highest learning rate of the cosine schedule, for AdamW.", _POSITIVE
    )
    warm_up: float = _setting(0.05, "Share of the steps with a rising learning rate.", _BELOW_ONE)
    weight_decay: float = _setting(
        0.02, "Weight decay of matrices and kernels; vectors have none.", _at_least(0)
    )
    layer_decay: float = _setting(
        1.0,
        "Factor on the learning rate for each group of layers further from the head.",
        _ABOVE_ZERO,
    )
    frozen_groups: int = _setting(
        0, "Number of layer groups, from the input on, that are not trained.", _at_least(0)
    )
    clip_norm: float | None = _setting(
        None, "Largest norm of the gradient; none for no limit.", (_POSITIVE[0], "> 0, or None")
    )
    loss: str = _setting("cross_entropy", "Name of the loss, in skinxai.losses.")
    loss_options: Mapping[str, float] = _setting(
        {}, "Options of the loss, NAME=VALUE, e.g. label_smoothing=0.1."
    )
    teacher: str | None = _setting(
        None, "Also learn from the answers of bundled, or of a model or ensemble folder."
    )
    teacher_share: float = _setting(
        0.5, "Share of the loss that is the distance from the teacher.", _ABOVE_ZERO
    )
    teacher_temperature: float = _setting(
        1.0, "Temperature that softens both answers in that distance.", _POSITIVE
    )
    teacher_answers: str = _setting(
        "all",
        "all members of the teacher, or unseen: to each image, those that did not learn it.",
        choices=("all", "unseen"),
    )
    sampler: str | None = _setting(
        None,
        "none (each image once an epoch), square_root or balanced classes.",
        choices=(None, "square_root", "balanced"),
    )
    augmentation: object = _setting("standard", "light, standard or heavy.")
    augment_on: str = _setting(
        "cpu",
        "cpu (decoding processes), or device (images stay in memory, for a fast GPU).",
        choices=("cpu", "device"),
    )
    hair: float = _setting(0.0, "Share of the images on which hairs are drawn.", _SHARE)
    colour_constancy: float = _setting(
        0.0, "Share of the images whose lighting is made neutral.", _SHARE
    )
    mixup: float = _setting(0.0, "Alpha of mixup, 0 for none.", _at_least(0))
    cutmix: float = _setting(0.0, "Alpha of CutMix, 0 for none.", _at_least(0))
    drop_rate: float = _setting(0.2, "Dropout before the classifier.", _BELOW_ONE)
    drop_path_rate: float = _setting(
        0.0, "Stochastic depth, where the backbone has it.", _BELOW_ONE
    )
    average_decay: float = _setting(
        0.998,
        "Decay of the moving average of the weights, which is validated and saved.",
        _BELOW_ONE,
    )
    patience: int | None = _setting(
        None, "Stop after this many epochs without a better validation macro-F1.", _at_least(1)
    )
    amp: bool | str = _setting(
        True,
        "true (mixed precision where it is faster), false, bfloat16 or float16.",
        choices=(True, False, "bfloat16", "float16"),
    )
    max_pixels: int = _setting(
        MAX_PIXELS, "Refuse images of more pixels, width times height.", _at_least(1)
    )
    device: str = _setting("auto", "auto, cpu, cuda, …")
    workers: int | str = _setting(
        "auto", "Number of decoding processes besides the one that trains, if the CPU augments."
    )
    strategy: str = _setting(
        "ddp",
        "What a rank keeps: ddp (all weights), or fsdp (its piece of them, to save memory).",
        choices=("ddp", "fsdp"),
    )
    sync_batch_norm: bool = _setting(
        True,
        "true (batch statistics of all ranks' images), or false (of each rank's; faster).",
        choices=(True, False),
    )
    seed: int = _setting(
        0,
        "Seed of weights, order, augmentation and dropout.",
        (lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1"),
    )
    unreadable: str = _setting(
        "raise",
        "raise, or skip images that cannot be read: one in a thousand of a part, as many later.",
        choices=("raise", "skip"),
    )
    not_copies: tuple[str, ...] = _setting(
        (), "IDS of validation images that are wrongly taken for copies of training images."
    )
    checkpoint_minutes: float = _setting(
        10.0, "Minutes between checkpoints within an epoch.", _POSITIVE
    )
    keep_checkpoints: int = _setting(2, "Number of newest checkpoints to keep.", _at_least(1))

    def __post_init__(self) -> None:
        plain_fields(self)
        size = as_size(self.image_size)
        if not isinstance(size, tuple) or len(size) != 2 or not all(map(_is_side, size)):
            raise OptionError(
                f"image_size must be (height, width), or one number for a square, of 32 to 4096 "
                f"pixels, got {self.image_size!r}."
            )
        for name in ("backbone", "loss", "device", "init_weights", "teacher"):
            value = getattr(self, name)
            optional = name in ("init_weights", "teacher")
            if not isinstance(value, str) and (value is not None or not optional):
                raise OptionError(f"{name} must be a name, got {value!r}.")
        if not isinstance(self.loss_options, Mapping):
            raise OptionError(
                f"loss_options must be a mapping from names to values, got {self.loss_options!r}."
            )
        object.__setattr__(self, "image_size", size)
        ids = self.not_copies
        listed = isinstance(ids, Iterable) and not isinstance(ids, str | Mapping)
        if not listed or not all(isinstance(each, str) for each in ids):
            raise OptionError(f"not_copies must be a list of image ids, got {ids!r}.")
        object.__setattr__(self, "not_copies", tuple(ids))
        sound = type(self.workers) is int and 0 <= self.workers <= MAX_WORKERS
        if self.workers != "auto" and not sound:
            raise OptionError(
                f"workers must be 'auto' or an integer from 0 to {MAX_WORKERS}, got "
                f"{self.workers!r}."
            )
        options = {name: plain(value) for name, value in self.loss_options.items()}
        object.__setattr__(self, "loss_options", ReadOnly(options))
        for each in fields(self):
            if each.metadata["rule"] is not None:
                _check_number(each, getattr(self, each.name))
            elif each.metadata["choices"]:
                _check_choice(each, getattr(self, each.name))
        if self.teacher_answers == "unseen" and (self.mixup or self.cutmix):
            raise OptionError(
                f"mixup and cutmix must be 0 with teacher_answers 'unseen', because members may "
                f"have learnt either image of a blend, got {self.mixup} and {self.cutmix}."
            )
        if self.accumulate * 2 > self.batch_size:
            raise OptionError(
                f"accumulate must leave at least 2 images in a micro-batch of batch_size "
                f"{self.batch_size}, got {self.accumulate}."
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all settings."""
        return tuple(f.name for f in fields(cls))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make settings from names and values; an unknown name is an error with a suggestion.

        Paths become text.
        """
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise OptionError(
                    f"Unknown setting {name!r}.{did_you_mean(name, known)} There are {known}."
                )
        texts = {n: os.fspath(v) for n, v in values.items() if isinstance(v, os.PathLike)}
        return cls(**{**values, **texts})

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Parse settings given as text: ``192x256``, ``1e-3``, ``true``, ``none``, a name.

        Raises:
            OptionError: if a text is not a size, or not ``NAME=VALUE``, as its setting needs.
        """
        values: dict[str, Any] = {}
        for name, text in texts.items():
            if name == "image_size":
                values[name] = parse_size(text)
            elif name == "not_copies":
                values[name] = tuple(each.strip() for each in text.split(",") if each.strip())
            elif name == "loss_options":
                pairs = [pair.partition("=") for pair in text.split(",")]
                if not all(option and equals for option, equals, _ in pairs):
                    raise OptionError(f"loss_options must look like NAME=VALUE, got {text!r}.")
                values[name] = {option: _value(value) for option, _, value in pairs}
                if len(values[name]) < len(pairs):
                    raise OptionError(f"loss_options must name each option once, got {text!r}.")
            else:
                values[name] = _value(text)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an augmentation pipeline of your own is given by its name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if not isinstance(self.augmentation, str):
            name = getattr(self.augmentation, "__qualname__", type(self.augmentation).__qualname__)
            values["augmentation"] = {"own": name}
        more = {"loss_options": dict(self.loss_options), "not_copies": list(self.not_copies)}
        return values | more

    def changeable(self) -> dict[str, Any]:
        """Those settings that `Trainer.resume` takes."""
        return {name: getattr(self, name) for name in CHANGEABLE}


def changed_settings(known: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with which a run is resumed that differ from those it began with.

    Raises:
        ResumeMismatchError: if a change would make it another run, or an augmentation of your own
            is missing.
    """
    before, after = (TrainConfig.of(some).to_dict() for some in (known, values))
    differ = {name: after[name] for name in sorted(after) if after[name] != before[name]}
    if fixed := [name for name in differ if name not in CHANGEABLE]:
        raise ResumeMismatchError(
            f"a resumed run may change {sorted(CHANGEABLE)}, got {fixed[0]!r}: "
            f"{before[fixed[0]]!r} became {after[fixed[0]]!r}; start a new run."
        )
    if isinstance(own := values["augmentation"], dict):
        raise ResumeMismatchError(
            f"augmentation must be given again, because the run began with "
            f"{own.get('own')!r} of your own",
            python="pass it to Trainer.resume(…, augmentation=…)",
            command="go on in Python with Trainer.resume(…, augmentation=…)",
        )
    return differ


def _check_number(of: Field[Any], value: Any) -> None:
    kinds, (test, rule) = get_args(of.type) or (of.type,), of.metadata["rule"]
    whole, optional = int in kinds, NoneType in kinds
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (value is None and optional) and not (number and test(value)):
        raise OptionError(
            f"{of.name} must be {'an integer ' if whole else ''}{rule}, got {value!r}."
        )


def _check_choice(of: Field[Any], value: Any) -> None:
    allowed = of.metadata["choices"]
    if any(value is choice or value == choice != bool(choice) for choice in allowed):
        return
    texts = [choice for choice in allowed if isinstance(choice, str)]
    meant = _MEANT.get((of.name, str(value).partition(":")[0].lower()))
    hint = f" Did you mean {meant!r}?" if meant else did_you_mean(value, texts, cutoff=0.5)
    raise OptionError(f"{of.name} must be one of {list(allowed)}, got {value!r}.{hint}")


def _value(text: str) -> Any:
    """A number, boolean or ``None`` if ``text`` is one, otherwise the text."""
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _is_side(value: object) -> bool:
    return type(value) is int and 32 <= value <= 4096


_MEANT = {("augment_on", name): "device" for name in ("gpu", "cuda", "mps")}
"""Name and value → the choice that is meant, where another is spelt more alike."""
