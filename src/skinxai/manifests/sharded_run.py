"""`predict_manifest`: the images of a manifest answered chunk by chunk, each written as one part.

A part is the unit of everything: it is there whole or not at all, it says what it was made of, and
it does not depend on which process made it, nor on how many there were. Answers depend, in their
last bits, on the size of a batch, so a chunk that is made again has the same batches.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skinxai.classifier import Classifier
from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.disk.writing import check_folder, make_folder, remove_leftovers, write_atomic
from skinxai.errors import InputPathError, PartsError, SkinxaiError
from skinxai.images.limits import MAX_PIXELS
from skinxai.interruption import Interruption, mapped
from skinxai.manifests import arrow
from skinxai.manifests.fetching import fetch, is_address
from skinxai.manifests.image_samples import count_others, place_of, sample_images
from skinxai.manifests.manifest import CHUNK, Chunk, Manifest, ManifestRow
from skinxai.manifests.sharding import Shard
from skinxai.model_folders.files import UNSAVED
from skinxai.numeric import plain
from skinxai.plain_text import agreeing, counted
from skinxai.predicting.inputs import InputOptions
from skinxai.progress import Progress, counter, say
from skinxai.results import ItemError, Prediction
from skinxai.version import __version__

RUN = "run.json"
"""What all parts of a folder have in common."""
MAX_PART_BYTES = 2**31
FETCHING = 16
"""Addresses that are read at once."""
_WORDS = {
    "manifest": "the manifest with the sha256", "model": "the model", "chunk": "chunks of",
    "backend": "the backend", "skinxai": "skinxai", "columns": "the columns",
    "labels": "the labels", "rows": "a manifest with rows", "delimiter": "the delimiter",
    "weights": "weights and calibration with the sha256",
}  # fmt: skip


@dataclass(frozen=True)
class ShardReport:
    """What one process did of a manifest.

    Args:
        out: the folder of parts.
        shard: which one it was.
        rows: images of this shard.
        failed: how many of these could not be answered.
        chunks: of this shard.
        skipped: chunks that had been finished before.
    """

    out: Path
    shard: Shard
    rows: int
    failed: int
    chunks: int
    skipped: int


@dataclass(frozen=True)
class PartRun:
    """What makes the parts of one folder, in one process or in many.

    Each part must agree in ``identity``; the options are those of `Classifier.predict`.
    """

    manifest: Manifest
    out: Path
    labels: tuple[str, ...]
    identity: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def left(self, chunks: Sequence[Chunk]) -> tuple[list[Chunk], int]:
        """Those of the chunks that are to be made, and how many images failed in the others.

        Raises:
            PartsError: a part of another run is in the place of one.
        """
        done = {chunk.number: self._finished(chunk) for chunk in chunks}
        failed = sum(each for each in done.values() if each is not None)
        return [chunk for chunk in chunks if done[chunk.number] is None], failed

    def _finished(self, chunk: Chunk) -> int | None:
        """How many images failed in the finished part of a chunk; ``None``: it is to be made."""
        path = self.out / part_name(chunk.number)
        if not os.path.lexists(path):
            return None
        try:
            about = arrow.read_part(read_file(path, MAX_PART_BYTES), self.labels)[1]
        except PartsError as error:
            say(f"note: {str(path)!r} is made anew: {error}", error=True)
            return None
        except OSError as error:
            raise PartsError(f"part {str(path)!r} cannot be read: {error.strerror}.") from error
        failed = about.pop("failed", None)
        if about != self._about(chunk) or type(failed) is not int:
            raise PartsError(
                f"{str(path)!r} must be chunk {chunk.number} of this run, but it holds another "
                f"one's; give a new folder, or delete it."
            )
        return failed

    def _about(self, chunk: Chunk) -> dict[str, Any]:
        """What a part says about itself, but for how many images failed."""
        return {
            "run": dict(self.identity), "chunk": chunk.number, "start": chunk.start,
            "stop": chunk.stop,
        }  # fmt: skip

    def make(self, classifier: Classifier, chunk: Chunk, stop: Interruption | None = None) -> int:
        """Answer a chunk's images, write its part, and return how many images failed.

        ``stop`` is looked at before each batch.
        """
        rows, made = self.manifest.read(chunk), list[dict[str, Any]]()
        size: int = self.options["batch_size"]
        for start in range(0, len(rows), size):
            if stop is not None and stop.received:
                stop.stop()
            some = rows[start : start + size]
            for row, (found, error) in zip(some, self._answers(classifier, some), strict=True):
                number = chunk.start + len(made)
                made.append(
                    arrow.answer(number, row, found, error, classifier.model, classifier.backend)
                )
        failed = sum("error" in each for each in made)
        data = arrow.part_bytes(made, self.labels, self._about(chunk) | {"failed": failed})
        write_atomic(self.out / part_name(chunk.number), data)
        return failed

    def _answers(
        self, classifier: Classifier, rows: Sequence[ManifestRow]
    ) -> Iterator[tuple[Prediction | ItemError, str]]:
        """What is said of each image of a batch, with the sentence of an error."""
        images, places = list[Any](), [self._place(row) for row in rows]
        missing: dict[int, SkinxaiError] = {}
        for number, image in enumerate(_fetched(places)):
            if isinstance(image, SkinxaiError):
                missing[number] = image
            else:
                images.append(image)
        found = iter(classifier.predict(images, on_error="return", progress=False, **self.options))
        for number, (row, place) in enumerate(zip(rows, places, strict=True)):
            item = next(found) if number not in missing else ItemError(
                number, row.image, missing[number]
            )  # fmt: skip
            said = str(item.error) if isinstance(item, ItemError) else ""
            if isinstance(place, str):  # parts do not say where they were made
                said = said.replace(place, row.image)
            yield item, said

    def _place(self, row: ManifestRow) -> str | SkinxaiError:
        if not row.image.strip():
            return InputPathError("the manifest must name an image in each row, got an empty cell.")
        return place_of(self.manifest, row.image)


def _fetched(places: Sequence[str | SkinxaiError]) -> list[Any]:
    """Paths as they are, the bytes of addresses, and errors of those that cannot be read."""

    def one(place: str | SkinxaiError) -> Any:
        if isinstance(place, SkinxaiError) or not is_address(place):
            return place
        try:
            return fetch(place)
        except SkinxaiError as error:
            if error.code == "option":  # a package that is missing
                raise
            return error

    if not any(isinstance(place, str) and is_address(place) for place in places):
        return list(places)
    with ThreadPoolExecutor(FETCHING) as pool:
        return list(mapped(pool, one, places))


def part_name(number: int) -> str:
    """File name of a chunk's part."""
    return f"part-{number:06d}.parquet"


