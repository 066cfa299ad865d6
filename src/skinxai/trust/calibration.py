"""`Calibration`: what was fitted on labelled images that a model did not learn from.

A model folder keeps it as ``calibration.json``, with the digests of the weights that it is of and
of three files beside it: ``novelty.safetensors``, and hashes and fingerprints of the images.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from skinxai.configs import check_keys, check_schema, strict_json
from skinxai.errors import IntegrityError, ModelConfigError, UnknownNameError, did_you_mean
from skinxai.model_folders.ensembles import weights_of
from skinxai.model_folders.files import ModelFiles
from skinxai.model_folders.parts import (
    CALIBRATION,
    CALIBRATION_FINGERPRINTS,
    CALIBRATION_PIXELS,
    NOVELTY,
)
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import MAX_LINE, broken_rule, counted
from skinxai.readonly import ReadOnly
from skinxai.trust.conformal import Conformal
from skinxai.trust.novelty import from_bytes, to_bytes
from skinxai.trust.novelty_gate import NoveltyGate
from skinxai.trust.operating_points import OperatingPoint
from skinxai.trust.quality import QualityLimits
from skinxai.trust.scaling import Scaling

SCHEMA_VERSION = 1
KNOWN = (CALIBRATION_PIXELS, CALIBRATION_FINGERPRINTS)


@dataclass(frozen=True)
class Fitted:
    """What was fitted for one number of views of an image.

    Args:
        scaling: of the mean probabilities of all passes.
        operating_points: by name; empty where the label set declares nothing malignant.
        conformal: for sets of classes at any coverage.
    """

    scaling: Scaling
    operating_points: Mapping[str, OperatingPoint]
    conformal: Conformal

    def __post_init__(self) -> None:
        object.__setattr__(self, "operating_points", ReadOnly(self.operating_points))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        points = [point.to_dict() for point in self.operating_points.values()]
        return {
            "scaling": asdict(self.scaling),
            "operating_points": points,
            "conformal": self.conformal.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        check_keys("what was fitted", cls, values)
        if not isinstance(values["operating_points"], list):
            raise ModelConfigError("operating_points must be a list.")
        points = [OperatingPoint.from_dict(each) for each in values["operating_points"]]
        return cls(
            Scaling.from_dict(values["scaling"]), {point.name: point for point in points},
            Conformal.from_dict(values["conformal"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """What was fitted on labelled images that a model did not learn from.

    Args:
        data: which images.
        images: how many.
        lesions: how many.
        one_view: for predictions from one view of an image.
        four_views: for predictions with test-time augmentation.
        quality: limits of the image's quality; an image beyond one is not decided about.
        novelty: tells images of another kind, about which nothing is decided either.
        default: the operating point that decides where none is named; ``None`` where there is
            none.
        known: hashes and fingerprints of the images.
        weights: digest of the weights that it is of, 64 hexadecimal digits; ``None`` where it is
            not known.
    """

    data: str
    images: int
    lesions: int
    one_view: Fitted
    four_views: Fitted
    quality: QualityLimits
    novelty: NoveltyGate
    default: str | None
    known: TrainedOn
    weights: str | None = None

    def __post_init__(self) -> None:
        if broken := broken_rule("data of a calibration", self.data, MAX_LINE):
            raise ModelConfigError(broken)
        for name in ("images", "lesions"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ModelConfigError(
                    f"{name} of a calibration must be an integer >= 1, got "
                    f"{getattr(self, name)!r:.40}."
                )
        names = tuple(self.one_view.operating_points)
        if tuple(self.four_views.operating_points) != names:
            raise ModelConfigError(
                f"operating points must be the same for one view and for four, got {list(names)} "
                f"and {list(self.four_views.operating_points)}."
            )
        if self.default is not None and self.default not in names:
            raise ModelConfigError(
                f"the default operating point must be one of {list(names)}, got {self.default!r}."
            )

    def fitted(self, *, tta: bool) -> Fitted:
        """For predictions with or without test-time augmentation."""
        return self.four_views if tta else self.one_view

    def check_point(self, name: str) -> None:
        """Refuse a name that is no operating point.

        Raises:
            UnknownNameError: no such one.
        """
        if name not in (known := self.one_view.operating_points):
            raise UnknownNameError(
                f"Unknown operating point {name!r}; the model's are {list(known)}."
                f"{did_you_mean(name, known)}"
            )

    def __str__(self) -> str:
        scaling = self.one_view.scaling
        scaled = (
            f"temperature {scaling.temperature:.3f}" if scaling.temperature else "vector scaling"
        )
        lines = [
            f"calibrated on {self.data}, {counted(self.images, 'image')} of "
            f"{counted(self.lesions, 'lesion')}: {scaled}"
        ]
        for point in self.one_view.operating_points.values():
            default = " (default)" if point.name == self.default else ""
            lines.append(f"{point}{default}")
        return "\n".join(lines)

    def to_files(self, weights: str) -> dict[str, bytes]:
        """``calibration.json`` and the files whose digests it has.

        Args:
            weights: digest of the weights that it is of.
        """
        references, known = to_bytes(self.novelty.references), self.known.files(KNOWN)
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        values = own | {
            "schema_version": SCHEMA_VERSION,
            "weights": weights,
            "one_view": self.one_view.to_dict(),
            "four_views": self.four_views.to_dict(),
            "quality": self.quality.to_dict(),
            "novelty": {
                "limit": self.novelty.limit,
                "rejected": self.novelty.rejected,
                "references": hashlib.sha256(references).hexdigest(),
            },
            "known": {name: hashlib.sha256(data).hexdigest() for name, data in known.items()},
        }
        return {CALIBRATION: json.dumps(values).encode() + b"\n", NOVELTY: references} | known

    @classmethod
    def from_files(
        cls, files: Mapping[str, bytes], weights: str, classes: int, members: int = 1
    ) -> Self:
        """Strict inverse of `to_files`.

        Args:
            files: of the folder, with ``calibration.json``.
            weights: digest of the weights beside it.
            classes: K, of the model.
            members: how many networks.

        Raises:
            IntegrityError: no JSON, of other weights, of other references, or for another number
                of classes or members.
            ModelConfigError: values outside their rule.
        """
        try:
            values = strict_json(files[CALIBRATION])
        except ValueError as error:
            raise IntegrityError(f"{CALIBRATION} must be JSON: {error}.") from error
        if not isinstance(values, dict):
            raise IntegrityError(f"{CALIBRATION} must be a JSON object.")
        check_schema(values.pop("schema_version", None), CALIBRATION, SCHEMA_VERSION)
        if values.get("weights") != weights:
            raise IntegrityError(
                f"{CALIBRATION} must be of the weights beside it, and was fitted for others: its "
                f"probabilities would be wrong; fetch the model again, or calibrate it."
            )
        check_keys(CALIBRATION, cls, values)
        for name in ("one_view", "four_views"):
            fitted = values[name] = Fitted.from_dict(values[name])
            found = {len(fitted.scaling.slopes), len(fitted.conformal.counts)}
            if found != {classes}:
                raise IntegrityError(
                    f"{CALIBRATION} must be for {classes} classes, got {sorted(found)}; fetch the "
                    f"model again, or calibrate it."
                )
        values["quality"] = QualityLimits.from_dict(values["quality"])
        values["novelty"] = _novelty(values["novelty"], files.get(NOVELTY, b""), members)
        values["known"] = _known(values["known"], files)
        return cls(**values)


def _novelty(values: Any, references: bytes, members: int) -> NoveltyGate:
    if not isinstance(values, dict) or set(values) != {"limit", "rejected", "references"}:
        raise ModelConfigError(
            f"novelty of {CALIBRATION} must be a JSON object with limit, rejected and references."
        )
    _check_digest(NOVELTY, references, values["references"])
    known = from_bytes(references)
    if len(known) != members:
        raise IntegrityError(
            f"{NOVELTY} must have a reference for each of {counted(members, 'network')}, got "
            f"{len(known)}; fetch the model again, or calibrate it."
        )
    if any(each.colours is None for each in known):  # which no image could be compared with
        raise IntegrityError(
            f"{NOVELTY} must know the colours of the images as well as their embeddings, and does "
            f"not; fetch the model again, or calibrate it."
        )
    return NoveltyGate(known, values["limit"], values["rejected"])


def _known(digests: Any, files: Mapping[str, bytes]) -> TrainedOn:
    if not isinstance(digests, dict) or set(digests) != set(KNOWN):
        raise ModelConfigError(f"known of {CALIBRATION} must be a JSON object of {list(KNOWN)}.")
    for name, digest in digests.items():
        _check_digest(name, files.get(name, b""), digest)
    return TrainedOn.from_files(files, KNOWN) or TrainedOn()


def _check_digest(name: str, data: bytes, digest: Any) -> None:
    if not data or digest != hashlib.sha256(data).hexdigest():
        raise IntegrityError(
            f"{name} must be the one that {CALIBRATION} was written with, and is "
            f"{'another' if data else 'missing'}; fetch the model again, or calibrate it."
        )


def calibration_of(files: ModelFiles) -> Calibration | None:
    """Of a model's or an ensemble's folder; an ensemble's is of its members' mean.

    Raises:
        IntegrityError: as in `Calibration.from_files`.
    """
    if CALIBRATION not in files.files:
        return None
    return Calibration.from_files(files.files, *weights_of(files))
