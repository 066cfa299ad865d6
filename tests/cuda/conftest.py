"""One body for each device: the processor, a GPU, and the device of `own_memory`."""

from pathlib import Path

import pytest
from on_a_device import OWN
from small_runs import LABELS, coloured, model_folder

from skinxai.data import Records

DEVICES = ["own"] if OWN else ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Twenty-four pictures of three colours."""
    return coloured(tmp_path_factory.mktemp("pictures") / "val", 8, 3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, small_networks: None) -> list[Path]:
    """Two models with batch normalisation and dropout, and random weights."""
    root = tmp_path_factory.mktemp("models")
    return [model_folder(root / str(seed), LABELS, seed=seed, drop_rate=0.2) for seed in (1, 2)]
