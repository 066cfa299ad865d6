"""`Job`: one run of the list, and the lists of each phase."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from planning import Plan
from settings import (
    BASE,
    DISTILLED,
    LADDER,
    LARGEST,
    MEMBERS,
    NETWORKS,
    SHARED,
    SIZE,
    STUDENT,
    TINY,
)

PHASES = ("rates", "choices", "members", "student")
"""The last also trains without each source."""


@dataclass(frozen=True)
class Job:
    """One run.

    Args:
        name: its folder below ``runs``; the phase is the first part.
        network: lite0, lite1 or lite2.
        learns: what `material.Material.splits` calls it.
        settings: settings of ``Trainer``.
        needs: names of the jobs that must be done before.
        seconds: what it is expected to take alone on the device; 0 if unknown.
    """

    name: str
    network: str
    learns: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def phase(self) -> str:
        return self.name.partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Job":
        return cls(**dict(values) | {"needs": tuple(values["needs"])})


@dataclass(frozen=True)
class Machine:
    """Where and how the runs are trained.

    Args:
        device: device of ``Trainer``.
        augment_on: ``"cpu"`` or ``"device"``.
        workers: decoding processes of each run, where processors augment.
        weights: folder of the ImageNet weights.
        tiny: train on small images.
    """

    device: str
    augment_on: str
    workers: int | str
    weights: str
    tiny: bool

    def settings(self, network: str, *more: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a run; later ones win, and a try's own win over all."""
        found = dict(SHARED) | {
            "backbone": NETWORKS[network],
            "init_weights": f"{self.weights}/{NETWORKS[network]}.safetensors",
            "device": self.device,
            "augment_on": self.augment_on,
            "workers": self.workers,
        }
        for each in more:
            found |= each
        # a processor would first try which precision is faster, which takes longer than a try
        exact = {"amp": False} if self.device == "cpu" else {}
        return found | (TINY | exact if self.tiny else {})


def choices(machine: Machine, plan: Plan) -> list[Job]:
    """The base and the first changes of the ladder that the plan has minutes for, each by fold."""
    jobs = []
    for name in ["base", *plan.choices]:
        change = {} if name == "base" else dict(LADDER[name][1])
        epochs = plan.epochs["choices"] * change.pop("epochs", 1)
        settings = machine.settings("lite0", BASE, change, {"epochs": epochs})
        jobs += [
            Job(f"choices/{name}-{fold}", "lite0", f"fold {fold}", settings,
                seconds=plan.seconds("lite0", settings, "choices"))
            for fold in range(plan.folds)
        ]  # fmt: skip
    return jobs


def members(machine: Machine, plan: Plan, chosen: Mapping[str, Any]) -> list[Job]:
    """Each network on each fold of the training part."""
    kept, epochs = _kept(chosen, plan.epochs["members"])
    jobs = []
    for network in MEMBERS:
        settings = machine.settings(network, kept, {"epochs": epochs})
        jobs += [
            Job(f"members/{network}-{fold}", network, f"train fold {fold}",
                settings | {"seed": fold}, seconds=plan.seconds(network, settings, "members"))
            for fold in range(5)
        ]  # fmt: skip
    return jobs


def student(
    machine: Machine, plan: Plan, chosen: Mapping[str, Any], teacher: str, needs: Sequence[str]
) -> list[Job]:
    """The network that ships, which learns the training part and what its teachers answer."""
    kept, epochs = _kept(chosen, plan.epochs["student"])
    own = {"epochs": epochs, "teacher": teacher}
    settings = machine.settings(STUDENT, kept, DISTILLED, own)
    return [
        Job("student/skinxai-ham10000", STUDENT, "train", settings, tuple(needs),
            plan.seconds(STUDENT, settings, "student"))
    ]  # fmt: skip


def sources(
    machine: Machine, plan: Plan, chosen: Mapping[str, Any], names: Sequence[str]
) -> list[Job]:
    """The student's network without its teacher, each time without one acquisition source."""
    kept, epochs = _kept(chosen, plan.epochs["sources"])
    settings = machine.settings(STUDENT, kept, {"epochs": epochs})
    return [
        Job(f"sources/without-{name}", STUDENT, f"without {name}", settings,
            seconds=plan.seconds(STUDENT, settings, "sources"))
        for name in names
    ]  # fmt: skip


def _kept(chosen: Mapping[str, Any], epochs: int) -> tuple[dict[str, Any], int]:
    """The chosen settings for the larger networks, and the epochs that cost the same minutes.

    The plan's epochs fill its minutes: more pixels leave fewer of them, and a choice that was
    better for its epochs adds none.
    """
    kept = {name: value for name, value in chosen.items() if name != "epochs"}
    side, base = kept.get("image_size", BASE["image_size"]), BASE["image_size"]
    size = [min(SIZE[n] * side[n] // base[n] // 16 * 16, LARGEST[n]) for n in (0, 1)]
    kept["image_size"] = tuple(size)
    return kept, max(1, epochs * SIZE[0] * SIZE[1] // (size[0] * size[1]))
