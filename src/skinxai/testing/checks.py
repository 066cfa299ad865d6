"""The checks of `check_explainer`, one function each, in the order in which they are made."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skinxai.errors import PluginMannersError, SkinxaiError
from skinxai.explaining.guarding import global_states_kept, manners_checked
from skinxai.interruption import mapped
from skinxai.results import Explanation
from skinxai.results.drawing import scale_to_unit
from skinxai.testing.bench import THREE, Bench, Failed
from skinxai.testing.networks import of_network
from skinxai.testing.pictures import peak_is_in, picture, turned_file


def _differ(
    first: Explanation, second: Explanation, tolerance: float = 1e-4, *, maps_only: bool = False
) -> str | None:
    """How two answers differ, or ``None``."""
    names = [(sorted(each.maps), sorted(each.scores)) for each in (first, second)]
    if names[0] != names[1]:
        return f"maps and scores are {names[0]} and {names[1]}"
    for name, values in first.maps.items():
        scale = max(float(np.abs(values).max()), 1e-12)
        gap = float(np.abs(values - second.maps[name]).max()) / scale
        if gap > tolerance:
            return f"map {name!r} differs by {gap:.2g} of its largest value"
    for name, value in () if maps_only else first.scores.items():
        if abs(value - second.scores[name]) > tolerance * max(abs(value), 1):
            return f"score {name!r} is {value:.6g} and {second.scores[name]:.6g}"
    return None


def _same(first: Explanation, second: Explanation, when: str) -> None:
    if (gap := _differ(first, second)) is not None:
        raise Failed(f"{gap} {when}")


def _check_answer(bench: Bench) -> None:
    found = bench.explain()
    if found.degenerate:
        raise Failed("the heatmap is constant")


def _check_coordinates(bench: Bench) -> None:
    for place, colour in THREE.items():
        pixels = picture({place: colour})
        for image, kind in ((pixels, "an array"), (turned_file(pixels), "a file to be turned")):
            found = bench.explain(image, colour)
            if found.heatmap is not None and not peak_is_in(found.heatmap, place):
                raise Failed(
                    f"the map of {colour!r} does not peak in the {colour} patch at the {place} of "
                    f"{kind}"
                )


def _check_target(bench: Bench) -> None:
    red, blue = bench.explain(target="red"), bench.explain(target="blue")
    differ = _differ(red, blue, maps_only=bool(red.maps)) is not None
    if bench.explainer.uses_target and not differ and red.maps:
        raise Failed("two classes get the same map; set uses_target = False if that is meant")
    if not bench.explainer.uses_target and _differ(red, blue) is not None:
        raise Failed("uses_target is False, and two classes get different answers")


def _check_score(bench: Bench) -> None:
    if not bench.explainer.uses_target:
        return
    plain, less = bench.explain(target="red"), bench.explain(target="red", against="blue")
    if plain.maps and _differ(plain, less, maps_only=True) is None:
        raise Failed(
            "against='blue' leaves the map of 'red' as it is; take the scores from self.model() or "
            "self.model.pool_and_classify(), not from the network or from logits()"
        )


def _check_weights(bench: Bench) -> None:
    other = bench.explain(classifier=of_network(bench.random_network()))
    own = _scaled(bench.explain())
    if _differ(own, _scaled(other), 0.01, maps_only=bool(own.maps)) is None:
        raise Failed("a network with other weights gets the same answer")


def _scaled(found: Explanation) -> Explanation:
    """Maps brought to 0–1, so that a factor alone is no difference."""
    maps = {name: scale_to_unit(values).astype(np.float32) for name, values in found.maps.items()}
    return replace(found, maps=maps)


def _check_determinism(bench: Bench) -> None:
    with global_states_kept():
        _seed_all(1)
        first = bench.explain()
        _seed_all(2)
        second = bench.explain()
    _same(first, second, "between two calls; draw from a generator of the method's own")


def _seed_all(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # else a seed would wait
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed)
    random.seed(seed)


def _check_batch(bench: Bench) -> None:
    images = [picture({"upper left": "red"}), bench.three, picture({"lower middle": "blue"})]
    targets = ["red", "green", "blue"]
    together = bench.explain(images, targets)
    for image, target, found in zip(images, targets, together, strict=True):
        _same(bench.explain(image, target), found, "alone and in a batch")


def _check_modes(bench: Bench) -> None:
    first = bench.explain()
    with torch.no_grad():
        _same(first, bench.explain(), "within torch.no_grad()")
    with torch.inference_mode():
        _same(first, bench.explain(), "within torch.inference_mode()")
    with torch.autocast("cpu", torch.bfloat16):
        _same(first, bench.explain(), "within torch.autocast()")


def _check_threads(bench: Bench) -> None:
    targets = [*THREE.values()] * 8
    alone = {target: bench.explain(target=target) for target in THREE.values()}
    frozen = of_network(bench.network_type().requires_grad_(False))  # else they take turns

    def explain(target: str) -> Any:
        return bench.explain(target=target, classifier=frozen)

    with ThreadPoolExecutor(4) as pool:
        found = list(mapped(pool, explain, targets))
    for target, each in zip(targets, found, strict=True):
        _same(alone[target], each, "in one thread and in four")


def _check_untouched(bench: Bench) -> None:
    with manners_checked("the explainer", bench.classifier.network, changes_network=False):
        bench.explain()


def _check_error(bench: Bench) -> None:
    """The network raises in its second pass; the first one serves the prediction."""
    network, passes = bench.network_type().eval(), [0]

    def fail(images: Tensor) -> None:
        passes[0] += 1
        if passes[0] > 1:
            raise RuntimeError("planted")

    network.disturb = fail
    try:
        with manners_checked("the explainer", network, changes_network=False):
            bench.explain(classifier=of_network(network))
    except PluginMannersError:
        raise  # what was left is named
    except (RuntimeError, SkinxaiError):
        pass  # the planted one


def _check_memory(bench: Bench) -> None:
    network = bench.network_type()

    def only_one(images: Tensor) -> None:
        if len(images) > 1:
            raise RuntimeError("planted: out of memory")

    network.disturb = only_one
    images, targets = [bench.three, picture({"lower middle": "blue"})], ["red", "blue"]
    found = bench.explain(images, targets, classifier=of_network(network))
    for expected, each in zip(bench.explain(images, targets), found, strict=True):
        _same(expected, each, "where memory holds one image")


def _check_provenance(bench: Bench) -> None:
    found = bench.explain()
    missing = {"skinxai", "torch"} - set(found.versions)
    if found.method != bench.name or found.target != "red" or missing or not found.model:
        raise Failed(f"the result does not say where it came from: {found!r}")
    if unknown := set(bench.options) - set(found.options):
        raise Failed(f"the result lacks the options {sorted(unknown)}")


CHECKS = (
    _check_answer, _check_coordinates, _check_target, _check_score, _check_weights,
    _check_determinism, _check_batch, _check_modes, _check_threads, _check_untouched, _check_error,
    _check_memory, _check_provenance,
)  # fmt: skip
