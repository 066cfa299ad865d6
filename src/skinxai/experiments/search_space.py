"""The settings that a search varies, and between which values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skinxai.configs import as_tuple
from skinxai.errors import OptionError, did_you_mean
from skinxai.flags import check_flags
from skinxai.numeric import plain
from skinxai.training.settings import TrainConfig

LOGARITHMIC = ("learning_rate", "weight_decay")
"""Settings whose ranges are searched on a logarithmic scale."""
WHOLE = ("epochs", "batch_size", "frozen_groups", "patience")
FORBIDDEN = ("seed", "device", "workers", "not_copies", "keep_checkpoints", "checkpoint_minutes")
"""Settings that are not part of what is learnt, or whose best value would be luck."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Args:
        low: smallest value.
        high: largest value.
        log: whether they are drawn on a logarithmic scale.
        whole: whether they are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values, as texts that `TrainConfig.parse` reads.

    Args:
        values: the texts.
    """

    values: tuple[str, ...]


Space = Mapping[str, Range | Choice]
USUAL: dict[str, Range | Choice] = {
    "learning_rate": Range(1e-4, 3e-3, log=True),
    "weight_decay": Range(1e-3, 1e-1, log=True),
    "epochs": Choice(("10", "20", "30")),
    "image_size": Choice(("144x192", "192x256", "240x320")),
    "loss": Choice(("cross_entropy", "focal", "class_balanced", "logit_adjusted")),
    "sampler": Choice(("none", "square_root", "balanced")),
    "augmentation": Choice(("light", "standard", "heavy")),
    "mixup": Choice(("0.0", "0.2", "0.4")),
    "drop_rate": Range(0.0, 0.4),
}
"""What is searched where nothing else is said."""


def parse_search(texts: Iterable[str]) -> dict[str, Range | Choice]:
    """Read ``NAME=LOW..HIGH`` and ``NAME=VALUE,VALUE``."""
    found: dict[str, Range | Choice] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name, ends = name.strip().replace("-", "_"), values.split("..")
        if not equals or not values.strip():
            raise OptionError(
                f"search must look like NAME=LOW..HIGH or NAME=VALUE,VALUE, got {text!r}."
            )
        if name in found:
            raise OptionError(f"search must name each setting once, got {name!r} twice.")
        if len(ends) == 2:
            found[name] = _range(name, ends, **_kind(name))
        else:
            found[name] = Choice(tuple(each.strip() for each in values.split(",") if each.strip()))
    return found


def space_of(search: Mapping[str, Any] | None, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The space of a search, as `tune` takes it; ``fixed`` are the settings that are given.

    Raises:
        OptionError: if a setting does not exist, cannot be searched, is given as well, or has no
            valid values; or if nothing is left to search.
    """
    if search is None:
        space: dict[str, Range | Choice] = {n: v for n, v in USUAL.items() if n not in fixed}
    else:
        space = {name: _read(name, values) for name, values in search.items()}
        if both := sorted(set(space) & set(fixed)):
            raise OptionError(f"search must not name {both[0]!r}, because its value is given too.")
    if not space:
        raise OptionError("search must name at least one setting, but all of them are given.")
    names = TrainConfig.names()
    for name, values in space.items():
        if name not in names:
            raise OptionError(f"search has an unknown setting {name!r}.{did_you_mean(name, names)}")
        if name in FORBIDDEN:
            raise OptionError(f"search must not name {name!r}, which no search varies.")
        found = ends(values)
        if not found:
            raise OptionError(f"search must give {name!r} a value, got none.")
        for value in found:
            TrainConfig.of({**fixed, **setting(name, value)})
    return space


def setting(name: str, value: Any) -> dict[str, Any]:
    """A drawn value as a setting of `TrainConfig`."""
    return TrainConfig.parse({name: value}) if isinstance(value, str) else {name: value}


def ends(values: Range | Choice) -> Sequence[Any]:
    """The texts of a choice, or both ends of a range."""
    if isinstance(values, Choice):
        return values.values
    kind = int if values.whole else float
    return [kind(values.low), kind(values.high)]


def _read(name: str, values: Any) -> Range | Choice:
    if isinstance(values, Range):
        check_flags(log=values.log, whole=values.whole)
        return _range(name, (values.low, values.high), log=values.log, whole=values.whole)
    if isinstance(values, Choice) and not isinstance(values.values, str):
        values = list(values.values)
    if isinstance(values, list | tuple):
        values = type(values)(map(plain, values))
    if isinstance(values, tuple) and len(values) == 2 and all(_number(each) for each in values):
        return _range(name, values, **_kind(name))
    if isinstance(values, list | tuple):
        return Choice(tuple(_text(each) for each in values))
    raise OptionError(
        f"search must give {name!r} a pair (low, high) or a list of values, got {values!r}."
    )


def _kind(name: str) -> dict[str, bool]:
    return {"log": name in LOGARITHMIC, "whole": name in WHOLE}


def _range(name: str, ends: Sequence[Any], *, log: bool, whole: bool) -> Range:
    try:
        low, high = (math.nan if isinstance(each, bool) else float(each) for each in ends)
    except (TypeError, ValueError):
        low = high = math.nan
    broken = not low < high or math.isinf(high - low) or (log and low <= 0)
    if broken or (whole and not (low.is_integer() and high.is_integer())):
        rule = "0 < low < high" if log else "low < high"
        kind = "integers" if whole else "numbers"
        raise OptionError(f"search must give {name!r} {kind} with {rule}, got {list(ends)}.")
    return Range(low, high, log, whole)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(found := as_tuple(value), tuple):
        return "x".join(map(str, found))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
