"""Tell masks from photographs by their folder and by their channels."""

import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from skinxai.disk.regular_files import open_file
from skinxai.images.limits import MAX_BYTES

SAMPLE = 20
GREY = frozenset({"1", "L", "LA", "I", "I;16", "F"})
_MASKS = re.compile(
    r"(?i)(^|[^a-z])(masks?|segs?|segmentations?|ground[ _-]?truths?|gts?|annotations?|labels?)"
    r"($|[^a-z])"
)


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that it holds masks, such as ``masks`` or ``GroundTruth``."""
    return _MASKS.search(name) is not None


def is_mask(path: Path, folder: Path) -> bool:
    """Whether a file below a folder seems to be a mask.

    Either one of the folders in between has the name of a `is_mask_folder`, or the file has such a
    name itself, such as ``lesion_mask.png``, and one channel. A JPEG file in no such folder is no
    mask.
    """
    if any(is_mask_folder(name) for name in path.relative_to(folder).parts[:-1]):
        return True
    return is_mask_folder(path.stem) and _is_lossless(path) and bool(_is_grey(path))


def grey_strays(paths: Iterable[Path]) -> list[Path]:
    """Files with one channel outside the main folder, if the files in the main folder have several.

    Only headers are read. A JPEG file is never taken for a mask: masks are stored without loss.
    """
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    if len(folders) < 2:
        return []
    main = max(folders.values(), key=len)
    if not any(_is_grey(path) is False for path in main[:SAMPLE]):
        return []
    others = (path for own in folders.values() if own is not main for path in own)
    return [path for path in others if _is_lossless(path) and _is_grey(path)]


def _is_lossless(path: Path) -> bool:
    return path.suffix.lower() not in (".jpg", ".jpeg")


def _is_grey(path: Path) -> bool | None:
    """Whether an image has one channel; ``None`` if its header cannot be read."""
    try:
        with open_file(path, MAX_BYTES) as file, Image.open(file) as image:
            return image.mode in GREY or (image.mode == "P" and image.format == "PNG")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None  # reading it says what is wrong
