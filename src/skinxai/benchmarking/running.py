"""`benchmark_explainers`: one row for each image and method, written as it is measured."""

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from skinxai import explainers
from skinxai.benchmarking.lesion_masks import mask_of
from skinxai.benchmarking.measuring import Bench
from skinxai.benchmarking.peak_memory import peak_memory
from skinxai.benchmarking.plan import Plan, check_methods
from skinxai.benchmarking.summary import ROWS, STUDY, read_rows, summarise, to_markdown
from skinxai.classifier import Classifier
from skinxai.data.hashing import check_ids
from skinxai.data.records import Record, Records
from skinxai.disk.regular_files import MAX_TABLE_BYTES, MAX_TEXT_BYTES, read_file
from skinxai.disk.staging import write_together
from skinxai.disk.writing import append_line, make_folder, write_atomic
from skinxai.errors import ExplainError, LeakageError, OutputError, ResumeMismatchError
from skinxai.images.limits import MAX_BYTES, MAX_PIXELS, check_max_pixels
from skinxai.images.reading import read_image
from skinxai.model_folders.trained_on import Look
from skinxai.results import compare
from skinxai.version import __version__


def benchmark_explainers(
    classifier: Classifier,
    records: Records,
    masks: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    methods: Iterable[str] | None = None,
    not_copies: Collection[str] = (),
    progress: bool = True,
    max_pixels: int = MAX_PIXELS,
    **settings: Any,
) -> Path:
    """Measure what maps of several methods are worth on labelled images with lesion masks.

    Stopped at any moment and called again with the same arguments, it goes on where it was; Ctrl-C
    writes the tables of what was measured so far. Beside the rows it writes ``table.md`` with
    intervals (bootstrap over lesions), ``table.json`` and a sheet of all methods' maps for one
    image of each class.

    Args:
        classifier: a single model.
        records: images that took no part in training.
        masks: folder of ``IMAGE_segmentation.png``, white where the lesion is.
        out: folder of the results, created where it does not exist.
        methods: names in `skinxai.explainers`; all built-in ones by default.
        not_copies: ids of images that are wrongly taken for copies of training images.
        progress: show a bar with the time left.
        max_pixels: most pixels of an image that are decoded, >= 1.
        **settings: of `skinxai.benchmarking.plan.Plan`.

    Returns:
        Path of ``table.md``.

    Raises:
        ResumeMismatchError: a folder with rows of another model, other images, masks or settings.
        LeakageError: images that the model says it was trained on, or copies of them.
        OptionError: an id in ``not_copies`` that is none.
        DatasetError: no image with a mask, two images of one file name, which would share a mask,
            or a mask that is none.
        OutputError: a folder that another process writes to.
        ModelError: an ensemble.
    """
    max_pixels = check_max_pixels(max_pixels)
    check_ids(not_copies, records)
    plan, folder = Plan(**settings), Path(out)
    built_in = [entry.name for entry in explainers.entries() if entry.source == "skinxai"]
    images = plan.images(records, Path(masks))
    check_unseen(classifier, images, max_pixels, not_copies)
    names = check_methods(built_in if methods is None else methods)
    options = {name: plan.options(name) for name in names}
    make_folder(folder)
    with _in_use(folder):
        _begin(folder, classifier, plan, options, images, Path(masks))
        bench = Bench(classifier, plan, options, Path(masks), max_pixels)
        return _run(folder, classifier, bench, plan, options, images, progress=progress)


def _run(
    folder: Path, classifier: Classifier, bench: Bench, plan: Plan, options: Mapping[str, Any],
    images: list[Record], *, progress: bool,
) -> Path:  # fmt: skip
    """Measure what is not measured yet, and write the tables."""
    rows = read_rows(folder)
    done = {row["image"] for row in rows}
    _forget_torn(folder / ROWS)
    memory: dict[str, float] = {}
    try:
        for number, item in enumerate(tqdm(images, unit="image", disable=not progress)):
            if item.image_id in done:
                continue
            found = list(bench.rows(item, number))
            append_line(folder / ROWS, json.dumps(found))
            rows += found
        memory = _memory(folder, classifier, bench, images[0], options)
        _gallery(folder, classifier, bench, images, options)
    except (KeyboardInterrupt, SystemExit):
        _write_tables(folder, summarise(rows, plan, options, memory))
        raise
    return _write_tables(folder, summarise(rows, plan, options, memory))


def _write_tables(folder: Path, table: dict[str, Any]) -> Path:
    values = json.dumps(table, indent=2).encode() + b"\n"
    write_together(folder, {"table.json": values, "table.md": to_markdown(table).encode()})
    return folder / "table.md"


