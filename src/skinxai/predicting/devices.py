"""Devices by name: one that this machine cannot compute on is refused when it is named."""

import torch

from skinxai.errors import OptionError, closest
from skinxai.plain_text import first_line

_MEANT = {"auto": "auto", "cpu": "cpu", "cuda": "cuda", "gpu": "cuda", "nvidia": "cuda"}


def device_named(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is CUDA where there is one, else the processor.

    A GPU is tried, also one that ``"auto"`` chose: it may be too old for this torch, or in use.

    Args:
        name: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or another name that torch knows.

    Raises:
        OptionError: an unknown name, or a device that this machine does not have or cannot use.
    """
    chosen = name
    if name == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(str(chosen))
        if device.type != "cpu":
            torch.zeros(1, device=device).double().cpu()  # probabilities are computed in float64
    except Exception as error:  # of many kinds: each device has its own
        reason = _reason(str(chosen), error)
        if name == "auto":
            raise OptionError(
                f"device 'auto' chose the GPU, which does not compute{reason}",
                python='pass device="cpu"',
                command="give --device cpu",
            ) from error
        raise OptionError(
            f"device must be 'auto' or one that this machine has, got {name!r}{reason}",
            python='pass device="auto" or device="cpu"',
            command="give --device auto or --device cpu",
        ) from error
    return device


def _reason(name: str, error: Exception) -> str:
    kind = name.partition(":")[0]
    if kind != "cuda":
        near = closest(kind, _MEANT, cutoff=0.7, plain=str.lower)
        return f" (did you mean {_MEANT[near]!r}?)" if near else ": torch cannot compute on it"
    if torch.version.cuda is None and torch.version.hip is None:
        return ": the installed torch was built without CUDA"
    if not torch.cuda.is_available():
        return ": torch finds no GPU"
    there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in ("cuda", *there):
        return f": the GPUs are {there}"
    return f": {first_line(error).rstrip('.')}"
