"""Which images a stress test takes, with their lesions' masks."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinxai.artefacts import Artefact, named
from skinxai.benchmarking.lesion_masks import mask_of, masked, read_mask
from skinxai.data.records import Record, Records
from skinxai.errors import DatasetError, OptionError
from skinxai.images.reading import SourceImage, read_image
from skinxai.numeric import whole, whole_seed


@dataclass(frozen=True)
class StressSample:
    """Labelled images and where their masks are.

    Args:
        items: the images, classes in turn.
        masks: folder of ``IMAGE_segmentation.png``, or ``None``.
        artefacts: which are put on them.
        seed: of all that is drawn.
        max_pixels: most pixels of an image that are decoded.
    """

    items: tuple[Record, ...]
    masks: Path | None
    artefacts: tuple[Artefact, ...]
    seed: int
    max_pixels: int

    @classmethod
    def of(
        cls, records: Records, masks: Path | None, artefacts: Sequence[str] | None, *,
        lesions: int | None, seed: int, max_pixels: int,
    ) -> "StressSample":  # fmt: skip
        """All images of some lesions, the same whatever the order of the records.

        The lesions come class by class in turn, as long as each class has any, so that rare
        classes have images.

        Raises:
            OptionError: fewer than one lesion, a negative seed, or artefacts that need masks
                where there are none.
            DatasetError: no images, a folder of masks without a mask of any of them, or two images
                of one file name, which would share a mask.
        """
        seed = whole_seed(seed)
        if lesions is not None:
            lesions = whole("lesions", lesions)
        chosen = named(artefacts)
        needy = sorted({each.name for each in chosen if each.needs_mask})
        if needy and masks is None and artefacts is not None:
            raise OptionError(
                f"the artefacts {needy} need masks of the lesions, and no masks were given",
                python="pass masks=FOLDER",
                command="give --masks FOLDER",
            )
        own: dict[str, list[Record]] = {}
        for item in sorted(records, key=lambda item: item.image_id):
            own.setdefault(item.lesion_id, []).append(item)
        if not own:
            raise DatasetError("records must hold at least one image, got none.")
        keys = sorted(own)
        order = [keys[k] for k in np.random.default_rng(seed).permutation(len(keys))]
        classes = [[key for key in order if own[key][0].label == code] for code in records.labels]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*classes))
        some = [key for key in turns if key is not None][:lesions]
        made = cls(
            tuple(item for key in some for item in own[key]), masks, chosen, seed, max_pixels
        )
        if masks is not None:
            masked(made.items, masks)
        return made

    def read(self, item: Record) -> tuple[SourceImage, npt.NDArray[np.bool_] | None]:
        """An image, and the mask of its lesion where there is one.

        Raises:
            InputError: an image that cannot be read.
            DatasetError: a mask that is empty, of another shape, or not black and white.
        """
        image = read_image(item.path, max_pixels=self.max_pixels)
        if self.masks is None or not self._has_mask(item):
            return image, None
        size = (image.pixels.shape[0], image.pixels.shape[1])
        return image, read_mask(mask_of(item, self.masks), size)

    def _has_mask(self, item: Record) -> bool:
        return self.masks is not None and mask_of(item, self.masks).is_file()
