"""Make small changes of the modules whose numbers people trust, and print those no test notices.

Usage: sh scripts/mutants [--count 300] [--seed 0] [MODULE ...]

Each change (`mutations.py`) is made in a copy of the repository, one at a time, drawn evenly over
the modules; the tests that run the changed statement follow (`mutant_tests.py`), fastest first.
Which tests run which statement is found first, and kept in `.mutants/`. Changes that alter nothing
that anybody could see are argued, a reason each, in results/mutants_argued.json. Writes
results/mutants.json after each change; called again, it goes on, and tries again those that were
not noticed.
"""

import argparse
import gc
import hashlib
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mutant_tests import Tests, Trying, in_a_fork, pytest_of, record
from mutations import Mutation, mutations

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
REACH = ROOT / ".mutants" / "reach.json"
TRUSTED = [
    "assessment/*", "data/*", "explainers/*", "losses/*", "images/transforms", "images/decoding",
    "images/formats", "images/rgb",
    "predicting/predictor", "checkpoints/packing", "model_folders/*",
]  # fmt: skip
COSTLY = [  # beginnings of names: tests of other modules, or of whole journeys
    "augmentation", "backbones", "beginning", "benchmarking", "callbacks", "check_explainer",
    "checkpointing", "cli", "comparing", "convert", "demo", "depthwise", "devices", "drawing",
    "environment", "errors", "evaluation", "exported", "families", "fine_tune",
    "folding", "forking", "from_module", "graph", "groups", "importing", "installing",
    "isolation", "main_guard", "model_names", "names_of_a_run", "nearest", "outputs",
    "package", "plugins", "precision", "private", "eight_bits", "registries", "resume",
    "settings", "setup_script", "sheets", "shipped", "silence", "streamed", "teaching", "threads",
    "timm", "trainer", "training_step", "typing", "workers",
]  # fmt: skip
HEAVY = ["torch", "torchvision", "timm", "numpy", "pandas", "sklearn.metrics", "scipy.ndimage",
         "cv2", "PIL.Image", "captum.attr", "huggingface_hub", "typer", "simplejpeg",
         "torchmetrics", "safetensors.torch", "albumentations", "matplotlib"]  # fmt: skip


def copied() -> Path:
    """A copy of the repository, whose skinxai is imported from now on; nothing else is changed."""
    copy = Path(tempfile.mkdtemp(prefix="mutants-"))
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\n")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    subprocess.run([sys.executable, "-m", "compileall", "-q", copy / "src"], check=True)
    sys.path.insert(0, str(copy / "src"))
    sys.path.insert(0, str(copy / "tests"))
    os.environ |= {"PYTHONPATH": str(copy / "src"), "HOME": str(copy / "home"),
                   "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # fmt: skip
    (copy / "home").mkdir()
    os.chdir(copy)
    return copy


def reach(copy: Path, sources: dict[str, str]) -> Tests:
    """All tests that pass: their seconds and the places they reach; kept for unchanged files."""
    kept = json.loads(REACH.read_text()) if REACH.exists() else {}
    found = {}
    for path in sorted((copy / "tests").rglob("test_*.py")):
        if any(path.stem.startswith(f"test_{name}") for name in COSTLY):
            continue
        file, digest = (
            path.relative_to(copy).as_posix(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        if kept.get(file, {}).get("sha256") != digest:
            begun = time.monotonic()
            how, tests = in_a_fork(600, lambda file=file: record(copy, file, sources))
            kept[file] = {"sha256": digest, "tests": tests or {}}
            print(f"{file}: {how}, {len(tests or {})} tests, {time.monotonic() - begun:.0f} s",
                  flush=True)  # fmt: skip
            REACH.parent.mkdir(exist_ok=True)
            REACH.write_text(json.dumps(kept))
        found |= kept[file]["tests"]
    return found


def drawn(sources: dict[str, str], seed: int) -> list[Mutation]:
    """All changes, the modules in turn; no statement twice before all had their turn."""
    queues = []
    for module, source in sources.items():
        all_of_it = mutations(module, source)
        random.Random(f"{seed}:{module}").shuffle(all_of_it)
        turns: dict[int, int] = {}
        rounds = []
        for mutation in all_of_it:
            turns[mutation.line] = turns.get(mutation.line, -1) + 1
            rounds.append(turns[mutation.line])
        queues.append([m for _, m in sorted(zip(rounds, all_of_it, strict=True),
                                            key=lambda pair: pair[0])])  # fmt: skip
    longest = max(map(len, queues))
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


def summary(results: list[dict[str, Any]], argued: dict[str, str], seed: int) -> dict[str, Any]:
    counted = [r for r in results if r["outcome"] != "no program"]
    table = {}
    for r in counted:
        row = table.setdefault(r["module"], {"changes": 0, "noticed": 0, "argued": 0})
        row["changes"] += 1
        row["noticed"] += r["outcome"] == "noticed"
        row["argued"] += r["outcome"] == "not noticed" and r["key"] in argued
    left = [r["key"] for r in counted if r["outcome"] == "not noticed" and r["key"] not in argued]
    return {"seed": seed, "changes": len(counted),
            "noticed": sum(row["noticed"] for row in table.values()),
            "argued": sum(row["argued"] for row in table.values()), "neither": left,
            "modules": dict(sorted(table.items())), "results": results}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as data/splits or 'losses/*'")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS / "mutants.json")
    asked = parser.parse_args()
    package = ROOT / "src" / "skinxai"
    found = sorted({path for name in asked.modules or TRUSTED
                    for path in package.glob(f"{name.removesuffix('.py')}.py")})  # fmt: skip
    sources = {str(path.relative_to(package)): path.read_text() for path in found
               if path.name != "__init__.py" or path.parent.name == "losses"}  # fmt: skip
    asked.results = asked.results.resolve()
    argued_path = RESULTS / "mutants_argued.json"
    argued = json.loads(argued_path.read_text()) if argued_path.exists() else {}
    before = json.loads(asked.results.read_text()) if asked.results.exists() else {}
    known = {r["key"]: r for r in before.get("results", []) if before["seed"] == asked.seed}
    results: list[dict[str, Any]] = []

    def try_all(tried: Callable[[Mutation, str], dict[str, Any]]) -> None:
        begun, made = time.monotonic(), 0
        for mutation in drawn(sources, asked.seed):
            if sum(r["outcome"] != "no program" for r in results) == asked.count:
                break
            result = known.get(mutation.key)
            if result is None or result["outcome"] == "not noticed":
                result, made = tried(mutation, sources[mutation.module]), made + 1
                left = (asked.count - len(results)) * (time.monotonic() - begun) / made / 60
                print(f"{len(results) + 1}/{asked.count} ({left:.0f} min left) "
                      f"{result['outcome']}: {mutation.key}", flush=True)  # fmt: skip
            results.append(result)
            told = summary(results, argued, asked.seed)
            asked.results.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")

    copy = copied()
    try:
        for name in HEAVY:
            importlib.import_module(name)
        gc.freeze()
        tests = reach(copy, sources)
        files = sorted({name.partition("::")[0] for name in tests})
        pytest_of(files, [Trying(copy, tests, try_all)], "-s")
    finally:
        os.chdir(ROOT)
        shutil.rmtree(copy, ignore_errors=True)
    told = summary(results, argued, asked.seed)
    for module, row in told["modules"].items():
        print(f"{module:36}" + "".join(f"{name} {n:4}   " for name, n in row.items()))
    print(f"{told['noticed']} of {told['changes']} noticed, {told['argued']} argued; neither:")
    print("\n".join(told["neither"]))


if __name__ == "__main__":
    main()
