"""The classifier of a network: whether it is a linear layer of the pooled features, and set."""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai import backbones
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ModelError, OptionError, SkinxaiError
from skinxai.plain_text import first_line

Floats = npt.NDArray[np.float64]
MOST_DIFFERENT = 1e-3
"""Of logits of some units, between a network and the linear layer that it should end in."""


@torch.no_grad()
def set_head(model: SkinClassifier, weight: Floats, bias: Floats) -> None:
    """Replace the classifier's weights; two classifiers whose answers are averaged get the same.

    Args:
        model: changed in place.
        weight: ``(K, D)``, which may also belong to a convolution of one pixel.
        bias: ``(K,)``.

    Raises:
        ModelError: a classifier that is no linear layer with an offset.
    """
    named = dict(model.network.named_parameters())
    parameters = {name: named[name] for name in sorted(backbones.classifier_names(model))}
    sizes = {name: parameter.numel() for name, parameter in parameters.items()}
    fitting = {name: size in (weight.size, bias.size) for name, size in sizes.items()}
    biases = [name for name, parameter in parameters.items() if parameter.ndim == 1]
    if not all(fitting.values()) or not biases or 2 * len(biases) != len(parameters):
        raise _refused(model, f"its classifier has {', '.join(parameters) or 'no weights'}")
    for parameter in parameters.values():
        values = torch.from_numpy(bias if parameter.ndim == 1 else weight)
        parameter.copy_(values.reshape(parameter.shape).to(parameter.dtype))


@torch.inference_mode()
def check_linear(model: SkinClassifier, images: Tensor, image_size: tuple[int, int]) -> int:
    """Refuse a network that does not end in a linear layer of its pooled features.

    Args:
        model: in evaluation mode, on the CPU.
        images: input ``(N, 3, h, w)`` to try it with.
        image_size: its ``(h, w)``, for messages.

    Returns:
        D, the number of features.

    Raises:
        ModelError: another network.
        OptionError: an ``image_size`` that the network does not take.
    """
    tried = copy.deepcopy(model)
    try:
        pooled = tried.pool(tried.features(images))
    except SkinxaiError:
        raise
    except Exception as error:  # of many kinds: each network has its own way to say it
        raise OptionError(
            f"image_size must be one that the backbone takes, got {image_size}: {first_line(error)}"
        ) from error
    if pooled.ndim != 2:
        raise _refused(model, f"its pooled features have the shape {tuple(pooled.shape)}")
    width = pooled.shape[1]
    classes = tried(images).shape[1]
    draws = np.random.default_rng(0)
    weight, bias = draws.normal(size=(classes, width)), draws.normal(size=classes)
    scale = float(pooled.double().norm(dim=1).max())
    weight /= max(scale, 1e-6)  # logits of about one unit
    set_head(tried, weight, bias)
    expected = pooled.double().numpy() @ weight.T + bias
    difference = float(np.abs(tried(images).double().numpy() - expected).max())
    if not difference <= MOST_DIFFERENT:
        raise _refused(model, f"its logits differ by {difference:.2g} from W x + b")
    return int(width)


def _refused(model: SkinClassifier, reason: str) -> ModelError:
    return ModelError(
        f"a linear probe needs a backbone that ends in one linear layer of its pooled features, "
        f"but {type(model.network).__name__} does not: {reason}",
        python="fine-tune it with Trainer(frozen_groups=…)",
        command="fine-tune it with skinxai train --frozen-groups",
    )
