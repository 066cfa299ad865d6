"""`joined`: bring the ranks of a launch together, and let one of them say what went wrong."""

import datetime
import itertools
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn  # imported later, it would keep the group and its threads until the end
from torch._C._distributed_c10d import PrefixStore, TCPStore

from skinxai.errors import OptionError, RankLostError, SkinxaiError, TrainingError
from skinxai.progress import quiet
from skinxai.training.launch import Launch
from skinxai.training.ranks import PATIENCE, Ranks

JOINING = datetime.timedelta(minutes=5)
"""How long the ranks wait for each other at the start, as torch does."""
_TOLD = "told "
_joinings = itertools.count()
"""Numbers the runs of this process, whose notes must not be mistaken for each other's."""


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Context in which this process and the others of its launch are ranks, each on its device.

    All but the first are silent in it. Where an error ends it, ``error.told_elsewhere`` says
    whether another rank has the same to say, and only one traceback is printed.

    Raises:
        OptionError: if the environment contradicts itself, or a rank has no GPU of its own.
        TrainingError: if the ranks do not find each other.
    """
    launch = Launch.now()
    if launch.count == 1:
        yield Ranks()
        return
    kind = device_of(device, launch)
    backend = _backend(kind)
    own, store = not dist.is_initialized(), None
    try:
        if own:
            store = _store(launch, f"joining {next(_joinings)}")
            _check_world(store, launch)
            if kind != "cpu":
                torch.cuda.set_device(launch.local)
            dist.init_process_group(
                backend, store=PrefixStore("group", store), rank=launch.rank,
                world_size=launch.count, timeout=PATIENCE,
            )  # fmt: skip
        ranks = Ranks(launch.rank, launch.count, launch.local, launch.beside)
        with nullcontext() if ranks.first else _silent():
            yield ranks
    except SkinxaiError as error:
        _claim(error, store)
        raise
    finally:
        if own and dist.is_initialized():
            dist.destroy_process_group()


def device_of(device: str, launch: Launch | Ranks) -> str:
    """Name of the device of this rank; an `OptionError` if the ranks would share one GPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if launch.count == 1 or device == "cpu":
        return device
    if device != "cuda":
        raise OptionError(
            f"device must be 'auto', 'cuda' or 'cpu' for {launch.count} ranks, each of which has a "
            f"GPU of its own, got {device!r}",
            python="leave device out",
            command="leave --device out",
        )
    if (there := torch.cuda.device_count()) < launch.beside:
        raise OptionError(
            f"each rank must have a GPU of its own, but this machine has {there} for "
            f"{launch.beside} ranks; start fewer with torchrun --nproc-per-node {max(1, there)}",
            python="or pass device='cpu'",
            command="or give --device cpu",
        )
    return f"cuda:{launch.local}"


def is_told_elsewhere(error: SkinxaiError) -> bool:
    """Whether another rank says this error, so that this one must not.

    It is for errors from before the ranks have met, too: torchrun's store tells who came first.
    """
    if hasattr(error, "told_elsewhere"):
        return bool(error.told_elsewhere)
    try:
        launch = Launch.now()
    except OptionError:
        return False
    if launch.count == 1 or not launch.hosted:
        return False
    try:
        _claim(error, _store(launch, "before", datetime.timedelta(seconds=10)))
    except TrainingError:
        return False
    return bool(getattr(error, "told_elsewhere", False))


def _claim(error: SkinxaiError, store: Any) -> None:
    """Note in ``error.told_elsewhere`` whether a rank has said the same before.

    What a rank has to say about its loss of another is old news where any other error was told.
    """
    if hasattr(error, "told_elsewhere") or store is None:
        return
    message = "lost" if isinstance(error, RankLostError) else type(error).__name__
    try:
        any_before = store.add(_TOLD, 1) > 1
        same_before = store.add(_TOLD + message, 1) > 1
    except RuntimeError:  # the store went down with its rank: better twice than never
        return
    error.told_elsewhere = any_before if message == "lost" else same_before  # type: ignore[attr-defined]
    if error.told_elsewhere:  # type: ignore[attr-defined]
        shown = sys.excepthook

        def hook(
            kind: type[BaseException], raised: BaseException, trace: TracebackType | None
        ) -> None:
            if not getattr(raised, "told_elsewhere", False):
                shown(kind, raised, trace)

        sys.excepthook = hook


@contextmanager
def _silent() -> Iterator[None]:
    """Context without progress bars, notes and warnings: the first rank has them."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _backend(device: str) -> str:
    wanted = "gloo" if device == "cpu" else "nccl"
    there = dist.is_available() and (
        dist.is_gloo_available() and (wanted == "gloo" or dist.is_nccl_available())
    )
    if not there:
        raise OptionError(
            f"several ranks on {device!r} need torch's backend {wanted!r}, which the installed "
            f"torch {torch.__version__} lacks; install another build of torch, or train on one "
            f"rank."
        )
    return "cpu:gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"


def _store(launch: Launch, name: str, patience: datetime.timedelta | None = None) -> Any:
    """The store in which the ranks of this attempt leave notes of this name for each other."""
    patience = patience or JOINING
    where = f"MASTER_ADDR {launch.address!r}, MASTER_PORT {launch.port}"
    host = launch.rank == 0 and not launch.hosted
    try:
        store = TCPStore(
            launch.address, launch.port, is_master=host, timeout=patience, wait_for_workers=False
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise TrainingError(
                f"the port of {where} must be free, but another program uses it; choose another "
                f"with torchrun --master-port, or start with torchrun --standalone."
            ) from error
        raise TrainingError(
            f"rank {launch.rank} cannot reach rank 0 at {where} within {patience}: {reason}; check "
            f"that rank 0 runs and that the address and port are open between the machines."
        ) from error
    return PrefixStore(f"skinxai/attempt {launch.restarts}/{name}", store)


def _check_world(store: Any, launch: Launch) -> None:
    """Wait for all ranks, and refuse ranks that were told different numbers of ranks."""
    names = [f"world {rank}" for rank in range(launch.count)]
    store.set(names[launch.rank], str(launch.count))
    try:
        for rank, name in enumerate(names):
            store.wait([name], JOINING)
            if (other := int(store.get(name))) != launch.count:
                raise TrainingError(
                    f"WORLD_SIZE must be the same on all ranks, but it is {other} on rank {rank} "
                    f"and {launch.count} on rank {launch.rank}; start all ranks with one torchrun "
                    f"command."
                )
    except RuntimeError as error:
        try:
            missing = [str(rank) for rank, name in enumerate(names) if not store.check([name])]
        except RuntimeError:  # the store is gone, and with it the one who kept it
            raise TrainingError(
                f"{'torchrun' if launch.hosted else 'rank 0'} ended before all {launch.count} "
                f"ranks had met; look at its output and start all again."
            ) from error
        raise TrainingError(
            f"all {launch.count} ranks must start within {JOINING.seconds // 60} minutes, but "
            f"these did not: {', '.join(missing)}; look at their output and start all again."
        ) from error
