"""Forge folders of each kind, sign them anew, open them, and count how that ends.

Usage: python benchmarks/forged_folders.py [--count 2000] [--kinds model,run] [--minutes 60]

A model, an ensemble, a prepared folder, a run, an exported graph and a table with its split are
made with a network of some weights. Each variant is a copy with one change: in a JSON tree, in the
header of safetensors, in an ONNX graph or OpenVINO's XML, in a table, or of a file (a pipe, a
device, a link to itself, 2 GiB of nothing, …); manifests, digests and seals are then made anew, as
a forger would. It must end in a `SkinxaiError` or in a right answer, within 1 GiB and 2 seconds of
processor time more than the folder itself takes. Writes results/forged_folders.json.
"""

import argparse
import collections
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

import torch
from forging.kinds import Kind, build, kinds

from skinxai import backbones
from skinxai.errors import SkinxaiError

RESULTS = Path(__file__).parent / "results" / "forged_folders.json"
SECONDS, BYTES = 2.0, 2**30
PATIENCE = 60
"""Seconds after which a variant counts as hung, whatever else the machine does."""


def status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1024


def outcome(kind: Kind, folder: Path, right: Any, may: bool, usual: float) -> dict[str, Any]:
    """How opening a folder ends, and what it costs; the folder as it was takes `usual` seconds."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begun = status("VmRSS"), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.answer(folder)
        end = (
            "right answer" if found == right else "what the change means" if may else "WRONG ANSWER"
        )
        words = ""
    except SkinxaiError as error:
        end, words = type(error).__name__, str(error)
    except (Exception, SystemExit) as error:
        end, words = f"UNTYPED {type(error).__name__}", traceback.format_exc()[-1500:]
    seconds, taken = time.process_time() - begun, status("VmHWM") - before
    if seconds > usual + SECONDS:
        end += ", TOO SLOW"
    if taken > BYTES:
        end += ", TOO LARGE"
    return {"end": end, "words": words[:1500], "seconds": seconds, "bytes": taken}


def work(kind: Kind, connection: Any) -> None:
    """Answer for one variant after the other, in a process of its own."""
    torch.set_num_threads(1)
    os.chdir(kind.whole.parent)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.dup2(silent, 1)
    most = status("VmSize") + 6 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for _ in range(2):  # the first imports what it needs
        begun = time.process_time()
        right = kind.answer(Path(shutil.copytree(kind.whole, kind.whole.parent / "right")))
        usual = time.process_time() - begun
        shutil.rmtree(kind.whole.parent / "right")
    while (asked := connection.recv()) is not None:
        connection.send(outcome(kind, Path(asked[0]), right, asked[1], usual))


def campaign(
    name: str, kind: Kind, count: int, seed: int, show: bool, minutes: float
) -> dict[str, Any]:
    """Outcomes of as many variants, or of those that the minutes are enough for."""
    draws, ends, slowest, largest = Random(seed), collections.Counter[str](), 0.0, 0
    context = multiprocessing.get_context("fork")
    process = ends_at = None
    bad: list[dict[str, Any]] = []
    begun = time.monotonic()
    for number in range(count):
        if time.monotonic() - begun > minutes * 60:
            count = number
            break
        if process is None or not process.is_alive():
            ends_at, theirs = context.Pipe()
            process = context.Process(target=work, args=(kind, theirs), daemon=True)
            process.start()
            theirs.close()
        folder = Path(shutil.copytree(kind.whole, kind.whole.parent / f"forged-{name}"))
        what, may = kind.forge(folder, draws)
        ends_at.send((str(folder), may))
        try:
            if not ends_at.poll(PATIENCE):
                raise TimeoutError
            found = ends_at.recv()
        except (TimeoutError, EOFError, OSError) as error:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            end = "HUNG" if isinstance(error, TimeoutError) else f"DIED {process.exitcode}"
            found, process = {"end": end, "words": "", "seconds": 0, "bytes": 0}, None
        ends[found["end"]] += 1
        slowest, largest = max(slowest, found["seconds"]), max(largest, found["bytes"])
        if (
            found["end"] != found["end"].replace("UNTYPED", "")
            or found["end"].upper() in found["end"]
            or "TOO" in found["end"]
        ):
            bad.append({"number": number, "change": what} | found)
            if show:
                print(name, number, what, found["end"], found["words"][-700:], flush=True)
        shutil.rmtree(folder)
    if process is not None:
        ends_at.send(None)
        process.join(10)
    wrong = [each for each in bad if re.search("UNTYPED|WRONG|TOO|HUNG|DIED", each["end"])]
    return {"variants": count, "ends": dict(ends.most_common()), "wrong": len(wrong),
            "slowest_seconds": round(slowest, 2), "most_mib": round(largest / 2**20)}  # fmt: skip


def main(count: int, chosen: list[str], seed: int, out: Path | None, minutes: float) -> int:
    backbones.register("colours")(build)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        made = kinds(Path(temporary))
        found = {
            name: campaign(name, made[name], count, seed, True, minutes) for name in chosen or made
        }
    print("| kind | variants | refused | right | what the change means | wrong | slowest | most |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, each in found.items():
        ends = each["ends"]
        right, meant = ends.get("right answer", 0), ends.get("what the change means", 0)
        refused = each["variants"] - right - meant - each["wrong"]
        print(f"| {name} | {each['variants']} | {refused} | {right} | {meant} | {each['wrong']} | "
              f"{each['slowest_seconds']} s | {each['most_mib']} MiB |")  # fmt: skip
    if out is not None:
        known = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(known | found, indent=2) + "\n")
    return sum(each["wrong"] for each in found.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="for each kind, at most")
    parser.add_argument("--no-result", action="store_true")
    given = parser.parse_args()
    chosen = given.kinds.split(",") if given.kinds else []
    out = None if given.no_result else RESULTS
    wrong = main(given.count, chosen, given.seed, out, given.minutes)
    raise SystemExit(min(1, wrong))
