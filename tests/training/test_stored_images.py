"""Images that stay in memory: their size, where they are kept, and those that cannot be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import BASE, coloured, listed

from skinxai import Trainer
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, prepare
from skinxai.errors import DatasetImageError, ImageDecodeError, OptionError, OutOfMemoryError
from skinxai.images.transforms import resize
from skinxai.training import free_memory, loaders, stored_images
from skinxai.training.device_augmentation import DeviceAugmentation
from skinxai.training.free_memory import Free
from skinxai.training.loaders import TrainingImages, batches, keys_of
from skinxai.training.materials import _images
from skinxai.training.settings import TrainConfig
from skinxai.training.stored_images import StoredImages

CPU, PREPROCESSING = torch.device("cpu"), PreprocessConfig((32, 48))
GIB = 2**30


def written(folder: Path, sizes: list[tuple[int, int]]) -> Records:
    draws = np.random.default_rng(0)
    folder.mkdir()
    for number, size in enumerate(sizes):
        pixels = draws.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"red-{number:02d}.png")
    return listed(folder)


def kept(records: Records, recipe: str | None = "light", **more: Any) -> StoredImages:
    augmentation = None if recipe is None else DeviceAugmentation((32, 48), recipe)
    return StoredImages(records, PREPROCESSING, CPU, augmentation, **more)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(40, 56), (60, 60), (40, 56)], (40, 56)),
        ([(60, 60), (40, 56)], (60, 60)),  # equally often: the larger one
        ([(40, 56), (40, 56), (300, 400)], (40, 56)),
    ],
)
def test_all_have_the_size_of_most(tmp_path, sizes, wanted) -> None:
    records = written(tmp_path / "data", sizes)
    pixels, gains, failures = kept(records).stored
    assert pixels.shape == (len(sizes), *wanted, 3) and pixels.dtype == torch.uint8
    assert gains is None and failures == {}
    for own, record in zip(pixels, records, strict=True):
        whole = np.asarray(Image.open(record.path))
        same = resize(whole, PreprocessConfig(wanted))  # the whole image, nothing cropped
        np.testing.assert_array_equal(own.numpy(), same)


@pytest.mark.parametrize("size", [None, (36, 50)])
def test_prepared_images_have_the_size_that_they_were_prepared_at(tmp_path, size) -> None:
    records = written(tmp_path / "data", [(40, 56), (40, 56), (64, 72)])
    cached = prepare(records, tmp_path / "prepared", image_size=size, progress=False)
    for record in records:
        record.path.unlink()  # they are read from the folder alone
    pixels = kept(cached).stored.pixels
    assert tuple(pixels.shape[1:3]) == (size or (40, 56))
    if size is not None:
        for own, record in zip(pixels, cached, strict=True):
            np.testing.assert_array_equal(own.numpy(), cached.pixels.read(record.image_id))


@pytest.mark.parametrize("prepared", [None, (32, 48), (36, 50)])
def test_validation_sees_the_evaluation_transform(tmp_path, prepared) -> None:
    """Prepared pixels of another size would not give the same bits: the files are read."""
    records = coloured(tmp_path / "data", 3, 0)
    if prepared:
        records = prepare(records, tmp_path / "folder", image_size=prepared, progress=False)
    steps = [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    own = list(kept(records, None).batches(keys_of(steps)))
    others = list(batches(TrainingImages(records, PREPROCESSING), steps, 0))
    for one, other in zip(own, others, strict=True):
        assert torch.equal(one.pixels, other.pixels) and torch.equal(one.target, other.target)
        assert one.positions == other.positions and one.failures == other.failures == []


def test_batches_do_not_depend_on_those_before(tmp_path) -> None:
    records = coloured(tmp_path / "data", 4, 0)
    steps = [[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8]]
    images = kept(records, "heavy")
    whole, rest = (
        list(images.batches(keys_of(steps, augment_seed=(3, 1), first=n))) for n in (0, 2)
    )
    assert [batch.positions for batch in whole] == steps and len(rest) == 1
    assert torch.equal(whole[2].pixels, rest[0].pixels)
    assert whole[2].target.tolist() == [records.targets()[n] for n in steps[2]]
    assert not torch.equal(whole[2].pixels[0], whole[2].pixels[2])  # one image, two seeds
    other = next(images.batches(keys_of(steps, augment_seed=(3, 2))))
    assert not torch.equal(other.pixels, whole[0].pixels)
    key = keys_of(steps, augment_seed=(3, 1))[1][2]
    position, pixels, target = images[key]
    assert position == 2 and target == records.targets()[2]
    assert torch.equal(pixels, whole[1].pixels[2])


def test_neutral_lighting_is_measured_once(tmp_path) -> None:
    records = written(tmp_path / "data", [(40, 56)] * 2)
    assert kept(records, neutral=True).stored.gains.shape == (2, 3)


# images that cannot be read


def test_the_others_are_there(tmp_path) -> None:
    records = written(tmp_path / "data", [(40, 56)] * 5)
    records[3].path.write_bytes(b"no image")
    for images in (kept(records), kept(records, None)):
        (batch,) = images.batches(keys_of([[4, 3, 0]], augment_seed=(0, 0)))
        assert batch.positions == [4, 0] and len(batch.pixels) == len(batch.target) == 2
        assert [failure.position for failure in batch.failures] == [3]
        assert "red-03.png" in batch.failures[0].reason and images[3, 0] == batch.failures[0]
    (none,) = kept(records).batches(keys_of([[3]], augment_seed=(0, 0)))
    assert len(none.target) == len(none.pixels) == 0 and len(none.failures) == 1


@pytest.mark.usefixtures("small_networks")
def test_a_run_counts_them_as_ever(tmp_path, monkeypatch) -> None:
    """An image that can be read when the run begins, and a moment later no longer."""
    data = [coloured(tmp_path / name, 5, n) for n, name in enumerate(("train", "val"))]
    whole = loaders.read_image

    def gone(path: Any, **more: Any) -> Any:
        if Path(path) == data[0][2].path:
            raise ImageDecodeError("it is damaged.")
        return whole(path, **more)

    monkeypatch.setattr(loaders, "read_image", gone)
    settings = BASE | {"augment_on": "device", "epochs": 2}
    with pytest.raises(DatasetImageError, match="must stay readable while training: it is damaged"):
        Trainer(**settings, output_dir=tmp_path / "strict").fit(*data)
    Trainer(**settings, unreadable="skip", output_dir=tmp_path / "run").fit(*data)
    events = (tmp_path / "run" / "events.log").read_text()
    assert events.count("must stay readable") == 2  # once an epoch


# where they are kept


@pytest.mark.parametrize(
    ("device", "host", "where"),
    [
        (2000, 0, "meta"), (1999, 2000, "cpu"), (0, 2000, "cpu"), (None, 2000, "cpu"),
        (1999, 1999, None), (None, 1999, None),
    ],
)  # fmt: skip
def test_on_the_device_where_half_of_its_memory_is_enough(tmp_path, device, host, where) -> None:
    """5 images of 10 × 20 pixels have 3,000 bytes: twice that is 6,000."""
    unit = 3  # of what the table counts in
    free = Free(None if device is None else unit * device, unit * host)
    images = StoredImages(
        written(tmp_path / "data", [(40, 56)]), PREPROCESSING, torch.device("meta"),
        DeviceAugmentation((32, 48)), free=lambda device: free,
    )  # fmt: skip
    if where is not None:
        assert images._room(5, (10, 20)).device.type == where
        return
    with pytest.raises(OutOfMemoryError, match=r"5 images of 10 × 20 pixels take 0\.0 GiB"):
        images._room(5, (10, 20))


def test_what_is_said_where_no_memory_is_enough(tmp_path) -> None:
    images = kept(written(tmp_path / "data", [(40, 56)]), free=lambda device: Free(None, 10 * GIB))
    with pytest.raises(OutOfMemoryError) as info:
        images._room(10_000, (450, 600))
    start = (
        "with augment_on 'device' decoded images stay in memory, but 10000 images of 450 × 600 "
        "pixels take 7.5 GiB, and only 5.0 GiB, half of what is free, may hold them; prepare them "
        "at a smaller size with "
    )
    assert (
        str(info.value)
        == f"{start}skinxai.data.prepare(…, image_size=…), or pass augment_on='cpu'."
    )
    assert info.value.on_command_line == (
        f"{start}skinxai prepare --size, or give --augment-on cpu."
    )


def test_ranks_of_one_machine_share_its_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(free_memory, "_of_system", lambda: 10 * GIB)
    monkeypatch.setattr(free_memory, "_of_container", lambda: [])
    assert free_memory.free_memory(CPU, 4) == Free(None, 2.5 * GIB, 4)
    records = written(tmp_path / "data", [(40, 56)])
    config = TrainConfig.of({"augment_on": "device", "hair": 0.0})
    for images in _images(config, records, records, PREPROCESSING, CPU, 4):
        assert isinstance(images, StoredImages)
        words = r"take 1\.5 GiB, and only 1\.2 GiB, half of what is free for each of 4 ranks"
        with pytest.raises(OutOfMemoryError, match=words):
            images._room(2000, (450, 600))


def test_reading_stops_as_soon_as_memory_is_not_enough(tmp_path, monkeypatch) -> None:
    records, read = written(tmp_path / "data", [(40, 56)] * 6), []
    whole = loaders.read_image
    monkeypatch.setattr(stored_images, "BLOCK", 2)
    monkeypatch.setattr(loaders, "read_image", lambda *a, **b: (read.append(a), whole(*a, **b))[1])
    images = kept(records, free=lambda device: Free(None, 2 * 3 * 40 * 56 * 3))
    with pytest.raises(OutOfMemoryError, match="the first 4 of 6 images take"):
        next(images.batches(keys_of([[0]])))
    assert len(read) == 4


@pytest.mark.usefixtures("small_networks")
def test_a_run_that_does_not_fit_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stored_images, "SHARE", 0.0)
    data = [coloured(tmp_path / name, 2, n) for n, name in enumerate(("train", "val"))]
    with pytest.raises(OutOfMemoryError, match="decoded images stay in memory"):
        Trainer(**BASE, augment_on="device", output_dir=tmp_path / "run").fit(*data)


def test_free_memory_is_that_of_the_container(tmp_path, monkeypatch) -> None:
    whole = free_memory.free_memory(CPU)
    assert whole.device is None and 2**24 < whole.host < 2**50
    for name, text in {
        "memory.max": "5000000", "memory.current": "4000000",
        "memory.stat": "anon 7\ninactive_file 200000\nactive_file 100000\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(free_memory, "_GROUP", tmp_path)
    assert free_memory.free_memory(CPU).host == 1_300_000
    (tmp_path / "memory.max").write_text("max")
    assert free_memory.free_memory(CPU).host > 2**24
    monkeypatch.setattr(free_memory, "_NUMBERS", tmp_path / "none")  # not on Linux
    assert free_memory.free_memory(CPU).host > 2**24


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hair": 0.5}, "hair must be 0 with augment_on 'device', got 0.5"),
        ({"augmentation": lambda pixels: pixels}, "augmentation must be one of"),
        ({"augment_on": "gpu"}, "augment_on must be one of"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(tmp_path, changes, words) -> None:
    with pytest.raises(OptionError, match=words):
        Trainer(**BASE | {"augment_on": "device"} | changes, output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
