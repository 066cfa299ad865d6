"""Everything that changes during a run, converted to bytes and back without pickles."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints.packing import apart
from skinxai.errors import CheckpointCorruptError
from skinxai.training.divided_weights import copy_with, divided_as, each_whole, is_divided
from skinxai.training.randomness import RandomStates

MAX_THREADS = 4096
_ENTRIES = {"progress": dict, "random": dict, "ranks": list, "scaler": dict, "splits_sha256": str}
Row = dict[str, float]


@dataclass
class Progress:
    """Progress of a run, as plain values.

    Args:
        epoch: number of finished epochs.
        step: number of finished optimiser steps in the present epoch.
        total_loss: sum over this epoch's steps of loss × images.
        images: number of images in this epoch so far.
        seconds: duration of this epoch so far.
        accumulate: number of micro-batches in a step; it grows when memory runs out.
        best: highest validation macro-F1 so far, and the epoch that reached it.
        log: one row for each epoch.
        skipped: ids of images that could not be read while training.
        overflows: number of consecutive steps that float16 scaling skipped.
        threads: number of CPU threads; another number gives other bits.
    """

    epoch: int = 0
    step: int = 0
    total_loss: float = 0.0
    images: int = 0
    seconds: float = 0.0
    accumulate: int = 1
    best: tuple[float, int] = (-1.0, 0)
    log: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    overflows: int = 0
    threads: int = field(default_factory=torch.get_num_threads)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Strict inverse of ``vars()``, from JSON values; a `ValueError` for any others."""
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"its progress must have {sorted(names)}")
        counts = ("epoch", "step", "images", "accumulate", "overflows", "threads")
        best, log, skipped = values["best"], values["log"], values["skipped"]
        sound = (
            all(type(values[name]) is int and 0 <= values[name] < 2**53 for name in counts)
            and values["accumulate"] >= 1
            and 1 <= values["threads"] <= MAX_THREADS
            and all(type(values[name]) in (int, float) for name in ("total_loss", "seconds"))
            and isinstance(best, list)
            and [type(each) for each in best] in ([float, int], [int, int])
            and isinstance(log, list)
            and len(log) == values["epoch"]
            and all(isinstance(row, dict) for row in log)
            and all(type(number) in (int, float) for row in log for number in row.values())
            and isinstance(skipped, list)
            and all(isinstance(name, str) for name in skipped)
        )
        if not sound:
            raise ValueError("its progress has a value outside its rule")
        return cls(**values | {"best": (float(best[0]), best[1])})


