"""`load_shards`: a folder of WebDataset tars as `Records`, read by offset like single files."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.data.cleaning import alike, known_id
from skinxai.data.prepared import file_sha256
from skinxai.data.records import Record, Records
from skinxai.data.tar_index import INDEX, REMEDY, Index, is_indexed, read_index
from skinxai.data.tar_samples import Sample, Shard, read_shard, tars_of
from skinxai.disk.regular_files import (
    check_file,
    is_folder,
    resolved,
)
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetSchemaError,
    IntegrityError,
    OptionError,
    SkinxaiError,
)
from skinxai.flags import check_flags
from skinxai.images.listing import by_kind, shards_of
from skinxai.images.reading import read_image
from skinxai.interruption import mapped
from skinxai.labels import LabelSet
from skinxai.plain_text import agreeing, counted, quoted
from skinxai.progress import watched


@dataclass(frozen=True)
class ResizedImages:
    """The pixels of shards whose images were resized when the shards were written.

    Args:
        folder: the folder of the shards.
        digest: of its index; two folders with the same digest hold the same.
        image_size: ``(height, width)`` that every image was resized to.
        interpolation: interpolation of the resizing.
        samples: image id → path of the image, and `pixel_hash` of its original.
    """

    folder: Path
    digest: str
    image_size: tuple[int, int]
    interpolation: str
    samples: Mapping[str, tuple[Path, str]] = field(repr=False, compare=False)

    mapped = False
    """Whether `read` takes no memory: these images are decoded."""
    fingerprints: ClassVar[Mapping[str, bytes]] = {}
    """As of `skinxai.data.shards.PreparedPixels`; none is known."""

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels once they are decoded."""
        return len(self.samples) * self.image_size[0] * self.image_size[1] * 3

    def describe(self) -> str:
        """``"shards"`` with the size."""
        return "shards at {}×{}".format(*self.image_size)

    def read(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Upright RGB uint8 ``(H, W, 3)`` of an image.

        Raises:
            DatasetError: if there is no such image.
            InputError: if it cannot be read.
        """
        return read_image(self._sample(image_id)[0]).pixels

    def hash_of(self, image_id: str) -> str:
        """`pixel_hash` of the original image, before it was resized.

        Raises:
            DatasetError: if there is no such image.
        """
        return self._sample(image_id)[1]

    def fits(self, config: PreprocessConfig) -> bool:
        """Whether the evaluation transform of these pixels gives the same bits as of the files."""
        own = (self.image_size, self.interpolation)
        return own == (config.image_size, config.interpolation)

    def _sample(self, image_id: str) -> tuple[Path, str]:
        try:
            return self.samples[image_id]
        except KeyError:
            raise DatasetError(
                f"image {image_id!r} must be one of the {len(self.samples)} in "
                f"{str(self.folder)!r}; write the shards of the data that it is in."
            ) from None


def is_shards(folder: Path) -> bool:
    """Whether a folder holds shards: an index of them, or tars and no pictures or folders."""
    return is_folder(folder) and (is_indexed(folder) or bool(shards_of(folder)))


def load_shards(
    folder: str | os.PathLike[str],
    *,
    labels: LabelSet | Sequence[str] | None = None,
    verify: bool = True,
    progress: bool | None = None,
) -> Records:
    """Load the records of a folder of WebDataset shards.

    The path of each record leads into its tar (``…/lesions-000000.tar/000000012.jpg``), and
    `skinxai.images.reading.read_image` reads it there with one seek, from any process. The images
    are therefore in the same order, and are shuffled and resumed in the same way, as files.

    Args:
        folder: a folder that `write_shards` wrote, or one of plain tars in which each image
            (``KEY.jpg``, ``KEY.png``, …) has a ``KEY.json`` with ``label`` and, where they are
            known, ``image_id``, ``lesion_id`` and ``patient_id``, or a ``KEY.cls`` with the label.
        labels: label codes in logit order, for shards without an index of skinxai; ``None`` sorts
            those that occur.
        verify: check the sha256 of each shard that the index lists, which reads all of them once.
            Headers, sizes and numbers of samples are checked in any case.
        progress: ``True`` or ``False``; ``None`` shows a bar on a terminal.

    Raises:
        DatasetError: if a shard is torn or cannot be read, or samples have no label, no image or a
            key that another sample has. The message lists them all.
        IntegrityError: if shards are not those of the index: missing, changed or additional.
        OptionError: if labels are given for shards that have their own.
    """
    check_flags(verify=verify)
    target = resolved(folder)
    if not is_folder(target):
        raise DatasetError(f"folder must be a folder of shards, got {str(folder)!r}.")
    index = read_index(target) if is_indexed(target) else None
    if index is not None and labels is not None:
        raise OptionError(
            f"labels must be left out for shards with {INDEX}; {str(target)!r} has its own."
        )
    paths = tars_of(target)
    if index is not None:
        _check_files(target, paths, index)
        if verify:
            _check_hashes(paths, index, progress)
    elif not paths:
        raise DatasetError(f"folder {str(target)!r} must hold shards (.tar), found none.")
    shards = list(watched(map(read_shard, paths), len(paths), progress, "shard", "open"))
    samples = _checked(shards, index)
    if index is None:
        return _foreign(target, shards, samples, labels)
    try:
        return _of_index(target, index, samples)
    except SkinxaiError as error:
        raise IntegrityError(
            f"shards of {str(target)!r} must hold what {INDEX} says: {error}"
        ) from error


def _check_files(folder: Path, paths: Iterable[Path], index: Index) -> None:
    """Refuse shards that are missing, additional, or of another size."""
    found, listed = {path.name for path in paths}, set(index.shards)
    if missing := sorted(listed - found):
        raise IntegrityError(
            f"{len(missing)} of {len(listed)} shards that {INDEX} lists "
            f"{agreeing(len(missing), 'is', 'are')} missing in {str(folder)!r}, {missing[0]!r} "
            f"first; {REMEDY}."
        )
    if more := sorted(found - listed):
        raise IntegrityError(
            f"{more[0]!r} in {str(folder)!r} is not listed in {INDEX}: it belongs to another "
            f"folder or is a copy; move it away."
        )
    for name, each in index.shards.items():
        size = check_file(folder / name)
        if size != each.bytes:
            raise IntegrityError(
                f"shard {name!r} in {str(folder)!r} must have {each.bytes} bytes, but it has "
                f"{size}; {REMEDY}."
            )


def _check_hashes(paths: Sequence[Path], index: Index, progress: bool | None) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = watched(mapped(pool, file_sha256, paths), len(paths), progress, "shard", "check")
        for path, found in zip(paths, hashes, strict=True):
            if found != (wanted := index.shards[path.name].sha256):
                raise IntegrityError(
                    f"shard {path.name!r} in {str(path.parent)!r} must have the sha256 that "
                    f"{INDEX} lists, {wanted[:12]}…, but it has another; {REMEDY}."
                )


def _checked(shards: Sequence[Shard], index: Index | None) -> list[Sample]:
    """The samples of all shards, or the error of all problems."""
    problems = [problem for shard in shards for problem in shard.problems]
    samples = [sample for shard in shards for sample in shard.samples]
    seen: dict[str, Path] = {}
    for sample in samples:
        earlier = seen.setdefault(sample.record.image_id, sample.record.path)
        if earlier is not sample.record.path:
            both = " and ".join(
                quoted(f"{path.parent.name}/{path.name}") for path in (earlier, sample.record.path)
            )
            name = quoted(sample.record.image_id)
            problems.append(DatasetSchemaError(f"image {name} is twice in the shards: {both}."))
    if problems:
        kind = type(problems[0]) if isinstance(problems[0], DatasetError) else DatasetError
        raise kind("every sample must be there once, with an image and a label;", tuple(problems))
    for shard in shards if index is not None else ():
        if len(shard.samples) != index.shards[shard.path.name].samples:  # type: ignore[union-attr]
            raise IntegrityError(f"shard {shard.path.name!r} must hold the samples of {INDEX}.")
    return samples


def _of_index(folder: Path, index: Index, samples: list[Sample]) -> Records:
    samples = sorted(samples, key=lambda sample: sample.position)
    if [sample.position for sample in samples] != list(range(len(samples))):
        raise DatasetSchemaError(f"positions must be 0 to {len(samples) - 1}, each once; {REMEDY}.")
    items = tuple(sample.record for sample in samples)
    found = index.description
    if found.resizing is None:
        return found.records(items)
    size = found.resizing.image_size
    pixels = ResizedImages(
        folder, found.digest, size, found.resizing.interpolation,
        {each.record.image_id: (each.record.path, each.pixel_hash) for each in samples},
    )  # fmt: skip
    note = (
        f"the shards hold images resized to {size[0]}×{size[1]}, which are read in the place of "
        f"the originals"
    )
    return replace(found.records(items, (note,)), pixels=pixels)


def _foreign(
    folder: Path,
    shards: Sequence[Shard],
    samples: list[Sample],
    labels: LabelSet | Sequence[str] | None,
) -> Records:
    """Records of shards that another program wrote."""
    if any(sample.pixel_hash and sample.file_sha256 for sample in samples):
        raise IntegrityError(
            f"shards in {str(folder)!r} were written by skinxai and must have their {INDEX}, which "
            f"says whether one is missing; copy it, too."
        )
    found = sorted({sample.record.label for sample in samples})
    if labels is None and len(found) < 2:
        raise DatasetLabelError(
            f"shards of {str(folder)!r} must hold two labels or more, got {found}",
            python="pass all of them: labels=[…]",
            command="give all of them with --labels",
        )
    if same := alike(found):
        raise DatasetLabelError(
            f"labels of the shards of {str(folder)!r} must not differ by blanks, case, zeros or "
            f"composed letters alone: {' and '.join(map(ascii, same[0]))} do; write the shards "
            f"anew with one of them."
        )
    notes = list(_notes(shards))
    if labels is None:
        notes.append("no label order was declared: labels are sorted")
    known = LabelSet.of(labels or found)
    items = tuple(_with_known_ids(each.record) for each in samples)
    return Records(items, known, folder.name, notes=tuple(notes))


def _with_known_ids(item: Record) -> Record:
    """A record of another program, whose lesion or patient may be called ``nan`` or ``unknown``."""
    lesion, patient = known_id(item.lesion_id), known_id(item.patient_id or "")
    return replace(item, lesion_id=lesion, patient_id=patient)


def _notes(shards: Sequence[Shard]) -> Iterator[str]:
    left = sum((shard.left for shard in shards), Counter[str]())
    if count := sum(left.values()):
        are = agreeing(count, "is", "are")
        yield f"{counted(count, 'file')} in the shards {are} not read: {by_kind(left)}"
    yield (f"the shards have no {INDEX}: whether one is missing or changed is not known")
