"""Masks of lesions: pictures in a folder, each named by its image's file name."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.data.records import Record
from skinxai.disk.regular_files import read_file
from skinxai.errors import DatasetError
from skinxai.images.limits import MAX_BYTES
from skinxai.plain_text import counted, quoted

MASK = "{}_segmentation.png"
NEAREST = Image.Resampling.NEAREST


def mask_of(item: Record, masks: Path) -> Path:
    """Where an image's mask is, if it has one: ``IMAGE_segmentation.png``."""
    return masks / MASK.format(item.path.stem)


def masked(items: Sequence[Record], masks: Path) -> list[Record]:
    """The images that have a mask, in their order.

    Raises:
        DatasetError: no image with a mask, or two images of one file name, such as ``nv/1.jpg`` and
            ``mel/1.jpg``, which would share a mask.
    """
    found: dict[Path, Record] = {}
    for item in items:
        path = mask_of(item, masks)
        if not path.is_file():
            continue
        other = found.setdefault(path, item)
        if other is not item:
            raise DatasetError(
                f"images with masks must have different file names, but "
                f"{quoted(other.image_id)} and {quoted(item.image_id)} would share the mask "
                f"{str(path)!r}; rename one of the images, and give each a mask of its own."
            )
    if not found:
        raise DatasetError(
            f"masks must be a folder of {MASK.format('IMAGE')} files, but {str(masks)!r} has none "
            f"for the {counted(len(items), 'image')}."
        )
    return list(found.values())


def read_mask(path: Path, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A lesion's mask, brought to its image's size.

    Raises:
        DatasetError: no picture, other values, no lesion, or another shape than the image's.
    """
    try:
        values = np.asarray(Image.open(io.BytesIO(read_file(path, MAX_BYTES))).convert("L"))
    except Exception as error:  # Pillow's decoders raise many kinds
        what = getattr(error, "strerror", None) or f"it gave {type(error).__name__}"
        raise DatasetError(
            f"mask {str(path)!r} must be a picture that can be read, but reading it failed: {what}."
        ) from error
    levels = set(np.unique(values).tolist())
    if not levels <= {0, 1} and not levels <= {0, 255}:
        raise DatasetError(
            f"mask {str(path)!r} must be black and white, but it has {len(levels)} levels of grey."
        )
    height, width = values.shape
    if abs(height * size[1] - width * size[0]) > max(*size, *values.shape):  # a pixel is rounding
        raise DatasetError(
            f"mask {str(path)!r} must have its image's shape {size}, or be an enlarged one, got "
            f"{(height, width)}."
        )
    fitted = Image.fromarray((values > 0).astype(np.uint8)).resize(size[::-1], NEAREST)
    mask: npt.NDArray[np.bool_] = np.asarray(fitted) > 0
    if not mask.any():
        raise DatasetError(
            f"mask {str(path)!r} must have a lesion in it at {size}, but it has none."
        )
    return mask
