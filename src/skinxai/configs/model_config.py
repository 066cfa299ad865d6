"""`ModelConfig`: everything besides the weights that a model needs."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from skinxai.configs.checked_fields import (
    SCHEMA_VERSION,
    check_keys,
    check_line,
    check_schema,
    labels_of,
)
from skinxai.configs.json_bytes import canonical_json
from skinxai.configs.preprocess_config import PreprocessConfig
from skinxai.errors import ModelConfigError
from skinxai.labels import LabelSet
from skinxai.plain_text import MAX_LICENCE, MAX_LINE, MAX_NAME
from skinxai.readonly import ReadOnly


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
        check_line("name", self.name, MAX_NAME)
        check_line("backbone", self.backbone, MAX_NAME)
        check_line("licence", self.licence, MAX_LICENCE)
        if not isinstance(self.training_data, Mapping):
            raise ModelConfigError(
                f"training_data must be names with texts, got {type(self.training_data).__name__}."
            )
        for name, value in self.training_data.items():
            check_line("a key of training_data", name, MAX_NAME)
            check_line(f"training_data.{name}", value, MAX_LINE)
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
                "labels": labels_of(values["labels"]),
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
