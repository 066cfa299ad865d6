"""A run's state on disk: what `Trainer.resume` needs, without pickles."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from skinxai.errors import TrainingError
from skinxai.models import SkinClassifier
from skinxai.writing import write_atomic


@dataclass
class RunState:
    """Everything that changes while a run goes on.

    Args:
        network: the weights being trained.
        average: their exponential moving average; what is validated and saved.
        optimizer: its moments and step counts.
        epoch: epochs done.
        best: highest validation macro-F1 so far, and the epoch that reached it.
        log: one row for each epoch.
    """

    network: SkinClassifier
    average: SkinClassifier
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    best: tuple[float, int] = (-1.0, 0)
    log: tuple[dict[str, float], ...] = ()

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
        for part, module in (("network", self.network), ("average", self.average)):
            tensors |= {f"{part}.{name}": t for name, t in module.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in moments.items()}
        rest = {"epoch": self.epoch, "best": self.best, "log": self.log}
        kept = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        write_atomic(path, save(kept, {"state": json.dumps(rest)}))

    def restore(self, path: Path) -> None:
        """Take over a state that `save` wrote.

        Raises:
            TrainingError: no such file, or one of another network.
        """
        try:
            data = path.read_bytes()
            tensors = load(data)
            rest = json.loads(_state_text(data))
            for part, module in (("network", self.network), ("average", self.average)):
                module.load_state_dict(_below(tensors, part))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise TrainingError(f"checkpoint {str(path)!r} must be whole: {error}") from error
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in _below(tensors, "optimizer").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(tensors["random"])
        self.epoch = rest["epoch"]
        self.best = (rest["best"][0], rest["best"][1])
        self.log = tuple(rest["log"])


def _below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    start = part + "."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _state_text(data: bytes) -> str:
    length = int.from_bytes(data[:8], "little")
    text: str = json.loads(data[8 : 8 + length])["__metadata__"]["state"]
    return text
