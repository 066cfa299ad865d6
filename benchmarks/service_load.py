"""The service under load and faults, on this machine alone.

Usage: python benchmarks/service_load.py [--minutes 3] [--seconds 30] [--backend torch]
    [--only overload,faults.exchanged_model] [--litserve PYTHON]

Servers have the first processor, senders the last, so that the load takes nothing from the service.
Every trial is bounded in time, and sends to 127.0.0.1 alone. Writes results/service_load.json and
prints a table. LitServe needs an environment of its own, whose Python `--litserve` names. The
trials of faults need redis-server and PostgreSQL; what is missing is left out.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from service import faults, trials  # noqa: E402
from service.figures import table  # noqa: E402
from service.pictures import write_pictures  # noqa: E402
from service.running import CLIENT, CORES, SERVER, busy  # noqa: E402

RESULT = HERE / "results/service_load.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--litserve", default="")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_pictures(folder / "pictures")
        plan = {
            "overhead": lambda: trials.overhead(folder, images, given.backend),
            "rivals": lambda: trials.rivals(
                folder, images, given.seconds, given.backend, given.litserve
            ),
            "overload": lambda: trials.overload(folder, images, given.minutes, given.backend),
            "ending": lambda: trials.ending(folder, images, given.backend),
            "faults": lambda: faults.all_of_them(folder, images, given.backend),
        }
        plan |= {
            f"faults.{each}": partial(faults.all_of_them, folder, images, given.backend, each)
            for each in faults.NAMES
        }
        wanted = given.only.split(",") if given.only else [name for name in plan if "." not in name]
        found = json.loads(RESULT.read_text()) if given.only and RESULT.exists() else {}
        found["machine"] = {
            "processor": platform.processor() or platform.machine(),
            "processors": len(CORES),
            "servers_on": sorted(SERVER),
            "senders_on": sorted(CLIENT),
            "backend": given.backend,
        }
        for trial in wanted:
            was = busy()
            print(f"{trial}: others use {was['before']:.0%} of the machine", flush=True)
            whole, _, part = trial.partition(".")
            before = found.get(whole, {}) if part else {"others": was}
            found[whole] = before | plan[trial]()
            print(json.dumps(found[whole], indent=1), flush=True)
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(table(found))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
