"""Every random state that a training step may draw from, as plain values and tensors."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomStates:
    """States of torch (CPU and each CUDA device), NumPy's global generator and ``random``.

    Args:
        tensors: states of torch, uint8.
        rest: states of NumPy and Python, as JSON values.
    """

    tensors: dict[str, Tensor]
    rest: dict[str, Any]

    @classmethod
    def now(cls) -> Self:
        """The present states."""
        tensors = {"cpu": torch.get_rng_state()}
        if _has_cuda():
            states = torch.cuda.get_rng_state_all()
            tensors |= {f"cuda.{number}": state for number, state in enumerate(states)}
        name, keys, *numbers = np.random.get_state()
        version, internal, gauss = random.getstate()
        python = [version, list(internal), gauss]
        return cls(
            tensors, {"numpy": [name, np.asarray(keys).tolist(), *numbers], "python": python}
        )

    def put_back(self) -> None:
        """Restore these states; a `ValueError` for values that are none."""
        try:
            torch.set_rng_state(self.tensors["cpu"])
            for number in range(torch.cuda.device_count() if _has_cuda() else 0):
                if (state := self.tensors.get(f"cuda.{number}")) is not None:
                    torch.cuda.set_rng_state(state, number)
            name, keys, *numbers = self.rest["numpy"]
            np.random.set_state((name, np.asarray(keys, np.uint32), *numbers))
            version, internal, gauss = self.rest["python"]
            random.setstate((version, tuple(internal), gauss))
        except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError("its random states must be of torch, NumPy and Python") from error


def _has_cuda() -> bool:
    """Whether this process can use a GPU: not one that was forked after CUDA was asked for."""
    return torch.cuda.is_available() and not torch.cuda._is_in_bad_fork()


def seed_all(seed: int) -> None:
    """Seed every generator that `RandomStates` knows."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def kept_random_states() -> Iterator[None]:
    """Context that restores every random state at its end."""
    before = RandomStates.now()
    try:
        yield
    finally:
        before.put_back()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which the CPU's global generators start from ``seed``; they are restored."""
    torch_state, numpy_state, state = (
        torch.get_rng_state(), np.random.get_state(), random.getstate()
    )  # fmt: skip
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(state)
