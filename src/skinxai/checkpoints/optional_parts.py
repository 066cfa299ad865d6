"""The optional parts of a model's folder: bytes to object and back, one entry each.

An entry is named after the field of `LoadedModel` that holds the object. Its files have their rows
in `skinxai.model_folders.parts`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError
from skinxai.model_folders.files import weights_digest
from skinxai.model_folders.neighbours import Neighbours
from skinxai.model_folders.parts import (
    CALIBRATION,
    GRAPH,
    NEIGHBOURS,
    NOVELTY,
    PROBE,
    REFERENCE,
    TRAINING_PIXELS,
    WEIGHTS,
)
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import agreeing
from skinxai.trust.calibration import KNOWN, Calibration
from skinxai.trust.reference_sample import ReferenceSample

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Entry:
    """How one optional part is read and written.

    Args:
        names: of its files.
        read: files of a folder, config → the object; ``None`` where the folder has none.
        write: the object, the folder's other files → its files.
    """

    names: tuple[str, ...]
    read: Callable[[Files, ModelConfig], Any]
    write: Callable[[Any, Files], Files]


def _as_bytes(name: str) -> Entry:
    """A file that stays bytes until somebody needs it."""
    return Entry((name,), lambda files, config: files.get(name), lambda data, files: {name: data})


def _read_trained_on(files: Files, config: ModelConfig) -> TrainedOn | None:
    return TrainedOn.from_files(files)


def _read_neighbours(files: Files, config: ModelConfig) -> Neighbours | None:
    if (data := files.get(NEIGHBOURS)) is None:
        return None
    found, classes = Neighbours.from_bytes(data), len(config.labels)
    if found.labels.max() >= classes:
        raise IntegrityError(
            f"labels of {NEIGHBOURS} must be positions among the model's {classes} labels, but "
            f"{found.labels.max()} is none of them; fetch or save the model again."
        )
    if TRAINING_PIXELS in files:
        known = np.frombuffer(TrainedOn.from_bytes(files[TRAINING_PIXELS]).prefixes, ">u8")
        if unknown := int((~np.isin(found.pixels.view(">u8"), known)).sum()):
            raise IntegrityError(
                f"lesions of {NEIGHBOURS} must be images that the model was trained on, but "
                f"{unknown} of {len(found)} {agreeing(unknown, 'is', 'are')} not: it is another "
                f"model's; fetch the model again."
            )
    return found


def _write_neighbours(neighbours: Neighbours, files: Files) -> Files:
    return {NEIGHBOURS: neighbours.to_bytes()}


def _read_calibration(files: Files, config: ModelConfig) -> Calibration | None:
    if CALIBRATION not in files:
        return None
    digest = weights_digest([files[WEIGHTS]])
    return Calibration.from_files(files, digest, len(config.labels))


def _write_calibration(calibration: Calibration, files: Files) -> Files:
    return calibration.to_files(weights_digest([files[WEIGHTS]]))


def _read_reference(files: Files, config: ModelConfig) -> ReferenceSample | None:
    if (data := files.get(REFERENCE)) is None:
        return None
    return ReferenceSample.from_bytes(data, weights_digest([files[WEIGHTS]]), len(config.labels))


def _write_reference(reference: ReferenceSample, files: Files) -> Files:
    return {REFERENCE: reference.to_bytes(weights_digest([files[WEIGHTS]]))}


ENTRIES: Mapping[str, Entry] = {
    "probe": _as_bytes(PROBE),
    "trained_on": Entry(TrainedOn.NAMES, _read_trained_on, lambda known, files: known.files()),
    "neighbours": Entry((NEIGHBOURS,), _read_neighbours, _write_neighbours),
    "calibration": Entry((CALIBRATION, NOVELTY, *KNOWN), _read_calibration, _write_calibration),
    "reference": Entry((REFERENCE,), _read_reference, _write_reference),
    "graph": _as_bytes(GRAPH),
}
"""Field of `LoadedModel` → entry."""


def read_optional(files: Files, config: ModelConfig) -> dict[str, Any]:
    """Field of `LoadedModel` → what a folder holds for it, or ``None``."""
    return {field: entry.read(files, config) for field, entry in ENTRIES.items()}


def write_optional(loaded: object, others: Files) -> dict[str, bytes]:
    """Files of the optional parts that a `LoadedModel` has."""
    files: dict[str, bytes] = {}
    for field, entry in ENTRIES.items():
        if (part := getattr(loaded, field)) is not None:
            files |= entry.write(part, others)
    return files
