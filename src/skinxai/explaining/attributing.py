"""One call of an explainer: contained if it is a plugin's, and its answer checked."""

import re
import threading
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.errors import ExplainError, PluginError, SkinxaiError
from skinxai.explainers.base import Attribution
from skinxai.explaining.guarding import manners_checked
from skinxai.explaining.method import Method
from skinxai.explaining.views import View
from skinxai.memory import is_out_of_memory
from skinxai.plain_text import counted

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,63}")
"""Of a map or score, which `Explanation.save` writes into a file of that name."""
Arrays = dict[str, npt.NDArray[np.float32]]

_one_plugin_at_a_time = threading.RLock()
"""What they leave changed is looked for in the whole process, so that two would be confused."""


WANTED = "Attribution(maps={'name': tensor (N, h, w)}) or Attribution(scores={'name': tensor (N,)})"
"""What an explainer returns, for messages."""


def attribute(method: Method, view: View, images: Tensor, target: Tensor) -> tuple[Arrays, Arrays]:
    """Maps ``(N, h, w)`` and scores ``(N,)`` of one explainer, float32 and finite.

    Raises:
        PluginError: a plugin that raised, or left the network or a random state changed.
        ExplainError: values that are not finite.
    """
    if method.explainer.needs_gradients and _is_quantised(view):
        raise ExplainError(
            f"{method.name!r} needs a network that automatic differentiation can follow, which "
            f"excludes quantised ones; use occlusion, rise, lime, scorecam or ablationcam."
        )
    if method.built_in:
        found = method.explainer(view).attribute(images, target, options=method.options)
    else:
        with _one_plugin_at_a_time:
            found = _contained(method, view, images, target)
    return _checked(method.name, found, len(target))


def _is_quantised(view: View) -> bool:
    return any("quantized" in type(module).__module__ for module in view.network.modules())


def _contained(method: Method, view: View, images: Tensor, target: Tensor) -> Attribution:
    who = f"explainer {method.name!r} of {method.source}"
    with manners_checked(who, view.network, changes_network=method.explainer.changes_network):
        try:
            return method.explainer(view).attribute(images, target, options=method.options)
        except SkinxaiError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise  # a smaller batch is tried
            raise PluginError(f"{who} raised {type(error).__name__}: {error}") from error


def _article(value: object) -> str:
    """What came, for a message: ``nothing``, or its type."""
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _checked(name: str, found: Attribution, count: int) -> tuple[Arrays, Arrays]:
    if not isinstance(found, Attribution):
        raise PluginError(
            f"attribute() of {name!r} must return {WANTED}, for N images; it returned "
            f"{_article(found)}."
        )
    arrays: list[Arrays] = []
    parts = (("map", found.maps, "(N, h, w)", 3), ("score", found.scores, "(N,)", 1))
    for kind, values, shape, ndim in parts:
        if not isinstance(values, Mapping):
            raise PluginError(
                f"{kind}s of {name!r} must be a mapping of names to tensors {shape}, got "
                f"{_article(values)}."
            )
        part: Arrays = {}
        for key, tensor in values.items():
            if not (isinstance(key, str) and NAME.fullmatch(key)):
                raise PluginError(
                    f"the name of a {kind} of {name!r} must be 1 to 64 of a-z, A-Z, 0-9, blank and "
                    f"_ . + -, starting with a letter or digit, as it names a file, got {key!r}."
                )
            if not isinstance(tensor, Tensor):
                raise PluginError(
                    f"{kind} {key!r} of {name!r} must be a torch tensor {shape}, got "
                    f"{_article(tensor)}."
                )
            if tensor.is_complex():
                raise PluginError(f"{kind} {key!r} of {name!r} must be real, got {tensor.dtype}.")
            if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
                raise PluginError(
                    f"{kind} {key!r} of {name!r} must be a dense tensor that has its values, got "
                    f"one of layout {tensor.layout} and dtype {tensor.dtype} on {tensor.device}."
                )
            array = tensor.detach().to(torch.float32).cpu().resolve_neg().numpy()
            if array.ndim != ndim or len(array) != count or 0 in array.shape:
                raise PluginError(
                    f"{kind} {key!r} of {name!r} must be a tensor {shape} for N = "
                    f"{counted(count, 'image')}, got the shape {array.shape}."
                )
            if not np.isfinite(array).all():
                raise ExplainError(f"{kind} {key!r} of {name!r} must be finite, but it is not.")
            part[key] = array
        if kind == "map" and len({key.lower() for key in part}) < len(part):
            raise PluginError(
                f"the names of the maps of {name!r} must differ in more than upper and lower case, "
                f"as they name files and some disks see no case, got {sorted(part)}."
            )
        arrays.append(part)
    if not any(arrays):
        raise PluginError(
            f"attribute() of {name!r} must return {WANTED}; it returned neither a map nor a score."
        )
    return arrays[0], arrays[1]
