"""`TorchCalls`: takes part in what a network asks of torch, without touching the network."""

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class TorchCalls(TorchFunctionMode):
    """Within it, `_called` answers each call of a torch function; for one thread."""

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """What the caller gets in place of the function's own result."""
        raise NotImplementedError

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return self._called(func, *args, **(kwargs or {}))
