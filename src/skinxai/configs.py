"""Frozen configs with strict `from_dict`: an unknown or missing key is an error, never ignored."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from skinxai.errors import ModelConfigError, OptionError
from skinxai.labels import LabelSet
from skinxai.plain_text import MAX_LICENCE, MAX_LINE, MAX_NAME, broken_rule
from skinxai.readonly import ReadOnly

SCHEMA_VERSION = 1
MAX_JSON_BYTES = 2**20
MAX_MEMBERS = 64
INTERPOLATIONS = ("bilinear", "bicubic")
_MEMBER = re.compile(r"members/\w[\w.-]{0,79}", re.ASCII)


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def strict_json(data: bytes, most: int = MAX_JSON_BYTES) -> Any:
    """The value of UTF-8 JSON: no key twice, numbers that 64 bits hold, at most `MAX_JSON_BYTES`.

    Halves of surrogate pairs, which are no text, are refused as well.

    Raises:
        ValueError: anything else.
    """
    if len(data) > most:
        raise ValueError(f"it must have at most {most} bytes, but it has {len(data)}")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse,
            parse_float=_finite, parse_int=_in_64_bits,
        )  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()  # text that is none, or nested too deep
        return value
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has a key twice: {max(keys, key=keys.count)!r}")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _in_64_bits(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError(f"the number {text[:20]} of {len(text)} digits is too large")
    return number


def check_schema(version: object, what: str, known: int = SCHEMA_VERSION) -> None:
    """Refuse what another version of skinxai wrote, in a schema that this one does not know.

    Raises:
        ModelConfigError: another version than ``known``.
    """
    if type(version) is not int or version != known:
        raise ModelConfigError(
            f"schema_version of {what} must be {known}, got {version!r}; update skinxai, or use a "
            f"version of skinxai that reads it."
        )


def parse_size(text: str) -> tuple[int, int]:
    """``"240x320"`` as ``(height, width)``; ``"224"`` is a square.

    Raises:
        OptionError: text of another form.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise OptionError(
            f"size must look like HEIGHTxWIDTH, e.g. 240x320, or like 224 for a square, got "
            f"{text!r}."
        )
    return int(sides[0]), int(sides[-1])


def as_size(value: Any) -> Any:
    """``(side, side)`` for one integer, which means a square; anything else as it is."""
    return (value, value) if type(value) is int else value


def check_keys(name: str, cls: type, values: Mapping[str, Any]) -> None:
    """Refuse what is no JSON object with exactly the fields of a dataclass as keys.

    Raises:
        ModelConfigError: another object.
    """
    known = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping):
        raise ModelConfigError(f"{name} must be a JSON object, got {type(values).__name__}.")
    if unknown := sorted(set(values) - known):
        raise ModelConfigError(f"{name} must only have the keys {sorted(known)}, got {unknown}.")
    if missing := sorted(known - set(values)):
        raise ModelConfigError(f"{name} must have the keys {sorted(known)}, {missing} missing.")


