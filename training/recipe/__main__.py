"""Train everything that ships, from images to the student, on one GPU or on processors.

    python training/recipe DATA WEIGHTS WORK OUT --minutes 9.3 --of 20 --parallel 4

A call goes on where the last one stopped, and prints the table of all runs last, also when it is
stopped by SIGTERM or Ctrl+C. README.md beside
this file says what each argument is, and what to type on a machine without a network.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import collecting
import jobs as lists
import outcomes
import table
from calling import SECONDS_TO_STOP, Processes
from jobs import Job, Machine
from material import FOLDS, Material, unpack
from planning import Plan, plan_of
from settings import LADDER, MEMBERS, SIZE

SPARE = 10.0  # seconds for the table and the copies


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training/recipe", description=__doc__)
    parser.add_argument("data", type=Path, help="part*.tar and the two tables of HAM10000")
    parser.add_argument("weights", type=Path, help="ImageNet weights of Lite0, Lite1 and Lite2")
    parser.add_argument("work", type=Path, help="work folder, which stays between calls")
    parser.add_argument("out", type=Path, help="what to keep: at most 8 files of 16 MiB")
    parser.add_argument("--minutes", type=float, default=9.3, help="of this call")
    parser.add_argument("--of", type=float, default=20.0, help="minutes of all calls together")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, help="threads of each run")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--augment-on", default="device", choices=("cpu", "device"))
    parser.add_argument("--workers", type=int, default=0, help="decoding processes of each run")
    parser.add_argument("--until", choices=("unpack", *lists.PHASES), default="student")
    parser.add_argument("--tiny", action="store_true", help="a try: few images, two epochs")
    return parser.parse_args()


class Call:
    """One call: the phases in order, until the minutes are over."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.begun = time.monotonic()
        self.given, self.work = given, given.work
        self.deadline = self.begun + 60 * given.minutes - SPARE - (
            5.0 if given.tiny else SECONDS_TO_STOP
        )  # fmt: skip
        self.machine = Machine(
            given.device, given.augment_on, given.workers, str(given.weights.resolve()), given.tiny
        )
        threads = given.threads or max(1, (os.cpu_count() or 1) // given.parallel)
        self.processes = Processes(self.work, given.parallel, threads)
        self.jobs: list[Job] = []

    def tell(self, line: str) -> None:
        print(f"[{time.monotonic() - self.begun:6.1f} s] {line}", flush=True)

    def __call__(self) -> None:
        given = self.given
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            self.tell(repr(unpack(given.data, self.work, tiny=given.tiny)))
            if given.until != "unpack":
                self._phases()
        finally:
            self.processes.stop()
            rows = table.rows(self.work, self.jobs)
            for line in collecting.collect(self.work, given.out, rows):
                self.tell(line)
            print(table.markdown(rows), flush=True)

    def _phases(self) -> None:
        material = Material(self.work)
        plan = self._plan(material)
        if plan is None:
            return self.tell("the minutes are over while rates are measured; call again")
        if self.given.until == "rates":
            return self.tell("done until 'rates'")
        for phase in lists.PHASES[1:]:
            own = self._list(phase, plan, material)
            if not own:
                return self.tell(f"{phase}: what it needs has failed; see the table")
            self.jobs += own
            left = [job for job in own if not self._done(job)]
            self.tell(f"{phase}: {len(own)} runs, {len(own) - len(left)} done, about "
                      f"{sum(job.seconds for job in left):.0f} s left")  # fmt: skip
            if not self.processes.run(left, self.deadline, self.tell):
                return self.tell(f"the minutes are over in the phase {phase!r}; call again")
            if phase == self.given.until:
                break
        self.tell("everything is done" if phase == lists.PHASES[-1] else f"done until {phase!r}")

    def _list(self, phase: str, plan: Plan, material: Material) -> list[Job]:
        if phase == "choices":
            return lists.choices(self.machine, plan)
        chosen = self._chosen(plan)
        if phase == "members":
            return lists.members(self.machine, plan, chosen)
        needs = [f"members/{network}-{fold}" for network in MEMBERS for fold in range(FOLDS)]
        if not all((self.work / "runs" / name / "done.json").exists() for name in needs):
            return []
        if not (self.work / "ensemble.json").exists():
            self.tell(f"ensemble: {json.dumps(outcomes.ensemble(self.work))}")
        teacher = str((self.work / "teacher").resolve())
        return [  # at a time: the student alone would not fill a large device
            *lists.student(self.machine, plan, chosen, teacher, needs),
            *lists.sources(self.machine, plan, chosen, material.sources()),
        ]

    def _done(self, job: Job) -> bool:
        return (self.work / "runs" / job.name / "done.json").exists()

    def _chosen(self, plan: Plan) -> dict[str, Any]:
        path = self.work / "chosen.json"
        if not path.exists():
            rows = outcomes.compare(self.work, plan.choices, plan.folds)
            (self.work / "choices.json").write_text(json.dumps(rows, indent=1) + "\n")
            path.write_text(json.dumps(outcomes.choose(rows), indent=1) + "\n")
            for row in rows:
                self.tell(json.dumps(row))
        chosen: dict[str, Any] = json.loads(path.read_text())
        self.tell(f"chosen: {json.dumps(chosen)}")
        return chosen

    def _plan(self, material: Material) -> Plan | None:
        """The plan of the first call, made of its rates; ``None`` if the minutes are over."""
        path = self.work / "plan.json"
        if not path.exists():
            found = self._rates()
            if found is None:
                return None
            rates, alone, start = found
            images = {phase: len(material.splits(learns).train) for phase, learns in (
                ("choices", "fold 0"), ("members", "train fold 0"), ("student", "train"),
                ("sources", f"without {material.sources()[0]}"))}  # fmt: skip
            plan = plan_of(
                self.given.of, images, rates, start, sources=len(material.sources()), alone=alone,
                processes=self.given.parallel,
            )  # fmt: skip
            if self.given.tiny:
                few = dict.fromkeys(plan.epochs, 2)
                plan = replace(plan, epochs=few, folds=2, choices=tuple(LADDER)[2:4])
            plan.save(path)
        plan = Plan.load(path)
        self.tell(f"plan: epochs {dict(plan.epochs)}, {plan.folds} folds, choices {plan.choices}")
        return plan

    def _rates(self) -> tuple[dict[str, float], dict[str, float], float] | None:
        """What the plan is made of; ``None`` if the minutes are over.

        Returns:
            Images a second by network, of all processes together and of a single one, and seconds
            of a run besides its steps.
        """
        path, networks = self.work / "rates.json", ("lite0", *MEMBERS)
        found: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
        for network in networks:
            for count in sorted({1, self.given.parallel}):
                self._measure(network, count, found)
            path.write_text(json.dumps(found, indent=1) + "\n")
            if time.monotonic() > self.deadline:
                return None
        for name, values in found.items():
            self.tell(f"rates of {name}: {json.dumps(values)}")

        def of(count: int) -> dict[str, float]:
            names = {network: f"{network}, {count} at a time" for network in networks}
            if failed := [name for name in names.values() if name not in found]:
                raise SystemExit(f"no rates of {failed[0]}: their runs have failed; see the lines "
                                 f"above and {self.work / 'logs'}")  # fmt: skip
            return {network: found[name]["with_loading"] for network, name in names.items()}

        together, alone = of(self.given.parallel), of(1)
        if slower := [name for name in networks if together[name] < alone[name]]:
            self.tell(f"{', '.join(slower)}: {self.given.parallel} at a time are slower than one")
        # as long again at its end, for the evaluation and the answers
        start = 2 * max(values["start"] for values in found.values()) / self.given.parallel
        return together, alone, start

    def _measure(self, network: str, count: int, found: dict[str, dict[str, float]]) -> None:
        """Measure several runs at a time; a single one of the student also the bare step."""
        name = f"{network}, {count} at a time"
        if name in found:
            return
        more = {"image_size": SIZE, "epochs": 1000, "measured": 1.0 if self.given.tiny else 5.0}
        settings = self.machine.settings(network, more)
        own = [Job(f"rates/{network}-{n}-{count}", network, "train", settings)
               for n in range(count)]  # fmt: skip
        results: list[dict[str, float]] = []
        shutil.rmtree(self.work / "rates", ignore_errors=True)  # of a call that was cut

        def keep(line: str) -> None:
            self.tell(line)
            _, _, values = line.partition(": ")
            if values.startswith("{"):
                results.append(json.loads(values))

        if self.processes.run(own, self.deadline, keep) and results:
            total = {"with_loading": sum(each["with_loading"] for each in results),
                     "start": max(each["start"] for each in results)}  # fmt: skip
            bare = [each["bare"] for each in results if "bare" in each]
            found[name] = total | ({"bare": bare[0]} if bare else {})


def main(argv: Sequence[str] | None = None) -> None:
    call = Call(arguments())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    call()


if __name__ == "__main__":
    main()
