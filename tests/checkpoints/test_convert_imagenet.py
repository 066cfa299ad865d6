"""The script that converts published ImageNet weights, on weights made here."""

import hashlib
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from places import ROOT
from safetensors.torch import load_file
from torch import Tensor

SCRIPT = runpy.run_path(str(ROOT / "training/convert_imagenet.py"))
VARIANT = "tf_efficientnet_lite0"


def published(network: torch.nn.Module) -> dict[str, Tensor]:
    """A network's weights under the package's names."""
    names = dict(SCRIPT["published_names"](network))
    split = {key: key.rpartition(".") for key in network.state_dict()}
    return {
        f"{names[split[key][0]]}.{split[key][2]}": value
        for key, value in network.state_dict().items()
    }


def write(tensors: object, folder: Path, variant: str = "lite0") -> Path:
    path = folder / "weights.pth"
    torch.save(tensors, path)
    start = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"efficientnet-{variant}-{start}.pth")


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_every_tensor_arrives_where_it_belongs(variant: str, tmp_path: Path) -> None:
    network = timm.create_model(f"tf_efficientnet_{variant}")
    names = published(network)
    assert len(names) == len(network.state_dict())
    (tmp_path / "wheel/models").mkdir(parents=True)
    write(names, tmp_path / "wheel/models", variant)
    SCRIPT["main"](tmp_path / "wheel", tmp_path / "out.safetensors")
    found, expected = load_file(tmp_path / "out.safetensors"), network.state_dict()
    assert list(found.keys() ^ expected.keys()) == []
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_names_of_the_package() -> None:
    """The first block has no expansion; the second has, and its kernels have these shapes."""
    names = published(timm.create_model(VARIANT))
    shapes = {name: tuple(value.shape) for name, value in names.items()}
    assert shapes["_conv_stem.weight"] == (32, 3, 3, 3)
    assert shapes["_blocks.0._depthwise_conv.weight"] == (32, 1, 3, 3)
    assert shapes["_blocks.0._project_conv.weight"] == (16, 32, 1, 1)
    assert shapes["_blocks.1._expand_conv.weight"] == (96, 16, 1, 1)
    assert shapes["_blocks.1._bn0.weight"] == shapes["_blocks.1._bn1.weight"] == (96,)
    assert shapes["_blocks.1._bn2.weight"] == (24,)
    assert shapes["_blocks.15._project_conv.weight"] == (320, 1152, 1, 1)
    assert shapes["_conv_head.weight"] == (1280, 320, 1, 1) and shapes["_fc.weight"] == (1000, 1280)


def test_which_module_is_which() -> None:
    """Written down from the package: several have one shape, so that no shape tells them apart."""
    names = dict(SCRIPT["published_names"](timm.create_model(VARIANT)))
    assert names.pop("conv_stem") == "_conv_stem" and names.pop("bn1") == "_bn0"
    assert names.pop("conv_head") == "_conv_head" and names.pop("bn2") == "_bn1"
    assert names.pop("classifier") == "_fc"
    assert {ours: theirs for ours, theirs in names.items() if ours.startswith("blocks.0")} == {
        "blocks.0.0.conv_dw": "_blocks.0._depthwise_conv",
        "blocks.0.0.bn1": "_blocks.0._bn1",
        "blocks.0.0.conv_pw": "_blocks.0._project_conv",
        "blocks.0.0.bn2": "_blocks.0._bn2",
    }
    assert {ours: theirs for ours, theirs in names.items() if ours.startswith("blocks.6")} == {
        "blocks.6.0.conv_pw": "_blocks.15._expand_conv",
        "blocks.6.0.bn1": "_blocks.15._bn0",
        "blocks.6.0.conv_dw": "_blocks.15._depthwise_conv",
        "blocks.6.0.bn2": "_blocks.15._bn1",
        "blocks.6.0.conv_pwl": "_blocks.15._project_conv",
        "blocks.6.0.bn3": "_blocks.15._bn2",
    }
    assert names["blocks.1.1.bn1"] == "_blocks.2._bn0"


def without(tensors: dict[str, Tensor]) -> None:
    del tensors["_blocks.3._bn1.running_var"]


def left_over(tensors: dict[str, Tensor]) -> None:
    tensors["_extra.weight"] = torch.zeros(1)


def misshapen(tensors: dict[str, Tensor]) -> None:
    tensors["_bn1.weight"] = torch.zeros(1279)


def halved(tensors: dict[str, Tensor]) -> None:
    tensors["_fc.bias"] = tensors["_fc.bias"].half()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (without, r"_blocks\.3\._bn1\.running_var must be in the file for timm's blocks\.2\.0"),
        (left_over, r"1 tensors of the file fit nowhere, e\.g\. _extra\.weight"),
        (misshapen, r"_bn1\.weight must be .* of the shape \(1280,\) for timm's bn2\.weight"),
        (halved, r"_fc\.bias must be torch\.float32 .* got torch\.float16"),
    ],
)
def test_weights_that_do_not_fit(change: Callable, rule: str, tmp_path: Path) -> None:
    tensors = published(timm.create_model(VARIANT))
    change(tensors)
    with pytest.raises(SystemExit, match=rule):
        SCRIPT["main"](write(tensors, tmp_path), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(SystemExit, match=r"must be one \.pth file or hold one, found 0"):
        SCRIPT["main"](tmp_path, out)
    path = write({}, tmp_path)
    with pytest.raises(SystemExit, match=r"output must end in \.safetensors"):
        SCRIPT["main"](path, tmp_path / "out.pth")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SystemExit, match=r"sha256 of .* download again"):
        SCRIPT["main"](path, out)
    path.rename(tmp_path / "efficientnet-lite3-00000000.pth")
    with pytest.raises(SystemExit, match="must be named efficientnet-liteN-HASH"):
        SCRIPT["main"](tmp_path, out)


class Evil:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("evil"),)


def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write({"_fc.bias": Evil()}, tmp_path)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        SCRIPT["main"](path, tmp_path / "out.safetensors")
    assert not (tmp_path / "evil").exists()
