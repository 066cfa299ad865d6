"""Names of backbones, and the networks that they build."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skinxai import plugins
from skinxai.errors import OptionError, PluginError, UnknownNameError

if TYPE_CHECKING:
    from skinxai.backbones.network import SkinClassifier

names = plugins.backbones.names
entries = plugins.backbones.entries
register = plugins.backbones.register


TIMM = "timm/"
"""Prefix of names that are timm's own, whether in the registry or not."""


def get(name: str) -> Any:
    """Builder of a registered backbone, or of any of timm's networks as ``timm/NAME``.

    Raises:
        UnknownNameError: no backbone of that name.
    """
    return build_timm if name.startswith(TIMM) else plugins.backbones.get(name)


def check_name(name: str) -> None:
    """Refuse a name that no builder and no network of timm has; builds nothing.

    Raises:
        UnknownNameError: no backbone of that name.
    """
    from skinxai.backbones.timm_networks import check_name as check_timm

    if name.startswith(TIMM):
        return check_timm(name.removeprefix(TIMM))
    try:
        plugins.backbones.entry(name)
    except UnknownNameError as error:
        try:
            check_timm(name)
        except UnknownNameError:
            raise error from None
        raise UnknownNameError(
            f"Unknown backbone {name!r}; timm has a network of that name: {TIMM}{name}."
        ) from error


def build(
    name: str, num_classes: int, drop_rate: float = 0.0, *, drop_path_rate: float = 0.0,
    device: str = "cpu",
) -> SkinClassifier:  # fmt: skip
    """Build a registered backbone with random weights, in evaluation mode.

    Args:
        name: name in this registry.
        num_classes: K, the width of the logits.
        drop_rate: dropout before the classifier, 0 ≤ rate < 1.
        drop_path_rate: stochastic depth in training (Huang et al., "Deep Networks with Stochastic
            Depth", ECCV 2016), 0 ≤ rate < 1: how often an image skips the last residual branch;
            earlier ones are skipped less often, in proportion to their depth. Only builders of
            networks that have residual branches take it; 0 is not passed on.
        device: where its tensors are made, whatever torch's default device is.

    Raises:
        UnknownNameError: no backbone of that name.
        OptionError: a ``drop_path_rate`` outside its rule, or for a backbone that takes none.
        PluginError: a builder that takes other arguments, or returns no `SkinClassifier`.
    """
    if not 0 <= drop_path_rate < 1:
        raise OptionError(f"drop_path_rate must be in [0, 1), got {drop_path_rate!r}.")
    builder, more = get(name), {}
    if drop_path_rate > 0:
        if not _takes(builder, "drop_path_rate"):
            raise _no_drop_path(name, drop_path_rate)
        more["drop_path_rate"] = drop_path_rate
    try:
        inspect.signature(builder).bind(name, num_classes, drop_rate, **more)
    except ValueError:  # functions in C may have none
        pass
    except TypeError as error:
        raise PluginError(
            f"the builder of backbone {name!r} must take (name, num_classes, drop_rate): {error}."
        ) from error
    import torch

    from skinxai.backbones.network import SkinClassifier

    with torch.device(device):
        model = builder(name, num_classes, drop_rate, **more)
    if not isinstance(model, SkinClassifier):
        raise PluginError(
            f"the builder of backbone {name!r} must return a SkinClassifier, got "
            f"{type(model).__name__}; wrap it: SkinClassifier(network, features, head)."
        )
    return model.eval()


def build_timm(
    name: str, num_classes: int, drop_rate: float = 0.0, *, drop_path_rate: float = 0.0
) -> SkinClassifier:
    """Build a network of timm, split as `timm_networks` says; the weights are random.

    Args:
        name: timm's, with or without the prefix ``timm/``.
        num_classes: K.
        drop_rate: before the classifier.
        drop_path_rate: of stochastic depth.

    Raises:
        UnknownNameError: timm has no such network.
        OptionError: a ``drop_path_rate`` for a network that takes none.
    """
    import torch

    from skinxai.backbones.network import SkinClassifier
    from skinxai.backbones.timm_networks import create, split_of

    more: dict[str, Any] = {"drop_path_rate": drop_path_rate} if drop_path_rate > 0 else {}
    try:
        own = name.removeprefix(TIMM)
        network = create(own, num_classes=num_classes, drop_rate=drop_rate, **more)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise _no_drop_path(name, drop_path_rate) from error
    network.to(memory_format=torch.channels_last)  # twice as fast for depthwise convolutions
    split = split_of(network)
    return SkinClassifier(
        network,
        split.features,
        split.head,
        split.pool,
        split.grid,
        layer=split.layer,
        reads=split.reads,
    )


def _takes(builder: Callable[..., Any], keyword: str) -> bool:
    parameters = inspect.signature(builder).parameters.values()
    return any(p.name == keyword or p.kind is p.VAR_KEYWORD for p in parameters)


def _no_drop_path(name: str, rate: float) -> OptionError:
    return OptionError(
        f"drop_path_rate must be 0 for the backbone {name!r}, whose builder takes none, got {rate}."
    )
