"""Losses against PyTorch's own, against the papers' formulas by hand, and at their edges."""

import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from skinxai import losses, plugins
from skinxai.errors import ModelError, OptionError, PluginError, UnknownNameError
from skinxai.losses import single_label

COUNTS = (700, 40, 3)
LOGITS = torch.tensor(
    [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.5, 4.0], [5.0, -5.0, 0.0]], dtype=torch.float64
)
TARGET = torch.tensor([0, 1, 1, 2])
EXTREME = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, -1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 1e4]])
OPTIONS = [
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("focal", {"gamma": 0.0}),
    ("focal", {"gamma": 0.5}),
    ("focal", {"gamma": 5.0}),
    ("class_balanced", {"beta": 0.0}),
    ("class_balanced", {"beta": 1 - 1e-12}),
    ("logit_adjusted", {"tau": 2.0}),
]
EVERY = [(name, {}) for name in losses.names()] + OPTIONS


def log_softmax(logits: Tensor) -> np.ndarray:
    values = logits.numpy()
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def of_the_target(logits: Tensor = LOGITS) -> np.ndarray:
    return log_softmax(logits)[np.arange(len(TARGET)), TARGET.numpy()]


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_every_loss(name: str, options: dict) -> None:
    loss = losses.bind(name, options, (5, 3, 2))
    target, logits = torch.tensor([0, 2, 1, 2]), torch.randn(4, 3, requires_grad=True)
    value = loss(logits, target)
    value.backward()
    assert value.shape == () and value.dtype == torch.float32 and value > 0
    assert (logits.grad.gather(1, target[:, None]) < 0).all()  # a higher logit, a lower loss
    if "label_smoothing" not in options:
        assert loss(50 * functional.one_hot(target, 3).float(), target) < 1e-6


@pytest.mark.parametrize(("name", "options"), EVERY)
@pytest.mark.parametrize("target", [[0, 1, 2, 2], [1, 0, 0, 0]])
def test_extreme_logits_have_finite_gradients(name: str, options: dict, target: list) -> None:
    logits = EXTREME.clone().requires_grad_()
    value = losses.bind(name, options, COUNTS)(logits, torch.tensor(target))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_micro_batches_have_the_batch_as_their_mean(name: str, options: dict) -> None:
    loss = losses.bind(name, options, COUNTS)
    logits, target = torch.randn(12, 3, dtype=torch.float64), torch.arange(12) // 3 % 3
    for size in (1, 3, 6):
        parts = zip(logits.split(size), target.split(size), strict=True)
        mean = torch.stack([loss(*part) for part in parts]).mean()
        torch.testing.assert_close(mean, loss(logits, target), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "options"), EVERY)
@pytest.mark.parametrize("target", [[1], [0, 0, 0], [1, 0]])
def test_classes_may_be_absent_from_a_batch(name: str, options: dict, target: list) -> None:
    logits = torch.randn(len(target), 3, requires_grad=True)
    value = losses.bind(name, options, COUNTS)(logits, torch.tensor(target))
    value.backward()
    assert value > 0 and torch.isfinite(value) and torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_cross_entropy() -> None:
    loss = losses.get("cross_entropy")
    assert loss(LOGITS, TARGET).item() == pytest.approx(-of_the_target().mean(), rel=1e-12)
    two = torch.tensor([[math.log(0.25), math.log(0.75)]])
    assert loss(two, torch.tensor([0])).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_label_smoothing(smoothing: float) -> None:
    found = losses.get("cross_entropy")(LOGITS, TARGET, label_smoothing=smoothing).item()
    soft = np.full((4, 3), smoothing / 3) + (1 - smoothing) * np.eye(3)[TARGET.numpy()]
    assert found == pytest.approx(-(soft * log_softmax(LOGITS)).sum(axis=1).mean(), rel=1e-12)
    torchs = functional.cross_entropy(LOGITS, TARGET, label_smoothing=smoothing).item()
    assert found == pytest.approx(torchs, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1, 2.0, 3.5])
def test_focal(gamma: float) -> None:
    log_p = of_the_target()
    expected = -(((1 - np.exp(log_p)) ** gamma) * log_p).mean()
    found = losses.get("focal")(LOGITS, TARGET, gamma=gamma).item()
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_target_for_each_image_and_no_fewer(name: str) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        losses.get(name)(LOGITS, TARGET[:-1])


def test_focal_by_hand_and_with_gamma_0() -> None:
    focal, target = losses.get("focal"), torch.tensor([0])
    two = torch.tensor([[math.log(0.25), math.log(0.75)]])
    assert focal(two, target).item() == pytest.approx(0.75**2 * math.log(4))
    torch.testing.assert_close(
        focal(LOGITS, TARGET, gamma=0), functional.cross_entropy(LOGITS, TARGET)
    )