def _check_lists(name: str, values: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if not isinstance(values[key], list | tuple):
            raise ModelConfigError(f"{name}.{key} must be a list, got {values[key]!r:.80}.")


def _check_line(what: str, text: Any, longest: int) -> None:
    """Refuse what is no text on one line, printable and of bounded length."""
    if broken := broken_rule(what, text, longest):
        raise ModelConfigError(broken)


def _labels(values: Mapping[str, Any]) -> LabelSet:
    check_keys("labels", LabelSet, values)
    _check_lists("labels", values, "codes", *(["malignant"] if values["malignant"] else []))
    return LabelSet(tuple(values["codes"]), values["names"], values["malignant"])


def _as_tuple(name: str, given: Any) -> tuple[Any, ...]:
    unordered = isinstance(given, str | bytes | Mapping | set | frozenset)
    if isinstance(given, Iterable) and not unordered:
        return tuple(given)
    wanted = "(height, width)" if name == "image_size" else "three numbers, one for each channel"
    raise ModelConfigError(f"{name} must be {wanted}, got {given!r}.")


def _from_255(values: tuple[float, ...]) -> str:
    """A remedy for numbers that were meant for pixels of 0–255."""
    if not max(values) > 1 or not 0 <= min(values) <= max(values) <= 255:
        return ""
    return f"; divide those for pixels of 0–255 by 255: {tuple(round(v / 255, 4) for v in values)}"


@dataclass(frozen=True)
class PreprocessConfig:
    """How the evaluation transform turns RGB pixels into the network's input.

    Args:
        image_size: ``(height, width)`` in pixels, or one integer for a square; the whole image is
            resized to it.
        mean: of each RGB channel, on the 0–1 scale, in [0, 1].
        std: of each RGB channel, on the 0–1 scale, in (0, 1].
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        given: Any = self.image_size
        size = (given, given) if type(given) is int else _as_tuple("image_size", given)
        object.__setattr__(self, "image_size", size)
        if len(size) != 2 or not all(type(side) is int and 32 <= side <= 4096 for side in size):
            raise ModelConfigError(
                f"image_size must be (height, width) of 32 to 4096 pixels, got {size}."
            )
        for name, rule in (("mean", "[0, 1]"), ("std", "(0, 1]")):
            values = _as_tuple(name, getattr(self, name))
            object.__setattr__(self, name, values)
            numbers = len(values) == 3 and all(
                isinstance(v, int | float) and not isinstance(v, bool) for v in values
            )
            if (
                not numbers
                or not all(0 <= v <= 1 for v in values)
                or (rule[0] == "(" and not all(values))
            ):
                raise ModelConfigError(
                    f"{name} must be three numbers in {rule}, on the scale where white is 1, got "
                    f"{values}{_from_255(values) if numbers else ''}."
                )
        if self.interpolation not in INTERPOLATIONS:
            raise ModelConfigError(
                f"interpolation must be one of {INTERPOLATIONS}, got {self.interpolation!r}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        check_keys("preprocessing", cls, values)
        return cls(**values)


@dataclass(frozen=True)
class ModelConfig:
    """Everything besides the weights that is needed to use a model.

    Args:
        name: the model's name, e.g. ``"skinxai-ham10000-lite1"``; as all its texts, it is
            printable and on one line.
        backbone: name in `skinxai.backbones`.
        labels: label codes in logit order.
        preprocessing: the evaluation transform's settings.
        drop_rate: dropout before the classifier, 0 ≤ rate < 1; kept for Monte Carlo dropout.
        explain_layer: where explainers split the network; ``"features"`` is its last feature map.
        calibration: ``None``, also of a calibrated model: what was fitted is in the folder's
            ``calibration.json``.
        operating_points: ``None``, as ``calibration``.
        training_data: name, licence and attribution of the training images.
        licence: licence of the weights, as an SPDX expression where there is one.
    """

    name: str
    backbone: str
    labels: LabelSet
    preprocessing: PreprocessConfig
    drop_rate: float = 0.0
    explain_layer: str = "features"
    calibration: None = None
    operating_points: None = None
    training_data: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_schema(self.schema_version, "a model's config")
        _check_line("name", self.name, MAX_NAME)
        _check_line("backbone", self.backbone, MAX_NAME)
        _check_line("licence", self.licence, MAX_LICENCE)
        if not isinstance(self.training_data, Mapping):
            raise ModelConfigError(
                f"training_data must be names with texts, got {type(self.training_data).__name__}."
            )
        for name, value in self.training_data.items():
            _check_line("a key of training_data", name, MAX_NAME)
            _check_line(f"training_data.{name}", value, MAX_LINE)
        if type(self.drop_rate) not in (int, float) or not 0 <= self.drop_rate < 1:
            raise ModelConfigError(f"drop_rate must be in [0, 1), got {self.drop_rate!r}.")
        if self.explain_layer != "features":
            raise ModelConfigError(f"explain_layer must be 'features', got {self.explain_layer!r}.")
        for name in ("calibration", "operating_points"):
            # Ignoring them would return other probabilities and decisions than the model's own.
            if getattr(self, name) is not None:
                raise ModelConfigError(
                    f"{name} must be null in schema {SCHEMA_VERSION}; "
                    f"use a version of skinxai that reads it."
                )
        object.__setattr__(self, "training_data", ReadOnly(self.training_data))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        check_keys("config", cls, values)
        return cls(
            **{
                **values,
                "labels": _labels(values["labels"]),
                "preprocessing": PreprocessConfig.from_dict(values["preprocessing"]),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {
            "labels": self.labels.to_dict(),
            "preprocessing": asdict(self.preprocessing),
            "training_data": dict(self.training_data),
        }

    def binding(self) -> str:
        """sha256 over all that changes an answer; stored inside the weights file.

        Labels, preprocessing, backbone, dropout and explain layer belong to the weights: a
        folder whose config was edited no longer matches and is refused.
        """
        values = self.to_dict()
        for name in ("name", "training_data", "licence"):
            values.pop(name)
        return hashlib.sha256(canonical_json(values)).hexdigest()


@dataclass(frozen=True)
class MemberConfig:
    """One member of an ensemble.

    Args:
        folder: below the ensemble's, ``members/NAME``.
        revision: the whole digest of the member's manifest, 64 hexadecimal digits.
        weight: its share of the mean, > 0.
    """

    folder: str
    revision: str
    weight: float

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not _MEMBER.fullmatch(self.folder):
            raise ModelConfigError(
                f"a member's folder must be members/NAME, with a NAME of letters, digits and "
                f"'_-.', got {self.folder!r}."
            )
        if not isinstance(self.revision, str) or not re.fullmatch("[0-9a-f]{64}", self.revision):
            raise ModelConfigError(
                f"revision of {self.folder!r} must be 64 hexadecimal digits, got {self.revision!r}."
            )
        if type(self.weight) not in (int, float) or not 0 < self.weight < math.inf:
            raise ModelConfigError(
                f"weight of {self.folder!r} must be a number > 0, got {self.weight!r}."
            )
        object.__setattr__(self, "weight", float(self.weight))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        check_keys("a member", cls, values)
        return cls(**values)


@dataclass(frozen=True)
class EnsembleConfig:
    """What is needed to use several models as one; all else is in the members' own configs.

    Args:
        name: the ensemble's name.
        labels: of each member, in logit order.
        members: folders, revisions and weights; the weights sum to 1 within 1e-9.
        kind: ``"ensemble"``.
    """

    name: str
    labels: LabelSet
    members: tuple[MemberConfig, ...]
    kind: str = "ensemble"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if self.kind != "ensemble":
            raise ModelConfigError(f"kind must be 'ensemble', got {self.kind!r}.")
        check_schema(self.schema_version, "an ensemble's config")
        _check_line("name", self.name, MAX_NAME)
        folders = [member.folder.lower() for member in self.members]  # some systems see no case
        if not 1 <= len(folders) <= MAX_MEMBERS or len(set(folders)) != len(folders):
            raise ModelConfigError(
                f"members must be one to {MAX_MEMBERS} folders, each listed once, got "
                f"{len(folders)}: {folders[:8]}."
            )
        total = math.fsum(member.weight for member in self.members)
        if abs(total - 1) > 1e-9:
            raise ModelConfigError(
                f"weights of the members must sum to 1, but they sum to {total!r}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        check_keys("ensemble config", cls, values)
        _check_lists("ensemble config", values, "members")
        members = tuple(MemberConfig.from_dict(member) for member in values["members"])
        return cls(**{**values, "labels": _labels(values["labels"]), "members": members})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        members = [asdict(member) for member in self.members]
        return values | {"labels": self.labels.to_dict(), "members": members}
