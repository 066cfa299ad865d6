"""Answer manifests by one process, by two, and by Ray; and measure how memory grows with rows.

Usage: python benchmarks/manifests.py [FOLDER_OF_IMAGES]      (writes results/manifests.json)

Every process has one thread. Rates are those of running processes: of the plain ones from the
moment at which both have loaded the model, of Ray's from the first finished chunk of each actor.
Memory is that of a stand-in for the model, which answers at once, so that a million rows take a
minute; everything else is the real thing. Without a folder the sample images are taken.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STATUS = Path("/proc/self/status")
IMAGES, CHUNK, ROUNDS, LONG = 768, 32, 2, 1_000_000
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def main(folder: str | None) -> None:
    from skinxai import samples

    found = sorted(Path(folder).rglob("*.jpg")) if folder else list(samples.paths())
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        table = here / "images.csv"
        lines = [f"{found[number % len(found)].absolute()}\n" for number in range(IMAGES)]
        table.write_text("image\n" + "".join(lines))
        rates: dict[str, list[float]] = {"one process": [], "two processes": [], "Ray, two": []}
        for turn in range(ROUNDS):
            rates["one process"].append(IMAGES / plain(table, here / f"one-{turn}", 1))
            rates["two processes"].append(IMAGES / plain(table, here / f"two-{turn}", 2))
            rates["Ray, two"].append(float(child("ray", table, here / f"ray-{turn}")))
            print(rates, file=sys.stderr)
        best = {name: max(each) for name, each in rates.items()}
        memory = {
            f"{rows} rows": json.loads(child("memory", here / f"{rows}.csv", here / f"m-{rows}"))
            for rows in (10_000, LONG)
        }
    few, many = memory.values()
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "images": IMAGES,
        "images a second": rates,
        "two processes over one": best["two processes"] / best["one process"],
        "Ray over two processes": best["Ray, two"] / best["two processes"],
        "memory": memory,
        "growth of predict, MB": many["predict, MB"] - few["predict, MB"],
        "growth of collect, MB": many["collect, MB"] - few["collect, MB"],
    }
    text = json.dumps(report, indent=2)
    (ROOT / "benchmarks/results/manifests.json").write_text(text + "\n")
    print(text)


def child(*words: Any) -> str:
    """What a process of this file prints last."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def plain(table: Path, out: Path, count: int) -> float:
    """Seconds until the last of several processes has ended, once all have begun."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "shard", str(table), str(out), str(number), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    for each in processes:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    start = time.perf_counter()
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.close()
    for each in processes:
        assert each.wait() == 0
    return time.perf_counter() - start


def shard(table: str, out: str, number: str, count: str) -> None:
    from skinxai import Classifier, samples
    from skinxai.manifests import predict_manifest

    classifier = Classifier.from_pretrained()
    classifier.predict([samples.paths()[0]] * 32)
    print("ready", flush=True)
    sys.stdin.readline()
    predict_manifest(
        classifier, table, out, shard=(int(number), int(count)), chunk=CHUNK, progress=False
    )


def with_ray(table: str, out: str) -> None:
    from skinxai import Classifier
    from skinxai.manifests.ray_data import predict_manifest_with_ray

    times: list[tuple[float, int]] = []
    predict_manifest_with_ray(
        Classifier.from_pretrained(), table, out, actors=2, chunk=CHUNK,
        progress=lambda done, _: times.append((time.perf_counter(), done)),
    )  # fmt: skip
    (begun, first), (ended, last) = times[1], times[-1]
    print((last - first) / (ended - begun))


class StandIn:
    """Answers at once, as a classifier does in time."""

    def __init__(self) -> None:
        from skinxai import Classifier, samples

        real = Classifier.from_pretrained()
        self.model, self.labels, self.backend = real.model, real.labels, real.backend
        self._found = real.predict(samples.paths()[0])

    def predict(self, images: list[Any], **_: Any) -> list[Any]:
        return [self._found] * len(images)

    def stream(self, images: Any, **_: Any) -> None:
        """Refuses no operating point."""


def peak() -> float:
    """Most memory that this process has had, in MB."""
    (line,) = (each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1000, 1)


def merge(parts: str, out: str) -> None:
    from skinxai.manifests import collect

    collect(parts, out, progress=False)
    print(peak())


def memory(table: str, out: str) -> None:
    from skinxai import samples
    from skinxai.manifests import predict_manifest

    rows, images = int(Path(table).stem), samples.paths()
    with Path(table).open("w") as file:
        file.write("id,image\n")
        file.writelines(f"image-{n},{images[n % len(images)]}\n" for n in range(rows))
    model: Any = StandIn()
    start = time.perf_counter()
    predict_manifest(model, table, out, progress=False)
    answered = time.perf_counter() - start
    print(json.dumps({
        "predict, MB": peak(), "collect, MB": float(child("merge", out, f"{out}.parquet")),
        "seconds beside the model": round(answered, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    jobs = {"shard": shard, "ray": with_ray, "memory": memory, "merge": merge}
    if len(sys.argv) > 2 and sys.argv[1] in jobs:
        jobs[sys.argv[1]](*sys.argv[2:])
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else None)
