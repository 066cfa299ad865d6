"""Ranks that hold a piece of each weight learn what ranks with all weights learn."""

import shutil
import subprocess
from pathlib import Path

import pytest
import ranked
import torch
from ranked_jobs import Ending
from ranked_runs import EQUAL as WHOLE
from ranked_runs import check_equal, log
from small_runs import build_small, coloured, differences, listed, model_folder, newest
from torch import nn

from skinxai import Trainer, backbones
from skinxai.errors import OptionError
from skinxai.training.divided_weights import blocks_of, copy_with, divide
from skinxai.training.ranks import Ranks

pytestmark = pytest.mark.usefixtures("small_networks")
EQUAL = WHOLE | dict(backbone="stacked")
DIVIDED = EQUAL | dict(strategy="fsdp")
SPLIT = dict(accumulate=2)
DRAWS = DIVIDED | dict(drop_rate=0.3, checkpoint_minutes=1e-9)
TIMM = dict(backbone="timm/test_convnext", layer_decay=1.0, epochs=1)
FROZEN = TIMM | dict(frozen_groups=2)
TAUGHT = dict(teacher="teacher", epochs=1, clip_norm=None)
HALF = dict(amp="bfloat16", epochs=1)
SCALED = dict(amp="float16", epochs=1)
JOBS = [
    {"name": "equal", "do": "measure", "settings": DIVIDED},
    {"name": "split", "do": "train", "settings": DIVIDED | SPLIT},
    {"name": "timm", "do": "train", "settings": DIVIDED | TIMM},
    {"name": "frozen", "do": "train", "settings": DIVIDED | FROZEN},
    {"name": "taught", "do": "train", "settings": DIVIDED | TAUGHT},
    {"name": "half", "do": "train", "settings": DIVIDED | HALF},
    {"name": "half ddp", "do": "train", "settings": EQUAL | HALF},
    {"name": "scaled", "do": "train", "settings": DIVIDED | SCALED},
    {"name": "scaled ddp", "do": "train", "settings": EQUAL | SCALED},
    {"name": "draws", "do": "train", "out": "whole/run", "settings": DRAWS},
    {"name": "stopped", "do": "train", "out": "stopped/run", "settings": DRAWS, "stops": 5},
    {"name": "again", "do": "train", "out": "stopped/run", "resume": True},
    {"name": "hungry", "do": "train", "settings": DIVIDED, "hungry": 1},
    {"name": "hungry-forward", "do": "train", "settings": DIVIDED, "hungry": 1, "after": "forward"},
    {"name": "hungry-backward", "do": "train", "settings": DIVIDED, "hungry": 0,
     "after": "backward"},
    {"name": "spoilt", "do": "spoil", "settings": DIVIDED},
    {"name": "spoilt-unclipped", "do": "spoil", "settings": DIVIDED | {"clip_norm": None}},
    {"name": "strategies", "do": "train", "settings": EQUAL, "others": {"strategy": "fsdp"}},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("divided")
    coloured(folder / "train", 9, 1)  # 27 images: the last batch of 3 has two shares
    coloured(folder / "val", 5, 2)
    model_folder(folder / "teacher", seed=3)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess:
    """All jobs, done by two ranks."""
    found = ranked.do(folder, JOBS)
    assert found.returncode == 0, found.stdout + found.stderr
    return found


@pytest.fixture(scope="module")
def alone(folder: Path, small_networks) -> Path:
    """Runs of one rank, in this process."""
    for name, settings in (
        ("equal", EQUAL), ("split", EQUAL | SPLIT), ("timm", EQUAL | TIMM),
        ("frozen", EQUAL | FROZEN),
        ("taught", EQUAL | TAUGHT | {"teacher": str(folder / "teacher")}),
    ):  # fmt: skip
        _train(folder, folder / f"{name}-alone", settings)
    return folder


def _train(folder: Path, out: Path, settings: dict, **more) -> None:
    trainer = Trainer(**settings, output_dir=out, **more)
    trainer.fit(listed(folder / "train"), listed(folder / "val"))


@pytest.mark.parametrize("name", ["equal", "split", "timm", "frozen", "taught"])
def test_divided_weights_learn_what_whole_ones_learn(name, folder, done, alone) -> None:
    for rank in (0, 1):
        assert "model" in ranked.outcome(folder, name, rank), ranked.outcome(folder, name, rank)
    check_equal(folder / name, folder / f"{name}-alone")


def test_four_ranks_of_which_one_has_no_image(folder, alone, tmp_path) -> None:
    """Of the last batch of three images, the last rank has none."""
    for name in ("train", "val"):
        shutil.copytree(folder / name, tmp_path / name)
    found = ranked.do(tmp_path, [JOBS[0]], ranks=4)
    assert found.returncode == 0, found.stderr
    check_equal(tmp_path / "equal", folder / "equal-alone")


def test_each_rank_holds_its_rows_alone(folder, done) -> None:
    """By hand: of 8 rows 4 are a rank's; of the classifier's 3 rows the first one has 2.

    torch fills up the second one's weights and gradients to as many rows.
    The convolutions have 3·8·25, 8·8·9 and, in two blocks, 8·8·9 weights, each of four
    normalisations 2·8, the classifier 3·8 and 3.
    """
    even = (3 * 8 * 25 + 3 * 8 * 8 * 9 + 4 * 2 * 8) // 2
    for rank, rows in ((0, 2), (1, 1)):
        found = ranked.outcome(folder, "equal", rank)
        for name in ("weights", "gradients"):
            assert found[name] == 4 * (even + 2 * 9), name
        for name in ("average", "exp_avg", "exp_avg_sq"):
            assert found[name] == 4 * (even + rows * 9), name


def test_one_block_is_whole_at_a_time(folder, done) -> None:
    first, second = ranked.outcome(folder, "equal")["whole"][:2]
    outside = [name for name in first if not name.startswith("blocks.")]
    assert "body.0.weight" in outside and "fc.weight" in outside
    for number, names in enumerate((first, second)):
        block = f"blocks.{number}."
        own = [f"{block}conv.weight", f"{block}norm.weight", f"{block}norm.bias"]
        assert sorted(names) == sorted([*outside, *own])


@pytest.mark.parametrize("name", ["half", "scaled"])
def test_mixed_precision_is_that_of_whole_weights(name, folder, done) -> None:
    """Sixteen-bit rounding of other sums: the loss agrees within one part in a thousand."""
    for one, two in zip(log(folder / name), log(folder / f"{name} ddp"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
    (own, rest), (others, their) = newest(folder / name), newest(folder / f"{name} ddp")
    assert rest["scaler"] == their["scaler"]
    for key in others:
        if key.startswith("network.") and "num_batches" not in key:
            torch.testing.assert_close(own[key], others[key], rtol=0, atol=2e-3)


def test_a_stopped_run_goes_on_bit_by_bit(folder, done) -> None:
    for rank in (0, 1):
        assert ranked.outcome(folder, "stopped", rank) == {"end": "SignalExit(143)"}
        assert "model" in ranked.outcome(folder, "again", rank)
    assert differences(folder / "stopped/run", folder / "whole/run") == []


@pytest.mark.parametrize("name", ["hungry", "hungry-forward", "hungry-backward"])
def test_out_of_memory_on_one_rank_is_agreed_by_all(name, folder, done, alone) -> None:
    """Of 8 images 4 are a rank's; one of them takes two at most."""
    assert "model" in ranked.outcome(folder, name), ranked.outcome(folder, name)
    assert log(folder / name)[-1]["micro_batch"] == 4
    assert (folder / name / "events.log").read_text().count("the micro-batch is halved") == 1
    check_equal(folder / name, folder / "split-alone")


@pytest.mark.parametrize("name", ["spoilt", "spoilt-unclipped"])
def test_a_gradient_that_is_no_number_on_one_rank_is_refused_by_all(name, folder, done) -> None:
    for rank in (0, 1):
        found = ranked.outcome(folder, name, rank)
        assert found["error"] == "NonFiniteLossError", found
        assert "gradients must stay finite, their norm is nan" in found["message"]


def test_a_copy_with_other_weights_has_all_of_them() -> None:
    network, other = build_small("stacked", 3), build_small("stacked", 3)
    for tensor in other.state_dict().values():
        tensor.add_(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = copy_with(network, other.state_dict())
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
        assert torch.equal(network.state_dict()[name], before[name])
        assert tensor.data_ptr() != other.state_dict()[name].data_ptr()


def test_ranks_of_two_strategies_are_refused(folder, done) -> None:
    for rank in (0, 1):
        message = ranked.outcome(folder, "strategies", rank)["message"]
        assert "same strategy, but rank 0 has 'ddp' and rank 1 has 'fsdp'" in message


def test_the_other_strategy_and_another_number_of_ranks_go_on(folder, alone, tmp_path) -> None:
    for name in ("train", "val"):
        shutil.copytree(folder / name, tmp_path / name)
    parts = listed(tmp_path / "train"), listed(tmp_path / "val")
    with pytest.raises(SystemExit):
        _train(tmp_path, tmp_path / "one", EQUAL, callbacks=[Ending("stops", 5)])
    jobs = [
        {"name": "one by two", "do": "measure", "out": "one", "resume": True,
         "settings": {"strategy": "fsdp"}},
        {"name": "two", "do": "train", "settings": DIVIDED, "stops": 6},
        {"name": "ddp", "do": "train", "settings": DIVIDED, "stops": 6},
        {"name": "by ddp", "do": "train", "out": "ddp", "resume": True,
         "settings": {"strategy": "ddp"}},
        {"name": "dying", "do": "lose", "settings": DRAWS},
    ]  # fmt: skip
    found = ranked.do(tmp_path, jobs)
    assert ranked.outcome(tmp_path, "one by two")["weights"] < 4 * 2500
    check_equal(tmp_path / "one", folder / "equal-alone")
    check_equal(tmp_path / "ddp", folder / "equal-alone")
    Trainer.resume(tmp_path / "two").fit(*parts)  # one rank has nothing to divide
    check_equal(tmp_path / "two", folder / "equal-alone")
    assert found.returncode != 0
    lost = ranked.outcome(tmp_path, "dying")
    assert lost["error"] == "RankLostError" and "another rank has ended" in lost["message"]
    Trainer.resume(tmp_path / "dying").fit(*parts)
    assert len(log(tmp_path / "dying")) == DRAWS["epochs"]


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("tf_efficientnet_lite0", "blocks.0.0", "blocks.6.0", 16),
        ("timm/test_vit", "blocks.0", "blocks.5", 6),
        ("timm/test_resnet", "layer1.0", "layer4.0", 4),
        ("timm/test_convnext", "stages.0.blocks.0", "stages.3.blocks.1", 9),
        ("small", None, None, 0),
        ("stacked", "blocks.0", "blocks.1", 2),
    ],
)
def test_blocks_of_networks(name, first, last, count) -> None:
    network = backbones.build(name, 3)
    names = {module: name for name, module in network.network.named_modules()}
    network.train()
    statistics = {n: b.clone() for n, b in network.named_buffers()}
    found = [names[block] for block in blocks_of(network, (64, 64))]
    assert len(found) == count and found[:1] + found[-1:] == ([first, last] if count else [])
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())
    for buffer, value in network.named_buffers():
        assert torch.equal(value, statistics[buffer])


def test_a_block_that_is_not_called_or_called_twice_is_none() -> None:
    network = build_small("stacked", 3)
    own = network.network
    own.blocks.forward = lambda maps: maps + own.blocks[0].conv(maps)  # its layers are called
    assert blocks_of(network, (32, 48)) == []
    own.blocks.forward = lambda maps: own.blocks[1](own.blocks[1](own.blocks[0](maps)))
    assert blocks_of(network, (32, 48)) == [own.blocks[0]]


def test_a_weight_without_rows_is_refused() -> None:
    network = build_small("small", 3)
    network.network.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(OptionError, match=r"'network\.scale' is a single number; take strategy"):
        divide(network, [], Ranks(0, 2, 0, 2), torch.device("cpu"))


def test_torch_without_a_way_back_is_refused(monkeypatch) -> None:
    monkeypatch.delattr("torch.distributed.fsdp.FSDPModule.reset_iter_state")
    with pytest.raises(OptionError, match=r"strategy 'fsdp' needs torch 2\.14"):
        divide(build_small("small", 3), [], Ranks(0, 2, 0, 2), torch.device("cpu"))
