"""Backing off: smaller parts, the same results, and an end."""

import pytest
import torch

from skinxai.errors import OutOfMemoryError
from skinxai.memory import PART, backing_off, in_parts, is_out_of_memory
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture


def test_parts_are_halved_and_nothing_is_done_twice() -> None:
    asked: list[tuple[int, int]] = []

    def scores(part: slice) -> torch.Tensor:
        if part.stop - part.start > 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        asked.append((part.start, part.stop))
        return torch.arange(part.start, part.stop)

    assert torch.equal(in_parts(50, scores), torch.arange(50))
    assert asked[0] == (0, 4) and all(b - a <= 4 for a, b in asked)
    assert [a for a, _ in asked] == list(range(0, 50, 4))


def test_parts_that_fit_are_as_large_as_they_may_be() -> None:
    sizes: list[int] = []
    in_parts(PART + 1, lambda part: sizes.append(part.stop - part.start) or torch.zeros(sizes[-1]))
    assert sizes == [PART, 1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory: you tried")])
def test_the_smallest_part_that_does_not_fit_is_an_error(error) -> None:
    sizes: list[int] = []

    def run(size: int) -> None:
        sizes.append(size)
        raise error

    with pytest.raises(OutOfMemoryError, match="out of memory with one image"):
        backing_off(run, 6)
    assert sizes == [6, 3, 1]


def test_inside_another_one_it_is_tried_with_less() -> None:
    """Where one image's passes do not fit beside a batch, a smaller batch may do."""

    def outer(size: int) -> int:
        def inner(part: int) -> int:
            if size > 2:
                raise MemoryError
            return part

        return size * backing_off(inner, 4)

    assert backing_off(outer, 8) == 2 * 4


def test_predicting_and_embedding_ask_for_fewer_images_at_a_time() -> None:
    classifier = colour_classifier()
    images = [picture({"upper left": colour}) for colour in ("red", "green", "blue")]
    whole, features = classifier.predict(images, tta=True), classifier.embed(images)
    sizes: list[int] = []

    def only_one(batch: torch.Tensor) -> None:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    classifier.network.network.disturb = only_one
    for found, expected in zip(classifier.predict(images, tta=True), whole, strict=True):
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    torch.testing.assert_close(torch.tensor(classifier.embed(images)), torch.tensor(features))
    assert max(sizes) > 1 and sizes[-3:] == [1, 1, 1]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.18 GiB",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",  # of cuDNN 9
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation after trying 9 plans.",
        "Unable to find a valid cuDNN algorithm to run convolution",
    ],
)
def test_what_a_gpu_says_without_memory_is_known(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        in_parts(3, lambda part: torch.zeros(2) @ torch.zeros(3) if part else part)
    assert not is_out_of_memory(RuntimeError("shape")) and not is_out_of_memory(
        ValueError("out of memory")
    )


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA Out of Memory.",
        "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
    ],
)
def test_libraries_may_write_it_in_capitals(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
