"""`check_explainer`: what every explainer must do, each as a named check."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skinxai import explainers, plugins
from skinxai.classifier import Classifier
from skinxai.errors import OptionError, PluginError, PluginMannersError, SkinxaiError
from skinxai.explainers.base import Explainer
from skinxai.explaining.attributing import WANTED
from skinxai.explaining.guarding import global_states_kept, manners_checked
from skinxai.flags import check_flags
from skinxai.results import Explanation
from skinxai.testing.networks import NETWORKS, Colours, of_network
from skinxai.testing.pictures import peak_is_in, picture, turned_file

THREE = {"upper left": "red", "upper right": "green", "lower middle": "blue"}
NAME = "explainer-under-test"
MANNERS = ("untouched", "error")
"""Checks that look for what was left changed, which every other one would trip over."""
_registering = threading.Lock()


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Args:
        name: of the check.
        problem: one sentence, or ``None`` where it found none.
        cause: the check whose problem kept this one from being judged, or ``None``; a cause is
            told once, there.
    """

    name: str
    problem: str | None = None
    cause: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the check was made, and found no problem."""
        return self.problem is None and self.cause is None


def check_explainer(
    explainer: str | type[Explainer],
    *,
    network: str = "convolutions",
    raise_on_failure: bool = True,
    **options: Any,
) -> tuple[CheckResult, ...]:
    """Run an explainer on tiny networks with known answers.

    ===================  ====================================================================
    check                what must hold
    ===================  ====================================================================
    ``answer``           float32 maps of the picture's size, or scores, finite
    ``coordinates``      a planted patch lights up where it is, also in a turned file
    ``target``           another class gives another map (the same, without ``uses_target``)
    ``score``            ``against`` another class gives another map (not asked without
                         ``uses_target``)
    ``weights``          another network gives another map
    ``determinism``      the same answer twice, whatever the global random states are
    ``batch``            three pictures at once get the answers that each gets alone
    ``modes``            the same answer within ``no_grad``, ``inference_mode`` and autocast
    ``threads``          four threads at a time get the answers that one gets
    ``untouched``        hooks, weights, ``.grad``, train flags and random states are as before
    ``error``            they are so too where the network raises half way
    ``memory``           a network that takes one image at a time is asked in smaller parts
    ``provenance``       the result names method, target, options, model and versions
    ===================  ====================================================================

    Args:
        explainer: a class, or a name in `skinxai.explainers`.
        network: ``"convolutions"`` or ``"transformer"``.
        raise_on_failure: raise where a check fails; else only say so in the result.
        **options: of the method, for all checks; a small ``budget`` makes them quick.

    Returns:
        One `CheckResult` for each check.

    Raises:
        PluginError: checks that failed, with what each found.
        OptionError: neither a name nor a class of explainers.
    """
    check_flags(raise_on_failure=raise_on_failure)
    with _registered(explainer) as name:
        results = _all(_Bench(name, network, options))
    failed = [result for result in results if result.problem is not None]
    if failed and raise_on_failure:
        found = "; ".join(f"{result.name}: {_without_stop(result.problem)}" for result in failed)
        shown = explainer if isinstance(explainer, str) else explainer.__name__
        more = [result.name for result in results if result.cause is not None]
        rest = f" Not judged for these reasons: {', '.join(more)}." if more else ""
        raise PluginError(f"{shown!r} must pass check_explainer, but it fails {found}.{rest}")
    return results


def _without_stop(problem: str | None) -> str:
    return (problem or "").rstrip(".")


def _all(bench: _Bench) -> tuple[CheckResult, ...]:
    """The checks in order; a cause is told once, by the check that looks for it."""
    found: list[tuple[str, str | None, Exception | None]] = []
    for check in _CHECKS:
        found.append((_name(check), *_run(check, bench)))
        if isinstance(found[0][2], _NoAnswer | SkinxaiError) and not _is_manners(found[0][2]):
            break  # there is no answer: nothing is left for the others to look at
    blamed = next((name for name, problem, _ in found if name in MANNERS and problem), None)
    first: dict[str, str] = {}
    results = []
    for name, problem, error in found:
        cause = None
        if blamed is not None and _is_manners(error) and name not in MANNERS:
            cause = blamed
        elif problem is not None:
            cause = first.setdefault(problem, name)
        told = cause in (None, name)
        results.append(CheckResult(name, problem if told else None, None if told else cause))
    rest = _CHECKS[len(found) :]
    return (*results, *(CheckResult(_name(check), cause=found[0][0]) for check in rest))


def _is_manners(error: Exception | None) -> bool:
    return isinstance(error, PluginMannersError)


class _Failed(Exception):
    """A check that failed, in words."""


class _NoAnswer(_Failed):
    """The explainer gave nothing that could be looked at."""


def _name(check: Callable[[_Bench], None]) -> str:
    return check.__name__.strip("_").partition("_")[2]


def _run(check: Callable[[_Bench], None], bench: _Bench) -> tuple[str | None, Exception | None]:
    """What a check found, and the error that said it."""
    try:
        check(bench)
    except (_Failed, SkinxaiError) as problem:
        return str(problem).replace(repr(NAME), repr(bench.explainer.__name__)), problem
    return None, None


@contextmanager
def _registered(explainer: str | type[Explainer]) -> Iterator[str]:
    if isinstance(explainer, str):
        yield explainer
        return
    if not (isinstance(explainer, type) and issubclass(explainer, Explainer)):
        kind = explainer.__name__ if isinstance(explainer, type) else type(explainer).__name__
        raise OptionError(
            f"explainer must be a name, or a subclass of skinxai.Explainer, got {kind}; pass the "
            f"class itself."
        )
    with _registering:
        explainers.register(NAME)(explainer)
        try:
            yield NAME
        finally:
            plugins.explainers.remove([NAME])


class _Bench:
    """One explainer, a network, and pictures."""

    def __init__(self, name: str, network: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        if network not in NETWORKS:
            raise OptionError(f"network must be one of {sorted(NETWORKS)}, got {network!r}.")
        self.network_type = NETWORKS[network]
        self.classifier = of_network(self.network_type())
        self.explainer: type[Explainer] = explainers.get(name)
        self.three = picture(THREE)

    def explain(
        self, image: Any = None, target: Any = "red", classifier: Classifier | None = None,
        against: str | None = None,
    ) -> Any:  # fmt: skip
        image = self.three if image is None else image
        who = classifier or self.classifier
        return who.explain(image, self.name, target=target, against=against, **self.options)

    def random_network(self) -> Colours:
        network = self.network_type()
        draws = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(torch.randn(weight.shape, generator=draws))
        return network


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
        raise _Failed(f"{gap} {when}")


def _check_answer(bench: _Bench) -> None:
    found = bench.explain()
    if not found.maps and not found.scores:
        raise _NoAnswer(f"it returned neither maps nor scores, and must return {WANTED}")
    if found.degenerate:
        raise _Failed("the heatmap is constant")


def _check_coordinates(bench: _Bench) -> None:
    for place, colour in THREE.items():
        pixels = picture({place: colour})
        for image, kind in ((pixels, "an array"), (turned_file(pixels), "a file to be turned")):
            found = bench.explain(image, colour)
            if found.heatmap is not None and not peak_is_in(found.heatmap, place):
                raise _Failed(
                    f"the map of {colour!r} does not peak in the {colour} patch at the {place} of "
                    f"{kind}"
                )


def _check_target(bench: _Bench) -> None:
    red, blue = bench.explain(target="red"), bench.explain(target="blue")
    differ = _differ(red, blue, maps_only=bool(red.maps)) is not None
    if bench.explainer.uses_target and not differ and red.maps:
        raise _Failed("two classes get the same map; set uses_target = False if that is meant")
    if not bench.explainer.uses_target and _differ(red, blue) is not None:
        raise _Failed("uses_target is False, and two classes get different answers")


def _check_score(bench: _Bench) -> None:
    if not bench.explainer.uses_target:
        return
    plain, less = bench.explain(target="red"), bench.explain(target="red", against="blue")
    if plain.maps and _differ(plain, less, maps_only=True) is None:
        raise _Failed(
            "against='blue' leaves the map of 'red' as it is; take the scores from self.model() or "
            "self.model.pool_and_classify(), not from the network or from logits()"
        )


def _check_weights(bench: _Bench) -> None:
    other = bench.explain(classifier=of_network(bench.random_network()))
    own = _scaled(bench.explain())
    if _differ(own, _scaled(other), 0.01, maps_only=bool(own.maps)) is None:
        raise _Failed("a network with other weights gets the same answer")


def _scaled(found: Explanation) -> Explanation:
    """Maps brought to 0–1, so that a factor alone is no difference."""
    from dataclasses import replace

    from skinxai.results.drawing import scale_to_unit

    maps = {name: scale_to_unit(values).astype(np.float32) for name, values in found.maps.items()}
    return replace(found, maps=maps)


def _check_determinism(bench: _Bench) -> None:
    with global_states_kept():
        _seed_all(1)
        first = bench.explain()
        _seed_all(2)
        second = bench.explain()
    _same(first, second, "between two calls; draw from a generator of the method's own")


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _check_batch(bench: _Bench) -> None:
    images = [picture({"upper left": "red"}), bench.three, picture({"lower middle": "blue"})]
    targets = ["red", "green", "blue"]
    together = bench.explain(images, targets)
    for image, target, found in zip(images, targets, together, strict=True):
        _same(bench.explain(image, target), found, "alone and in a batch")


def _check_modes(bench: _Bench) -> None:
    first = bench.explain()
    with torch.no_grad():
        _same(first, bench.explain(), "within torch.no_grad()")
    with torch.inference_mode():
        _same(first, bench.explain(), "within torch.inference_mode()")
    with torch.autocast("cpu", torch.bfloat16):
        _same(first, bench.explain(), "within torch.autocast()")


def _check_threads(bench: _Bench) -> None:
    targets = [*THREE.values()] * 8
    alone = {target: bench.explain(target=target) for target in THREE.values()}
    frozen = of_network(bench.network_type().requires_grad_(False))  # else they take turns

    def explain(target: str) -> Any:
        return bench.explain(target=target, classifier=frozen)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(explain, targets))
    for target, each in zip(targets, found, strict=True):
        _same(alone[target], each, "in one thread and in four")


def _check_untouched(bench: _Bench) -> None:
    with manners_checked("the explainer", bench.classifier.network, changes_network=False):
        bench.explain()


def _check_error(bench: _Bench) -> None:
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


def _check_memory(bench: _Bench) -> None:
    network = bench.network_type()

    def only_one(images: Tensor) -> None:
        if len(images) > 1:
            raise RuntimeError("planted: out of memory")

    network.disturb = only_one
    images, targets = [bench.three, picture({"lower middle": "blue"})], ["red", "blue"]
    found = bench.explain(images, targets, classifier=of_network(network))
    for expected, each in zip(bench.explain(images, targets), found, strict=True):
        _same(expected, each, "where memory holds one image")


def _check_provenance(bench: _Bench) -> None:
    found = bench.explain()
    missing = {"skinxai", "torch"} - set(found.versions)
    if found.method != bench.name or found.target != "red" or missing or not found.model:
        raise _Failed(f"the result does not say where it came from: {found!r}")
    if unknown := set(bench.options) - set(found.options):
        raise _Failed(f"the result lacks the options {sorted(unknown)}")


_CHECKS = (
    _check_answer, _check_coordinates, _check_target, _check_score, _check_weights,
    _check_determinism, _check_batch, _check_modes, _check_threads, _check_untouched, _check_error,
    _check_memory, _check_provenance,
)  # fmt: skip
