"""Weights of which each rank holds a piece: the only module that knows torch's ``fully_shard``.

Its imports stand in functions: they take a second, which other runs need not wait for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from skinxai.errors import OptionError
from skinxai.training.global_norms import Exchange
from skinxai.training.ranks import Ranks, answering

if TYPE_CHECKING:
    from skinxai.backbones.network import SkinClassifier

Module = TypeVar("Module", bound=nn.Module)


def divide(
    network: nn.Module, blocks: Sequence[nn.Module], ranks: Ranks, device: torch.device
) -> None:
    """Leave each rank a piece of every weight of ``network``: its rows ``[N · rank / count, …)``.

    A block's weights are whole on all ranks while the block computes, forward and backward; those
    outside the blocks are whole from the start of the forward pass to the end of the backward
    pass. A weight's gradient is the sum over all ranks. Zhao et al., "PyTorch FSDP", VLDB 2023.

    All ranks agree before each exchange of weights or gradients that none has run out of memory, so
    that `take_back` can follow.

    Raises:
        OptionError: if a weight is a single number, or torch is too old.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "reset_iter_state"):
        raise OptionError(
            f"strategy 'fsdp' needs torch 2.14 or newer, got {torch.__version__}; update torch, or "
            f"take strategy 'ddp'."
        )
    scalars = [name for name, weight in network.named_parameters() if not weight.ndim]
    if scalars:
        raise OptionError(
            f"with strategy 'fsdp' each weight must have rows that ranks can divide, but "
            f"{scalars[0]!r} is a single number; take strategy 'ddp' for this backbone."
        )
    for weight in network.parameters():  # rows are divided as they lie in memory
        weight.data = weight.data.contiguous()
    mesh = init_device_mesh(device.type, (ranks.count,))
    parts = [fully_shard(module, mesh=mesh) for module in [*blocks, network]]
    gather, reduce = _agreed(Exchange(ranks, network))  # its buffers are on the device by now
    for part in parts:
        part.set_gradient_divide_factor(1.0)  # losses are weighted by the share of the batch
        part.set_force_sum_reduction_for_comms(True)  # gloo has no multiplying sum
        part.set_custom_all_gather(gather)
        part.set_custom_reduce_scatter(reduce)


def take_back(network: Any) -> None:
    """Forget a forward or backward pass that was broken off, with its gradients."""
    network.zero_grad(set_to_none=True)  # of the blocks that are whole just now
    network.reset_iter_state()


def is_divided(network: nn.Module) -> bool:
    """Whether a rank holds only a piece of the network's weights."""
    return any(_has_pieces(weight) for weight in network.parameters())


def whole(tensor: Tensor) -> Tensor:
    """All rows of a tensor of which each rank has some, on its device; all ranks call it."""
    if not _has_pieces(tensor):
        return tensor
    with answering():
        found: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return found


def each_whole(named: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Name and all rows of each tensor, one after another; all ranks call it.

    The names are sorted: a mapping read from a file has another order on each rank.
    """
    for name in sorted(named):
        yield name, whole(named[name])


def piece(tensor: Tensor) -> Tensor:
    """This rank's rows of a tensor, in the same memory; the tensor itself if it is not divided."""
    found: Tensor = tensor.to_local() if _has_pieces(tensor) else tensor  # type: ignore[attr-defined]
    return found


def divided_as(tensor: Tensor, like: Tensor | None) -> Tensor:
    """A whole tensor, the same on all ranks, divided as another is; no rank sends anything.

    If the other is not divided or has another shape, nothing is done.
    """
    if like is None or not _has_pieces(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(like.device), mesh, placements, src_data_rank=None)


def copy_with(network: Module, weights: Mapping[str, Tensor]) -> Module:
    """A copy of a network with other weights: all of its ``state_dict()``.

    Its own are not read, so that they may be divided.
    """
    own = {
        id(weight): nn.Parameter(weights[name].detach().clone(), weight.requires_grad)
        for name, weight in network.named_parameters()
    }
    found = copy.deepcopy(network, own)
    for name, buffer in found.named_buffers():
        if name in weights:
            buffer.copy_(weights[name])
    return found


def blocks_of(network: SkinClassifier, image_size: tuple[int, int]) -> list[nn.Module]:
    """The repeated blocks of a network, whose weights need not be whole at the same time.

    A block is an entry of a ``Sequential`` or ``ModuleList`` that consists of several layers and
    has no such blocks within it: a transformer's layer, a residual block. It must be called exactly
    once in a pass, which one black image shows: the weights of a module that is never called, but
    whose layers are, would not be gathered. They come in the order of their calls; the network,
    whose weights are whole, gets its mode back.
    """
    found: dict[nn.Module, int] = dict.fromkeys(_blocks_within(network), 0)
    order: list[nn.Module] = []

    def note(module: nn.Module, _: Any) -> None:
        found[module] += 1
        order.append(module)

    hooks = [block.register_forward_pre_hook(note) for block in found]
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            device = next(network.parameters()).device
            network.eval()(torch.zeros(1, 3, *image_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return [block for block in order if found[block] == 1]


def _blocks_within(module: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in module.children():
        inner = _blocks_within(child)
        if not inner and isinstance(module, nn.Sequential | nn.ModuleList):
            layers = sum(any(True for _ in part.parameters()) for part in child.children())
            inner = [child] if layers > 1 else []
        found += inner
    return found


def _has_pieces(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")  # a DTensor


def _agreed(exchange: Exchange) -> tuple[Any, Any]:
    """Exchanges of weights and of gradients on which all ranks agree first.

    Both have allocated their memory by then: what follows fails on no rank alone.
    """
    from torch.distributed.fsdp._fully_shard._fsdp_collectives import (
        DefaultAllGather,
        DefaultReduceScatter,
    )

    class Agreed:
        def __call__(
            self, output_tensor: Tensor, input_tensor: Tensor, *more: Any, **names: Any
        ) -> Any:
            exchange.end(input_tensor.numel())
            with answering():
                return super().__call__(output_tensor, input_tensor, *more, **names)  # type: ignore[misc]

    class Gather(Agreed, DefaultAllGather):
        pass

    class Reduce(Agreed, DefaultReduceScatter):
        pass

    return Gather(), Reduce()
