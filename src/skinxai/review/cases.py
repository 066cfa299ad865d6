"""What the store keeps, as frozen values: a case, a reviewer's label, a case with its labels."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from skinxai.configs import canonical_json
from skinxai.data.cleaning import clean
from skinxai.errors import OptionError
from skinxai.plain_text import MAX_CODE, MAX_NAME, broken_rule
from skinxai.readonly import ReadOnly
from skinxai.results import Prediction
from skinxai.trust.uncertainty import entropy

UNSURE = "unsure"
"""A reviewer's label for an image that shows no class of the model clearly enough."""
DECISIONS = ("abstain", "refer", "routine")
QUEUED = ("abstain", "refer")
"""Decisions that a person looks at."""
KEPT = (
    "label", "probability", "probabilities", "malignant_probability", "calibrated_on",
    "operating_point", "decision", "reasons", "quality", "novelty", "uncertainty",
    "prediction_set", "warnings", "model", "backend",
)  # fmt: skip
"""Keys of `Prediction.to_dict` that are kept: all but the image's source."""
MAX_PREDICTION = 2**18
"""Bytes of a prediction as JSON."""
MAX_COMMENT = 2000
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Case:
    """One prediction, as a store keeps it.

    Args:
        id: of the case, unique within its store; at most 200 characters.
        at: when it was answered, with a time zone.
        image_sha256: sha256 of the image's bytes, 64 hexadecimal digits.
        model: ``name@revision``.
        prediction: of `Prediction.to_dict`; ``source`` is left out, so that no file name is kept.
        subject: whose image it is, a pseudonym; ``None`` if unknown. By it data are deleted. Blanks
            before and behind it are left out, and it is composed (Unicode NFC).
        lesion: of which lesion it is, likewise; ``None`` if unknown.
        image: the image's bytes; kept by a store that has a folder for images alone.

    Raises:
        OptionError: a value outside its rule.
    """

    id: str
    at: datetime
    image_sha256: str
    model: str
    prediction: Mapping[str, Any]
    subject: str | None = None
    lesion: str | None = None
    image: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("id", "model", "subject", "lesion"):
            if (text := getattr(self, name)) is not None:
                check_name(f"{name} of a case", text)
        if not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise OptionError(f"at of a case must be a datetime with a time zone, got {self.at!r}.")
        if not isinstance(self.image_sha256, str) or not _SHA256.fullmatch(self.image_sha256):
            raise OptionError(
                f"image_sha256 must be 64 hexadecimal digits, got {self.image_sha256!r:.80}."
            )
        if self.image is not None and sha256(self.image) != self.image_sha256:
            raise OptionError(
                f"image must have the sha256 {self.image_sha256}, but its bytes have "
                f"{sha256(self.image)}."
            )
        for name in ("subject", "lesion"):
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, clean(text))
        object.__setattr__(self, "at", self.at.astimezone(UTC))
        object.__setattr__(self, "prediction", ReadOnly(_prediction(self.prediction)))
        if (said := self.prediction["model"]) != self.model:
            raise OptionError(
                f"model of a case must be its prediction's, {said!r}, got {self.model!r}."
            )

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        image: bytes,
        *,
        id: str,
        at: datetime | None = None,
        subject: str | None = None,
        lesion: str | None = None,
    ) -> Self:
        """The case of a prediction that was just made.

        Args:
            prediction: of the image.
            image: the bytes of its file.
            id: as in the class.
            at: when it was answered; ``None``: now.
            subject: as in the class.
            lesion: as in the class.
        """
        return cls(
            id, at or datetime.now(UTC), sha256(image), prediction.model, prediction.to_dict(),
            subject, lesion, image,
        )  # fmt: skip

    @property
    def decision(self) -> str | None:
        """``"abstain"``, ``"refer"`` or ``"routine"``; ``None`` without operating points."""
        decision: str | None = self.prediction["decision"]
        return decision

    @property
    def codes(self) -> tuple[str, ...]:
        """The model's labels, in its order."""
        return tuple(self.prediction["probabilities"])

    @property
    def uncertainty(self) -> float:
        """Entropy of the probabilities, in nats, 0 to ln K: by it the queue is ordered."""
        return float(entropy(list(self.prediction["probabilities"].values())))


