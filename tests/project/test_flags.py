"""Every argument that is true or false refuses anything else: ``"no"`` would count as true."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_runs import LABELS, coloured, model_folder

import skinxai
from skinxai import Classifier
from skinxai.data import (
    Records,
    Splits,
    given_part,
    given_split,
    load_csv,
    load_prepared,
    load_shards,
    split,
)
from skinxai.errors import OptionError
from skinxai.experiments import cross_validate, tune
from skinxai.probing import probe
from skinxai.review import ReviewStore
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import check_explainer

pytestmark = pytest.mark.usefixtures("small_networks")
MODULES = (
    "",
    ".data",
    ".experiments",
    ".probing",
    ".review",
    ".testing",
    ".serving.service_settings",
)
RESULTS = ("Entry", "CaseReport", "Deletion", "Evaluation", "Probed", "ReviewedCase")
"""Classes that no user makes."""


@pytest.fixture(scope="module")
def has(tmp_path_factory, small_networks) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("flags")
    images = coloured(folder / "images", 3, 0)
    table = folder / "table.csv"
    table.write_text("image,dx\n" + "".join(f"{i.image_id},{i.label}\n" for i in images))
    classifier = Classifier.from_pretrained(model_folder(folder / "model", seed=1))
    shown = classifier.explain(images[0].path)
    splits = Splits(images, images.subset([], part="val"), images.subset([], part="test"))
    return SimpleNamespace(
        folder=folder, images=images, table=table, classifier=classifier, image=images[0].path,
        shown=shown, splits=splits,
    )  # fmt: skip


Case = Callable[[SimpleNamespace, Any], object]
CASES: dict[tuple[str, str], Case] = {
    **{
        ("Classifier.from_pretrained", flag):
            lambda has, v, flag=flag: Classifier.from_pretrained(has.folder / "model", **{flag: v})
        for flag in ("compile", "check", "local_files_only")
    },
    ("Classifier.push_to_hub", "private"):
        lambda has, v: has.classifier.push_to_hub("nobody/nothing", private=v),
    ("Classifier.predict", "tta"): lambda has, v: has.classifier.predict(has.image, tta=v),
    ("Classifier.stream", "tta"): lambda has, v: list(has.classifier.stream([has.image], tta=v)),
    ("Classifier.explain", "tta"): lambda has, v: has.classifier.explain(has.image, tta=v),
    ("Classifier.explain", "all_classes"):
        lambda has, v: has.classifier.explain(has.image, all_classes=v),
    ("Classifier.compare", "uniform"):
        lambda has, v: has.classifier.compare(has.image, ["gradcam"], uniform=v),
    ("Classifier.report", "tta"): lambda has, v: has.classifier.report(has.image, tta=v),
    ("Classifier.evaluate", "tta"):
        lambda has, v: has.classifier.evaluate(has.images, tta=v, resamples=2),
    ("Classifier.evaluate", "skin_tone"):
        lambda has, v: has.classifier.evaluate(has.images, skin_tone=v, resamples=2),
    ("Explanation.overlay", "uniform"): lambda has, v: has.shown.overlay(uniform=v),
    ("Explanation.sheet", "uniform"): lambda has, v: has.shown.sheet(uniform=v),
    ("Explanation.png", "uniform"): lambda has, v: has.shown.png(uniform=v),
    ("Explanation.files", "uniform"): lambda has, v: has.shown.files(uniform=v),
    ("Explanation.save", "uniform"):
        lambda has, v: has.shown.save(has.folder / "map.png", uniform=v),
    ("Records", "leaked"): lambda has, v: Records((), LABELS, leaked=v),
    ("Records.subset", "leaked"): lambda has, v: has.images.subset([], leaked=v),
    ("Splits.of", "allow_leakage"):
        lambda has, v: Splits.of(has.images, {}, allow_leakage=v),
    ("Splits.from_csv", "allow_leakage"):
        lambda has, v: Splits.from_csv(written(has), has.images, allow_leakage=v),
    ("split", "allow_leakage"): lambda has, v: split(has.images, allow_leakage=v),
    ("given_part", "allow_leakage"):
        lambda has, v: given_part(divided(has), "train", allow_leakage=v),
    ("given_split", "allow_leakage"): lambda has, v: given_split(divided(has), allow_leakage=v),
    ("load_csv", "dedupe"): lambda has, v: load_csv(has.table, has.folder / "images", dedupe=v),
    ("load_prepared", "verify"): lambda has, v: load_prepared(has.folder, verify=v),
    ("load_shards", "verify"): lambda has, v: load_shards(has.folder, verify=v),
    ("check_explainer", "raise_on_failure"):
        lambda has, v: check_explainer("gradcam", raise_on_failure=v),
    ("ReviewStore.open", "create"): lambda has, v: opened(has, create=v),
    ("ReviewStore.cases", "labelled"): lambda has, v: opened(has).cases(labelled=v),
    ("ServiceSettings", "drift"): lambda has, v: ServiceSettings(models=("x",), drift=v),
    ("cross_validate", "resume"):
        lambda has, v: cross_validate(has.images, output_dir=has.folder / "folds", resume=v),
    ("tune", "prune"):
        lambda has, v: tune(has.splits, {"seed": [1, 2]}, output_dir=has.folder / "s", prune=v),
    ("probe", "flips"): lambda has, v: probe(has.images, flips=v),
}  # fmt: skip


def opened(has: SimpleNamespace, **more: Any) -> ReviewStore:
    return ReviewStore.open(f"sqlite:///{has.folder}/review.db", **more)


def written(has: SimpleNamespace) -> Path:
    has.splits.to_csv(has.folder / "splits.csv")
    return has.folder / "splits.csv"


def divided(has: SimpleNamespace) -> Records:
    parts = ("train", "val", "test")
    items = tuple(
        replace(item, attributes={"split": parts[n % 3]}) for n, item in enumerate(has.images)
    )
    return replace(has.images, items=items)


def flags() -> Iterator[tuple[str, str]]:
    """Each public callable that takes a bool, and the name of the argument."""
    for module in (importlib.import_module(f"skinxai{name}") for name in MODULES):
        for name in getattr(module, "__all__", ("ServiceSettings",)):
            thing = getattr(module, name)
            if not str(getattr(thing, "__module__", "")).startswith("skinxai"):
                continue
            calls = {name: thing} if callable(thing) else {}
            if inspect.isclass(thing):
                own = [each for each, _ in inspect.getmembers(thing) if not each.startswith("_")]
                own = [] if issubclass(thing, BaseException) else own
                calls |= {f"{name}.{each}": getattr(thing, each) for each in own}
            for shown, call in calls.items():
                if callable(call) and name not in RESULTS:
                    for given in inspect.signature(call).parameters.values():
                        if given.annotation in (bool, "bool"):
                            yield shown, given.name


def test_every_flag_is_tried_below() -> None:
    assert skinxai.__version__ and set(flags()) == set(CASES)


@pytest.mark.parametrize(("call", "flag"), CASES)
@pytest.mark.parametrize("value", ["no", 0, None])
def test_anything_else_is_refused(has, call, flag, value) -> None:
    with pytest.raises(OptionError, match=f"^{flag} must be True or False, got {value!r}"):
        CASES[call, flag](has, value)


def test_a_flag_of_numpy_is_one(has) -> None:
    found, same = (has.classifier.predict(has.image, tta=value) for value in (np.True_, True))
    assert found.probabilities == same.probabilities
    assert Records((), LABELS, leaked=np.True_).leaked is True  # which JSON can hold
