"""What may make the answers of a wrapped network wrong, in sentences, seen on images of noise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from skinxai.backbones.network import SkinClassifier
from skinxai.backbones.torch_calls import TorchCalls

_TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_SUM_TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 1e-2}
_ONE_LABEL = "predict() is right only where each image has exactly one of the labels"


def doubt(model: SkinClassifier, images: Tensor, logits: Tensor) -> str:
    """The first sentence that holds, or none.

    The images ``(3, 3, H, W)`` are of noise, of different brightness; the logits of the first one,
    ``(1, K)``, are finite, and random numbers were drawn with the seed 0.
    """
    return (
        _probabilities(logits)
        or _sigmoid(model, images[:1], logits)
        or _differs(model, images[:1], logits)
        or _mixes(model, images, logits)
    )


def seed_draws(device: torch.device) -> None:
    """Let networks on a device draw the random numbers of the seed 0.

    ``torch.manual_seed`` would do so on all devices, and change what a program draws on a GPU that
    has nothing to do with this network.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(0)
        return
    torch.default_generator.manual_seed(0)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(0)


def items_of(given: Any) -> Iterator[tuple[str, Any]]:
    """How the parts of a tuple, mapping or object are reached, and each of them."""
    if isinstance(given, Mapping):
        for key, item in given.items():
            yield f"[{key!r}]", item
    elif isinstance(given, tuple | list):
        for position, item in enumerate(given):
            yield f"[{position}]", item
    elif is_dataclass(given):
        for field in fields(given):
            yield f".{field.name}", getattr(given, field.name)
    elif hasattr(given, "__dict__"):
        for name, item in vars(given).items():
            yield f".{name}", item


def fits(given: Any, classes: int) -> bool:
    """Whether something is a row of as many values as there are classes."""
    return isinstance(given, Tensor) and tuple(given.shape) == (1, classes)


def _probabilities(logits: Tensor) -> str:
    row = logits[0].double()
    slack = _SUM_TOLERANCE.get(logits.dtype, 1e-5)
    if bool((row < 0).any()) or abs(float(row.sum()) - 1) > slack:
        return ""
    return (
        "head seems to return probabilities (they are >= 0 and sum to 1) and must return logits: "
        "softmax is applied to them again, which changes every probability; leave the softmax out "
        "of head."
    )


def _sigmoid(model: SkinClassifier, images: Tensor, logits: Tensor) -> str:
    """Whether the last that head does is a sigmoid; logits may lie between 0 and 1 by chance."""
    if bool((logits < 0).any()) or bool((logits > 1).any()):
        return ""
    with _Sigmoids() as seen:
        try:
            last = model.logits(model.features(images))
        except Exception:  # a compiled head may not be looked into
            return ""
    if not any(last is each for each in seen.found):
        return ""
    return (
        f"head returns a sigmoid of each logit and must return the logits: softmax is applied to "
        f"them again, which changes every probability; leave the sigmoid out of head. {_ONE_LABEL}."
    )


class _Sigmoids(TorchCalls):
    """Keeps what sigmoids return."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        made = function(*args, **named)
        if function in _SIGMOIDS:
            self.found.append(made)
        return made


_SIGMOIDS = (
    torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit,
)  # fmt: skip


def _differs(model: Any, images: Tensor, logits: Tensor) -> str:
    """Whether the whole network says otherwise, where it can be called and returns logits."""
    seed_draws(images.device)
    try:
        whole = model.network(images.to(logits.dtype))
    except Exception:  # ModuleList, say, or a forward that takes more than images
        return ""
    if not isinstance(whole, Tensor):
        whole = next((item for _, item in items_of(whole) if fits(item, logits.shape[1])), None)
    if not fits(whole, logits.shape[1]):
        return ""
    expected, own = whole.double(), logits.double()
    slack = _TOLERANCE.get(logits.dtype, 1e-3)
    if any(
        _close(*pair, slack)
        for pair in ((expected.log_softmax(1), own.log_softmax(1)), (expected, own.softmax(1)))
    ):
        return ""
    if _close(expected, own.sigmoid(), slack):
        return (
            f"module(x) returns a sigmoid of each logit, as for labels that do not exclude each "
            f"other, and predict() their softmax, which sums to 1: for an image of noise they "
            f"differ by up to {float((expected - own.softmax(1)).abs().max()):.2g}. {_ONE_LABEL}."
        )
    gap = float((expected - own).abs().max())
    return (
        f"head(features(x)) differs from module(x) by up to {gap:.2g} for an image of noise, "
        f"where the largest logit is {float(own.abs().max()):.2g}; answers are those of "
        f"head(features(x)): check that the two together do all that module does."
    )


def _close(one: Tensor, two: Tensor, slack: float) -> bool:
    return bool((one - two).abs().max() <= slack * one.abs().max().clamp_min(1e-6))


def _mixes(model: SkinClassifier, images: Tensor, logits: Tensor) -> str:
    """Whether the answer to an image depends on the other one of its batch.

    Networks that draw random numbers draw the same ones for two batches of one size.
    """
    found = []
    for other in (1, 2):
        seed_draws(images.device)
        try:
            rows = model.logits(model.features(images[[0, other]]))
        except Exception as error:  # a function of the caller's may raise anything
            reason = (str(error).strip().splitlines() or [""])[0]
            return (
                f"features and head take one image and raise {type(error).__name__} for two: "
                f"{reason}; pass batch_size=1, or let them take images (N, 3, H, W)."
            )
        shape = tuple(getattr(rows, "shape", ()))
        if shape != (2, logits.shape[1]):
            return (
                f"features and head return {shape} for two images and must return a "
                f"row of logits for each; pass batch_size=1, or correct them."
            )
        found.append(rows[:1].double())
    if _close(found[0], found[1], _TOLERANCE.get(logits.dtype, 1e-3)):
        return ""
    gap = float((found[0].softmax(1) - found[1].softmax(1)).abs().max())
    return (
        f"the answer to an image depends on the other images of its batch, as with batch "
        f"normalisation that keeps no statistics: a probability differs by up to {gap:.2g} for an "
        f"image of noise beside another one; pass batch_size=1, or correct the network."
    )
