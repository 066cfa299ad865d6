"""Backbones: the registry, and where timm's networks split into features and head, and into stages.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy. A backbone
is a builder ``(name, num_classes, drop_rate) -> skinxai.models.SkinClassifier``, which may take
the keyword ``drop_path_rate`` as well.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai import plugins
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, OptionError, SkinxaiError, UnknownNameError
from skinxai.model_folders.files import HUGE, WEIGHTS, parse_config
from skinxai.model_folders.tensors import TORCH_NAMES, Stored, listed_tensors

if TYPE_CHECKING:
    from torch import nn

    from skinxai.models import SkinClassifier

names = plugins.backbones.names
entries = plugins.backbones.entries
register = plugins.backbones.register


LARGE = 20_000_000
"""Values of weights that are compared with the network before it is built."""
CLASSIFIERS = ("classifier", "fc", "head")
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
    from skinxai.timm_networks import check_name as check_timm

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
    name: str, num_classes: int, drop_rate: float = 0.0, *, drop_path_rate: float = 0.0
) -> SkinClassifier:
    """Build a registered backbone with random weights, in evaluation mode.

    Args:
        name: name in this registry.
        num_classes: K, the width of the logits.
        drop_rate: dropout before the classifier, 0 ≤ rate < 1.
        drop_path_rate: stochastic depth in training (Huang et al., "Deep Networks with Stochastic
            Depth", ECCV 2016), 0 ≤ rate < 1: how often an image skips the last residual branch;
            earlier ones are skipped less often, in proportion to their depth. Only builders of
            networks that have residual branches take it; 0 is not passed on.

    Raises:
        UnknownNameError: no backbone of that name.
        OptionError: a ``drop_path_rate`` outside its rule, or for a backbone that takes none.
    """
    if not 0 <= drop_path_rate < 1:
        raise OptionError(f"drop_path_rate must be in [0, 1), got {drop_path_rate!r}.")
    builder, more = get(name), {}
    if drop_path_rate > 0:
        if not _takes(builder, "drop_path_rate"):
            raise _no_drop_path(name, drop_path_rate)
        more["drop_path_rate"] = drop_path_rate
    model: SkinClassifier = builder(name, num_classes, drop_rate, **more)
    return model.eval()


def check_fit(name: str, num_classes: int, stored: Mapping[str, Stored]) -> None:
    """Refuse weights of another network before memory is taken for it.

    A large network of timm is built on torch's ``meta`` device, where tensors have shapes and no
    values, and no further than the weights have values. A smaller one is soon built. One that
    cannot be built there, as some of older versions of timm, is left to `build`, and so are other
    builders.

    Args:
        name: name in this registry.
        num_classes: K.
        stored: the tensors of the weights' header.

    Raises:
        UnknownNameError: no backbone of that name.
        IntegrityError: other names, shapes or types.
    """
    import torch

    values = sum(math.prod(each.shape) for each in stored.values())
    # Another builder is its author's own, who may keep what was built on "meta".
    if get(name) is not build_timm or values < LARGE:
        return
    try:
        with no_more_than(stored, name), torch.device("meta"):
            model = build(name, num_classes)
    except SkinxaiError:
        raise
    except Exception:  # of any kind: what a builder does with values, and there are none
        return
    compare(model.float(), stored)


def check_header(config: bytes, folder: Path, header: Mapping[str, Any]) -> None:
    """Refuse large weights of another network by their header, before they are read.

    Args:
        config: bytes of the folder's ``config.json``.
        folder: of the model.
        header: of the weights.

    Raises:
        ModelConfigError: a config that breaks its schema.
        UnknownNameError: no backbone of that name.
        IntegrityError: other names, shapes or types.
    """
    own = parse_config(config, folder, ModelConfig)
    stored = listed_tensors(header, WEIGHTS)
    if get(own.backbone) is build_timm:
        return check_fit(own.backbone, len(own.labels), stored)
    with no_more_than(stored, own.backbone):
        model = build(own.backbone, len(own.labels))
    compare(model.float(), stored)


def check_bytes(config: ModelConfig, size: int) -> None:
    """Refuse an exported file that is much larger than its network.

    One that is not of timm, or that cannot be built without values, is let through.

    Args:
        config: of the file.
        size: bytes of its constants.

    Raises:
        UnknownNameError: no backbone of that name.
        IntegrityError: more than twice the bytes that the network has in float32.
    """
    import torch

    if size <= HUGE or not config.backbone or get(config.backbone) is not build_timm:
        return
    try:
        with torch.device("meta"):
            model = build(config.backbone, len(config.labels))
    except SkinxaiError:
        raise
    except Exception:  # of any kind: what a builder does with values, and there are none
        return
    most = HUGE + 8 * sum(each.numel() for each in model.network.state_dict().values())
    if size > most:
        raise IntegrityError(
            f"an exported {config.backbone!r} must have at most {most} bytes, it has {size}; "
            f"export the model again."
        )


def compare(model: SkinClassifier, stored: Mapping[str, Stored]) -> None:
    """Refuse weights that are not exactly a network's.

    Args:
        model: from any builder, on any device.
        stored: the tensors of the weights' header.

    Raises:
        IntegrityError: other names, shapes or types.
    """
    own = model.network.state_dict()
    odd = sorted(set(stored) ^ set(own)) or sorted(
        key for key in own
        if tuple(own[key].shape) != stored[key].shape
        or not _is_alike(own[key].dtype, stored[key].dtype)
    )  # fmt: skip
    if odd:
        raise IntegrityError(
            f"{WEIGHTS} must hold exactly the backbone's tensors; {len(odd)} differ, "
            f"the first is {odd[0][:80]!r}."
        )


def _is_alike(own: Any, stored: str) -> bool:
    """Whether a tensor can be loaded as it is: any floating-point type, or exactly the same."""
    return "F" in stored if own.is_floating_point else stored == TORCH_NAMES.get(str(own))


@contextmanager
def no_more_than(stored: Mapping[str, Stored], name: str) -> Iterator[None]:
    """Context in which this thread cannot build a network that is much larger than its weights.

    Twice as many parameters are let through: builders replace some of what they have built.

    Args:
        stored: the tensors of the weights' header.
        name: of the network, for the message.

    Raises:
        IntegrityError: within the context, a network with more.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    count = sum(math.prod(each.shape) for each in stored.values())
    own, left = threading.get_ident(), 2 * count + 1_000_000

    def note(_: object, __: str, parameter: Any) -> None:
        nonlocal left
        if threading.get_ident() != own or parameter is None:
            return
        left -= parameter.numel()
        if left < 0:
            raise IntegrityError(
                f"{WEIGHTS} must hold exactly the backbone's tensors; they have {count} values, "
                f"fewer than {name!r}."
            )

    hook = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        hook.remove()


def build_timm(
    name: str, num_classes: int, drop_rate: float = 0.0, *, drop_path_rate: float = 0.0
) -> SkinClassifier:
    """Build a network of timm, split as `skinxai.timm_networks` says; the weights are random.

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

    from skinxai.models import SkinClassifier
    from skinxai.timm_networks import create, split_of

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


def layer_groups(model: SkinClassifier) -> list[list[str]]:
    """Names of a network's parameters, stage by stage from the input to the classifier.

    Networks of timm say themselves which stages they have; what stands between the last stage and
    the classifier (a convolution, a normalisation) counts as part of that stage. Any other network
    is two groups: its body, and its classifier.

    Args:
        model: from any builder.

    Returns:
        Groups of names in ``model.network.named_parameters()``, each name exactly once; the stem
        first, the classifier alone in the last.

    Raises:
        OptionError: a network whose classifier cannot be told: it has no ``get_classifier()``,
            and not exactly one submodule ``classifier``, ``fc`` or ``head`` with parameters.
    """
    network = model.network
    names = [name for name, _ in network.named_parameters()]
    classifier = classifier_names(model)
    groups: list[list[str]] = []
    for stage in _stages(network, names):
        body = [name for name in stage if name not in classifier]
        if groups and len(body) < len(stage):  # timm puts what it names nowhere here
            groups[-1] += body
        elif body:
            groups.append(body)
    groups.append([name for name in names if name in classifier])
    return groups


def _stages(network: nn.Module, names: list[str]) -> list[list[str]]:
    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        return [names]
    from timm.models import group_parameters

    stages: dict[int, list[str]] = group_parameters(network, matcher(coarse=True))
    return [stages[order] for order in sorted(stages)]


def classifier_names(model: SkinClassifier) -> set[str]:
    """Names in ``model.network.named_parameters()`` that belong to the classifier.

    Raises:
        OptionError: a network whose classifier cannot be told, as in `layer_groups`.
    """
    from torch import nn

    network: Any = model.network

    if hasattr(network, "get_classifier"):
        found = network.get_classifier()
        modules = list(found) if isinstance(found, tuple) else [found]
    else:
        modules = [getattr(network, name, None) for name in CLASSIFIERS]
    modules = [m for m in modules if isinstance(m, nn.Module) and any(True for _ in m.parameters())]
    if not modules or (len(modules) > 1 and not hasattr(network, "get_classifier")):
        raise OptionError(
            f"the backbone must be one whose classifier can be told, by get_classifier() or by "
            f"exactly one submodule of the name {', '.join(CLASSIFIERS)}, got "
            f"{type(network).__name__}; train it with one learning rate, nothing frozen, and "
            f"starting weights of a model with the same labels."
        )
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}


def _takes(builder: Callable[..., Any], keyword: str) -> bool:
    parameters = inspect.signature(builder).parameters.values()
    return any(p.name == keyword or p.kind is p.VAR_KEYWORD for p in parameters)


def _no_drop_path(name: str, rate: float) -> OptionError:
    return OptionError(
        f"drop_path_rate must be 0 for the backbone {name!r}, whose builder takes none, got {rate}."
    )
