"""One optimiser step: its arithmetic by hand, and what happens when it cannot be done."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import Small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from skinxai import losses
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import NonFiniteLossError
from skinxai.training.optimising import learning_rate, update_average
from skinxai.training.settings import TrainConfig
from skinxai.training.state import Progress, RunState
from skinxai.training.step import MOST_OVERFLOWS, TrainingStep

CPU = torch.device("cpu")
Loss = Callable[[Tensor, Tensor], Tensor]


class InBackward(torch.autograd.Function):
    """The identity, with a backward pass of one's own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.call = call
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.call(grads[0]), None


@dataclass
class Memory:
    """Memory for so many images; raises ``error`` for more, in the forward or backward pass."""

    images: int = 1000
    error: Exception = field(default_factory=MemoryError)
    backward: bool = False

    def features(self, network: Any, images: Tensor) -> Tensor:
        result = network.features(images)
        return InBackward.apply(result, self._check) if self.backward else self._check(result)

    def _check(self, value: Tensor) -> Tensor:
        if len(value) > self.images:
            value.mul_(0)  # what is there of it is worth nothing
            raise self.error
        return value


@dataclass
class Bench:
    """A step with everything around it."""

    step: TrainingStep
    state: RunState
    notes: list[str]

    def run(self, images: Tensor, target: Tensor, number: int = 0, rate: float = 0.01) -> float:
        return self.step(images, target, number, rate)

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.state.network.parameters()])

    def gradient(self) -> Tensor:
        return torch.cat([p.grad.flatten() for p in self.state.network.parameters()])


def bench(
    *, plain: bool = False, memory: Memory | None = None, loss: Loss = cross_entropy,
    scaled: bool = False, frozen: bool = False, **settings: Any,
) -> Bench:  # fmt: skip
    torch.manual_seed(3)
    network = Small(3, 0.5, plain)
    features = (memory or Memory()).features
    model = SkinClassifier(network, features, lambda n, maps: n.head(maps))
    config = TrainConfig(**{"batch_size": 8, "weight_decay": 0.1, "average_decay": 0.9} | settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=config.weight_decay)
    optimizer.param_groups[0]["scale"] = 0.5
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
    progress = Progress(accumulate=config.accumulate)
    state, notes = RunState(model, copy.deepcopy(model), optimizer, scaler, progress), []
    held = [network.body[1]] if frozen else []
    return Bench(TrainingStep(state, loss, config, None, CPU, held, notes.append), state, notes)


def batch(count: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 32, 48, generator=draws)
    return images, torch.randint(0, 3, (count,), generator=draws)


def test_a_step_by_hand() -> None:
    """AdamW's first step: w (1 − lr · decay) − lr · g / (|g| + ε)."""
    run, (images, target) = bench(plain=True), batch()
    network = copy.deepcopy(run.state.network).double()
    loss = cross_entropy(network(images.double()), target)
    loss.backward()
    rate = 0.01 * 0.5
    expected = [
        w.detach() * (1 - rate * 0.1) - rate * w.grad / (w.grad.abs() + 1e-8)
        for w in network.parameters()
    ]
    assert run.run(images, target) == pytest.approx(loss.item(), rel=1e-6)
    for own, wanted in zip(run.state.network.parameters(), expected, strict=True):
        torch.testing.assert_close(own.detach().double(), wanted, atol=2e-5, rtol=0)
    assert run.state.optimizer.param_groups[0]["lr"] == rate


def test_learning_rate_by_hand() -> None:
    config = TrainConfig(epochs=10, learning_rate=1.0)
    rates = [learning_rate(config, step, 20) for step in range(200)]  # warm-up of 10 steps
    assert rates[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert rates[105] == pytest.approx(0.5)  # half of the cosine
    assert rates[10 + 19] == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.1)))
    assert min(rates) == rates[-1] == 0.01 and max(rates) == 1.0
    none = TrainConfig(epochs=1, learning_rate=2.0, warm_up=0.0)
    assert learning_rate(none, 0, 1) == 2.0


def test_average_by_hand() -> None:
    network, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 3.0)
    nn.init.constant_(average.weight, 1.0)
    update_average(average, network, 10_000, 0.9)
    assert average.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 3)
    update_average(average, network, 0, 0.9)  # (1 + 0) / (10 + 0) at the start
    assert average.weight.item() == pytest.approx(0.1 * 1.2 + 0.9 * 3)


def test_tied_weights_are_averaged_once() -> None:
    network, average = (nn.Sequential(*[nn.Linear(1, 1, bias=False)] * 2) for _ in range(2))
    nn.init.constant_(network[0].weight, 3.0)
    nn.init.constant_(average[0].weight, 1.0)
    update_average(average, network, 10_000, 0.9)
    assert average[1].weight.item() == pytest.approx(0.9 * 1 + 0.1 * 3)


def test_the_average_follows_the_steps() -> None:
    run = bench()
    expected = run.weights().double()
    norm, mean = run.state.average.network.body[1], torch.zeros(8, dtype=torch.float64)
    for number in range(5):
        run.run(*batch(seed=number), number)
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * run.weights().double()
        own = run.state.network.network.body[1].running_mean.double()
        mean = decay * mean + (1 - decay) * own  # statistics of batches as well
    average = torch.cat([p.flatten() for p in run.state.average.parameters()]).double()
    torch.testing.assert_close(average, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_mean.double(), mean, atol=1e-6, rtol=0)
    assert norm.num_batches_tracked == 5


