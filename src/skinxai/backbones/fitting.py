"""Whether weights are exactly a network's, before it is built and after."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai.backbones.building import build, build_timm, get
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, SkinxaiError
from skinxai.model_folders.files import parse_config
from skinxai.model_folders.part_bytes import HUGE
from skinxai.model_folders.parts import WEIGHTS
from skinxai.model_folders.tensors import TORCH_NAMES, Stored, listed_tensors
from skinxai.plain_text import agreeing, counted

if TYPE_CHECKING:
    from torch import Tensor

    from skinxai.backbones.network import SkinClassifier

LARGE = 20_000_000
"""Values of weights that are compared with the network before it is built."""

PREFIXES = {"torch.compile": "_orig_mod.", "DataParallel or DDP": "module."}
"""Before the names of a network's tensors, where it was saved within one of these."""


def check_fit(name: str, num_classes: int, stored: Mapping[str, Stored]) -> None:
    """Refuse weights of another network before memory is taken for it.

    A large network of timm is built on torch's ``meta`` device, where tensors have shapes and no
    values, and no further than the weights have values. A smaller one is soon built. One that
    cannot be built there, as some of older versions of timm, is left to `build`, and so are other
    builders.

    Args:
        name: name in this registry.
        num_classes: K.
        stored: the tensors of the weights' header.

    Raises:
        UnknownNameError: no backbone of that name.
        IntegrityError: other names, shapes or types.
    """
    values = sum(math.prod(each.shape) for each in stored.values())
    # Another builder is its author's own, who may keep what was built on "meta".
    if get(name) is not build_timm or values < LARGE:
        return
    try:
        with no_more_than(stored, name):
            model = build(name, num_classes, device="meta")
    except SkinxaiError:
        raise
    except Exception:  # of any kind: what a builder does with values, and there are none
        return
    compare(model.float(), stored)


def compare(model: SkinClassifier, stored: Mapping[str, Stored]) -> None:
    """Refuse weights that are not exactly a network's.

    Args:
        model: from any builder, on any device.
        stored: the tensors of the weights' header.

    Raises:
        IntegrityError: other names, shapes or types.
    """
    own = model.network.state_dict()
    odd = sorted(set(stored) ^ set(own)) or sorted(
        key for key in own
        if tuple(own[key].shape) != stored[key].shape
        or not _is_alike(own[key].dtype, stored[key].dtype)
    )  # fmt: skip
    if odd:
        raise IntegrityError(
            f"{WEIGHTS} must hold exactly the backbone's tensors; {len(odd)} "
            f"{agreeing(len(odd), 'differs', 'differ')}, the first is "
            f"{odd[0][:80]!r}{_how(odd[0], stored, own)}."
        )


def _how(name: str, stored: Mapping[str, Stored], own: Mapping[str, Tensor]) -> str:
    """How a tensor differs, and what wrapped the network before it was saved."""
    for wrapper, prefix in PREFIXES.items():
        if set(stored) == {prefix + key for key in own}:
            return f": {wrapper} puts {prefix!r} before every name; save the network within it"
    if name not in own:
        return ", which the backbone does not have"
    if name not in stored:
        return ", which the file does not have"
    return (
        f" of shape {stored[name].shape} and type {stored[name].dtype}, where the backbone has "
        f"{tuple(own[name].shape)} and {str(own[name].dtype).removeprefix('torch.')}"
    )


def _is_alike(own: Any, stored: str) -> bool:
    """Whether a tensor can be loaded as it is: any floating-point type, or exactly the same."""
    return "F" in stored if own.is_floating_point else stored == TORCH_NAMES.get(str(own))


@contextmanager
def no_more_than(stored: Mapping[str, Stored], name: str) -> Iterator[None]:
    """Context in which this thread cannot build a network that is much larger than its weights.

    Twice as many parameters are let through: builders replace some of what they have built.

    Args:
        stored: the tensors of the weights' header.
        name: of the network, for the message.

    Raises:
        IntegrityError: within the context, a network with more.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    count = sum(math.prod(each.shape) for each in stored.values())
    own, left = threading.get_ident(), 2 * count + 1_000_000

    def note(_: object, __: str, parameter: Any) -> None:
        nonlocal left
        if threading.get_ident() != own or parameter is None:
            return
        left -= parameter.numel()
        if left < 0:
            raise IntegrityError(
                f"{WEIGHTS} must hold exactly the backbone's tensors; they have "
                f"{counted(count, 'value')}, fewer than {name!r}."
            )

    hook = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        hook.remove()


def check_header(config: bytes, folder: Path, header: Mapping[str, Any]) -> None:
    """Refuse large weights of another network by their header, before they are read.

    Args:
        config: bytes of the folder's ``config.json``.
        folder: of the model.
        header: of the weights.

    Raises:
        ModelConfigError: a config that breaks its schema.
        UnknownNameError: no backbone of that name.
        IntegrityError: other names, shapes or types.
    """
    own = parse_config(config, folder, ModelConfig)
    stored = listed_tensors(header, WEIGHTS)
    if get(own.backbone) is build_timm:
        return check_fit(own.backbone, len(own.labels), stored)
    with no_more_than(stored, own.backbone):
        model = build(own.backbone, len(own.labels))
    compare(model.float(), stored)


def check_bytes(config: ModelConfig, size: int) -> None:
    """Refuse an exported file that is much larger than its network.

    One that is not of timm, or that cannot be built without values, is let through.

    Args:
        config: of the file.
        size: bytes of its constants.

    Raises:
        UnknownNameError: no backbone of that name.
        IntegrityError: more than twice the bytes that the network has in float32.
    """
    if size <= HUGE or not config.backbone or get(config.backbone) is not build_timm:
        return
    try:
        model = build(config.backbone, len(config.labels), device="meta")
    except SkinxaiError:
        raise
    except Exception:  # of any kind: what a builder does with values, and there are none
        return
    most = HUGE + 8 * sum(each.numel() for each in model.network.state_dict().values())
    if size > most:
        raise IntegrityError(
            f"an exported {config.backbone!r} must have at most {most} bytes, but it has {size}; "
            f"export the model again."
        )
