"""Training by one rank, by two, and by a hand-written DistributedDataParallel loop of two.

Usage: python benchmarks/ranks.py HAM10000 [--rounds 2]

Each rank has one thread and decodes its own images. All ways have the same network, images,
augmentation, batch of 32 images and optimiser. Batch statistics are of the whole batch, but those
of the loop by hand and of the ranks beside it (``sync_batch_norm=False``) are of each rank's half.
The figure is images a second over all steps but the first two; the best round counts. Writes
results/ranks.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results/ranks.json"
HALVES = "two ranks, statistics of halves"
BATCH, STEPS, SIZE, BACKBONE = 32, 8, (192, 256), "tf_efficientnet_lite0"


def records(root: Path):
    from skinxai.data import load_ham10000, split

    parts = split(load_ham10000(root))
    train = parts.train.subset([item.image_id for item in parts.train][: BATCH * STEPS])
    val = parts.val.subset([item.image_id for item in parts.val][:4])
    return train, val


def trainer(root: Path, out: Path, sync: bool) -> None:
    from skinxai import Trainer
    from skinxai.training.callbacks import Callback

    times: list[float] = []

    class Clock(Callback):
        def on_step(self, step: int, loss: float, learning_rate: float) -> None:
            times.append(time.perf_counter())
            if step == STEPS:
                out.write_text(json.dumps(times))

    Trainer(
        BACKBONE, init_weights=None, image_size=SIZE, batch_size=BATCH, epochs=1, workers=0,
        device="cpu", amp=False, sync_batch_norm=sync,
        output_dir=out.with_suffix(".run"), callbacks=[Clock()],
    ).fit(*records(root))  # fmt: skip


def by_hand(root: Path, out: Path) -> None:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler

    from skinxai import backbones
    from skinxai.configs import PreprocessConfig
    from skinxai.training.augmentation import Augmentation
    from skinxai.training.loaders import TrainingImages, network_input

    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    train, _ = records(root)
    preprocessing = PreprocessConfig(SIZE)
    images = TrainingImages(train, preprocessing, Augmentation(SIZE))

    class Seeded(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, place: int):
            return images[place, place][1:]

    loader = DataLoader(Seeded(), BATCH // 2, sampler=DistributedSampler(images))
    network = backbones.build(BACKBONE, len(train.labels)).to(memory_format=torch.channels_last)
    model = DistributedDataParallel(network.train())
    optimizer = torch.optim.AdamW(model.parameters())
    times = []
    for pixels, target in loader:
        optimizer.zero_grad()
        logits = model(network_input(pixels, preprocessing, torch.device("cpu")))
        loss = torch.nn.functional.cross_entropy(logits, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        times.append(time.perf_counter())
    if dist.get_rank() == 0:
        out.write_text(json.dumps(times))
    dist.destroy_process_group()


def measured(way: str, root: Path) -> float:
    """Images a second."""
    ranks = 1 if way == "one rank" else 2
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "times.json"
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={ranks}", __file__, str(root), "--way", way, "--out", str(out),
        ]  # fmt: skip
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        times = json.loads(out.read_text())
    return BATCH * (len(times) - 2) / (times[-1] - times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ham10000", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", default="")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.way:
        if given.way == "by hand":
            by_hand(given.ham10000, given.out)
        else:
            trainer(given.ham10000, given.out, sync=given.way != HALVES)
        return
    ways: dict[str, list[float]] = {"one rank": [], "two ranks": [], HALVES: [], "by hand": []}
    for _ in range(given.rounds):
        for way, found in ways.items():
            found.append(round(measured(way, given.ham10000), 2))
            print(way, found[-1], flush=True)
    best = {way: max(found) for way, found in ways.items()}
    result = {
        "backbone": BACKBONE, "image_size": SIZE, "batch": BATCH, "images_a_second": ways,
        "two_ranks_to_one": round(best["two ranks"] / best["one rank"], 2),
        "halves_to_one": round(best[HALVES] / best["one rank"], 2),
        "halves_to_by_hand": round(best[HALVES] / best["by hand"], 2),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
