"""Mixup and CutMix against their formulas, and the loss of a blend."""

import copy

import numpy as np
import pytest
import torch
from test_training_step import batch, bench
from torch import Tensor

from skinxai.training.mixing import MixedBatch, mix


def numbered(count: int = 6) -> tuple[Tensor, Tensor]:
    """Image i holds the value i everywhere, and has the class i."""
    target = torch.arange(count)
    return target.float().view(-1, 1, 1, 1).expand(count, 3, 20, 30).clone(), target


def test_mixup_by_hand() -> None:
    images, target = numbered()
    mixed = mix(images, target, mixup=0.4, cutmix=0.0, seed=(1, 2))
    assert torch.equal(mixed.target, target) and sorted(mixed.other.tolist()) == target.tolist()
    wanted = mixed.share * mixed.target + (1 - mixed.share) * mixed.other
    assert 0 < mixed.share < 1 and (mixed.other != target).any()
    torch.testing.assert_close(mixed.images, wanted.view(-1, 1, 1, 1).expand(6, 3, 20, 30))
    assert torch.equal(images, numbered()[0])


def test_cutmix_by_hand() -> None:
    images, target = numbered()
    for seed in range(30):
        mixed = mix(images, target, mixup=0.0, cutmix=1.0, seed=(seed,))
        boxes = mixed.images != images
        changed = mixed.other != target
        assert not boxes[~changed].any()
        for i in torch.nonzero(changed).flatten().tolist():
            box = boxes[i, 0]
            assert (mixed.images[i][boxes[i]] == mixed.other[i]).all()
            rows, columns = box.any(1), box.any(0)  # a rectangle, the same in all images
            assert int(box.sum()) == int(rows.sum()) * int(columns.sum())
            assert 1 - int(box.sum()) / 600 == pytest.approx(mixed.share)
            assert torch.equal(boxes[i], boxes[int(torch.nonzero(changed)[0])])
    assert torch.equal(images, numbered()[0])


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_shares_follow_a_beta_distribution(alpha) -> None:
    images, target = numbered(2)
    shares = [mix(images, target, mixup=alpha, cutmix=0.0, seed=(s, 7)).share for s in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_blends_depend_on_their_seed_alone() -> None:
    images, target = numbered()
    both = [mix(images, target, mixup=0.3, cutmix=1.0, seed=(5, n, 2)) for n in (1, 1, 2)]
    assert torch.equal(both[0].images, both[1].images) and both[0].share == both[1].share
    assert both[0].share != both[2].share
    cut = [
        bool((m.images == m.images.round()).all())
        for m in (mix(images, target, mixup=0.3, cutmix=1.0, seed=(n,)) for n in range(200))
    ]
    assert 70 < sum(cut) < 130  # one half each
    none = mix(images, target, mixup=0.0, cutmix=0.0, seed=(1,))
    assert none.images is images and none.share == 1.0


def test_the_loss_of_a_blend_by_hand(monkeypatch) -> None:
    run, (images, target) = bench(plain=True, mixup=0.4, seed=11, accumulate=2), batch()
    mixed = mix(images, target, mixup=0.4, cutmix=0.0, seed=(11, 5, 2))
    network = copy.deepcopy(run.state.network).double()
    logs = network(mixed.images.double()).log_softmax(1)
    rows = torch.arange(8)
    each = -mixed.share * logs[rows, target] - (1 - mixed.share) * logs[rows, mixed.other]
    assert run.run(images, target, number=5) == pytest.approx(each.mean().item(), rel=1e-5)
    part = mixed.part(slice(2, 4))
    assert isinstance(part, MixedBatch) and torch.equal(part.other, mixed.other[2:4])


# waiting
