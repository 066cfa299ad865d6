"""`DriftReport`: what a monitor says of a window of images."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DriftRow:
    """One test of a window against the reference.

    Args:
        test: name, such as ``"embedding"`` or ``"sharpness"``.
        compared: what is compared, in words.
        statistic: the squared MMD of embeddings, the chi-square of classes, or the
            Kolmogorov-Smirnov distance.
        limit: the statistic from which on an alarm is raised; infinite where the window is too
            small for the test.
        p_value: share of undisturbed stretches, of those drawn from the reference, in which any
            test at any look is as extreme: corrected for the number of tests and of looks.
        alarm: whether the p-value is at most the rate of false alarms.
        window: mean of the measure in the window; ``None`` of embeddings and classes.
        reference: its mean in the reference.
    """

    test: str
    compared: str
    statistic: float
    limit: float
    p_value: float
    alarm: bool
    window: float | None = None
    reference: float | None = None

    @property
    def ratio(self) -> float:
        """The statistic divided by its limit, at least 0; an alarm is raised near 1."""
        return max(0.0, self.statistic / self.limit)


@dataclass(frozen=True)
class DriftReport:
    """What a monitor says of its last full window; before the first there are no rows.

    Args:
        rows: a row for each test.
        images: seen so far.
        window: images in a window.
        false_alarms: probability that any test raises an alarm while ``window`` images come that
            are like the reference.
        estimated_accuracy: of the window, from the probabilities alone; see
            `skinxai.monitoring.accuracy`.
        reference_accuracy: of the reference, where its labels are known.
        abstained: share of the window about which nothing was decided; ``None`` of a model
            without operating points.
    """

    rows: tuple[DriftRow, ...]
    images: int
    window: int
    false_alarms: float
    estimated_accuracy: float | None = None
    reference_accuracy: float | None = None
    abstained: float | None = None

    @property
    def window_images(self) -> int:
        """Images in the window by now."""
        return min(self.images, self.window)

    @property
    def alarms(self) -> tuple[str, ...]:
        """Tests that raise an alarm."""
        return tuple(row.test for row in self.rows if row.alarm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite limit is ``None``."""
        rows = [asdict(row) for row in self.rows]
        for row in rows:
            row["limit"] = row["limit"] if row["limit"] < float("inf") else None
        return asdict(self) | {"rows": rows, "alarms": list(self.alarms)}

    def to_text(self) -> str:
        """A table for a terminal."""
        if not self.rows:
            return f"{self.images} of the {self.window} images of a window, no test yet"
        lines = [f"{'test':<20} {'statistic':>10} {'limit':>10} {'p':>7}  {'':6}window / reference"]
        for row in self.rows:
            means = "" if row.window is None else f"{row.window:.3g} / {row.reference:.3g}"
            lines.append(
                f"{row.test:<20} {row.statistic:>10.4f} {row.limit:>10.4f} {row.p_value:>7.4f}  "
                f"{'ALARM' if row.alarm else '':6}{means}".rstrip()
            )
        if self.estimated_accuracy is not None:
            known = self.reference_accuracy
            beside = "" if known is None else f", of the reference {known:.3f}"
            lines.append(f"estimated accuracy {self.estimated_accuracy:.3f}{beside}")
        return "\n".join(lines)
