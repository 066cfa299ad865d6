"""Plant terminal escapes, markup and endless text wherever text comes in, and look at all outputs.

Usage: python benchmarks/markup_injection.py [--payloads 4] [--entries "model: "]

Each payload goes through each entry (labels, names and licences of models, tables, prepared
folders, file and folder names, arguments, answers of a Hub …) into the commands that may show it. A
model or prepared folder that the first of them refuse is not given to the others, which open it by
the same function. Counted are calls whose standard output, standard error, error sentence, CSV,
JSON, HTML or Markdown shows a hidden character, a forged line, combining marks without end, a tag,
a picture, a torn row or a formula, and calls that end in an error without a type. Writes
results/markup_injection.json.
"""

import argparse
import collections
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from foreign_text import HIDDEN, LONG, MARKUP  # noqa: E402
from planted_text import ENTRIES, shows  # noqa: E402
from small_runs import registered  # noqa: E402
from text_workshop import Workshop  # noqa: E402

WIDTHS = (9, 7, 9, 7, 7)
RESULTS = HERE / "results" / "markup_injection.json"


def main(payloads: int, entries: str, out: Path) -> None:
    known = list((HIDDEN | MARKUP | LONG).items())
    payloads = min(payloads, len(known))
    chosen = dict(known[(n + 1) * len(known) // payloads - 1] for n in range(payloads))
    names = [name for name in ENTRIES if name.startswith(entries)]
    # Where some entries are asked for, the others stay as they were.
    found = json.loads(out.read_text())["entries"] if entries and out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder, registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shop = Workshop(Path(folder) / "shop")
        for entry in tqdm(names, unit="entry"):
            found[entry] = looked(shop, entry, chosen)
            report = summed({name: found[name] for name in ENTRIES if name in found})
            out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{'entry':<24}{'payloads':>9}{'calls':>7}{'refused':>9}{'shown':>7}{'WRONG':>7}")
    for name, count in {**report["entries"], "all": report}.items():
        numbers = (count[key] for key in ("payloads", "calls", "refused", "shown", "WRONG"))
        print(f"{name:<24}" + "".join(f"{n:>{w}}" for n, w in zip(numbers, WIDTHS, strict=True)))
    print("\n".join(each for count in found.values() for each in count["wrong"]))


def looked(shop: Workshop, entry: str, chosen: dict[str, str]) -> dict[str, Any]:
    """What the calls of one entry showed; payloads that no file or argument can hold have none."""
    count: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    for name, text in chosen.items():
        calls = list(shows(shop, entry, text))
        count["payloads"] += bool(calls)
        for call, found in calls:
            count["calls"] += 1
            count["shown" if found.ended in ("done", "some failed") else found.ended] += 1
            kinds.update(Path(output).suffix or output for output in found.outputs)
            count["WRONG"] += bool(found.wrong)
            wrong += [f"{entry} | {name} | {call.words[0]!a:.20} | {w}" for w in found.wrong[:1]]
    known = {key: count.pop(key, 0) for key in ("payloads", "calls", "refused", "shown", "WRONG")}
    return known | {"others": dict(count), "outputs": dict(sorted(kinds.items())), "wrong": wrong}


def summed(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The entries behind their sums; payloads are the most that an entry had."""
    outputs: collections.Counter[str] = collections.Counter()
    for count in entries.values():
        outputs.update(count["outputs"])
    keys = ("calls", "refused", "shown", "WRONG")
    return {
        "payloads": max(count["payloads"] for count in entries.values()),
        **{key: sum(count[key] for count in entries.values()) for key in keys},
        "outputs looked at": dict(sorted(outputs.items())),
        "entries": entries,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--payloads", type=int, default=1000, help="So many, evenly spaced.")
    parser.add_argument("--entries", default="", help="Only those that begin so.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    main(arguments.payloads, arguments.entries, arguments.out)
