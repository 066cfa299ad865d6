"""Frozen configs with strict `from_dict`: an unknown or missing key is an error, never ignored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Self

from skinxai.errors import ModelConfigError, OptionError
from skinxai.labels import LabelSet

SCHEMA_VERSION = 1
INTERPOLATIONS = ("bilinear", "bicubic")


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _check_keys(name: str, cls: type, values: Mapping[str, Any]) -> None:
    known = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping):
        raise ModelConfigError(f"{name} must be a JSON object, got {type(values).__name__}.")
    if unknown := sorted(set(values) - known):
        raise ModelConfigError(f"{name} must only have the keys {sorted(known)}, got {unknown}.")
    if missing := sorted(known - set(values)):
        raise ModelConfigError(f"{name} must have the keys {sorted(known)}, {missing} missing.")


@dataclass(frozen=True)
class PreprocessConfig:
    """How the evaluation transform turns RGB pixels into the network's input.

    Args:
        image_size: ``(height, width)`` in pixels; the whole image is resized to it.
        mean: of each RGB channel, on the 0–1 scale.
        std: of each RGB channel, on the 0–1 scale, > 0.
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        for name in ("image_size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        size = self.image_size
        if len(size) != 2 or not all(type(side) is int and 32 <= side <= 4096 for side in size):
            raise ModelConfigError(
                f"image_size must be (height, width) of 32 to 4096 pixels, got {size}."
            )
        for name, low in (("mean", -math.inf), ("std", 0.0)):
            values = getattr(self, name)
            if len(values) != 3 or not all(
                isinstance(v, int | float) and math.isfinite(v) and v > low for v in values
            ):
                raise ModelConfigError(
                    f"{name} must be three finite numbers{' > 0' if low == 0 else ''}, "
                    f"got {values}."
                )
        if self.interpolation not in INTERPOLATIONS:
            raise ModelConfigError(
                f"interpolation must be one of {INTERPOLATIONS}, got {self.interpolation!r}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        _check_keys("preprocessing", cls, values)
        return cls(**values)


@dataclass(frozen=True)
class ModelConfig:
    """Everything besides the weights that is needed to use a model.

    Args:
        name: the model's name, e.g. ``"skinxai-ham10000-lite0"``.
        backbone: name in `skinxai.backbones`.
        labels: label codes in logit order.
        preprocessing: the evaluation transform's settings.
        drop_rate: dropout before the classifier, 0 ≤ rate < 1; kept for Monte Carlo dropout.
        explain_layer: where explainers split the network; ``"features"`` is its last feature map.
        calibration: ``None`` until a temperature has been fitted.
        operating_points: ``None`` until thresholds have been fitted.
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
        if self.schema_version != SCHEMA_VERSION:
            raise ModelConfigError(
                f"config schema_version must be {SCHEMA_VERSION}, got {self.schema_version!r}; "
                f"use a version of skinxai that reads it."
            )
        for name in ("name", "backbone", "licence"):
            if not isinstance(getattr(self, name), str):
                raise ModelConfigError(f"{name} must be text, got {getattr(self, name)!r}.")
        if not isinstance(self.drop_rate, int | float) or not 0 <= self.drop_rate < 1:
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
        object.__setattr__(self, "training_data", MappingProxyType(dict(self.training_data)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        _check_keys("config", cls, values)
        labels, preprocessing = values["labels"], values["preprocessing"]
        _check_keys("labels", LabelSet, labels)
        return cls(
            **{
                **values,
                "labels": LabelSet(tuple(labels["codes"]), labels["names"], labels["malignant"]),
                "preprocessing": PreprocessConfig.from_dict(preprocessing),
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
class TrainConfig:
    """Settings of one run; see `Trainer`."""

    backbone: str
    loss: str
    sampler: str | None
    amp: bool | str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    drop_rate: float
    average_decay: float
    image_size: tuple[int, int]
    init_weights: str | None
    device: str
    seed: int
    workers: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(self.image_size))
        rules: dict[str, tuple[bool, str]] = {
            "epochs": (self.epochs >= 1, ">= 1"),
            "batch_size": (self.batch_size >= 2, ">= 2"),
            "learning_rate": (0 < self.learning_rate < math.inf, "> 0"),
            "weight_decay": (0 <= self.weight_decay < math.inf, ">= 0"),
            "drop_rate": (0 <= self.drop_rate < 1, "in [0, 1)"),
            "average_decay": (0 <= self.average_decay < 1, "in [0, 1)"),
            "workers": (self.workers >= 0, ">= 0"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise OptionError(f"{name} must be {rule}, got {getattr(self, name)!r}.")
