from pathlib import Path

import pytest
from small_runs import coloured, model_folder

from skinxai import Classifier


@pytest.fixture(scope="module")
def small(small_networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a graph."""
    folder = tmp_path_factory.mktemp("models")
    whole = Classifier.from_pretrained(model_folder(folder / "whole", seed=1))
    whole.with_graph().save_pretrained(folder / "small")
    return folder / "small"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three drawn images."""
    return [r.path for r in coloured(tmp_path_factory.mktemp("data") / "pictures", 3, seed=0)]
