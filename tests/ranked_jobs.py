"""What `ranked` can do, each in all ranks at once."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from small_runs import Block, Small, listed

from skinxai import Trainer
from skinxai.training.callbacks import Callback
from skinxai.training.joining import joined


class Ending(Callback):
    """Ends its process after a step: ``"dies"`` at once, ``"stops"`` by a signal."""

    def __init__(self, how: str, step: int) -> None:
        self._how, self._step = how, step

    def on_step(self, number: int, loss: float, rate: float) -> None:
        if number == self._step:
            if self._how == "dies":
                os._exit(9)
            signal.raise_signal(signal.SIGTERM)


class Spoiling(Callback):
    """Overwrites an image after a step, as a failing disk would."""

    def __init__(self, path: Path, step: int) -> None:
        self._path, self._step = path, step

    def on_step(self, number: int, loss: float, rate: float) -> None:
        if number == self._step:
            self._path.write_bytes(b"no image")


def train(folder: Path, rank: int, job: dict[str, Any]) -> dict[str, Any]:
    """Train, or go on where the job says so.

    Args:
        folder: with the pictures, unless ``data`` names another one in it.
        rank: of this process.
        job: ``settings``, ``out``, ``resume``; ``stops``: step after which the first rank is
            told to end; ``others``: settings of the other ranks; ``hungry``: the rank that has no
            memory for more than two images, ``after``: the forward or the backward pass of a part;
            ``idle``: the rank whose convolutions do not learn;
            ``spoils``: an image, and the step after which it cannot be read.
    """
    data = folder / job.get("data", ".")
    settings, out = dict(job.get("settings", {})), folder / job.get("out", job["name"])
    if rank:
        settings |= job.get("others", {})
    callbacks: list[Callback] = [Ending("stops", job["stops"])] if job.get("stops") else []
    if job.get("spoils"):
        name, step = job["spoils"]
        callbacks.append(Spoiling(data / name, step))
    make = Trainer.resume if job.get("resume") else Trainer
    where = {} if job.get("resume") else {"output_dir": out}
    trainer = make(*([out] if job.get("resume") else []), **settings, **where, callbacks=callbacks)
    features = Small.features

    def fail(_: Any = None) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def hungry(self: Small, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 2:
            if not job.get("after"):
                fail()
            maps: torch.Tensor = features(self, images)
            if job["after"] == "forward":  # the others wait for the weights of a block
                fail()
            maps.register_hook(fail)  # where a stack has blocks, their backward pass is over
            return maps
        return features(self, images)

    def idle(self: Small, images: torch.Tensor) -> torch.Tensor:
        return features(self, images).detach()

    if job.get("hungry") == rank:
        Small.features = hungry  # type: ignore[method-assign]
    if job.get("idle") == rank:
        Small.features = idle  # type: ignore[method-assign]
    try:
        classifier = trainer.fit(listed(data / "train"), listed(data / "val"))
    finally:
        Small.features = features  # type: ignore[method-assign]
    threads = [(each / "comm").read_text() for each in Path("/proc/self/task").glob("*")]
    return {"model": classifier.model, "left": [name for name in threads if "gloo" in name]}


def command(folder: Path, rank: int, job: dict[str, Any]) -> None:
    """Run a command of skinxai, whose ``words`` follow its name."""
    from skinxai.cli import main

    sys.argv = ["skinxai", *job["words"]]
    main()


def measure(folder: Path, rank: int, job: dict[str, Any]) -> dict[str, Any]:
    """Train, and count the bytes that this rank holds after each step, and at most in a pass.

    Returns:
        ``weights``, ``average``, ``gradients``, ``exp_avg``, ``exp_avg_sq``: bytes after the last
        step; ``whole``: for each block, the names of the weights that are whole while it
        computes.
    """
    from skinxai.training import loop

    found: dict[str, Any] = {"whole": []}
    step, forward = loop.Loop._step, Block.forward

    def size(tensors: Any) -> int:
        own = [t.to_local().untyped_storage() for t in tensors if t is not None]
        return sum({each.data_ptr(): each.nbytes() for each in own}.values())

    def counted(self: Any, *values: Any) -> float:
        state = self.run.state
        Block.forward = lambda block, maps: shown(state.network, block, maps)  # type: ignore[method-assign]
        loss = step(self, *values)
        weights = list(state.network.parameters())
        found.update(weights=size(weights), average=size(state.average.parameters()))
        found["gradients"] = size(weight.grad for weight in weights)
        for name in ("exp_avg", "exp_avg_sq"):
            found[name] = size(moments[name] for moments in state.optimizer.state.values())
        return loss

    def shown(network: Any, block: Block, maps: torch.Tensor) -> torch.Tensor:
        named = network.network.named_parameters()
        found["whole"].append([name for name, w in named if not hasattr(w, "device_mesh")])
        return forward(block, maps)

    loop.Loop._step = counted  # type: ignore[method-assign]
    try:
        return found | train(folder, rank, job)
    finally:
        loop.Loop._step, Block.forward = step, forward  # type: ignore[method-assign]


def tell(folder: Path, rank: int, job: dict[str, Any]) -> dict[str, Any]:
    """What each of three ranks gets from the others."""
    with joined("cpu") as ranks:
        table = torch.arange(6.0).view(6, 1) + 100
        share = ranks.share(rank, [f"lost by {rank}"] * (rank == 1))  # 0, 1 and 2 images
        partners = ranks.partners(share, table[[[], [0], [1, 2]][rank]], torch.tensor([1, 2, 0]))
        own = [torch.full((2, 2), 1.0 + rank), torch.full((3,), 10.0 * rank).double()]
        losses = torch.tensor([float(rank), 0.5])
        ranks.sum_all([losses, *own])
        return {
            "gather": ranks.gather({"rank": rank}), "first": ranks.from_first(lambda: rank + 7),
            "merged": list(ranks.merged(range(7)[ranks.part])), "counts": share.counts,
            "largest": ranks.largest(rank, 5 - rank, 15), "failures": share.failures,
            "total": ranks.total(torch.tensor([rank, 1.0])).tolist(), "losses": losses.tolist(),
            "gradients": [each.tolist() for each in own], "partners": partners.flatten().tolist(),
            "seed": ranks.seed(5, 1), "other seed": ranks.seed(5, 2),
        }  # fmt: skip


def spoil(folder: Path, rank: int, job: dict[str, Any]) -> dict[str, Any]:
    """Train where one number of the last rank's piece of a gradient is none."""
    from skinxai.training.step import TrainingStep

    gradients = TrainingStep._gradients

    def spoilt(self: TrainingStep, *values: Any) -> Any:
        found = gradients(self, *values)
        if rank:
            grad: Any = self.state.network.network.fc.weight.grad  # type: ignore[union-attr]
            grad.to_local()[0, 0] = float("nan")
        return found

    TrainingStep._gradients = spoilt  # type: ignore[method-assign]
    try:
        return train(folder, rank, job)
    finally:
        TrainingStep._gradients = gradients  # type: ignore[method-assign]


def lose(folder: Path, rank: int, job: dict[str, Any]) -> None:
    """Train while the last rank dies after the second step of the first attempt."""
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

    if first and rank == 1:
        from skinxai.training import loop

        step, count = loop.Loop._step, []

        def dying(self: Any, *values: Any) -> float:
            found = step(self, *values)
            count.append(1)
            if len(count) == 2:
                os._exit(9)
            return found

        loop.Loop._step = dying  # type: ignore[method-assign]
    trainer = Trainer(**job["settings"], output_dir=folder / job["name"])
    trainer.fit(listed(folder / "train"), listed(folder / "val"))