def class_balanced_weights(counts: tuple[int, ...], beta: float) -> np.ndarray:
    """Cui et al.: one over the effective number (1 - beta^n) / (1 - beta), K in sum."""
    effective = (1 - beta ** np.array(counts, float)) / (1 - beta)
    return (1 / effective) * len(counts) / (1 / effective).sum()


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_class_balanced(beta: float) -> None:
    weights = class_balanced_weights(COUNTS, beta)
    found = losses.get("class_balanced")(LOGITS, TARGET, class_counts=COUNTS, beta=beta).item()
    expected = -(weights[TARGET.numpy()] * of_the_target()).mean()
    assert found == pytest.approx(expected, rel=1e-9)
    summed = functional.cross_entropy(
        LOGITS, TARGET, weight=torch.tensor(weights), reduction="sum"
    ).item()
    assert found == pytest.approx(summed / 4, rel=1e-9)


def test_class_balanced_between_equal_weights_and_inverse_frequency() -> None:
    def weights(counts: tuple[int, ...], beta: float) -> list[float]:
        loss = losses.bind("class_balanced", {"beta": beta}, counts)
        zeros = torch.zeros(1, 3, dtype=torch.float64)
        return [loss(zeros, torch.tensor([k])).item() / math.log(3) for k in range(3)]

    assert weights(COUNTS, 0.0) == pytest.approx([1, 1, 1])
    assert weights((9, 9, 9), 0.999) == pytest.approx([1, 1, 1])
    inverse = 1 / np.array(COUNTS)
    assert weights(COUNTS, 1 - 1e-12) == pytest.approx(3 * inverse / inverse.sum(), rel=1e-6)
    # by hand: (1 - .5) / (1 - .5^n) for n = 1, 2, 3 is 1, 2/3, 4/7; their sum 47/21
    assert weights((1, 2, 3), 0.5) == pytest.approx([63 / 47, 42 / 47, 36 / 47])


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_logit_adjusted(tau: float) -> None:
    prior = np.array(COUNTS) / sum(COUNTS)
    adjusted = LOGITS + tau * torch.log(torch.tensor(prior))
    found = losses.get("logit_adjusted")(LOGITS, TARGET, class_counts=COUNTS, tau=tau).item()
    assert found == pytest.approx(-of_the_target(adjusted).mean(), rel=1e-12)


def test_logit_adjusted_logits_are_for_a_uniform_prior() -> None:
    """Images that say nothing: the loss is lowest where all logits are equal."""
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)

    def gradient(name: str) -> Tensor:
        loss = losses.bind(name, {}, COUNTS)(logits.expand(len(target), 3), target)
        return torch.autograd.grad(loss, logits)[0]

    torch.testing.assert_close(gradient("logit_adjusted"), torch.zeros(1, 3, dtype=torch.float64))
    assert gradient("cross_entropy").abs().max() > 0.3


@pytest.mark.parametrize(
    ("name", "options", "rule"),
    [
        ("cross_entropy", {"label_smoothing": 1.0}, r"smoothing must be a number in \[0, 1\)"),
        ("cross_entropy", {"label_smoothing": -0.1}, r"in \[0, 1\), got -0\.1"),
        ("cross_entropy", {"label_smoothing": math.nan}, "got nan"),
        ("focal", {"gamma": -1}, "gamma must be a number >= 0 and finite, got -1"),
        ("focal", {"gamma": math.inf}, "got inf"),
        ("focal", {"gamma": "2"}, "got '2'"),
        ("focal", {"gamma": True}, "got True"),
        ("class_balanced", {"beta": 1.0}, r"beta must be a number in \[0, 1\), got 1\.0"),
        ("logit_adjusted", {"tau": -0.5}, "tau must be a number >= 0 and finite"),
        ("logit_adjusted", {"tau": None}, "got None"),
        ("focal", {"gama": 2}, r"focal' has the options \['gamma'\], got 'gama'. Did you mean 'g"),
        ("focal", {"zzz": 2}, r"has the options \['gamma'\], got 'zzz'\.$"),
        ("class_balanced", {"class_counts": (1, 2, 3)}, r"options \['beta'\], got 'class_counts'"),
    ],
)
def test_options_outside_their_rule_are_found_before_training(name, options, rule) -> None:
    with pytest.raises(OptionError, match=rule):
        losses.bind(name, options, COUNTS)


@pytest.mark.parametrize("counts", [(5, 0, 2), (5, -1, 2), ()])
@pytest.mark.parametrize("name", ["class_balanced", "logit_adjusted"])
def test_no_weight_for_a_class_without_images(name: str, counts: tuple) -> None:
    with pytest.raises(OptionError, match="class_counts must be at least 1 in every class for the"):
        losses.bind(name, {}, counts)
    with pytest.raises(OptionError, match="class_counts must be at least 1"):
        losses.get(name)(LOGITS, TARGET, class_counts=counts)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_class_without_images_is_no_matter_to_other_losses(name: str) -> None:
    assert torch.isfinite(losses.bind(name, {}, (5, 0, 2))(LOGITS, TARGET))


