"""A device called ``own`` whose tensors lie in memory of its own, as a GPU's do, without a GPU.

Its arithmetic is the processor's. What a GPU would refuse is refused: operations on tensors of two
devices, ``numpy()`` of its tensors, generators of another device. As a plugin of pytest
(``-p own_memory``) it adds the device to this process, for good.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "own"
DEVICE = f"{NAME}:0"
LIBRARY = torch.library.Library("aten", "IMPL")
aten = torch.ops.aten
ACROSS = {aten._to_copy.default, aten.copy_.default}
"""Operations that may read one device and write another."""
INDEXED = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default, aten._unsafe_index.Tensor,
}  # fmt: skip
"""Operations whose indices may lie on the processor."""


class Backend(_DummyBackendModule):
    """What torch asks of the module ``torch.own``."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class OwnTensor(torch.Tensor):
    """A tensor of the device; `held` is where its values are."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OwnTensor":
        with torch.inference_mode(False):  # else views of weights could not be made within it
            made: Any = torch.Tensor._make_wrapper_subclass(
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
                dtype=held.dtype, layout=held.layout, device=torch.device(DEVICE),
            )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OwnTensor({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return computed(function, args, kwargs or {})


class OwnMemory(TorchDispatchMode):
    """Within it, what is made on the device becomes an `OwnTensor`."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return computed(function, args, kwargs or {})


def computed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the processor computes, on the device that torch would have put it on."""
    if function.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
        with OwnMemory():  # made of others, as ``to``, which inference mode does not take apart
            return function.decompose(*args, **kwargs)
    given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    own = [each for each in given if isinstance(each, OwnTensor)]
    asked = kwargs.get("device")
    if function not in ACROSS:
        checked = given
        if function in INDEXED:
            checked = [args[0], *[a for a in args[2:] if isinstance(a, Tensor)]]
        others = [each for each in checked if not isinstance(each, OwnTensor) and each.ndim]
        if own and others:
            raise RuntimeError(
                f"{function}: Expected all tensors to be on the same device, but found at least "
                f"two devices, {DEVICE} and cpu!"
            )
    here = bool(own) if asked is None else torch.device(asked).type == NAME
    if function is aten.copy_.default:
        here = isinstance(args[0], OwnTensor)
    if "device" in kwargs and asked is not None and torch.device(asked).type == NAME:
        kwargs = kwargs | {"device": torch.device("cpu")}
    generator = kwargs.get("generator")
    if here and generator is not None and generator.device.type != NAME:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    wrappers = {id(each.held): each for each in own}
    real_args, real_kwargs = tree_map(
        lambda each: each.held if isinstance(each, OwnTensor) else each, (args, kwargs)
    )
    found = function(*real_args, **real_kwargs)

    def wrapped(each: Any) -> Any:
        if not isinstance(each, Tensor) or not here:
            return each
        return wrappers[id(each)] if id(each) in wrappers else OwnTensor(each)

    made: Callable[..., Any] = tree_map(wrapped, found)
    return made


def empty(size: Any, stride: Any, dtype: Any = None, **_: Any) -> OwnTensor:
    """What torch itself makes on the device, as the indices of ``tensor[[0, 2]]``."""
    return OwnTensor(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """What torch itself copies to or from the device."""
    held = [each.held if isinstance(each, OwnTensor) else each for each in (source, target)]
    held[1].copy_(held[0])
    return target


_setup_privateuseone_for_python_backend(NAME, Backend())
LIBRARY.impl("empty_strided", empty, "PrivateUse1")
LIBRARY.impl("_copy_from", copy, "PrivateUse1")
OwnMemory().__enter__()  # now: pytest imports plugins before it collects
