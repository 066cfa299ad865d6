"""Where networks split into stages, and which layers are the classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skinxai.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

    from skinxai.backbones.network import SkinClassifier

CLASSIFIERS = ("classifier", "fc", "head")


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
            f"the backbone must name its classifier, by get_classifier() or by exactly one "
            f"submodule called {', '.join(CLASSIFIERS)}, got {type(network).__name__}; train it "
            f"with one learning rate, no frozen layers, and starting weights of a model with the "
            f"same labels."
        )
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}
