"""Images on their way to the network: order, seeds and decoding processes."""

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import BASE
from torch.utils.data import DataLoader
from waiting import wait_for

from skinxai.configs import PreprocessConfig
from skinxai.data import Record, Records, Splits
from skinxai.images.transforms import normalise
from skinxai.labels import LabelSet
from skinxai.training import loaders
from skinxai.training.augmentation import Augmentation
from skinxai.training.beginning import new_run
from skinxai.training.loaders import TrainingImages, batches, epoch_order, network_input, plan
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig

# torch says it wherever there are fewer cores than workers
pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]
PREPROCESSING = PreprocessConfig((32, 48))


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    wait_for(none_is_left)


def none_is_left() -> bool:
    multiprocessing.active_children()  # waits for those that are dead
    return children() == []


def children() -> list[str]:
    """Processes of this one that live, or are dead and not waited for."""
    lists = Path("/proc/self/task").glob("*/children")
    numbers = [number for path in lists for number in path.read_text().split()]
    commands = {n: Path(f"/proc/{n}/cmdline").read_bytes() for n in numbers}
    # multiprocessing's own: it stays until this process ends
    return [n for n, command in commands.items() if b"resource_tracker" not in command]


def images_of(records: Records, recipe: Any = "standard") -> TrainingImages:
    return TrainingImages(records, PREPROCESSING, Augmentation((32, 48), recipe))


def test_samplers() -> None:
    labels = LabelSet(("many", "few"))
    items = [Record(str(n), Path("x"), "many" if n < 900 else "few") for n in range(1000)]
    records = Records(tuple(items), labels)
    assert sorted(epoch_order(records, None, 0, 0)) == list(range(1000))
    for sampler, share in (("balanced", 0.5), ("square_root", 0.25)):  # 30 : 10
        drawn = [i for epoch in range(10) for i in epoch_order(records, sampler, 0, epoch)]
        assert np.mean(np.array(drawn) >= 900) == pytest.approx(share, abs=0.02)
    assert epoch_order(records, None, 0, 1) != epoch_order(records, None, 0, 2)
    assert epoch_order(records, None, 0, 1) == epoch_order(records, None, 0, 1)
    assert epoch_order(records, None, 0, 1) != epoch_order(records, None, 1, 0)


def test_no_batch_is_a_single_image() -> None:
    assert plan(range(9), 4) == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert plan(range(10), 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert plan(range(8), 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert plan(range(5), 8) == [[0, 1, 2, 3, 4]] and plan([], 8) == []
    for count in range(2, 40):
        for size in range(2, 9):
            steps = plan(range(count), size)
            assert [position for step in steps for position in step] == list(range(count))
            assert min(map(len, steps)) >= 2


def test_pixels_become_the_network_input_that_predicting_uses() -> None:
    preprocessing = PreprocessConfig((32, 48), (0.7, 0.5, 0.4), (0.2, 0.3, 0.1))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    found = network_input(torch.from_numpy(pixels), preprocessing, torch.device("cpu"))
    assert found.is_contiguous(memory_format=torch.channels_last)
    for own, image in zip(found, pixels, strict=True):
        np.testing.assert_array_equal(own.numpy(), normalise(image, preprocessing))


@pytest.mark.parametrize("sampler", [None, "balanced"])
def test_workers_change_nothing(data, sampler) -> None:
    images = images_of(data[0])
    steps = plan(epoch_order(data[0], sampler, 3, 1), 8)
    alone, shared = (list(batches(images, steps, n, augment_seed=(3, 1))) for n in (0, 2))
    rest = list(batches(images, steps, 2, augment_seed=(3, 1), first=2))
    assert len(alone) == len(shared) == 3 and [b.positions for b in alone] == steps
    for one, other in (*zip(alone, shared, strict=True), *zip(alone[2:], rest, strict=True)):
        assert torch.equal(one.pixels, other.pixels) and torch.equal(one.target, other.target)
        assert one.positions == other.positions and one.failures == other.failures == []
    targets = data[0].targets()
    assert all(b.target.tolist() == [targets[i] for i in b.positions] for b in alone)


@pytest.mark.parametrize(
    ("device", "pinned"), [("cpu", False), ("cuda:1", True)], ids=["processor", "GPU"]
)
def test_batches_are_pinned_for_the_device_that_computes(
    data, tmp_path, monkeypatch, device: str, pinned: bool
) -> None:
    """And not because the machine has a GPU."""
    config, asked = TrainConfig(**BASE), []

    class Watched(DataLoader):
        def __init__(self, *given, pin_memory: bool, **options) -> None:
            asked.append(pin_memory)
            super().__init__(*given, **options)

    run = new_run(config, RunFolder(tmp_path), Splits(*data, Records((), data[0].labels)))
    run = replace(run, device=torch.device(device))
    monkeypatch.setattr(loaders, "DataLoader", Watched)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not pinned)
    assert len(list(run.training_batches())) == 3 and len(list(run.validation_batches())) == 1
    assert asked == [pinned, pinned]


def test_processes_that_are_started_anew(data) -> None:
    """As on macOS and Windows: nothing is inherited."""
    images, steps = images_of(data[0]), plan(range(8), 4)
    (alone, *_), before = batches(images, steps, 0, augment_seed=(3, 1)), torch.get_rng_state()
    try:
        multiprocessing.set_start_method("spawn", force=True)
        spawned, *_ = batches(images, steps, 1, augment_seed=(3, 1))
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert torch.equal(alone.pixels, spawned.pixels)
    assert torch.equal(torch.get_rng_state(), before)


def drawn(pixels: np.ndarray) -> np.ndarray:
    """Draws from NumPy's global generator, as pipelines do."""
    return np.full_like(pixels, np.random.randint(256))


def test_augmentations_differ_and_can_be_repeated(data) -> None:
    for recipe in ("standard", drawn):
        images, twice = images_of(data[0], recipe), [[4] * 8, [4] * 8]  # one image
        seen = set()
        for epoch in (0, 1):
            runs = [list(batches(images, twice, n, augment_seed=(3, epoch))) for n in (0, 2)]
            for one, other in zip(*runs, strict=True):
                assert torch.equal(one.pixels, other.pixels)
            seen |= {p.numpy().tobytes() for batch in runs[0] for p in batch.pixels}
        assert len(seen) > 28  # of 32; the generator draws few values


def test_workers_leave_a_terminals_signals_to_the_one_that_trains(data) -> None:
    def ignored(pixels: np.ndarray) -> np.ndarray:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
        return np.full_like(pixels, handlers.count(signal.SIG_IGN))

    for workers, count in ((1, 2), (0, 0)):
        (batch,) = batches(images_of(data[0], ignored), [[0, 1]], workers, augment_seed=(0, 0))
        assert set(batch.pixels.unique().tolist()) == {count}