def begin(
    classifier: Classifier, manifest: str | os.PathLike[str], out: str | os.PathLike[str], *,
    chunk: int = CHUNK, columns: Mapping[str, str] | None = None, delimiter: str = ",",
    tta: bool = False, operating_point: str | None = None, batch_size: int = 32,
    max_pixels: int = MAX_PIXELS, words: Sequence[str] = (), progress: Progress = None,
) -> PartRun:  # fmt: skip
    """Open a manifest and a folder of parts, new or of the same run; see `predict_manifest`."""
    arrow.pa()
    given, chunk = InputOptions(batch_size=batch_size, max_pixels=max_pixels), plain(chunk)
    classifier.stream((), operating_point=operating_point)  # refuses another one
    folder = Path(out)
    check_folder(folder)
    opened = Manifest.open(
        manifest, columns, delimiter=delimiter, chunk=chunk,
        progress=False if callable(progress) else progress,
    )  # fmt: skip
    options = {
        "tta": tta, "operating_point": operating_point, "batch_size": given.batch_size,
        "max_pixels": given.max_pixels,
    }  # fmt: skip
    identity = {
        "manifest": opened.sha256, "rows": opened.count, "columns": dict(opened.columns),
        "delimiter": delimiter, "chunk": chunk, "model": classifier.model,
        "labels": list(classifier.labels), "backend": classifier.backend, "skinxai": __version__,
        **options,
    }  # fmt: skip
    if classifier.model.endswith(f"@{UNSAVED}"):  # it may be any network, in any state
        identity["weights"] = classifier.torch_predictor.digest
    _agree(folder, identity, [str(opened.path.absolute()), *words], sample_images(opened))
    return PartRun(opened, folder, classifier.labels, identity, options)


