"""Plant terminal escapes, markup and endless text wherever text comes in, and look at all outputs.

Usage: python benchmarks/markup_injection.py [--payloads 4]

Each payload goes through each entry (labels, names and licences of models, tables, prepared
folders, file and folder names, arguments …) into the commands that may show it. Counted are calls
whose standard output, standard error, error sentence, CSV, JSON, HTML or Markdown shows a hidden
character, a forged line, a tag, a picture, a torn row or a formula, and calls that end in an error
without a type. Writes results/markup_injection.json.
"""

import argparse
import collections
import json
import sys
import tempfile
import warnings
from pathlib import Path

from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from foreign_text import ENTRIES, HIDDEN, LONG, MARKUP, Workshop, shows  # noqa: E402
from small_runs import registered  # noqa: E402

RESULTS = HERE / "results" / "markup_injection.json"


def main(payloads: int, entries: str, out: Path) -> None:
    known = list((HIDDEN | MARKUP | LONG).items())
    payloads = min(payloads, len(known))
    chosen = dict(known[(n + 1) * len(known) // payloads - 1] for n in range(payloads))
    names = [name for name in ENTRIES if name.startswith(entries)]
    counts: dict[str, collections.Counter[str]] = {}
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shop = Workshop(Path(folder) / "shop")
        for entry in tqdm(names, unit="entry"):
            count = counts.setdefault(entry, collections.Counter())
            for name, text in chosen.items():
                for call, found in shows(shop, entry, text):
                    count["calls"] += 1
                    count[found.ended] += 1
                    kinds.update(Path(output).suffix or output for output in found.outputs)
                    if found.wrong:
                        count["WRONG"] += 1
                        wrong.append(f"{entry} | {name} | {call.words[0]!a:.20} | {found.wrong[0]}")
    total = sum(counts.values(), collections.Counter())
    found = {"payloads": len(chosen), **dict(sorted(total.items())), "WRONG": total["WRONG"],
             "outputs": dict(sorted(kinds.items())),
             "entries": {k: dict(sorted(v.items())) for k, v in counts.items()},
             "wrong": wrong[:40]}  # fmt: skip
    out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{'entry':<24}{'calls':>7}{'refused':>9}{'shown':>7}{'WRONG':>7}")
    for name, count in {**counts, "all": total}.items():
        done = count["done"] + count["some failed"]
        print(f"{name:<24}{count['calls']:>7}{count['refused']:>9}{done:>7}{count['WRONG']:>7}")
    print("\n".join(wrong[:200]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--payloads", type=int, default=1000, help="So many, evenly spaced.")
    parser.add_argument("--entries", default="", help="Only those that begin so.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    main(arguments.payloads, arguments.entries, arguments.out)
