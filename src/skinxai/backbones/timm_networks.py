"""timm's networks: how they are built, and where each family splits into features and head.

The only file that knows timm's classes. `SPLITS` is the table of what is supported; a network whose
class is not in it predicts, and is refused when a map of its features is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skinxai import plugins
from skinxai.errors import ExplainError, UnknownNameError, did_you_mean
from skinxai.plain_text import counted

if TYPE_CHECKING:
    from torch import Tensor, nn

MAP = "last feature map"
LAST = "last feature map, channels last"
TOKENS = "tokens after the last block"
BEFORE_LAST = "tokens before the last block"

_MAPS = [
    "ByobNet", "CPUBone", "CSATv2", "ConvNeXt", "CspNet", "DLA", "DPN",
    "DaVit", "DenseNet", "EdgeNeXt", "EfficientFormerV2", "EfficientNet",
    "EfficientVitLarge", "EfficientVitMsra", "FasterNet", "FastVit", "FocalNet", "GhostNet",
    "GlobalContextVit", "HighPerfGpuNet", "HighResolutionNet", "IFormer", "InceptionResnetV2",
    "InceptionV3", "LCNetV2", "LowFormer", "MaxxVit", "MetaFormer", "MetaNeXt",
    "MobileNetV3", "NASNetALarge", "Nest", "NextViT", "NormFreeNet", "PNASNet5Large",
    "PyramidVisionTransformerV2", "RDNet", "RegNet", "RepGhostNet", "RepVit", "ResNet", "ResNetV2",
    "SENet", "SHViT", "SelecSls", "StarNet", "SwiftFormer", "SwinTransformerV2Cr",
    "TResNet", "TinyVit", "VGG", "VovNet", "Xception", "XceptionAligned",
]  # fmt: skip
_LASTS = ("HieraDet", "MambaOut", "Sequencer2d", "SwinTransformer", "SwinTransformerV2")
_TOKENS = ("Eva", "MlpMixer")
_CLASS_TOKENS = ("VisionTransformer", "VisionTransformerDistilled")

SPLITS: dict[str, str] = (
    dict.fromkeys(_MAPS, MAP)
    | dict.fromkeys(_LASTS, LAST)
    | dict.fromkeys(_TOKENS, TOKENS)
    | dict.fromkeys(_CLASS_TOKENS, BEFORE_LAST)
)
"""Class of a timm network → where it is split."""

_UNPROVEN = (
    "with random weights, its features do not follow a patch planted in the image, so their "
    "positions are not proven"
)
_NO_SPLIT = "it is not known yet which of its tokens are patches"
REFUSED: dict[str, str] = dict.fromkeys(
    ("ConvMixer", "CspNext", "EfficientVit", "InceptionV4", "RexNet", "Visformer"), _UNPROVEN
) | dict.fromkeys(
    ("Cait", "CoaT", "ConVit", "CrossVit", "EfficientFormer", "EfficientViM",
     "EfficientViMDistilled", "Hiera", "LevitDistilled", "MultiScaleVit",
     "PoolingVisionTransformer", "TNT", "Twins", "VOLO", "VisionTransformerRelPos", "Xcit"),
    _NO_SPLIT,
)  # fmt: skip
"""Class of a timm network → why no map of its features can be given."""


_ANY_SIZE: dict[str, dict[str, Any]] = {
    "vision_transformer": {"dynamic_img_size": True},
    "deit": {"dynamic_img_size": True},
    "eva": {"dynamic_img_size": True},
    "swin_transformer": {"strict_img_size": False},
    "swin_transformer_v2": {"strict_img_size": False},
}
"""timm's module → what makes its networks take images of any size."""


def check_name(name: str) -> None:
    """Refuse a name that timm does not have.

    Raises:
        UnknownNameError: timm has no such network.
    """
    from timm.models import is_model, list_models

    if not is_model(name):
        raise UnknownNameError(
            f"Unknown network {name!r} of timm.{did_you_mean(name, list_models())} Run "
            f"timm.list_models('*{name[:4]}*') to list some."
        )


def create(name: str, **options: Any) -> Any:
    """A network of timm, with random weights, for images of any size where it can.

    Args:
        name: timm's.
        **options: of ``timm.create_model``.

    Raises:
        UnknownNameError: timm has no such network.
    """
    import timm
    from timm.models import model_entrypoint

    check_name(name)
    module = model_entrypoint(name).__module__.rpartition(".")[2]
    return timm.create_model(name, **_ANY_SIZE.get(module, {}), **options)


