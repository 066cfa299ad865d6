"""The rule of guided backpropagation, without touching the network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.backbones.torch_calls import TorchCalls
from skinxai.errors import ExplainError

_RELU = (
    torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu, functional.relu6,
    functional.hardtanh,
)  # fmt: skip
_OTHERS = (
    functional.silu, functional.gelu, functional.hardswish, functional.mish, functional.elu,
    functional.selu, functional.celu, functional.leaky_relu, functional.prelu, functional.rrelu,
    functional.softplus,
)  # fmt: skip


class GuidedReLU(TorchCalls):
    """Within it, each ReLU passes on positive gradients only; of one thread, for one call."""

    def __init__(self) -> None:
        super().__init__()
        self.rectified = 0

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """Hook the result of each ReLU.

        Raises:
            ExplainError: an activation that the rule is not defined for.
        """
        below = function is functional.hardtanh and _lowest(*args, **named) != 0
        if below or function in _OTHERS:
            raise ExplainError(
                f"guided_backprop needs a network whose activations are ReLU, but this one has "
                f"{function.__name__}; use smoothgrad or integrated_gradients."
            )
        result = function(*args, **named)
        if function in _RELU and result.requires_grad:
            self.rectified += 1
            result.register_hook(functional.relu)
        return result


def _lowest(values: Tensor, min_val: float = -1.0, *_: Any, **__: Any) -> float:
    """What ``hardtanh`` returns at least; ReLU6 is the one from 0."""
    return min_val
