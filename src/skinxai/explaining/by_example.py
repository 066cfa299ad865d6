"""Training lesions that resemble an image: explanation by example."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from skinxai.data.hashing import pixel_hashes
from skinxai.data.records import Record, Records, check_records
from skinxai.errors import ModelError, OptionError
from skinxai.model_folders.neighbours import Neighbours, by_hash
from skinxai.model_folders.parts import NEIGHBOURS
from skinxai.model_folders.trained_on import BYTES, TrainedOn
from skinxai.plain_text import agreeing, counted
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.labelled import check_labels
from skinxai.predicting.torch_predictor import TorchPredictor, embeddings
from skinxai.progress import watched
from skinxai.results import Neighbour


def index(
    predictor: TorchPredictor, records: Records, trained_on: TrainedOn | None,
    options: InputOptions, dimensions: int,
) -> Neighbours:  # fmt: skip
    """Embed one image of each lesion, the first by its id; see `Classifier.index`."""
    check_records(records, "index()")
    check_labels(records, predictor.labels)
    chosen = first_of_each_lesion(records)
    hashes = [
        value
        for value in pixel_hashes(chosen, max_pixels=options.max_pixels)
        if isinstance(value, str)
    ]
    unknown = 0 if trained_on is None else sum(value not in trained_on for value in hashes)
    if unknown:
        raise OptionError(
            f"records must be images that the model was trained on, but {unknown} of {len(hashes)} "
            f"lesions {agreeing(unknown, 'is', 'are')} not; pass the training part."
        )
    found = embeddings(predictor, (item.path for item in chosen), options)
    return Neighbours.build(found, chosen.targets(), hashes, dimensions=dimensions)


def first_of_each_lesion(records: Records) -> Records:
    """One image of each lesion, the first by its id; images without a lesion count as one each."""
    first: dict[str, Record] = {}
    for item in sorted(records, key=lambda item: item.image_id):
        first.setdefault(item.lesion_id or item.image_id, item)
    return records.subset([item.image_id for item in first.values()])


def nearest(
    predictor: TorchPredictor, neighbours: Neighbours | None, images: Iterable[Any],
    options: InputOptions, k: int, records: Records | None,
) -> list[list[Neighbour]]:  # fmt: skip
    """The most similar training lesions of each image; see `Classifier.nearest`."""
    member = predictor.single("nearest()")
    if neighbours is None:
        raise ModelError(
            f"the nearest lesions need the embeddings of the training lesions, but {member.model} "
            f"has no {NEIGHBOURS}",
            python="make them with classifier.index(training_records)",
            command="the bundled model has them; for another, make them in Python with "
            "classifier.index(training_records).save_pretrained(folder)",
        )
    if member.is_written:
        raise ModelError(
            f"the network of {member.model} was changed after its training lesions were embedded, "
            f"and they are no longer where it sees them; make them again with classifier.index()."
        )
    found = embeddings(predictor, images, options)
    if len(found) and found.shape[1] != len(neighbours.mean):
        raise ModelError(
            f"{NEIGHBOURS} must hold embeddings of the model's own length, "
            f"{counted(found.shape[1], 'value')}, but they have {len(neighbours.mean)}; make it "
            f"again with classifier.index()."
        )
    if not len(found):
        return []
    known = {} if records is None else _by_pixels(records, options)
    rows, distances = neighbours.nearest(found, k)
    return [
        [
            _neighbour(
                neighbours.pixels[row].tobytes(),
                predictor.labels.codes[neighbours.labels[row]],
                float(distance),
                known,
            )
            for row, distance in zip(*pair, strict=True)
        ]
        for pair in zip(rows, distances, strict=True)
    ]


def _neighbour(pixels: bytes, label: str, distance: float, known: dict[bytes, Record]) -> Neighbour:
    item = known.get(pixels)
    if item is None:
        return Neighbour(pixels.hex(), label, distance, None)
    return Neighbour(item.image_id, label, distance, item.path)


def _by_pixels(records: Records, options: InputOptions) -> dict[bytes, Record]:
    """First bytes of each readable image's pixel hash → the first such image by its id."""
    hashes = watched(
        pixel_hashes(records, max_pixels=options.max_pixels), len(records), options.progress,
        "image", "look for the lesions",
    )  # fmt: skip
    pairs = zip(records, hashes, strict=True)
    found: dict[bytes, Record] = {}
    for item, value in sorted(pairs, key=lambda pair: pair[0].image_id):
        if isinstance(value, str):
            found.setdefault(bytes.fromhex(value)[:BYTES], item)
    return found


def recall(
    neighbours: Neighbours, training: Any, hashes: list[str], asked: Any, k: int = 5
) -> float:
    """Share of the k nearest of the full embeddings that the compressed ones find too.

    Args:
        neighbours: built from ``training``.
        training: float32 ``(L, D)``, the embeddings that it was built from.
        hashes: as it was built from.
        asked: float32 ``(N, D)``.
        k: how many.
    """
    training = training[by_hash(hashes)]
    mean = training.mean(axis=0, dtype=np.float64)
    whole = [rows - mean for rows in (asked, training)]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in whole]
    exact = np.argsort(-(units[0] @ units[1].T), axis=1, kind="stable")[:, :k]
    found, _ = neighbours.nearest(asked, k)
    hits = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    return float(np.mean(hits)) / k
