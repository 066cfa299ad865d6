"""``sync_batch_norm=False``: each rank normalises by its own images, and all keep one average."""

from pathlib import Path

import pytest
import ranked
import torch
from ranked_runs import EQUAL, check_equal
from small_runs import coloured, listed
from torch import Tensor, nn
from torch.nn import functional

from skinxai import Trainer
from skinxai.training.global_norms import OwnNorms, running_statistics

pytestmark = pytest.mark.usefixtures("small_networks")
RANKS = 4
OWN = EQUAL | {"sync_batch_norm": False, "backbone": "stacked"}
JOBS = [
    {"name": "own", "do": "train", "settings": OWN},
    {"name": "divided", "do": "train", "settings": OWN | {"strategy": "fsdp"}},
    {"name": "frozen", "do": "train", "settings": OWN | {"frozen_groups": 1}},
    {"name": "others", "do": "train", "settings": EQUAL, "others": {"sync_batch_norm": False}},
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All jobs, done by four ranks; of the last batch of three images, one of them has none."""
    folder = tmp_path_factory.mktemp("own")
    coloured(folder / "train", 9, 1)
    coloured(folder / "val", 5, 2)
    found = ranked.do(folder, JOBS, ranks=RANKS)
    assert found.returncode == 0, found.stdout + found.stderr
    return folder


def by_ranks(
    values: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    """What four ranks do, in one process: each fourth image is normalised with its like."""
    if not training:
        return torch.batch_norm(values, weight, bias, mean, var, False, momentum, eps, False)
    found, ends = torch.empty_like(values), []
    for rank in range(RANKS):
        own = [mean.clone(), var.clone()]
        if len(values[rank::RANKS]):
            found[rank::RANKS] = torch.batch_norm(
                values[rank::RANKS], weight, bias, *own, True, momentum, eps, False
            )
        ends.append(torch.stack(own))
    for statistic, after in zip((mean, var), torch.stack(ends).mean(0), strict=True):
        statistic.copy_(after)
    return found


@pytest.mark.parametrize("name", ["own", "divided", "frozen"])
def test_ranks_learn_with_their_own_statistics(name, done, monkeypatch, tmp_path) -> None:
    models = {ranked.outcome(done, name, rank).get("model") for rank in range(RANKS)}
    assert len(models) == 1 and None not in models, ranked.outcome(done, name)
    settings = next(job["settings"] for job in JOBS if job["name"] == name)
    monkeypatch.setattr(functional, "batch_norm", by_ranks)
    Trainer(**settings | {"strategy": "ddp"}, output_dir=tmp_path / "run").fit(
        listed(done / "train"), listed(done / "val")
    )
    check_equal(done / name, tmp_path / "run")


def test_statistics_that_a_pass_leaves_alone_are_not_averaged() -> None:
    """A mean of three equal numbers may differ from them in the last bit."""
    network = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(3), nn.GroupNorm(1, 2))
    network[0].eval()
    found = running_statistics(network)
    assert [id(each) for each in found] == [
        id(network[1].running_mean), id(network[1].running_var)
    ]  # fmt: skip


def test_one_value_of_each_channel_takes_running_statistics() -> None:
    layer = nn.BatchNorm1d(2)
    layer.running_mean, layer.running_var = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 9.0])
    with OwnNorms():
        answer = layer(torch.tensor([[3.0, -1.0]]))
    torch.testing.assert_close(answer, torch.tensor([[1.0, -1.0]]))
    assert layer.running_mean.tolist() == [1.0, 2.0]


def test_ranks_that_disagree_are_refused(done) -> None:
    said = ranked.outcome(done, "others", 1)
    assert said["error"] == "ResumeMismatchError" and "sync_batch_norm" in said["message"]
