"""Seeds and numbers of resamples: integers within their range, and nothing that would pass for one.

A generator would take ``True`` for 1 and −1 for 1, and draw other numbers each time for ``None``.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import BASE, coloured, model_folder

from skinxai import Classifier
from skinxai.artefacts import CATALOGUE
from skinxai.assessment.faithfulness import BLIND, deletion_and_insertion
from skinxai.assessment.intervals import cluster_weights, clustered_bootstrap
from skinxai.benchmarking import stress_sheet, stress_test
from skinxai.benchmarking.plan import Plan
from skinxai.data import Splits, folds, given_split, split
from skinxai.errors import DatasetError, OptionError
from skinxai.experiments import cross_validate, tune
from skinxai.monitoring import DriftMonitor, ReferenceSample
from skinxai.probing import probe
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")
MODULES = ("", ".artefacts", ".benchmarking", ".data", ".experiments", ".monitoring", ".probing")
GREY = np.full((48, 64, 3), 120, np.uint8)
WRONG_SEEDS = (True, np.True_, -1, 0.5, None, "1", 2**63, [1])
WRONG_COUNTS = (True, 0, -1, 2.0, None)


@pytest.fixture(scope="module")
def has(tmp_path_factory, small_networks) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("seeds")
    images = coloured(folder / "images", 4, 0)
    classifier = Classifier.from_pretrained(model_folder(folder / "model", seed=1))
    splits = Splits(images, images.subset([], part="val"), images.subset([], part="test"))
    return SimpleNamespace(folder=folder, images=images, classifier=classifier, splits=splits)


def mean(rows: Any) -> Any:
    return np.array([rows.mean()])


def faithful(seed: Any) -> object:
    image = torch.zeros(3, 4, 4)
    heatmap = np.ones((4, 4), np.float32)
    return deletion_and_insertion(lambda x: x.mean((1, 2, 3)), image, image, heatmap, seed=seed)


Case = Callable[[SimpleNamespace, Any], object]
SEEDS: dict[str, Case] = {
    "Classifier.evaluate": lambda has, v: has.classifier.evaluate(has.images, seed=v, resamples=2),
    "Artefact": lambda has, v: CATALOGUE[0](GREY, np.ones((48, 64), bool), seed=v),
    "stress_test": lambda has, v: stress_test(has.classifier, has.images, seed=v),
    "stress_sheet": lambda has, v: stress_sheet(has.classifier, has.images, seed=v),
    "split": lambda has, v: split(has.images, seed=v),
    "folds": lambda has, v: folds(has.images, 2, seed=v),
    "given_split": lambda has, v: given_split(has.images, seed=v),
    "DriftMonitor": lambda has, v: DriftMonitor(None, seed=v),  # refused before it is looked at
    "ReferenceSample.fit": lambda has, v: ReferenceSample.fit([], seed=v),
    "probe": lambda has, v: probe(has.images, seed=v),
    "settings": lambda has, v: TrainConfig(seed=v),
    "settings of a search": lambda has, v: tune(has.splits, output_dir=has.folder / "t", seed=v),
    "settings of folds": lambda has, v: cross_validate(
        has.images, 2, output_dir=has.folder / "x", **BASE | {"seed": v}
    ),
    "plan": lambda has, v: Plan(seed=v),
    "random map": lambda has, v: BLIND["random"]((32, 32), v),
    "deletion": lambda has, v: faithful(v),
    "intervals": lambda has, v: clustered_bootstrap(mean, ["a", "b"], seed=v, resamples=2),
    "weights": lambda has, v: cluster_weights(["a", "b"], 2, v),
}
COUNTS: dict[str, Case] = {
    "Classifier.evaluate": lambda has, v: has.classifier.evaluate(has.images, resamples=v),
    "stress_test": lambda has, v: stress_test(has.classifier, has.images, resamples=v),
    "probe": lambda has, v: probe(has.images, resamples=v),
    "cross_validate": lambda has, v: cross_validate(
        has.images, 2, output_dir=has.folder / "c", resamples=v, **BASE
    ),
    "intervals": lambda has, v: clustered_bootstrap(mean, ["a", "b"], resamples=v),
    "weights": lambda has, v: cluster_weights(["a", "b"], v, 0),
}


def taking(argument: str) -> Iterator[str]:
    """Names of the public calls that take an argument."""
    for module in (importlib.import_module(f"skinxai{name}") for name in MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            own = str(getattr(thing, "__module__", "")).startswith("skinxai")
            if not own or (inspect.isclass(thing) and issubclass(thing, BaseException)):
                continue
            calls = {name: thing} if callable(thing) else {}
            if inspect.isclass(thing):
                names = [each for each in dir(thing) if not each.startswith("_")]
                calls |= {f"{name}.{each}": getattr(thing, each) for each in names}
                calls |= {name: thing.__call__} if "__call__" in vars(thing) else {}
            for shown, call in calls.items():
                if callable(call) and argument in inspect.signature(call).parameters:
                    yield shown


def test_every_public_seed_and_count_is_tried_below() -> None:
    assert set(taking("seed")) <= set(SEEDS) and len(set(taking("seed"))) >= 10
    assert set(taking("resamples")) <= set(COUNTS) and len(set(taking("resamples"))) >= 4


@pytest.mark.parametrize("call", SEEDS)
@pytest.mark.parametrize("value", WRONG_SEEDS, ids=repr)
def test_what_is_no_seed_is_refused(has, call, value) -> None:
    with pytest.raises((OptionError, DatasetError)) as caught:
        SEEDS[call](has, value)
    assert str(caught.value).startswith("seed must be an integer from 0 to 2^63 - 1, got ")
    assert not list(has.folder.glob("[tx]/*"))


@pytest.mark.parametrize("call", COUNTS)
@pytest.mark.parametrize("value", WRONG_COUNTS, ids=repr)
def test_what_is_no_number_of_resamples_is_refused(has, call, value) -> None:
    with pytest.raises(OptionError, match=r"^resamples must be an integer >= 1, got "):
        COUNTS[call](has, value)
    assert not (has.folder / "c").exists()


@pytest.mark.parametrize("seed", [0, 2**63 - 1, np.uint64(5)])
def test_a_seed_gives_the_same_whenever_it_is_given(has, seed) -> None:
    assert split(has.images, seed=seed) == split(has.images, seed=int(seed))
    one, other = (clustered_bootstrap(mean, list("abc"), seed=s) for s in (seed, int(seed)))
    assert np.array_equal(one, other)