def _agree(
    folder: Path, identity: Mapping[str, Any], words: list[str], images: Mapping[str, str]
) -> None:
    """Refuse a folder of another run; note in a new one which run it is of.

    A table may be moved, with its images, and an image that was damaged may be replaced; but a
    table of the same rows beside other images is another run.

    Two runs that begin at once in an empty folder both write the note, and one of them reads the
    other's; their parts say whose they are in any case.
    """
    if not os.path.lexists(folder / RUN):
        if next(folder.glob("part-*.parquet"), None) is not None:
            raise PartsError(
                f"out must be a new folder, or one of this run with its {RUN}, but {str(folder)!r} "
                f"has parts without it; give another folder."
            )
        make_folder(folder)
        about = {"run": identity, "words": words, "images": images}
        text = json.dumps(about, indent=2, sort_keys=True)
        write_atomic(folder / RUN, text.encode() + b"\n")
    there, began, known = read_run(folder)
    if there != identity:
        name = next(name for name in identity if there.get(name) != identity[name])
        what = _WORDS.get(name, name)
        raise PartsError(
            f"out must be a folder of this run, but {str(folder)!r} is of one with {what} "
            f"{_shown(there.get(name))}, and this one has {_shown(identity[name])}; give another "
            f"folder."
        )
    others, both = count_others(known, images)
    if 2 * others > both:
        raise PartsError(
            f"out must be a folder of this run, but {others} of {counted(both, 'image')} that "
            f"{agreeing(both, 'was', 'were')} compared {agreeing(others, 'differs', 'differ')} "
            f"from those with which {str(folder)!r} was begun, of {began[0]!r}; give another "
            f"folder."
        )
    remove_leftovers(folder)


def _shown(value: Any) -> str:
    return str(value) if not isinstance(value, str) or len(value) < 64 else f"{value[:12]}…"


def read_run(folder: Path) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """What all parts of a folder have in common, the words of the command, and `sample_images`.

    Raises:
        PartsError: the folder holds no run, or it is damaged.
    """
    try:
        found = json.loads(read_file(folder / RUN, MAX_TEXT_BYTES))
        run, words = found["run"], [str(word) for word in found["words"]]
        whole = type(run["rows"]) is int and type(run["chunk"]) is int and run["chunk"] > 0
        if not whole or not all(isinstance(code, str) for code in run["labels"]):
            raise ValueError("wrong types")
        return run, words, dict(found["images"])
    except OSError as error:
        raise PartsError(
            f"{str(folder)!r} must be a folder that 'skinxai predict --manifest' wrote, but its "
            f"{RUN} cannot be read: {error.strerror}."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PartsError(
            f"{str(folder / RUN)!r} is damaged; move it away, with all parts, or give another "
            f"folder."
        ) from error


def predict_manifest(
    classifier: Classifier, manifest: str | os.PathLike[str], out: str | os.PathLike[str], *,
    shard: tuple[int, int] = (0, 1), progress: Progress = None, **options: Any,
) -> ShardReport:  # fmt: skip
    """Answer the images of a manifest, and write each chunk of rows as one Parquet file.

    Chunks that were finished before, by this process or by another one, are skipped, so that the
    same call again goes on where it was interrupted, with the same bytes as if it had not been. The
    number of shards may change in between.

    Args:
        classifier: the model.
        manifest: a table, CSV or Parquet, with a column ``image``: paths, relative to the table's
            folder, or addresses that fsspec knows; and perhaps a column ``id``.
        out: folder of the parts, new or of the same run.
        shard: number of this process, from 0, and how many share the manifest.
        progress: as in `InputOptions`, of images.
        **options: ``chunk=1024``, rows of a part; ``columns``, role → column for the roles
            ``image`` and ``id``; ``delimiter=","``; and of `Classifier.predict` ``tta``,
            ``operating_point``, ``batch_size`` and ``max_pixels``.

    Returns:
        What was done. Images that cannot be answered are rows with an error.

    Raises:
        OptionError: an argument outside its rule, or a package that is missing.
        DatasetSchemaError: no table, without rows, without the column, or with an id twice.
        PartsError: the folder is of another run, or the manifest was changed meanwhile.
        OutputError: a full disk, or a folder that cannot be written.
    """
    own = Shard.checked(*shard)
    run = begin(classifier, manifest, out, progress=progress, **options)
    return work(run, classifier, own, progress)


def work(
    run: PartRun, classifier: Classifier, shard: Shard, progress: Progress = None
) -> ShardReport:
    """Make the parts of one shard that are not there yet."""
    own = [chunk for chunk in run.manifest.chunks if shard.has(chunk.number)]
    left, failed = run.left(own)
    rows = sum(chunk.rows for chunk in left)
    with Interruption() as stop, counter(rows, progress, "image") as count:
        for chunk in left:
            failed += run.make(classifier, chunk, stop)
            count(chunk.rows)
    images, skipped = sum(chunk.rows for chunk in own), len(own) - len(left)
    return ShardReport(run.out, shard, images, failed, len(own), skipped)
