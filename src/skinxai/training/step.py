"""One optimiser step: blend, forward, backward in micro-batches, check, update."""

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from skinxai.errors import NonFiniteLossError, OutOfMemoryError
from skinxai.memory import is_out_of_memory
from skinxai.plain_text import counted
from skinxai.training.divided_weights import take_back, whole
from skinxai.training.global_norms import Exchange, GlobalNorms, OwnNorms, running_statistics
from skinxai.training.mixing import MixedBatch, mix
from skinxai.training.optimising import update_average
from skinxai.training.precision import fastest_kernels, mixed_precision
from skinxai.training.randomness import RandomStates
from skinxai.training.ranks import Ranks, answering
from skinxai.training.settings import TrainConfig
from skinxai.training.shares import Share
from skinxai.training.state import RunState
from skinxai.training.teaching import Teacher
from skinxai.training.transfers import copy_all

SMALLEST = 2  # images of a micro-batch: one has no batch statistics
MOST_OVERFLOWS = 20  # steps in a row that float16 scaling may skip


@dataclass(frozen=True)
class TrainingStep:
    """One optimiser step of a run.

    Args:
        state: state that the step changes.
        loss: ``(logits (N, K), target (N,)) -> scalar``, a mean over images.
        config: the run's settings.
        precision: precision for `mixed_precision`.
        device: where it computes.
        frozen: modules that stay in evaluation mode.
        note: function that is called with one sentence about what happened.
        teacher: teacher; the distance from it is ``config.teacher_share`` of the loss.
        ranks: the processes among which each batch is shared.
    """

    state: RunState
    loss: Callable[[Tensor, Tensor], Tensor]
    config: TrainConfig
    precision: torch.dtype | None
    device: torch.device
    frozen: Sequence[nn.Module]
    note: Callable[[str], None]
    teacher: Teacher | None = None
    ranks: Ranks = field(default_factory=Ranks)

    def __call__(
        self, images: Tensor, target: Tensor, number: int, rate: float,
        positions: Sequence[int] = (), share: Share | None = None,
    ) -> float:  # fmt: skip
        """Learn from one batch, and return the mean loss of the whole batch.

        This rank has the network input ``(N, 3, h, w)``, the target int64 ``(N,)``, and the
        positions in the training part, for the teacher; ``share`` is what all ranks have, ``None``
        if these are all images. Steps count from 0.

        Raises:
            NonFiniteLossError: if loss or gradients are not finite; the weights are unchanged.
            OutOfMemoryError: if memory is too small for micro-batches of two images.
        """
        network, optimizer = self.state.network, self.state.optimizer
        network.train()
        for module in self.frozen:
            module.eval()
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        seed = (self.config.seed, number, 2)
        share = share or Share((len(images),), 0, [])
        mixed = mix(
            images, target, mixup=self.config.mixup, cutmix=self.config.cutmix, seed=seed,
            count=share.count, partners=partial(self.ranks.partners, share),
        )  # fmt: skip
        recurs = share.count == self.config.batch_size  # not the last batch of an epoch
        with fastest_kernels() if recurs else nullcontext():
            parts = self._gradients(replace(mixed, positions=positions), share)
        with answering() if self.state.divided else nullcontext():
            norm = self._norm()
        loss = self._checked(parts, norm)
        self.state.scaler.step(optimizer)
        self.state.scaler.update()
        update_average(self.state.average, network, number, self.config.average_decay)
        return loss

    def _norm(self) -> Tensor:
        """The norm of all gradients, to which they are then clipped."""
        self.state.scaler.unscale_(self.state.optimizer)
        weights = list(self.state.network.parameters())
        if self.config.clip_norm is not None:
            return whole(nn.utils.clip_grad_norm_(weights, self.config.clip_norm))
        grads = (weight.grad for weight in weights)
        return whole(nn.utils.get_total_norm([grad for grad in grads if grad is not None]))

    def _gradients(self, mixed: MixedBatch, share: Share) -> list[tuple[Tensor, float]]:
        """The loss of each micro-batch, on the device, and its weight in the mean, after gradients.

        If memory runs out on any rank, all halve the micro-batch and start again.
        """
        random, exchange = RandomStates.now(), Exchange(self.ranks, self.state.network)
        buffers = list(self.state.network.buffers())
        before = [torch.empty_like(buffer) for buffer in buffers]
        copy_all(before, buffers)
        while True:
            self.state.optimizer.zero_grad(set_to_none=True)
            try:
                parts = self._forward_backward(mixed, share, exchange)
                return self._sums(parts, exchange)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                exchange.fail(error)
                if self.state.divided:
                    take_back(self.state.network)
                reason = str(error).partition("\n")[0]
            self._halve(share.count, reason)
            random.put_back()
            copy_all(buffers, before)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve(self, images: int, reason: str) -> None:
        parts = 2 * self.state.progress.accumulate
        if images // parts < (least := self._least):
            raise OutOfMemoryError(
                f"out of memory with a micro-batch of {counted(least, 'image')}: {reason}; lower "
                f"image_size, freeze layers or use a smaller backbone, and start again."
            )
        self.state.progress.accumulate = parts
        self.note(
            f"out of memory ({reason}): the micro-batch is halved, and a step now has {parts} "
            f"of them; the effective batch and the learning rate stay the same, and batch "
            f"statistics come from fewer images"
        )

    @property
    def _least(self) -> int:
        """Images of the smallest micro-batch, of which each rank has one."""
        return max(SMALLEST, self.ranks.count)

    def _forward_backward(
        self, mixed: MixedBatch, share: Share, exchange: Exchange
    ) -> list[tuple[Tensor, float]]:
        losses = []
        norms = self._norms(exchange)
        for where in _parts(share.count, self.state.progress.accumulate, self._least):
            part = mixed.part(share.rows(where))
            with mixed_precision(self.device, self.precision), norms:
                logits = self.state.network(part.images)
            loss = self._loss(part, logits.float())
            weight = len(part.images) / share.count
            torch.autograd.backward(self.state.scaler.scale(loss * weight))
            losses.append((loss.detach(), weight))
        return losses

    def _norms(self, exchange: Exchange) -> AbstractContextManager[Any]:
        """Context that says which images batch statistics are of."""
        if self.ranks.alone:
            return nullcontext()
        return GlobalNorms(exchange) if self.config.sync_batch_norm else OwnNorms()

    def _sums(
        self, parts: list[tuple[Tensor, float]], exchange: Exchange
    ) -> list[tuple[Tensor, float]]:
        """Sum gradients and losses over all ranks, and average running statistics of their own."""
        if self.ranks.alone:
            return parts
        weights = self.state.network.parameters()
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        exchange.end(len(gradients))
        losses = torch.stack([loss * weight for loss, weight in parts])
        if self.state.divided:  # each pass has summed its gradients
            gradients = []
        own = [] if self.config.sync_batch_norm else running_statistics(self.state.network)
        self.ranks.sum_all([losses, *gradients, *own])
        for statistic in own:
            statistic /= self.ranks.count
        return [(loss, 1.0) for loss in losses]

    def _loss(self, part: MixedBatch, logits: Tensor) -> Tensor:
        if not len(logits):  # a mean over nothing is no number
            return logits.sum() * 0
        loss = self.loss(logits, part.target)
        if part.share < 1:
            loss = part.share * loss + (1 - part.share) * self.loss(logits, part.other)
        if self.teacher is None:
            return loss
        with mixed_precision(self.device, self.precision):
            answer = self.teacher(part.images, part.positions)
        return torch.lerp(loss, self.teacher.distance(answer, logits), self.config.teacher_share)

    def _checked(self, parts: Sequence[tuple[Tensor, float]], norm: Tensor) -> float:
        """The mean loss; this is the one place where a step waits for the device.

        A gradient that is not finite is refused, unless float16 scaling handles the overflow.
        """
        progress = self.state.progress
        values = [value.double() for value in (*(loss for loss, _ in parts), norm)]
        *losses, length = torch.stack(values).tolist()
        if wrong := [loss for loss in losses if not math.isfinite(loss)]:
            raise NonFiniteLossError(f"loss must stay finite, got {wrong[0]}")
        mean: float = sum(loss * weight for loss, (_, weight) in zip(losses, parts, strict=True))
        if math.isfinite(length):
            progress.overflows = 0
            return mean
        progress.overflows += 1
        if not self.state.scaler.is_enabled():
            raise NonFiniteLossError(f"gradients must stay finite, their norm is {length}")
        if progress.overflows > MOST_OVERFLOWS:
            raise NonFiniteLossError(
                f"gradients must be finite in float16 at least once in {MOST_OVERFLOWS} steps"
            )
        return mean


def _parts(count: int, parts: int, least: int) -> list[slice]:
    """Divide ``count`` images into at most ``parts`` slices of similar size, ``least`` or more."""
    parts = max(1, min(parts, count // least))
    edges = [round(count * k / parts) for k in range(parts + 1)]
    return [slice(low, high) for low, high in itertools.pairwise(edges)]
