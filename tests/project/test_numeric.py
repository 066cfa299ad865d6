"""Numbers of NumPy are taken wherever Python's own are, and bools nowhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import BASE, coloured

from skinxai import Classifier, Trainer
from skinxai.benchmarking.plan import Plan
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, folds, prepare, split
from skinxai.data.tar_preparing import write_shards
from skinxai.errors import OptionError, SkinxaiError
from skinxai.experiments import cross_validate
from skinxai.experiments.search_space import Choice, Range, space_of
from skinxai.images.reading import read_image
from skinxai.losses import bind
from skinxai.manifests.sharding import Shard
from skinxai.numeric import plain, whole
from skinxai.review.queued_cases import queued
from skinxai.serving.service_settings import ServiceSettings
from skinxai.training.settings import TrainConfig

GREY = np.full((48, 64, 3), 120, np.uint8)


@pytest.mark.parametrize(
    ("given", "own"),
    [
        (np.int64(3), 3), (np.uint8(3), 3), (np.float32(0.5), 0.5), (np.float64(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
    ],
)  # fmt: skip
def test_a_number_of_numpy_is_pythons_own(given, own) -> None:
    assert plain(given) == own and type(plain(given)) is type(own)


@pytest.mark.parametrize(
    "given", [True, np.True_, np.timedelta64(3, "D"), np.array(3), "3", None, np.datetime64("2020")]
)
def test_what_is_no_number_stays_as_it_is_and_is_refused(given) -> None:
    assert plain(given) is given
    with pytest.raises(OptionError, match=r"^budget must be an integer >= 1, got "):
        whole("budget", given)


def small(folder: Path) -> Records:
    return coloured(folder / "c", 4, 0)


CALLS: dict[str, tuple[int, Callable[[Any, Path], object]]] = {
    "k of folds": (3, lambda n, folder: folds(small(folder), n)),
    "side": (64, lambda n, _: PreprocessConfig(n)),
    "sides": (64, lambda n, _: PreprocessConfig((n, n))),
    "mean": (1, lambda n, _: PreprocessConfig(64, (n, n, n))),
    "max_pixels": (9999, lambda n, _: read_image(GREY, max_pixels=n)),
    "prepared": (64, lambda n, f: prepare(small(f), f / "p", image_size=n, progress=False)),
    "shards": (999, lambda n, f: write_shards(small(f), f / "s", shard_bytes=n, progress=False)),
    "plan": (3, lambda n, _: Plan(budget=n)),
    "opinions": (3, lambda n, _: queued(None, n)),
    "service": (3, lambda n, _: ServiceSettings(models=("bundled",), max_batch=n)),
    "deadline": (3, lambda n, _: ServiceSettings(models=("bundled",), deadline=n)),
    "shard": (3, lambda n, _: Shard.checked(1, n)),
    "epochs": (3, lambda n, _: TrainConfig(epochs=n)),
    "image_size": (64, lambda n, _: TrainConfig(image_size=n)),
    "gamma": (2, lambda n, _: bind("focal", {"gamma": n}, (1, 1))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_numpys_integers_and_no_bool(name, tmp_path) -> None:
    number, call = CALLS[name]
    call(np.int64(number), tmp_path / "int")
    for wrong in (True, np.True_):
        with pytest.raises(SkinxaiError):
            call(wrong, tmp_path / type(wrong).__name__ / str(type(wrong)))


def test_the_seed_of_a_split_is_the_number_whatever_its_type(tmp_path) -> None:
    records = small(tmp_path)
    assert split(records, seed=np.uint32(7)) == split(records, seed=7)


def test_settings_of_a_run_can_be_written(tmp_path) -> None:
    config = TrainConfig(
        epochs=np.int64(3), learning_rate=np.float32(0.5), image_size=list(np.array([64, 96])),
        loss="focal", loss_options={"gamma": np.float32(2)}, hair=np.float64(0.25),
    )  # fmt: skip
    other = TrainConfig(image_size=(np.int64(64), np.int16(96)))
    assert other.image_size == (64, 96) == config.image_size
    assert json.loads(json.dumps(config.to_dict()))["loss_options"] == {"gamma": 2.0}
    with pytest.raises(OptionError, match="epochs must be an integer >= 1"):
        TrainConfig(epochs=np.True_)
    bind("focal", {"gamma": np.float32(2)}, (1, 1))


@pytest.mark.parametrize("size", [[64, 96], (64, 96), np.array([64, 96]), np.array([64, 96], "u2")])
def test_a_size_is_any_ordered_pair_wherever_one_is_asked_for(size, tmp_path) -> None:
    records = small(tmp_path)
    assert PreprocessConfig(size).image_size == TrainConfig(image_size=size).image_size == (64, 96)
    made = prepare(records, tmp_path / "p", image_size=size, progress=False)
    assert made.pixels is not None and made.pixels.image_size == (64, 96)
    assert space_of({"image_size": [size]}, {}) == {"image_size": Choice(("64x96",))}
    json.dumps(TrainConfig(image_size=size).to_dict())


@pytest.mark.parametrize(
    "size", [np.array(64), np.array([[64, 96]]), np.array([64.0, 96]), {64, 96}, {64: 96}, b"@`"]
)
def test_what_is_no_size_is_refused_wherever_one_is_asked_for(size, tmp_path) -> None:
    for call in (
        lambda: PreprocessConfig(size),
        lambda: TrainConfig(image_size=size),
        lambda: prepare(small(tmp_path), tmp_path / "p", image_size=size, progress=False),
    ):
        with pytest.raises(SkinxaiError, match="size"):
            call()
    with pytest.raises(SkinxaiError, match="mean must be three numbers"):
        PreprocessConfig(64, np.array(0.5))


def test_a_pair_of_numpys_numbers_is_a_range_and_no_choice() -> None:
    found = space_of({"epochs": (np.int64(2), np.int64(5))}, {})
    assert found == {"epochs": Range(2.0, 5.0, whole=True)}


@pytest.mark.usefixtures("small_networks")
def test_folds_and_trainer_write_numpys_numbers(tmp_path) -> None:
    records = coloured(tmp_path / "c", 8, 0)
    found = cross_validate(
        records, np.int64(2), output_dir=tmp_path / "x", resamples=np.int64(20),
        **BASE | {"epochs": np.int64(1), "batch_size": np.int32(8)},
    )  # fmt: skip
    assert len(found.members) == 2
    values = BASE | {"seed": np.int64(4)}
    assert type(Trainer(**values, output_dir=tmp_path / "y").config.seed) is int


def test_what_is_asked_of_a_classifier() -> None:
    classifier = Classifier.from_pretrained()
    images = [GREY, GREY[:, ::-1]]
    many = classifier.predict(images, batch_size=np.int64(2), max_pixels=np.int64(10_000))
    assert len(many) == 2 and many[0].top(np.int64(2)) == many[0].top(2)
    assert classifier.predict(GREY, dropout_passes=np.int64(2)).uncertainty is not None
    for method, options in (("occlusion", {"budget": 30, "window": 0.5}), ("rise", {"budget": 3})):
        given = {name: np.asarray(value)[()] for name, value in options.items()}
        found = classifier.explain(GREY, method, **given)
        expected = classifier.explain(GREY, method, **options)
        assert np.array_equal(found.heatmap, expected.heatmap)
        assert dict(found.options) == dict(expected.options)
        json.dumps(found.to_dict())
    assert classifier.nearest(GREY, np.int64(1)) == classifier.nearest(GREY, 1)
    for call in (
        lambda: classifier.predict(GREY, batch_size=np.True_),
        lambda: classifier.predict(GREY, dropout_passes=np.True_),
        lambda: classifier.explain(GREY, "rise", budget=np.True_),
        lambda: classifier.nearest(GREY, np.True_),
        lambda: many[0].top(True),
        lambda: many[0].top(2.0),
    ):
        with pytest.raises(OptionError, match=r"must be (0 or )?an integer"):
            call()
