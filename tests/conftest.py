import functools
import gc
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub
from long_files import LONG
from loopback_hub import on_loopback
from PIL import Image
from small_runs import few_resamples
from small_runs import registered as small_networks_registered

from skinxai import Classifier, explainers, plugins

os.environ.pop("PYTHONUNBUFFERED", None)  # with it, programs show what is kept back without it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which CI may run, ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
few_resamples()
gc.set_threshold(10_000)  # Python's own is 700 new objects, and a million stay


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of garbage collection, which looks through all of it."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; skip what needs a GPU where there is none."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))
    if not torch.cuda.is_available():
        without = pytest.mark.skip(reason="torch sees no CUDA device on this machine.")
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(without)


@pytest.fixture(scope="session", autouse=True)
def one_table_of_operators() -> None:
    """Of ONNX: torch fills it anew for each export, which takes half of the time of a small one."""
    if importlib.util.find_spec("onnxscript"):
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    """What a library sets in the environment of this process, as Ray does, ends with the file."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return Classifier.from_pretrained()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve smooth images of several sizes, each different."""
    folder = tmp_path_factory.mktemp("photos")
    draws = np.random.default_rng(0)
    paths = []
    for number in range(12):
        coarse = draws.integers(60, 230, (6, 8, 3), dtype=np.uint8)
        size = (320 + 40 * (number % 3), 240 + 30 * (number % 2))
        path = folder / f"photo_{number:02d}.png"
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def small_networks() -> Iterator[None]:
    """The backbones and the loss of `small_runs`, for the tests of one file."""
    with small_networks_registered():
        yield


@pytest.fixture
def registered():
    """Registers explainers for one test."""
    names: list[str] = []

    def add(name: str, explainer: type) -> None:
        explainers.register(name)(explainer)
        names.append(name)

    yield add
    plugins.explainers.remove(names)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    """A Hub of this process; what comes from it is kept in the folder of the test."""
    with on_loopback(monkeypatch, tmp_path / "cache") as server:
        yield server
