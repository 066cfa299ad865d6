"""`AuditReport`: what is wrong with a split before anything is trained on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from skinxai.plain_text import counted, one_line


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Args:
        kind: ``"shared lesion"``, ``"shared patient"``, ``"identical"``, ``"near"``,
            ``"trained on"``, ``"copy"`` (of an image that the weights were trained on),
            ``"leak column"``, ``"class"``, ``"lesion"`` (of several patients or labels),
            ``"left out"``, ``"unreadable"`` or ``"changed"`` (since it was prepared).
        severity: ``"error"``: figures from this split would be wrong; ``"warning"``: look at it.
        message: one sentence.
        count: of lesions, pairs, images, columns or classes.
    """

    kind: str
    severity: str
    message: str
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))


@dataclass(frozen=True)
class AuditedPair:
    """Two images of different lesions that show the same skin.

    Args:
        image_id: of the one.
        other_id: of the other.
        parts: where each is.
        labels: of each.
        kind: ``"identical"`` or ``"near"``.
        similarity: as in `skinxai.data.near_duplicates.Pair`.
        keypoints: as there.
    """

    image_id: str
    other_id: str
    parts: tuple[str, str]
    labels: tuple[str, str]
    kind: str
    similarity: float
    keypoints: int


@dataclass(frozen=True, repr=False)
class AuditReport:
    """What is wrong with a split.

    Args:
        data: name of the data set.
        counts: images of each part.
        findings: errors first.
        pairs: images of different lesions that show the same skin, surest first.
    """

    data: str
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    pairs: tuple[AuditedPair, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that makes figures wrong; warnings may remain."""
        return not any(finding.severity == "error" for finding in self.findings)

    def linked(self) -> tuple[tuple[str, str], ...]:
        """The pairs' image ids: pass them to `skinxai.data.split` to keep each in one part."""
        return tuple((pair.image_id, pair.other_id) for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data": self.data,
            "counts": dict(self.counts),
            "ok": self.ok,
            "findings": [asdict(finding) for finding in self.findings],
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def to_text(self) -> str:
        """A table for the screen."""
        counts = ", ".join(f"{part} {count}" for part, count in self.counts.items())
        lines = [f"{self.data}: {counts}"]
        lines += [f"{f.severity:<8} {f.kind:<15} {f.count:>6}  {f.message}" for f in self.findings]
        verdict = "no error" if self.ok else "figures from this split would be wrong"
        return "\n".join([*lines, f"{verdict}, {counted(len(self.pairs), 'pair')} to look at"])

    def __repr__(self) -> str:
        kinds = ", ".join(f"{finding.kind} {finding.count}" for finding in self.findings)
        return f"AuditReport({self.data}: {'ok' if self.ok else 'NOT OK'}; {kinds or 'nothing'})"