@dataclass
class RunState:
    """Networks, optimiser and progress of a run.

    Args:
        network: the weights being trained.
        average: their exponential moving average, which is validated and saved.
        optimizer: the optimiser, with its moments and step counts.
        scaler: scaler of float16 gradients; idle in other precisions.
        progress: progress of the run.
        best_weights: the average in its best epoch.
        splits_sha256: sha256 of the run's split.
    """

    network: SkinClassifier
    average: SkinClassifier
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress = field(default_factory=Progress)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    splits_sha256: str = ""

    @property
    def divided(self) -> bool:
        """Whether this rank holds only a piece of the weights, of the average and the moments."""
        return is_divided(self.network)

    def whole_average(self) -> SkinClassifier:
        """The average with all of its weights, which all ranks put together where it is divided."""
        if not self.divided:
            return self.average
        return copy_with(self.average, dict(each_whole(self.average.state_dict())))

    def keep_best(self) -> None:
        """Copy the average's weights."""
        self.best_weights = {n: t.detach().clone() for n, t in self.average.state_dict().items()}

    @property
    def most_bytes(self) -> int:
        """Upper limit of the size of a checkpoint: five copies of the weights, and their names."""
        weights = self.network.state_dict().values()
        return int(6 * sum(each.nbytes for each in weights) + 2**26)

    def to_bytes(self, each: Sequence[RandomStates] = (), *, keep: bool = True) -> bytes:
        """Safetensors with one JSON text: all that the rest of the run depends on, except data.

        Where the weights are divided, all ranks call it; the bytes are those of whole weights, and
        a rank that need not ``keep`` them gets none. ``each`` are the random states of each rank;
        empty for those of this process alone.
        """
        random, *others = each or [RandomStates.now()]
        parts: dict[str, dict[str, Tensor]] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best_weights,
            "random": random.tensors,
        }
        for index, moments in self.optimizer.state_dict()["state"].items():
            parts[f"optimizer.{index}"] = moments
        for rank, states in enumerate(others, 1):
            parts[f"rank {rank}"] = states.tensors
        every = {
            f"{part}.{n}": tensor for part, named in parts.items() for n, tensor in named.items()
        }
        tensors = apart(each for each in each_whole(every) if keep)
        if not keep:
            return b""
        rest: dict[str, Any] = {
            "progress": vars(self.progress),
            "random": random.rest,
            "ranks": [states.rest for states in others],
            "scaler": self.scaler.state_dict(),
            "splits_sha256": self.splits_sha256,
        }
        return save(tensors, {"state": json.dumps(rest)})

    def restore(self, data: bytes, rank: int = 0, count: int = 1) -> bool:
        """Restore what `to_bytes` wrote, including random states, on this rank of so many.

        Returns:
            Whether as many ranks wrote it, so that this one has its own random states again.

        Raises:
            CheckpointCorruptError: if the bytes are of another network or another version.
        """
        try:
            tensors = load(data)
            rest = _entries(data)
            if rest["splits_sha256"] != self.splits_sha256:
                raise ValueError("it is of a run with another split")
            own = self.network.state_dict()
            network, average, self.best_weights = (
                {n: divided_as(t, own.get(n)) for n, t in _below(tensors, part).items()}
                for part in ("network", "average", "best")
            )
            self.network.load_state_dict(network)
            self.average.load_state_dict(average)
            shapes = {name: t.shape for name, t in own.items()}
            if self.best_weights and shapes != {n: t.shape for n, t in self.best_weights.items()}:
                raise ValueError("its best weights are of another network")
            self.progress = Progress.from_dict(rest["progress"])
            self._restore_optimizer(_below(tensors, "optimizer"))
            if rest["scaler"]:
                self.scaler.load_state_dict(rest["scaler"])
            others = rest["ranks"]
            if same := len(others) + 1 == count:
                name = f"rank {rank}" if rank else "random"
                values = others[rank - 1] if rank else rest["random"]
                RandomStates(_below(tensors, name), values).put_back()
        except (
            SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
            OverflowError,
        ) as error:  # fmt: skip
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise CheckpointCorruptError(
                f"checkpoint must belong to this run's network and version: {reason}; start the "
                f"run again in a new folder."
            ) from error
        return same

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        own = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for number, named in moments.items():
            shape = own[number].shape if 0 <= number < len(own) else None
            found = {name: tensor.shape for name, tensor in named.items()}
            if found != {"step": torch.Size(()), "exp_avg": shape, "exp_avg_sq": shape}:
                raise ValueError(f"the optimiser's state of parameter {number} does not fit it")
            for name in ("exp_avg", "exp_avg_sq"):
                named[name] = divided_as(named[name], own[number])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _entries(data: bytes) -> dict[str, Any]:
    """The JSON of a checkpoint, a value of its own kind for each entry; else a `ValueError`."""
    length = int.from_bytes(data[:8], "little")
    rest = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
    found = rest if isinstance(rest, dict) else {}
    for name, kind in _ENTRIES.items():
        if type(found.get(name)) is not kind:
            got = f"got {type(found[name]).__name__}" if name in found else "it is missing"
            raise ValueError(f"its entry {name!r} must be a {kind.__name__}, {got}")
    if not all(isinstance(each, dict) for each in found["ranks"]):
        raise ValueError("its entry 'ranks' must hold the random states of each further rank")
    return found


def _below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    start = part + "."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
