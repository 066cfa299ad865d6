import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from places import ROOT
from small_runs import coloured

from skinxai.data.records import Records

RECIPE = ROOT / "training/recipe"
MODULES = ("material", "planning", "jobs", "settings", "outcomes", "calling", "collecting", "table",
           "luggage", "worker")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    """Images to train on and to validate with."""
    folder = tmp_path_factory.mktemp("colours")
    return coloured(folder / "train", 8, 0), coloured(folder / "val", 3, 1)


@pytest.fixture(scope="module")
def recipe() -> Iterator[SimpleNamespace]:
    """The recipe's modules, as its scripts import each other."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(RECIPE))
    yield SimpleNamespace(**{name: __import__(name) for name in MODULES})
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in MODULES:
            del sys.modules[name]
