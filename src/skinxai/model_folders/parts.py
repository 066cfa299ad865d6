"""The files of a model folder, one row each. Writing, reading and the documentation go by it.

To add a file, add its row here and, where it is optional, an entry in
`skinxai.checkpoints.optional_parts`, which turns its bytes into an object and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from skinxai.configs import MAX_JSON_BYTES

WEIGHTS, CONFIG, MANIFEST, CARD = "model.safetensors", "config.json", "manifest.json", "README.md"
TRAINING_PIXELS = "training_pixels.safetensors"
TRAINING_FINGERPRINTS = "training_fingerprints.safetensors"
GRAPH, PROBE = "graph.safetensors", "probe.json"
NEIGHBOURS = "neighbours.safetensors"
CALIBRATION, NOVELTY = "calibration.json", "novelty.safetensors"
CALIBRATION_PIXELS = "calibration_pixels.safetensors"
CALIBRATION_FINGERPRINTS = "calibration_fingerprints.safetensors"
REFERENCE = "reference.safetensors"
MAX_FILE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Part:
    """One file of a model folder.

    Args:
        name: of the file.
        holds: what is in it, in one line.
        most_bytes: that it may have.
        optional: whether a folder may be without it.
        in_ensembles: whether an ensemble's own folder has it; its members' folders have all.
        warns: whether a changed one warns only; others are refused.
    """

    name: str
    holds: str
    most_bytes: int
    optional: bool = False
    in_ensembles: bool = False
    warns: bool = False


PARTS = (
    Part(WEIGHTS, "weights and batch statistics, bound to the config by a hash", MAX_FILE_BYTES),
    Part(
        CONFIG,
        "backbone, labels, preprocessing and licence; of an ensemble, its members and weights",
        MAX_JSON_BYTES,
        in_ensembles=True,
    ),
    Part(CARD, "the model card", MAX_JSON_BYTES, optional=True, in_ensembles=True, warns=True),
    Part(PROBE, "the answer for a drawn picture when it was saved", MAX_JSON_BYTES, optional=True),
    Part(TRAINING_PIXELS, "hashes of the training images' pixels", 2**25, optional=True),
    Part(TRAINING_FINGERPRINTS, "fingerprints that also find copies", 2**28, optional=True),
    Part(NEIGHBOURS, "embeddings of the training lesions", 2**28, optional=True),
    Part(
        CALIBRATION,
        "temperature, operating points, sets and limits of quality and novelty, bound to the "
        "weights",
        MAX_JSON_BYTES,
        optional=True,
        in_ensembles=True,
    ),
    Part(
        NOVELTY,
        "what the images that each network knows look like to it",
        2**28,
        optional=True,
        in_ensembles=True,
    ),
    Part(
        CALIBRATION_PIXELS,
        "hashes of the pixels of the images that calibrated it",
        2**25,
        optional=True,
        in_ensembles=True,
    ),
    Part(
        CALIBRATION_FINGERPRINTS,
        "fingerprints that also find copies of these",
        2**28,
        optional=True,
        in_ensembles=True,
    ),
    Part(
        REFERENCE,
        "what answers for these look like, for drift, bound to the weights",
        2**28,
        optional=True,
        in_ensembles=True,
    ),
    Part(GRAPH, "the operations for backends other than torch", 2**27, optional=True),
    Part(
        MANIFEST,
        "the sha256 of each other file, and its own digest",
        MAX_JSON_BYTES,
        in_ensembles=True,
    ),
)
"""In the order in which a folder is written: the manifest comes last."""

_BY_NAME = {part.name: part for part in PARTS}
ALWAYS = tuple(
    part.name for part in PARTS if part.in_ensembles and not part.optional and part.name != MANIFEST
)
"""Files that the manifest of every folder lists, also of an ensemble's."""


def part_of(name: str) -> Part | None:
    """The row of a file; ``None`` of one that is no known part."""
    return _BY_NAME.get(name)


def warns(name: str) -> bool:
    """Whether a changed file of that name warns only."""
    return name in _BY_NAME and _BY_NAME[name].warns


def size_limit(name: str) -> int:
    """Bytes that a file of a model folder, or an exported one, may have."""
    if part := _BY_NAME.get(name):
        return part.most_bytes
    return MAX_JSON_BYTES if name.endswith((".json", ".md")) else MAX_FILE_BYTES


def in_order(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files in the order in which a folder is written, unknown ones just before the manifest."""
    places = {part.name: place for place, part in enumerate(PARTS)}
    return dict(sorted(files.items(), key=lambda item: places.get(item[0], places[MANIFEST] - 0.5)))
