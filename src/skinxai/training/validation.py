"""Validation during a run: metrics of the averaged weights."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from skinxai.assessment.metrics import ClassificationMetrics, confusion_matrix, metrics_of
from skinxai.configs import PreprocessConfig
from skinxai.errors import OutOfMemoryError
from skinxai.memory import is_out_of_memory
from skinxai.training.loaders import Batch, network_input


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: Iterable[Batch],
    preprocessing: PreprocessConfig,
    classes: int,
    device: torch.device,
    note: Callable[[str], None],
    total: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> ClassificationMetrics:
    """Compute metrics of the validation images in float32; only the model's mode changes.

    ``note`` is told in one sentence if memory runs out; ``total`` sums a count ``(K, K)`` over all
    ranks, each of which has some of the batches.

    Raises:
        OutOfMemoryError: if memory is too small for a single image.
    """
    model.eval()
    targets: list[Tensor] = []
    guesses: list[Tensor] = []
    parts = 1
    for batch in loader:
        if len(batch.target):
            images = network_input(batch.pixels, preprocessing, device)
            before = parts
            logits, parts = logits_of(model, images, parts)
            if parts > before:
                note(f"out of memory in evaluation: its batches are computed in {parts} parts")
            guesses.append(logits.argmax(dim=1))  # stays on the device: nothing waits for it
            targets.append(batch.target)
    none = [torch.empty(0, dtype=torch.int64)]
    target, guess = (torch.cat(each or none).cpu().numpy() for each in (targets, guesses))
    found = torch.from_numpy(np.asarray(confusion_matrix(target, guess, classes)))
    return metrics_of(total(found).numpy())


def logits_of(model: nn.Module, images: Tensor, parts: int) -> tuple[Tensor, int]:
    """Logits ``(N, K)`` and the number of parts, which doubles each time that memory runs out."""
    while True:
        try:
            return torch.cat([model(some) for some in images.chunk(parts)]), parts
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if parts >= len(images):
                raise OutOfMemoryError(
                    f"out of memory with one image in evaluation: {error}; lower image_size or use "
                    f"a smaller backbone."
                ) from error
            parts *= 2
