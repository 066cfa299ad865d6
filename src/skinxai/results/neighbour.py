"""`Neighbour`: a training lesion that resembles an image."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Neighbour:
    """One of the training lesions most like an image, to the network.

    Args:
        id: of the lesion's image in the records that were given, where it is among them; else the
            first 16 digits of the hash of its pixels (`skinxai.data.pixel_hash`).
        label: the lesion's own label, not a prediction.
        distance: cosine distance of the embeddings, 0 (alike) to 2.
        path: of the lesion's image, where the training images were given; else ``None``.
    """

    id: str
    label: str
    distance: float
    path: Path | None
