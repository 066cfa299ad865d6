"""`Timeline`: every look of a monitor at a stream of images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai.disk.staging import write_together
from skinxai.monitoring.drift_report import DriftReport
from skinxai.plain_text import counted

if TYPE_CHECKING:
    from skinxai.monitoring.change_points import Change


@dataclass(frozen=True)
class Timeline:
    """Every look of a monitor at a stream of images.

    Args:
        model: ``name@revision``.
        last: the report after the last image.
        looks: of each look, oldest first.
        changes: of `ChangePoints`, where it was asked.
    """

    model: str
    last: DriftReport
    looks: tuple[DriftReport, ...]
    changes: Sequence[Change] = ()

    @property
    def alarms(self) -> dict[str, tuple[int, ...]]:
        """Test → after how many images a look raised its alarm; of those tests that did."""
        found: dict[str, tuple[int, ...]] = {}
        for look in self.looks:
            for test in look.alarms:
                found[test] = (*found.get(test, ()), look.images)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model,
            "images": self.last.images,
            "window": self.last.window,
            "false_alarms": self.last.false_alarms,
            "alarms": {test: list(places) for test, places in self.alarms.items()},
            "changes": [asdict(each) for each in self.changes],
            "looks": [each.to_dict() for each in self.looks],
        }

    def to_text(self) -> str:
        """The last look's table, and what earlier looks found, for a terminal."""
        lines = [self.last.to_text()]
        if self.looks:
            lines[:0] = [
                f"{self.model}: the last {self.last.window} images up to number "
                f"{self.looks[-1].images} of {self.last.images}"
            ]
        for test, places in self.alarms.items():
            lines.append(
                f"alarm of {test} after image {places[0]}, in {len(places)} of "
                f"{counted(len(self.looks), 'look')}"
            )
        if self.looks and not self.alarms:
            lines.append(f"no alarm in {counted(len(self.looks), 'look')}")
        for each in self.changes:
            lines.append(
                f"{each.series} changed near image {each.since}, noticed at {each.noticed}: "
                f"{each.before:.3g}, then {each.after:.3g}"
            )
        return "\n".join(lines)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``drift.json`` and ``drift.png`` together.

        Raises:
            OutputError: the folder cannot be written.
        """
        from skinxai.monitoring.drift_picture import drawn
        from skinxai.results.drawing import encode_png

        data = json.dumps(self.to_dict(), indent=2).encode() + b"\n"
        files = {"drift.json": data, "drift.png": encode_png(drawn(self))}
        write_together(Path(folder), files)
