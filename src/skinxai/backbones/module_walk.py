"""All modules and tensors of a network, found quickly: every prediction looks at them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def modules_of(networks: Iterable[nn.Module]) -> list[nn.Module]:
    """Each module of some networks once, as by ``Module.modules()``, in no particular order.

    ``modules()`` also makes each module's name, which takes most of its time.

    Args:
        networks: any.
    """
    found: dict[int, nn.Module] = {}
    waiting = list(networks)
    while waiting:
        module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = module
        if isinstance(module, torch.jit.ScriptModule):  # its parts are made anew at each look
            waiting += module.children()
        else:
            waiting += [each for each in module._modules.values() if each is not None]
    return list(found.values())


def tensors_of(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a network; one that several modules share may be there twice.

    Args:
        network: any.
    """
    found: list[Tensor] = []
    for module in modules_of([network]):
        own = (module._parameters, module._buffers)
        found += [each for part in own for each in part.values() if each is not None]
    return found
