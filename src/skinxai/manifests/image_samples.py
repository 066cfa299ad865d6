"""Some images of a manifest by their content: a table of the same names may lie beside others."""

import hashlib
import os
from collections.abc import Mapping

from skinxai.disk.tar_members import read_stored
from skinxai.images.limits import MAX_BYTES
from skinxai.manifests.fetching import is_address
from skinxai.manifests.manifest import Manifest

SAMPLED = 8
"""Rows whose images are looked at, spread over the manifest."""


def place_of(manifest: Manifest, image: str) -> str:
    """Where an image of a manifest is: the address itself, or a path from the table's folder."""
    if is_address(image):
        return image
    return os.path.join(manifest.path.parent, image)  # noqa: PTH118  (millions of them)


def sample_images(manifest: Manifest) -> dict[str, str]:
    """Row → SHA-256 of its image, of a few rows; those that cannot be read are left out.

    Images at addresses are left out as well: these mean the same wherever the table lies.
    """
    found = {}
    last, size = manifest.count - 1, manifest.chunks[0].stop
    for number in sorted({step * last // (SAMPLED - 1) for step in range(SAMPLED)}):
        chunk = manifest.chunks[number // size]
        image = manifest.read(chunk)[number - chunk.start].image
        if not image.strip() or is_address(image):
            continue
        try:
            data = read_stored(place_of(manifest, image), MAX_BYTES)
        except (OSError, ValueError):  # ValueError: a NUL byte
            continue
        found[str(number)] = hashlib.sha256(data).hexdigest()
    return found


def count_others(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[int, int]:
    """How many images are other ones than before, and how many could be read both times."""
    both = before.keys() & now.keys()
    return sum(before[row] != now[row] for row in both), len(both)
