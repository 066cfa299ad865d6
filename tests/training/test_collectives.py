"""What ranks tell each other, number by number."""

from pathlib import Path

import pytest
import ranked
import torch
from PIL import Image
from ranked_runs import EQUAL
from small_runs import coloured, listed
from torch import Tensor, nn

from skinxai import Trainer
from skinxai.errors import LeakageError
from skinxai.training import ranks
from skinxai.training.global_norms import Exchange, GlobalNorms
from skinxai.training.ranks import Ranks

JOBS = [
    {"name": "told", "do": "tell"},
    {"name": "idle", "do": "train", "idle": 1, "settings": EQUAL | {"backbone": "plain"}},
    {"name": "leak", "do": "train", "data": "leaking", "settings": EQUAL},
]


def leak(folder: Path) -> None:
    """Two validation images have the pixels of training images, two look like copies of some."""
    coloured(folder / "train", 4, 1)
    coloured(folder / "val", 4, 2)
    train = sorted((folder / "train").iterdir())
    for place, path in enumerate(sorted((folder / "val").iterdir())):
        if place in (1, 2, 6, 8):  # of the second rank, the third, and twice of the first
            with Image.open(train[place]) as image:
                paler = image.point(lambda value: 0.8 * value + 40)
                (image if place in (2, 6) else paler).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All jobs, done by three ranks."""
    folder = tmp_path_factory.mktemp("three")
    coloured(folder / "train", 4, 1)
    coloured(folder / "val", 2, 2)
    leak(folder / "leaking")
    found = ranked.do(folder, JOBS, ranks=3)
    assert found.returncode == 0, found.stdout + found.stderr
    return folder


def test_each_rank_gets_what_the_others_have(folder) -> None:
    every = [ranked.outcome(folder, "told", rank) for rank in range(3)]
    for found in every:
        assert found["gather"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert found["first"] == 7
        assert found["merged"] == list(range(7))
        assert found["largest"] == [2, 5, 15]  # the signal that all got is one signal
        assert found["counts"] == [0, 1, 2] and found["failures"] == ["lost by 1"]
        assert found["total"] == [3.0, 3.0]
        assert found["gradients"] == [[[6.0, 6.0], [6.0, 6.0]], [30.0, 30.0, 30.0]]
        assert found["losses"] == [3.0, 1.5]
    # the batch is 100, 101, 102: the ranks take turns; its partners are 101, 102, 100
    assert [found["partners"] for found in every] == [[], [101.0], [102.0, 100.0]]


def test_only_the_first_rank_draws_as_a_single_one(folder) -> None:
    seeds = [ranked.outcome(folder, "told", rank)["seed"] for rank in range(3)]
    others = [ranked.outcome(folder, "told", rank)["other seed"] for rank in range(3)]
    assert seeds[0] == others[0] == 5
    assert len({*seeds, *others}) == 5


def test_ranks_that_use_different_weights_are_refused(folder) -> None:
    said = [ranked.outcome(folder, "idle", rank) for rank in range(3)]
    assert {each["error"] for each in said} == {"TrainingError"}
    assert all("must use the same weights on every rank" in each["message"] for each in said)


def test_ranks_find_leaks_together(folder, tmp_path, small_networks) -> None:
    said = [ranked.outcome(folder, "leak", rank) for rank in range(3)]
    data = (listed(folder / "leaking" / part) for part in ("train", "val"))
    with pytest.raises(LeakageError) as alone:
        Trainer(**EQUAL, output_dir=tmp_path / "run").fit(*data)
    assert {each["error"] for each in said} == {"LeakageError"}
    assert {each["message"] for each in said} == {str(alone.value)}
    names = [item.image_id for item in listed(folder / "leaking/val")]
    same, alike = f"({names[2]}, {names[6]})", f"({names[1]}, {names[8]})"
    assert same in str(alone.value) and alike in str(alone.value)


def test_gradients_are_summed_some_megabytes_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(ranks, "BUCKET", 16)
    four, two, eight, double = (torch.zeros(n) for n in (1, 2, 6, 3))
    double = double.double()
    found = [[id(one) for one in some] for some in ranks._buckets([four, double, two, eight, four])]
    assert found == [[id(four), id(two)], [id(eight)], [id(four)], [id(double)]]


class Once(Exchange):
    """Sums of one rank."""

    def total(self, values: Tensor) -> Tensor:
        return values


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_norms_of_one_rank_are_those_of_torch(affine, last) -> None:
    """Values, gradients and running statistics, against torch in float64."""
    torch.manual_seed(0)
    own, reference = nn.BatchNorm2d(5, affine=affine), nn.BatchNorm2d(5, affine=affine).double()
    values, above = torch.randn(3, 5, 4, 2) * 2 + 3, torch.randn(3, 5, 4, 2)
    layout = torch.channels_last if last else torch.contiguous_format
    found = values.clone(memory_format=layout).requires_grad_()
    expected = values.double().requires_grad_()
    with GlobalNorms(Once(Ranks(), own)):
        answer = own(found)
    answer.backward(above)
    wanted = reference(expected)
    wanted.backward(above.double())
    pairs = [(answer, wanted), (found.grad, expected.grad)]
    pairs += [(own.running_mean, reference.running_mean), (own.running_var, reference.running_var)]
    for one, two in zip(own.parameters(), reference.parameters(), strict=True):
        pairs.append((one.grad, two.grad))
    for one, two in pairs:
        assert one is not None and two is not None
        torch.testing.assert_close(one.double(), two, rtol=1e-5, atol=1e-5)


def test_norms_of_half_precision_have_gradients_rounded_about_once() -> None:
    """Against float64: within three roundings of bfloat16."""
    torch.manual_seed(0)
    own, reference = nn.BatchNorm2d(5), nn.BatchNorm2d(5).double()
    values, above = ((torch.randn(8, 5, 9, 7) * 0.3 + mean).bfloat16() for mean in (5.0, 0.0))
    found, expected = values.clone().requires_grad_(), values.double().requires_grad_()
    with GlobalNorms(Once(Ranks(), own)):
        answer = own(found)
    answer.backward(above)
    reference(expected).backward(above.double())
    assert found.grad is not None and expected.grad is not None
    error = (found.grad.double() - expected.grad).norm() / expected.grad.norm()
    assert found.grad.dtype is torch.bfloat16 and error < 3e-3


def test_norms_of_a_constant_channel_are_finite() -> None:
    """Its variance is a difference of two large numbers, and must not be negative."""
    layer = nn.BatchNorm2d(64)
    values = torch.linspace(1e6, 9e6, 64).view(1, 64, 1, 1).expand(3, 64, 7, 5)
    with GlobalNorms(Once(Ranks(), layer)):
        assert torch.isfinite(layer(values)).all()
    assert layer.running_var is not None and (layer.running_var >= 0).all()


def test_the_only_value_of_a_channel_leaves_its_running_variance_finite() -> None:
    """Its variance is 0; the unbiased one would be 0 / 0."""
    layer = nn.BatchNorm1d(2)
    with GlobalNorms(Once(Ranks(), layer)):
        assert layer(torch.tensor([[3.0, -1.0]])).tolist() == [[0.0, 0.0]]
    assert layer.running_var is not None
    torch.testing.assert_close(layer.running_var, torch.full((2,), 0.9))