def test_clipping_by_hand() -> None:
    free, clipped = bench(plain=True), bench(plain=True, clip_norm=0.01)
    for run in (free, clipped):
        run.run(*batch())
    norm = free.gradient().norm()
    assert norm > 0.02
    torch.testing.assert_close(clipped.gradient(), free.gradient() * 0.01 / norm)


@pytest.mark.parametrize("count", [8, 9, 7])
@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_accumulation_changes_nothing(count, accumulate) -> None:
    whole, parts = bench(plain=True), bench(plain=True, accumulate=accumulate)
    losses = [run.run(*batch(count)) for run in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    torch.testing.assert_close(whole.gradient(), parts.gradient(), atol=1e-7, rtol=1e-5)


def test_no_micro_batch_is_a_single_image() -> None:
    seen: list[int] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        seen.append(len(target))
        return cross_entropy(logits, target)

    for count in range(2, 17):
        for accumulate in (1, 2, 4, 8):
            seen.clear()
            bench(plain=True, batch_size=16, accumulate=accumulate, loss=loss).run(*batch(count))
            assert sum(seen) == count and min(seen) >= 2 and len(seen) <= accumulate
            assert max(seen) - min(seen) <= 1


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    run = bench(frozen=True)
    run.run(*batch())
    first, second = (run.state.network.network.body[index] for index in (1, 4))
    assert not first.running_mean.any() and second.running_mean.any()
    assert not first.training and second.training


# blends


class Waits(TorchDispatchMode):
    """Counts the values that Python asks of tensors: on CUDA each one waits for the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4, "clip_norm": 1.0, "accumulate": 4}])
def test_a_step_asks_for_no_value_on_its_way(settings, monkeypatch) -> None:
    """Losses and the norm come in one copy; what the optimiser does is torch's own."""
    run = bench(**settings)
    monkeypatch.setattr(run.state.optimizer, "step", lambda *_, **__: None)
    with Waits() as waits:
        run.run(*batch())
        assert waits.count == 0
        float(torch.ones(()))
    assert waits.count == 1


# not finite


def snapshot(run: Bench) -> list[Tensor]:
    moments = [m for s in run.state.optimizer.state.values() for m in s.values()]
    parts = [*run.state.network.parameters(), *run.state.average.state_dict().values(), *moments]
    return [part.detach().clone() for part in parts]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_not_finite(value, late) -> None:
    """``late``: in the second micro-batch, when there are gradients already."""
    calls: list[int] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        calls.append(len(target))
        wrong = len(calls) == (4 if late else 3)
        return cross_entropy(logits, target) * (value if wrong else 1.0)

    run = bench(loss=loss, accumulate=2)
    run.run(*batch(), 0)
    before = snapshot(run)
    with pytest.raises(NonFiniteLossError, match=f"loss must stay finite, got {value}"):
        run.run(*batch(), 1)
    assert len(calls) == 4  # the losses are looked at once a step
    assert all(torch.equal(own, old) for own, old in zip(snapshot(run), before, strict=True))


class Infinite(Memory):
    """Its gradient is infinite where its images say so."""

    def features(self, network: Any, images: Tensor) -> Tensor:
        result = network.features(images)
        wrong = bool(images.max() > 100)
        return InBackward.apply(result, lambda grad: grad * float("inf") if wrong else grad)


def infinite() -> tuple[Tensor, Tensor]:
    images, target = batch()
    images[0, 0, 0, 0] = 101.0
    return images, target


def test_a_gradient_that_is_not_finite() -> None:
    run = bench(memory=Infinite())
    run.run(*batch(), 0)
    before = snapshot(run)
    with pytest.raises(NonFiniteLossError, match="gradients must stay finite, their norm is"):
        run.run(*infinite(), 1)
    assert all(torch.equal(own, old) for own, old in zip(snapshot(run), before, strict=True))


def test_float16_scaling_skips_some_steps_and_not_all() -> None:
    run = bench(memory=Infinite(), scaled=True, average_decay=0.0)
    before = run.weights()
    run.run(*infinite())
    assert torch.equal(run.weights(), before) and run.state.progress.overflows == 1
    assert run.state.scaler.get_scale() == 512.0
    run.run(*batch())
    assert not torch.equal(run.weights(), before) and run.state.progress.overflows == 0
    for _ in range(MOST_OVERFLOWS):
        run.run(*infinite())
    with pytest.raises(NonFiniteLossError, match=f"float16 at least once in {MOST_OVERFLOWS}"):
        run.run(*infinite())


def test_scaled_gradients_give_the_same_step() -> None:
    plain, scaled = (bench(plain=True, clip_norm=0.05, scaled=scaled) for scaled in (False, True))
    for run in (plain, scaled):
        run.run(*batch())
    torch.testing.assert_close(plain.gradient(), scaled.gradient(), atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("name", losses.names())
def test_a_batch_of_one_class(name) -> None:
    options = {"gamma": 2.0} if "gamma" in losses.options_of(name) else {}
    run = bench(loss=losses.bind(name, options, (5, 900, 40)))
    images, _ = batch()
    for number in range(3):
        assert np.isfinite(run.run(images, torch.full((8,), number), number))
    assert bool(torch.isfinite(run.weights()).all())
