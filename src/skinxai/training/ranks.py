"""`Ranks`: the processes that train one network together, and what they tell each other."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from skinxai.errors import RankLostError, ResumeMismatchError
from skinxai.memory import is_out_of_memory
from skinxai.training.shares import Share, homes, places_of

PATIENCE = datetime.timedelta(minutes=10)
"""How long a rank waits for another: longer than the loader waits for a decoding process."""
BUCKET = 25 * 2**20
"""Bytes that are summed at once."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The processes that train one network together; a single process says nothing to nobody.

    Each method is called by all ranks at the same place of the program.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        local: number of this process among those of its machine, from 0.
        beside: number of processes on its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    beside: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that speaks, writes files and calls callbacks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.count == 1

    @property
    def part(self) -> slice:
        """The items of a list that are this rank's: every ``count``-th.

        The first half of a batch is then the first half of each rank's share of it, so that
        micro-batches hold the same images for any number of ranks.
        """
        return slice(self.rank, None, self.count)

    def seed(self, *numbers: int) -> int:
        """A seed for what differs from rank to rank; the first number itself on the first rank."""
        if self.first:
            return numbers[0]
        return int(np.random.SeedSequence([*numbers, self.rank]).generate_state(1)[0])

    def gather(self, value: Value) -> list[Value]:
        """The value of each rank, in order; any object that can be pickled."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.count
        with answering():
            dist.all_gather_object(found, value)
        return found

    def merged(self, own: Iterable[Value]) -> Iterable[Value]:
        """The items of all ranks in the order of the list of which each had its `part`."""
        if self.alone:
            return own
        every = self.gather(list(own))
        found: list[Any] = [None] * sum(map(len, every))
        for rank, some in enumerate(every):
            found[rank :: self.count] = some
        return found

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first rank makes; the others wait for it."""
        if self.alone:
            return make()
        found: list[Any] = [make() if self.first else None]
        with answering():
            dist.broadcast_object_list(found, src=0)
        value: Value = found[0]
        return value

    def largest(self, *numbers: int) -> list[int]:
        """The largest of all ranks' numbers, one by one."""
        if self.alone:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        with answering():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return [int(each) for each in found.tolist()]

    def share(self, images: int, failures: Sequence[Any]) -> Share:
        """What all ranks have of one batch, of which this one has so many images and failures."""
        if self.alone:
            return Share((images,), 0, list(failures))
        own = torch.tensor([images, len(failures)], dtype=torch.int64)
        found = [torch.empty_like(own) for _ in range(self.count)]
        with answering():
            dist.all_gather(found, own)
        table = torch.stack(found).tolist()
        failed = any(lost for _, lost in table)
        every = [each for some in self.gather(failures) for each in some] if failed else []
        return Share(tuple(number for number, _ in table), self.rank, every)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all ranks, on the device of ``values``."""
        if not self.alone:
            with answering():
                dist.all_reduce(values)
        return values

    def partners(self, share: Share, values: Tensor, order: Tensor) -> Tensor:
        """``values[order]`` of the whole batch, those for this rank's images.

        Its own values are ``(n, …)``; the order has the place of each image's partner.
        """
        if self.alone:
            return values[order]
        home, places = homes(share.counts), order.tolist()  # rank and row of each place
        wanted = [[home[places[own]] for own in some] for some in places_of(share.counts)]
        sent = [[row for rank, row in some if rank == self.rank] for some in wanted]
        rows = torch.tensor([row for some in sent for row in some], device=values.device)
        given = values.contiguous()[rows.long()]
        found = given.new_empty((len(wanted[self.rank]), *values.shape[1:]))
        sources = [rank for rank, _ in wanted[self.rank]]
        counts = [sources.count(rank) for rank in range(self.count)]
        with answering():
            dist.all_to_all_single(found, given, counts, [len(some) for some in sent])
        arrived = sorted(range(len(sources)), key=lambda place: sources[place])  # by rank, stable
        back = torch.empty(len(sources), dtype=torch.int64)
        back[torch.tensor(arrived, dtype=torch.int64)] = torch.arange(len(sources))
        return found[back.to(found.device)]

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, such as gradients, by their sums over all ranks.

        It comes after the backward pass, some megabytes at a time. Sums that overlap with the
        backward pass, as those of ``DistributedDataParallel``, could not be taken back where one
        rank runs out of memory in the middle of it. All ranks pass the same number and shapes.
        """
        if self.alone:
            return
        for some in _buckets(tensors):
            flat = torch.cat([each.flatten() for each in some])
            self.total(flat)
            pieces = torch.split(flat, [each.numel() for each in some])
            whole = [piece.view_as(own) for piece, own in zip(pieces, some, strict=True)]
            torch._foreach_copy_(list(some), whole)

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Refuse ranks that begin with something else than the first: a `ResumeMismatchError`."""
        every = self.gather(dict(facts))
        for rank, own in enumerate(every):
            for name, value in every[0].items():
                if own[name] != value:
                    raise ResumeMismatchError(
                        f"ranks must train with the same {name}, but rank 0 has {value!r} and "
                        f"rank {rank} has {own[name]!r}; start all ranks with the same command, "
                        f"data and packages."
                    )


ALONE = Ranks()
"""This process, where no others train with it."""


@contextmanager
def answering() -> Iterator[None]:
    """Context that turns the errors of torch's collectives into one typed error."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise RankLostError(
            f"another rank has ended or did not answer within {PATIENCE.seconds // 60} minutes: "
            f"{str(error).splitlines()[0]}",
            python="go on from the last checkpoint with Trainer.resume(…), started by torchrun",
            command="give the same command with --resume to go on from the last checkpoint",
        ) from error


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type in groups of at most `BUCKET` bytes, or of one tensor."""
    for dtype in dict.fromkeys(each.dtype for each in tensors):
        some: list[Tensor] = []
        for each in (tensor for tensor in tensors if tensor.dtype == dtype):
            if some and sum(one.nbytes for one in some) + each.nbytes > BUCKET:
                yield some
                some = []
            some.append(each)
        yield some
