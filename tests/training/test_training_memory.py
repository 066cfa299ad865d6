"""Steps and evaluations that do not fit into memory are computed in parts."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import Small
from test_training_step import CPU, Memory, batch, bench, snapshot
from torch import Tensor

from skinxai.backbones.network import SkinClassifier
from skinxai.errors import OutOfMemoryError
from skinxai.training.randomness import RandomStates
from skinxai.training.validation import logits_of, validate

ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words"),
    "host": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    "python": MemoryError("no memory"),
}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory(error, backward) -> None:
    """A network with BatchNorm and dropout: as if the step had been cut from the beginning."""
    memory = Memory(3, ERRORS[error], backward)
    failing, cut = bench(memory=memory), bench(accumulate=4)
    losses, states = [], []
    for run in (failing, cut):
        torch.manual_seed(5)
        losses.append(run.run(*batch()))
        states.append(RandomStates.now())
    assert failing.state.progress.accumulate == 4  # micro-batches of 8, 4 and 2 images
    assert losses[0] == losses[1] and torch.equal(failing.weights(), cut.weights())
    for (name, own), other in zip(
        failing.state.network.named_buffers(), cut.state.network.buffers(), strict=True
    ):
        assert torch.equal(own, other), name
    assert torch.equal(states[0].tensors["cpu"], states[1].tensors["cpu"])
    assert failing.state.optimizer.param_groups[0]["lr"] == 0.01 * 0.5
    first, second = failing.notes
    words = str(ERRORS[error]).partition("\n")[0]
    assert first.startswith(
        f"out of memory ({words}): the micro-batch is halved, and a step now has 2"
    )
    assert (
        "a step now has 4" in second and "the effective batch and the learning rate stay" in first
    )
    failing.run(*batch(), 1)
    assert len(failing.notes) == 2  # it stays so


@pytest.mark.parametrize("backward", [False, True])
def test_out_of_memory_without_batch_statistics_changes_nothing(backward) -> None:
    failing, undisturbed = bench(plain=True, memory=Memory(4, backward=backward)), bench(plain=True)
    for number in range(4):
        for run in (failing, undisturbed):
            run.run(*batch(seed=number), number)
    assert len(failing.notes) == 1
    torch.testing.assert_close(failing.weights(), undisturbed.weights(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backward", [False, True])
def test_no_memory_for_two_images(backward) -> None:
    memory = Memory(1000, MemoryError("none"), backward)
    run = bench(memory=memory)
    run.run(*batch(), 0)
    before, memory.images = snapshot(run), 1
    with pytest.raises(OutOfMemoryError, match="micro-batch of 2 images: none;"):
        run.run(*batch(), 1)
    assert all(torch.equal(own, old) for own, old in zip(snapshot(run), before, strict=True))


def test_other_errors_are_not_taken_for_it() -> None:
    run = bench(memory=Memory(3, RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run.run(*batch())
    assert run.state.progress.accumulate == 1 and not run.notes


def validation(memory: Memory) -> tuple[Any, list[str], list[tuple[int, ...]]]:
    from skinxai.configs import PreprocessConfig
    from skinxai.training.loaders import Batch

    torch.manual_seed(1)
    network, sizes, notes = Small(3, 0.5), [], []

    def features(n: Any, images: Tensor) -> Tensor:
        sizes.append(len(images))
        return memory.features(n, images)

    class Whole(SkinClassifier):
        def features(self, images: Tensor) -> Tensor:  # the CPU's own small parts are left out
            return self._features(self.network, images)

    model = Whole(network, features, lambda n, maps: n.head(maps))
    draws = torch.Generator().manual_seed(0)
    loader = [
        Batch(
            torch.randint(0, 256, (count, 32, 48, 3), dtype=torch.uint8, generator=draws),
            torch.randint(0, 3, (count,), generator=draws), list(range(count)), [],
        )
        for count in (8, 8, 3)
    ]  # fmt: skip
    before = copy.deepcopy(model.state_dict()), RandomStates.now()
    found = validate(model, loader, PreprocessConfig((32, 48)), 3, CPU, notes.append)
    assert all(torch.equal(t, before[0][name]) for name, t in model.state_dict().items())
    assert torch.equal(RandomStates.now().tensors["cpu"], before[1].tensors["cpu"])
    return found, notes, sizes


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_in_validation(error) -> None:
    whole, silent, _ = validation(Memory())
    cut, notes, sizes = validation(Memory(2, ERRORS[error]))
    np.testing.assert_array_equal(whole.recall, cut.recall)
    assert whole.macro_f1 == cut.macro_f1 and silent == []
    assert notes == ["out of memory in evaluation: its batches are computed in 4 parts"]
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1]
    with pytest.raises(OutOfMemoryError, match="out of memory with one image in evaluation"):
        validation(Memory(0, ERRORS[error]))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        validation(Memory(2, RuntimeError("shapes do not fit")))


def test_logits_do_not_depend_on_the_parts() -> None:
    run, (images, _) = bench(), batch(7)
    model = run.state.network.eval()
    with torch.inference_mode():
        whole, parts = logits_of(model, images, 1)
        for count in (2, 3, 7):
            torch.testing.assert_close(logits_of(model, images, count)[0], whole)
    assert parts == 1
