"""Overwrite everything that skinxai writes into folders, killed before each call that changes one.

Usage: python benchmarks/overwriting.py [KIND…]

Writes all kinds, or those that are named, into benchmarks/results/overwriting.json.

Every case writes with one model, split or graph over what it wrote with another one, and is killed
by SIGKILL before its first call, then before its second, and so on: tests/killed_overwriting.py.
"""

import json
import platform
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT, PREPARE = ROOT / "benchmarks/results/overwriting.json", "prepare"
sys.path.insert(0, str(ROOT / "tests"))

from killed_overwriting import Case, campaign, cases, command, killed_at  # noqa: E402
from small_runs import coloured, registered  # noqa: E402

from skinxai import Classifier  # noqa: E402
from skinxai.data import load_folder, load_prepared, prepare, split  # noqa: E402
from skinxai.disk.staging import write_together  # noqa: E402
from skinxai.errors import DatasetError  # noqa: E402
from skinxai.graphs.exported import open_exported  # noqa: E402
from skinxai.reporting import read_evaluation  # noqa: E402


def more_cases(folder: Path) -> dict[str, Case]:
    """The kinds that take longer."""
    models, classes = [folder / name for name in "ab"], folder / "classes"
    for item in coloured(folder / "more", 4, 1):
        place = classes / item.label / item.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(item.path, place)
    tables = [folder / f"{number}.csv" for number in (0, 1)]
    for number, table in enumerate(tables):
        fractions = (0.5, 0.25, 0.25) if number else (0.25, 0.5, 0.25)
        split(load_folder(classes), fractions).to_csv(table)
    exported: list[dict[str, bytes]] = []
    for model in models:
        out = folder / f"exported-{model.name}"
        Classifier.from_pretrained(model, device="cpu").export(out / "model.xml")
        exported.append({path.name: path.read_bytes() for path in out.iterdir()})

    def evaluate(out: Path, which: int) -> None:
        command("evaluate", classes, "--out", out, "--model", models[which])

    def audit(out: Path, which: int) -> None:
        command("audit", classes, "--splits", tables[which], "--out", out)

    return {
        "export, .xml and .bin": Case(  # as export() writes the files that it made
            lambda out, n: write_together(out, exported[n]),
            lambda out: open_exported(out / "model.xml"),
        ),
        "evaluate --out": Case(evaluate, lambda out: read_evaluation(out / "evaluation.json")),
        "audit --out": Case(audit),
    }


def preparing(folder: Path) -> dict[str, object]:
    """A prepared folder is never overwritten: it is whole or not there."""
    records, out = load_folder(folder / "classes"), folder / "prepared" / "out"
    case, found, moment, killed = Case(lambda out, _: prepare(records, out)), Counter(), 0, True
    while killed:
        shutil.rmtree(out.parent, ignore_errors=True)
        killed, _ = killed_at(case, out, moment)
        try:
            load_prepared(out)
            found["new"] += 1
        except DatasetError:
            found["not there" if not out.exists() else "in the way"] += 1
        prepare(records, out)
        moment += 1
    return {"kills": moment - 1, "as skinxai reads it": dict(found)}


def main(kinds: list[str]) -> None:
    report = json.loads(RESULT.read_text()) if kinds and RESULT.exists() else {}
    report["machine"] = (
        f"{platform.system()}, {platform.machine()}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as name, registered():
        folder = Path(name)
        known = {**cases(folder), **more_cases(folder)}
        for kind in kinds or (*known, PREPARE):
            place = folder / f"case-{len(list(folder.iterdir()))}"
            place.mkdir()
            report[kind] = preparing(folder) if kind == PREPARE else campaign(known[kind], place)
    text = json.dumps(report, indent=2)
    RESULT.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
