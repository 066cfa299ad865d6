"""`check_explainer`: what every explainer must do, each as a named check."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from skinxai import explainers, plugins
from skinxai.errors import OptionError, PluginError, PluginMannersError, SkinxaiError
from skinxai.explainers.base import Explainer
from skinxai.flags import check_flags
from skinxai.testing.bench import Bench, Failed
from skinxai.testing.checks import CHECKS

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
        results = _all(Bench(name, network, options))
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


def _all(bench: Bench) -> tuple[CheckResult, ...]:
    """The checks in order; a cause is told once, by the check that looks for it."""
    found: list[tuple[str, str | None, Exception | None]] = []
    for check in CHECKS:
        found.append((_name(check), *_run(check, bench)))
        if isinstance(found[0][2], SkinxaiError) and not _is_manners(found[0][2]):
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
    rest = CHECKS[len(found) :]
    return (*results, *(CheckResult(_name(check), cause=found[0][0]) for check in rest))


def _is_manners(error: Exception | None) -> bool:
    return isinstance(error, PluginMannersError)


def _name(check: Callable[[Bench], None]) -> str:
    return check.__name__.strip("_").partition("_")[2]


def _run(check: Callable[[Bench], None], bench: Bench) -> tuple[str | None, Exception | None]:
    """What a check found, and the error that said it."""
    try:
        check(bench)
    except (Failed, SkinxaiError) as problem:
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
