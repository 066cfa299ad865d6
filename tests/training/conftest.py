import pytest
from small_runs import coloured

from skinxai.data.records import Records


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    """Images to train on and to validate with."""
    folder = tmp_path_factory.mktemp("colours")
    return coloured(folder / "train", 8, 0), coloured(folder / "val", 3, 1)