@dataclass(frozen=True)
class Split:
    """Where a network is split, as functions of the network.

    Args:
        layer: in words.
        features: images → what the head takes.
        head: that → logits.
        pool: that → pooled features.
        grid: that, and the images' size → ``(N, C, h, w)``.
        reads: tokens that the head reads, empty for the patches' mean, ``None`` for neither.
    """

    layer: str
    features: Callable[[Any, Tensor], Tensor]
    head: Callable[[Any, Tensor], Tensor]
    pool: Callable[[Any, Tensor], Tensor]
    grid: Callable[[Any, Tensor, tuple[int, int] | None], Tensor]
    reads: tuple[int, ...] | None = None


def split_of(network: nn.Module) -> Split:
    """The split of a timm network; one that is not in the table gets a refusing ``grid``.

    Args:
        network: from ``timm.create_model``.
    """
    name = type(network).__name__
    layer = SPLITS.get(name)
    if layer == BEFORE_LAST and getattr(network, "global_pool", None) != "token":
        layer = TOKENS  # the mean of the patches, or a pooling that attends to them
    if layer == BEFORE_LAST:
        reads = (0, 1) if name == "VisionTransformerDistilled" else (0,)
        return Split(
            layer, _before_last_block, _last_block_and_head, _last_block_and_pool, _tokens, reads
        )
    if layer == TOKENS and getattr(network, "global_pool", None) == "token":
        return Split("none", _features, _head, _pool, _refuse_token)
    mean = () if getattr(network, "global_pool", None) == "avg" else None
    grids = {MAP: _as_it_is, LAST: _channels_last, TOKENS: _tokens}
    return Split(layer or "none", _features, _head, _pool, grids.get(layer or "", _refuse), mean)


def _features(network: Any, images: Tensor) -> Tensor:
    features: Tensor = network.forward_features(images)
    return features


def _head(network: Any, features: Tensor) -> Tensor:
    logits: Tensor = network.forward_head(features)
    return logits


def _pool(network: Any, features: Tensor) -> Tensor:
    pooled: Tensor = network.forward_head(features, pre_logits=True)
    return pooled


def _before_last_block(network: Any, images: Tensor) -> Tensor:
    """All tokens ``(N, T, C)``: after the last block only the class token reaches the head."""
    import torch

    found = network.forward_intermediates(
        images, indices=[len(network.blocks) - 2], norm=False, stop_early=True,
        output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True,
    )  # fmt: skip
    patches, prefix = found[0]
    return torch.cat([prefix, patches], dim=1)


def _last_block(network: Any, tokens: Tensor) -> Tensor:
    after: Tensor = network.norm(network.blocks[-1](tokens))
    return after


def _last_block_and_head(network: Any, tokens: Tensor) -> Tensor:
    return _head(network, _last_block(network, tokens))


def _last_block_and_pool(network: Any, tokens: Tensor) -> Tensor:
    return _pool(network, _last_block(network, tokens))


def _as_it_is(network: Any, features: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    return features


def _channels_last(network: Any, features: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    return features.permute(0, 3, 1, 2)


def _tokens(network: Any, features: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    prefix = getattr(network, "num_prefix_tokens", 0)
    embedding = network.patch_embed if hasattr(network, "patch_embed") else network.stem
    if image_size is None:
        height, width = embedding.grid_size
    else:
        height, width = embedding.dynamic_feat_size(image_size)
    patches = features[:, prefix:]
    if height * width != patches.shape[1]:
        raise ExplainError(
            f"features must be {height} x {width} patches after {counted(prefix, 'other token')}, "
            f"got {features.shape[1]} in all; give the images' size."
        )
    return patches.transpose(1, 2).reshape(len(patches), -1, height, width)  # a view


def _refuse(network: Any, features: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    name = type(network).__name__
    reason = REFUSED.get(name, "it is not in the table of supported networks")
    raise _refused(name, reason)


def _refuse_token(network: Any, features: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    reason = "its head reads only the class token, which no patch of the last features reaches"
    raise _refused(type(network).__name__, reason)


def _refused(name: str, reason: str) -> ExplainError:
    return ExplainError(
        f"a map of the features needs a network that is known to have one, but {name} is refused: "
        f"{reason}; use a method that needs no such map: {plugins.methods_for_any_network()}."
    )
