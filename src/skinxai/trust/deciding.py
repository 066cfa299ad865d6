"""From a malignant probability and what speaks against the image to a decision, with reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from skinxai.readonly import ReadOnly
from skinxai.results import Novelty, Prediction
from skinxai.trust.calibration import Calibration
from skinxai.trust.conformal import prediction_set
from skinxai.trust.operating_points import OperatingPoint, told_apart

REFER, ROUTINE, ABSTAIN = "refer", "routine", "abstain"
LIMIT = 0.5
"""Of novelty, by its definition."""


def decide(
    malignant_probability: float, point: OperatingPoint, doubts: Sequence[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """``"abstain"`` where something speaks against the image, else ``"refer"`` or ``"routine"``.

    Args:
        malignant_probability: calibrated, 0–1.
        point: whose threshold decides.
        doubts: what speaks against the image, a sentence each.

    Returns:
        The decision, and why: the doubts, or the comparison with the threshold.
    """
    if doubts:
        return ABSTAIN, tuple(doubts)
    referred = point.refers(malignant_probability)
    compared = "is at least" if referred else "is below"
    shown = told_apart(malignant_probability, point.threshold)
    reason = (
        f"the malignant probability {shown[0]} {compared} {shown[1]}, the threshold of "
        f"{point.name!r}"
    )
    return REFER if referred else ROUTINE, (reason,)


def trusted(
    made: Prediction, calibration: Calibration, measured: Mapping[str, float], score: float, *,
    operating_point: str | None, tta: bool,
) -> Prediction:  # fmt: skip
    """A prediction with all that a calibrated model says beside its probabilities."""
    fitted, limits = calibration.fitted(tta=tta), calibration.quality
    flags, novelty = limits.flags(measured), Novelty(score, score > LIMIT)
    made = replace(
        made, calibrated_on=calibration.data, quality=ReadOnly(flags), novelty=novelty,
        sets=partial(prediction_set, fitted.conformal, tuple(made.probabilities.items())),
    )  # fmt: skip
    doubts = [limits.sentence(flag, value) for flag, value in flags.items()]
    if novelty.refused:
        doubts.append(
            f"unlike the images that the model knows: novelty {told_apart(score, LIMIT)[0]}, above "
            f"the limit of {LIMIT:g}"
        )
    name = operating_point or calibration.default
    if name is None or made.malignant_probability is None:
        return replace(made, reasons=tuple(doubts))
    return _decided(made, fitted.operating_points[name], doubts)


def decided_at(made: Prediction, point: OperatingPoint) -> Prediction:
    """A prediction with what another operating point decides; what speaks against it stays."""
    if made.decision is None:
        return made
    return _decided(made, point, made.doubts)


def _decided(made: Prediction, point: OperatingPoint, doubts: Sequence[str]) -> Prediction:
    decision, reasons = decide(float(made.malignant_probability or 0.0), point, doubts)
    return replace(made, operating_point=point.name, decision=decision, reasons=reasons)
