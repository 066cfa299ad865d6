"""Image files that are exchanged while a run goes on: what it learnt of them is not kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_runs import BASE, coloured

from skinxai import Trainer
from skinxai.data import Records
from skinxai.errors import DatasetImageError
from skinxai.training.callbacks import Callback

pytestmark = pytest.mark.usefixtures("small_networks")
SETTINGS = BASE | {"epochs": 3}
Parts = tuple[Records, Records]


@pytest.fixture
def parts(tmp_path) -> Parts:
    return coloured(tmp_path / "train", 8, 0), coloured(tmp_path / "val", 3, 1)


@pytest.fixture
def undisturbed(parts, tmp_path) -> bytes:
    Trainer(**SETTINGS, output_dir=tmp_path / "other").fit(*parts)
    return (tmp_path / "other" / "model.safetensors").read_bytes()


class Do(Callback):
    """Does something once the first epoch is over."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do = do

    def on_epoch(self, row: dict[str, Any]) -> None:
        if row["epoch"] == 1:
            self.do()


def put(place: Path, content: bytes) -> None:
    """Exchange a file in one step, as programs that copy do."""
    beside = place.with_name("new")
    beside.write_bytes(content)
    beside.replace(place)


@pytest.mark.parametrize("part", [0, 1])
def test_an_exchanged_image_ends_a_run_and_is_not_kept(parts, undisturbed, tmp_path, part) -> None:
    item, other, folder = parts[part][2], parts[part][5], tmp_path / "run"
    before = item.path.read_bytes()
    do = Do(lambda: put(item.path, other.path.read_bytes()))
    with pytest.raises(DatasetImageError, match="1 of them was exchanged") as caught:
        Trainer(**SETTINGS, output_dir=folder, callbacks=[do]).fit(*parts)
    assert f"{item.image_id!r} ({item.path})" in str(caught.value)
    assert len((folder / "log.csv").read_text().splitlines()) == 2  # names and one epoch
    put(item.path, before)
    Trainer.resume(folder).fit(*parts)
    assert (folder / "model.safetensors").read_bytes() == undisturbed


def test_the_same_image_in_another_file_is_none_the_worse(parts, undisturbed, tmp_path) -> None:
    def save_anew() -> None:
        for item in (parts[0][2], parts[1][5]):
            Image.open(item.path).save(tmp_path / "again.png", compress_level=0)
            assert (tmp_path / "again.png").read_bytes() != item.path.read_bytes()
            put(item.path, (tmp_path / "again.png").read_bytes())

    folder = tmp_path / "run"
    Trainer(**SETTINGS, output_dir=folder, callbacks=[Do(save_anew)]).fit(*parts)
    assert (folder / "model.safetensors").read_bytes() == undisturbed


def test_validation_images_are_read_into_memory_as_they_were(parts, tmp_path) -> None:
    """They are read after the first epoch, long after they were hashed."""

    class Early(Callback):
        def on_step(self, step: int, loss: float, learning_rate: float) -> None:
            if step == 1:
                put(parts[1][2].path, parts[1][5].path.read_bytes())

    settings = SETTINGS | {"augment_on": "device", "output_dir": tmp_path / "run"}
    with pytest.raises(DatasetImageError, match="1 of them was exchanged"):
        Trainer(**settings, callbacks=[Early()]).fit(*parts)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_images_that_were_read_into_memory_may_go(parts, tmp_path) -> None:
    folder, do = tmp_path / "run", Do(lambda: put(parts[0][2].path, parts[0][5].path.read_bytes()))
    settings = SETTINGS | {"augment_on": "device"}
    Trainer(**settings, output_dir=folder, callbacks=[do]).fit(*parts)
    assert len((folder / "log.csv").read_text().splitlines()) == 4
