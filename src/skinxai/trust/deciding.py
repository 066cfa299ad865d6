"""From a malignant probability and what speaks against the image to a decision, with reasons."""

from __future__ import annotations

from collections.abc import Sequence

from skinxai.trust.operating_points import OperatingPoint

REFER, ROUTINE, ABSTAIN = "refer", "routine", "abstain"


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
    reason = (
        f"the malignant probability {malignant_probability:.3f} {compared} {point.threshold:.3f}, "
        f"the threshold of {point.name!r}"
    )
    return REFER if referred else ROUTINE, (reason,)
