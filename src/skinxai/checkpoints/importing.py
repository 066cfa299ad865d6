"""Networks that timm saved, as model folders."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from skinxai import backbones, checkpoints
from skinxai.configs import ModelConfig, PreprocessConfig, strict_json
from skinxai.disk.regular_files import is_file
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    UnknownNameError,
)
from skinxai.labels import LabelSet
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import CONFIG, WEIGHTS
from skinxai.plain_text import markdown, markdown_code

HUB = "hf-hub:"
TOLERANCE = 1e-4
_CARD = """# {name}

**A research tool, not a medical device.**

Imported from a network that timm saved ({architecture}, {classes} classes). skinxai does not know
where it comes from, what it was trained on or how well it does: describe that here.
"""


def import_timm(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    labels: LabelSet | Sequence[str],
    image_size: tuple[int, int] | None = None,
    licence: str = "",
    name: str | None = None,
    token: str | None = None,
) -> str:
    """Make a model folder of a network that timm saved with ``save_for_hf`` or pushed to the Hub.

    Its logits are compared with those of timm's own loading before anything is written. The
    preprocessing is that of timm's config, but for the crop: skinxai resizes the whole image.

    Args:
        source: a folder with ``config.json`` and ``model.safetensors``, or ``"hf-hub:org/name"``.
        out: folder of the model, created where it does not exist.
        labels: in the order of the logits; timm's config often names none.
        image_size: ``(height, width)``; timm's by default.
        licence: of the weights.
        name: of the model; the architecture by default.
        token: of the Hugging Face Hub.

    Returns:
        The revision.

    Raises:
        ModelNotFoundError: no such folder or repository.
        ModelConfigError: a config that is none of timm's, or other classes than ``labels``, or
            that names one of these for another logit.
        IntegrityError: weights that do not fit, are not finite, or answer otherwise than in timm,
            as with arguments of the network (``model_args``) that skinxai does not build.
        OutputError: ``out`` cannot be written.
    """
    folder = _folder(os.fspath(source), token)
    config = _config(folder)
    labels = LabelSet.of(labels)
    classes, architecture = config["num_classes"], config["architecture"]
    if classes != len(labels):
        raise ModelConfigError(
            f"labels must be one for each of the {classes} classes of {str(source)!r}, got "
            f"{len(labels)}: {list(labels)}."
        )
    _check_order(labels, config)
    input_of = config.get("pretrained_cfg", config)
    own = ModelConfig(
        name=name or architecture,
        backbone=backbones.TIMM + architecture,
        labels=labels,
        preprocessing=_preprocessing(input_of, image_size),
        licence=licence,
    )
    model = backbones.build(own.backbone, classes)
    checkpoints.load_weights(model, read_part(folder / WEIGHTS))
    with torch.device("cpu"):  # torch's default device may be another
        _compare(model.network, folder, own.preprocessing.image_size, architecture)
    card = _CARD.format(
        name=markdown(own.name), architecture=markdown_code(architecture), classes=classes
    )
    return checkpoints.save(os.fspath(out), model, own, card)


def _folder(source: str, token: str | None) -> Path:
    if source.startswith(HUB):
        from skinxai.model_folders.timm_downloads import timm_snapshot

        return timm_snapshot(source.removeprefix(HUB), token)
    folder = Path(source.removeprefix("local-dir:"))
    for name in (CONFIG, WEIGHTS):
        if not is_file(folder / name):
            raise ModelNotFoundError(
                f"{str(folder)!r} must hold {name}, as timm's save_for_hf(…, safe_serialization="
                f"True) writes it, found none; pickled weights are never opened."
            )
    return folder


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = strict_json(read_part(folder / CONFIG))
    except ValueError as error:
        raise ModelConfigError(f"{CONFIG} in {str(folder)!r} must be JSON: {error}.") from error
    known = isinstance(config, dict) and isinstance(config.get("architecture"), str)
    if not known or type(config.get("num_classes")) is not int:
        raise ModelConfigError(
            f"{CONFIG} in {str(folder)!r} must be timm's, with 'architecture' and 'num_classes'."
        )
    return dict(config)


def _check_order(labels: LabelSet, config: Mapping[str, Any]) -> None:
    """Refuse labels that timm's config, where it names some of them, has in another order."""
    below = config.get("pretrained_cfg")
    both = {**(below if isinstance(below, dict) else {}), **config}
    named = both.get("label_names", both.get("labels"))
    if isinstance(named, list):
        named = dict(enumerate(named))
    for place, name in named.items() if isinstance(named, dict) else ():
        try:
            own = labels.code_of(name)
        except UnknownNameError:
            continue
        if str(labels.position(own)) != str(place):
            raise ModelConfigError(
                f"labels must be in the order of the logits, but {CONFIG} says that logit {place} "
                f"is {name!r:.80}, which has the place {labels.position(own)} in {list(labels)}; "
                f"give them in the order of its label_names, or correct that."
            )


def _preprocessing(config: Mapping[str, Any], size: tuple[int, int] | None) -> PreprocessConfig:
    try:
        return PreprocessConfig(
            size or tuple(config["input_size"][1:]),
            config["mean"],
            config["std"],
            config.get("interpolation", "bicubic"),
        )
    except (KeyError, TypeError) as error:
        raise ModelConfigError(
            f"{CONFIG} must have timm's input_size, mean and std: {error!r}."
        ) from error


@torch.no_grad()
def _compare(
    network: torch.nn.Module, folder: Path, size: tuple[int, int], architecture: str
) -> None:
    """Raise unless the network answers as timm's own loading of the folder does."""
    import timm

    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *size, generator=draws)
    try:
        difference = float((network.eval()(images) - theirs(images)).abs().max())
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"image_size must be one that the network takes, but {size} is not: {error}"
        ) from error
    if not difference < TOLERANCE:
        raise IntegrityError(
            f"{architecture} answers differently than in timm: its logits differ by "
            f"{difference:.2g}. If it has arguments of its own (model_args), register a backbone "
            f"that has them."
        )
