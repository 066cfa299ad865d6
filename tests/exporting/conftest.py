"""A model that is exported, and pictures."""

from pathlib import Path

import pytest
from small_runs import coloured, model_folder

from skinxai import Classifier


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [r.path for r in coloured(tmp_path_factory.mktemp("data") / "pictures", 3, seed=0)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The model that is exported."""
    return Classifier.from_pretrained(
        model_folder(tmp_path_factory.mktemp("model") / "own", seed=1)
    )