def check_unseen(
    classifier: Classifier, images: Sequence[Record], max_pixels: int,
    not_copies: Collection[str] = (),
) -> None:  # fmt: skip
    """Refuse images that the model says it was trained on, and copies of such images.

    Args:
        classifier: any model; one that does not say what it was trained on takes all images.
        images: that are looked at.
        max_pixels: most pixels of an image that are decoded.
        not_copies: ids of images that look like copies and are none.

    Raises:
        LeakageError: an image that it was trained on.
    """
    if classifier.trained_on is None:
        return
    looks = {
        item.image_id: Look.at(read_image(item.path, max_pixels=max_pixels).pixels)
        for item in images
    }
    if seen := classifier.trained_on.seen(looks, not_copies=not_copies):
        raise LeakageError(
            f"records must be images that took no part in training: of {len(images)}, "
            f"{seen.describe()}",
            python="pass the test part, or name copies that are none in not_copies",
            command="give the test part, --splits splits.csv --part test, or name copies that are "
            "none with --not-copies",
        )


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise OutputError(
            f"out must be written by one process at a time, but {str(folder)!r} is in use."
        ) from error


def _begin(
    folder: Path, classifier: Classifier, plan: Plan, options: Mapping[str, Any],
    images: list[Record], masks: Path,
) -> None:  # fmt: skip
    """Write what is measured, or refuse to go on with something else."""
    weights, drawn = hashlib.sha256(), hashlib.sha256()
    for tensor in classifier.network.state_dict().values():
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    shown = []
    for item in images:
        drawn.update(read_file(mask_of(item, masks), MAX_BYTES))
        content = hashlib.sha256(read_file(item.path, MAX_BYTES)).hexdigest()
        shown.append([item.image_id, item.lesion_id, content])
    study = {
        "skinxai": __version__, "model": classifier.model, "weights": weights.hexdigest(),
        "plan": asdict(plan), "methods": dict(options),
        "images": shown, "masks": drawn.hexdigest(),
    }  # fmt: skip
    path = folder / STUDY
    if not path.exists():
        write_atomic(path, json.dumps(study, indent=2).encode() + b"\n")
        return
    try:
        known = dict(json.loads(read_file(path, MAX_TEXT_BYTES)))
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(
            f"{str(path)!r} must be readable JSON, an object: {error}; take a new folder."
        ) from error
    if (version := known.get("skinxai")) != __version__ or set(known) != set(study):
        raise ResumeMismatchError(
            f"out must be a new folder or hold a comparison of this skinxai, {__version__}, but "
            f"{str(folder)!r} has one that another began, {version}; take a new folder, or go on "
            f"with the skinxai that began it."
        )
    if changed := [key for key in study if known.get(key) != json.loads(json.dumps(study[key]))]:
        raise ResumeMismatchError(
            f"out must be a new folder or hold the same comparison, but {str(folder)!r} has one "
            f"with another {changed[0]!r}; take a new folder."
        )


def _forget_torn(path: Path) -> None:
    """Cut off a line that a kill left half written."""
    if path.exists():
        whole = read_file(path, MAX_TABLE_BYTES).rpartition(b"\n")
        write_atomic(path, whole[0] + whole[1])


def _memory(
    folder: Path, classifier: Classifier, bench: Bench, item: Record, options: Mapping[str, Any]
) -> dict[str, float]:
    """Of each method, measured once."""
    path = folder / "memory.json"
    if not path.exists():
        found = peak_memory(classifier, item.path, options, bench.max_pixels)
        write_atomic(path, json.dumps(found, indent=2).encode() + b"\n")
    known: dict[str, float] = json.loads(read_file(path, MAX_TEXT_BYTES))
    return known


def _gallery(
    folder: Path, classifier: Classifier, bench: Bench, images: list[Record],
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    """A sheet of all methods' maps for the first image of each class, if any made one."""
    pictures: dict[str, bytes] = {}
    first = {item.label: item for item in reversed(images)}
    for label, item in first.items():
        image = bench.read(item)
        target = classifier.predict(image).label
        made = []
        for name, own in options.items():
            try:
                made += classifier.explain([image], name, target=target, progress=False, **own)
            except ExplainError:
                continue  # refused: the table says why
        if not made:
            continue
        picture = io.BytesIO()
        compare(made).convert("RGB").save(picture, "JPEG", quality=88)
        pictures[f"{label}.jpg"] = picture.getvalue()
    write_together(folder / "gallery", pictures)