@pytest.mark.parametrize("name", ["class_balanced", "logit_adjusted"])
def test_one_count_for_each_logit(name: str) -> None:
    with pytest.raises(OptionError, match=r"one number for each of the 3 logits .* got 2"):
        losses.bind(name, {}, (5, 2))(LOGITS, TARGET)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'focal'"):
        losses.bind("focsl", {}, COUNTS)


def test_options_of_the_built_in_losses() -> None:
    assert {name: losses.options_of(name) for name in losses.names()} == {
        "class_balanced": ("beta",),
        "cross_entropy": ("label_smoothing",),
        "focal": ("gamma",),
        "logit_adjusted": ("tau",),
    }


@pytest.fixture
def mine() -> Iterator[None]:
    yield
    plugins.losses.remove(["mine"])


@pytest.mark.usefixtures("mine")
def test_a_loss_of_logits_and_target_alone() -> None:
    calls = []

    @losses.register("mine")
    def mine(logits: Tensor, target: Tensor) -> Tensor:
        calls.append(len(logits))
        return functional.cross_entropy(logits, target)

    bound = losses.bind("mine", {}, (5, 0, 2))
    assert calls == []  # only our own are tried: a plugin's may count its calls
    torch.testing.assert_close(bound(LOGITS, TARGET), functional.cross_entropy(LOGITS, TARGET))
    with pytest.raises(OptionError, match=r"'mine' has no options, got 'gamma'\.$"):
        losses.bind("mine", {"gamma": 1}, COUNTS)


@pytest.mark.usefixtures("mine")
def test_a_loss_with_counts_and_options_of_its_own() -> None:
    @losses.register("mine")
    def mine(logits: Tensor, target: Tensor, class_counts=None, *, power, floor=1.0) -> Tensor:
        return logits.new_tensor([*class_counts, power, floor])

    with pytest.raises(OptionError, match="'mine' must be given its option 'power', got none"):
        losses.bind("mine", {}, COUNTS)
    found = losses.bind("mine", {"power": 0.5}, list(COUNTS))(LOGITS, TARGET)
    assert found.tolist() == [700, 40, 3, 0.5, 1.0]
    with pytest.raises(OptionError, match="at least 1 in every class for the loss 'mine'"):
        losses.bind("mine", {"power": 0.5}, (1, 0))


@pytest.mark.usefixtures("mine")
def test_functions_and_modules_of_pytorch() -> None:
    losses.register("mine")(torch.nn.CrossEntropyLoss())
    assert losses.bind("mine", {}, COUNTS)(LOGITS, TARGET).shape == ()
    plugins.losses.remove(["mine"])
    losses.register("mine")(functional.cross_entropy)
    assert losses.bind("mine", {}, COUNTS)(LOGITS, TARGET).shape == ()


@pytest.mark.usefixtures("mine")
def test_a_loss_must_be_a_function() -> None:
    losses.register("mine", help="no function")(3)
    with pytest.raises(PluginError, match="loss 'mine' must be a function, got int"):
        losses.bind("mine", {}, COUNTS)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (torch.nn.CrossEntropyLoss, "must be a function, got the class CrossEntropyLoss; register"),
        (lambda logits, target, weight: 0, r"must take \(logits, target\), .* argument: 'weight'"),
        (lambda logits: 0, r"must take \(logits, target\), .*too many positional arguments"),
    ],
)
def test_what_cannot_be_called_as_a_loss(loss, words: str) -> None:
    losses.register("mine", help="no loss")(loss)
    with pytest.raises(PluginError, match=f"loss 'mine' {words}"):
        losses.bind("mine", {}, COUNTS)


@pytest.mark.parametrize(
    ("loss", "got"),
    [
        (lambda logits, target: logits.sum(dim=1), r"one of the shape \(4,\)"),
        (lambda logits, target: logits.sum().reshape(1), r"one of the shape \(1,\)"),
        (lambda logits, target: logits.sum().item(), "float"),
        (lambda logits, target: logits.sum().detach(), "one without"),
        (lambda logits, target: None, "NoneType"),
    ],
)
def test_what_is_no_loss(loss, got: str) -> None:
    logits, target = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(PluginError, match=rf"loss 'mine' must return a tensor .* got {got}\.$"):
        losses.checked("mine", loss, 3)(logits, target)


@pytest.mark.parametrize("columns", [2, 4])
def test_logits_of_another_number_of_classes(columns: int) -> None:
    loss = losses.checked("focal", losses.bind("focal", {}, COUNTS), 3)
    with pytest.raises(ModelError, match=rf"must be \(N, 3\), .* got \(2, {columns}\)"):
        loss(torch.zeros(2, columns), torch.zeros(2, dtype=torch.int64))


def test_looking_a_loss_up_loads_no_torch() -> None:
    code = "import sys; from skinxai import losses; losses.get('focal'); losses.options_of('focal')"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert losses.get("focal") is single_label.focal


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_loss_of_a_single_class(name: str) -> None:
    loss = losses.bind(name, {}, [3])
    assert loss(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)).item() == 0
