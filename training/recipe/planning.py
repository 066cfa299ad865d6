"""`Plan`: how many epochs and choices fit into the minutes, from the measured rates."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from settings import BASE, LADDER, MEMBERS, SIZE, STUDENT

SHARES: Mapping[str, float] = {"choices": 0.2, "members": 0.35, "student": 0.35, "sources": 0.1}
"""Shares of the minutes."""
LIMITS: Mapping[str, tuple[int, int]] = {
    "choices": (3, 5), "members": (4, 20), "student": (6, 150), "sources": (3, 10),
}  # fmt: skip
"""Fewest and most epochs of a run of each phase; in each an image comes as both of its copies."""
VALIDATED = 1.15
"""Validation costs about this much of the training images' time on top: forward passes alone."""
TAUGHT = 1.7
"""A student's step with its teachers' answers, of a step without: two networks' forward passes."""


@dataclass(frozen=True)
class Plan:
    """What the minutes are spent on.

    Args:
        minutes: minutes of training in all calls together.
        images: copies of images that a run of each phase learns from in an epoch.
        rates: network → images a second of all processes together, at `SIZE`.
        start: seconds from the start of a run to its first step, and from its last to its end, over
            the number of processes.
        epochs: epochs of each run of a phase.
        folds: folds on which choices are tried.
        choices: names of the changes that are tried.
        alone: network → images a second of a single process, as the student is one run.
        processes: runs at a time.
    """

    minutes: float
    images: Mapping[str, int]
    rates: Mapping[str, float] = field(default_factory=dict)
    start: float = 0.0
    epochs: Mapping[str, int] = field(default_factory=dict)
    folds: int = 0
    choices: tuple[str, ...] = ()
    alone: Mapping[str, float] = field(default_factory=dict)
    processes: int = 1

    def rate(self, network: str, size: tuple[int, int], phase: str) -> float:
        """Images a second; in proportion to the pixels, and known from another size."""
        known = (self.alone if phase == "student" else self.rates).get(network, 0.0)
        return known * (SIZE[0] * SIZE[1]) / (size[0] * size[1])

    def started(self, phase: str) -> float:
        """Seconds of a run besides its steps, as a share of all processes; no share of one run."""
        return self.start * (self.processes if phase == "student" else 1)

    def seconds(self, network: str, settings: Mapping[str, Any], phase: str) -> float:
        """What a run takes when all processes are busy, as a share of them; 0 if unknown.

        The student is one run, which may take longer than its share of a device that others fill.
        """
        rate = self.rate(network, tuple(settings["image_size"]), phase)
        if not rate:
            return 0.0
        taught = TAUGHT if phase == "student" else 1.0
        each = self.images[phase] * VALIDATED * taught / rate
        return self.started(phase) + settings["epochs"] * each

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Plan":
        values = json.loads(path.read_text())
        return cls(**values | {"choices": tuple(values["choices"])})


def plan_of(
    minutes: float, images: Mapping[str, int], rates: Mapping[str, float], start: float,
    *, sources: int = 4, alone: Mapping[str, float] | None = None, processes: int = 1,
) -> Plan:  # fmt: skip
    """Spend the minutes.

    Args:
        minutes: minutes of training in all calls together.
        images: images that a run of each phase learns from in an epoch.
        rates: network → images a second at `SIZE`, of all processes together.
        start: seconds of a run before its first and after its last step, over the number of
            processes at a time.
        sources: number of runs without a source.
        alone: network → images a second at `SIZE` of a single process; ``None``: the same.
        processes: runs at a time.
    """
    alone = rates if alone is None else alone
    bare = Plan(minutes, images, rates, start, alone=alone, processes=processes)
    have = {phase: share * minutes * 60 for phase, share in SHARES.items()}
    runs = {"members": [(n, 5) for n in MEMBERS], "student": [(STUDENT, 1)],
            "sources": [(STUDENT, sources)]}  # fmt: skip
    epochs = {"choices": LIMITS["choices"][0]}
    for phase, own in runs.items():
        begun, one = bare.started(phase), {"image_size": SIZE, "epochs": 1}
        fixed = sum(count * begun for _, count in own)
        each = sum(count * (bare.seconds(network, one, phase) - begun) for network, count in own)
        epochs[phase] = clamp((have[phase] - fixed) / each, *LIMITS[phase])
    chosen: tuple[str, ...] = ()
    folds = 3
    for folds in (5, 3):
        left = have["choices"] - folds * cost(bare, {}, epochs["choices"])
        chosen = ()
        for name, (_, change) in LADDER.items():
            price = folds * cost(bare, change, epochs["choices"])
            if price > left:
                break
            left -= price
            chosen += (name,)
        if len(chosen) >= len(LADDER) // 2:
            break
    return replace(bare, epochs=epochs, folds=folds, choices=chosen)


def cost(plan: Plan, change: Mapping[str, Any], epochs: int) -> float:
    """Seconds of a choice on one fold."""
    settings = {**BASE, **change, "epochs": epochs * change.get("epochs", 1)}
    return plan.seconds("lite0", settings, "choices")


def clamp(value: float, low: int, high: int) -> int:
    return max(low, min(high, int(value)))
