"""The answer of a model for a drawn picture when it was saved, to compare it elsewhere.

The manifest proves that the bytes are the same. Only an answer can show that the same bytes still
give the same result under another version of timm, torch or Pillow and on another processor.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig, canonical_json, strict_json
from skinxai.errors import IntegrityError, ModelError
from skinxai.images.transforms import evaluation_transform
from skinxai.model_folders.files import ModelFiles
from skinxai.model_folders.parts import PROBE

TOLERANCE = 1e-3
"""Largest allowed difference of a probability."""


def picture(config: PreprocessConfig) -> npt.NDArray[np.float32]:
    """Network input ``(3, h, w)``: a brown spot on skin, drawn with integers, then resized."""
    height, width = (side * 5 // 4 for side in config.image_size)  # so that it is resized too
    y, x = np.mgrid[:height, :width]
    across = 1024 * (2 * x - width) // width
    down = 1024 * (2 * y - height) // height
    inside = across**2 + down**2 + (across * down) // 2 < 350_000
    shade = (x * 40 // width + y * 24 // height + (x // 5 + y // 7) % 3 * 6).astype(np.int64)
    skin, spot = np.array([200, 150, 130]), np.array([110, 70, 50])
    pixels = np.where(inside[..., None], spot, skin) + shade[..., None] // np.array([1, 2, 3])
    return evaluation_transform(pixels.clip(0, 255).astype(np.uint8), config)


def to_bytes(row: Sequence[float]) -> bytes:
    """Write probabilities ``(K,)`` as ``probe.json``; not finite ones are a `ModelError`."""
    if not np.isfinite(row).all():
        raise ModelError(
            "the model cannot be saved, because its answer for a drawn picture is not finite; "
            "train it again, with a lower learning rate."
        )
    return canonical_json({"probabilities": [round(float(value), 6) for value in row]})


def read_probes(models: Sequence[ModelFiles], classes: int) -> list[npt.NDArray[np.float64]]:
    """Read the stored probabilities ``(K,)`` of each model.

    Raises:
        ModelError: if a model has none.
        IntegrityError: if the file has another schema.
    """
    found = []
    for files in models:
        if PROBE not in files.files:
            raise ModelError(
                f"check needs {PROBE} in the model folder {str(files.folder)!r}, found none; save "
                f"the model again."
            )
        try:
            values = strict_json(files.files[PROBE])
            kept = values["probabilities"]
            sound = set(values) == {"probabilities"} and isinstance(kept, list)
            if not sound or not all(type(p) in (int, float) and 0 <= p <= 1 for p in kept):
                raise ValueError(f"it has {sorted(values)}, or a value that is not a probability")
            row = np.array(kept, np.float64)
            if row.shape != (classes,):
                raise ValueError(f"it has {len(row)}")
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{PROBE} in {str(files.folder)!r} must hold {classes} probabilities: {error}."
            ) from error
        found.append(row)
    return found