@dataclass(frozen=True)
class GivenLabel:
    """What one reviewer said of a case, once.

    Args:
        case_id: of the case.
        reviewer: who.
        label: a code of the model's, or `UNSURE`.
        comment: in the reviewer's words.
        at: when, by the store's clock.
    """

    case_id: str
    reviewer: str
    label: str
    comment: str
    at: datetime


@dataclass(frozen=True)
class ReviewedCase:
    """A case with everything that reviewers said of it.

    Args:
        case: without its image's bytes, which `ReviewStore.image` reads.
        labels: all that were ever given, the earliest first.
        image_kept: whether the store has the image.
    """

    case: Case
    labels: tuple[GivenLabel, ...] = ()
    image_kept: bool = False

    @property
    def current(self) -> Mapping[str, GivenLabel]:
        """Reviewer → the label that counts, which is the reviewer's last one."""
        return {given.reviewer: given for given in self.labels}

    @property
    def agreed(self) -> str | None:
        """The class that all reviewers agree on; ``None`` if one is unsure or of another mind."""
        said = {given.label for given in self.current.values()}
        (only,) = said if len(said) == 1 else (None,)
        return only if only in self.case.codes else None

    @property
    def disputed(self) -> bool:
        """Whether reviewers disagree, or one is unsure."""
        return bool(self.labels) and self.agreed is None


@dataclass(frozen=True)
class Deletion:
    """What was deleted of one subject.

    Args:
        cases: number of predictions.
        labels: number of labels that were ever given to them.
        images: number of image files.
        overwritten: whether the database's files were rewritten without them. ``False`` where
            another program kept the database busy: the rows are gone, but their bytes may still
            be in the file until ``skinxai feedback delete-subject`` is repeated.
    """

    cases: int
    labels: int
    images: int
    overwritten: bool


def sha256(data: bytes) -> str:
    """sha256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def check_name(what: str, text: object, longest: int = MAX_NAME) -> None:
    """Refuse text that is empty, hidden in part, or long."""
    broken = broken_rule(what, text, longest)
    if not broken and not str(text).strip():
        broken = f"{what} must not be empty."
    if broken:
        raise OptionError(broken)


def check_label(case: Case, label: object) -> None:
    """Refuse what is no label of the case's model."""
    if label not in (*case.codes, UNSURE):
        raise OptionError(
            f"label of case {case.id!r} must be one of {[*case.codes, UNSURE]}, got {label!r:.100}."
        )


def _prediction(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are kept, as JSON has them."""
    try:
        data = canonical_json({key: given[key] for key in KEPT})
        plain: dict[str, Any] = json.loads(data)
        # JSON objects have no order, and that of the probabilities is the labels'.
        plain["probabilities"] = {code: float(p) for code, p in given["probabilities"].items()}
        shares = list(plain["probabilities"].values())
        good = all(0 <= share <= 1 for share in shares)
        good = good and math.isclose(math.fsum(shares), 1, abs_tol=1e-3)
        good = good and plain["label"] in plain["probabilities"]
        good = good and all(not broken_rule("", c, MAX_CODE) for c in plain["probabilities"])
        good = good and plain["decision"] in (None, *DECISIONS)
    except KeyError as error:
        raise OptionError(
            f"prediction must be what Prediction.to_dict() gives, but it has no {error}, got "
            f"{given!r:.80}."
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise OptionError(
            f"prediction must be what Prediction.to_dict() gives, got {given!r:.80}."
        ) from error
    if not good or len(data) > MAX_PREDICTION:
        raise OptionError(
            f"prediction must be what Prediction.to_dict() gives: probabilities that sum to 1, one "
            f"of their labels, a decision of {list(DECISIONS)} or None, and at most "
            f"{MAX_PREDICTION} bytes, got {given!r:.80}."
        )
    return plain
