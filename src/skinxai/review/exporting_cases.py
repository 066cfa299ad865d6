"""`export_cases`: labelled cases as a data set that a model is fine-tuned on, without leaks."""

import csv
import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from skinxai.classifier import Classifier
from skinxai.data.hashing import looks
from skinxai.data.loading import load_csv
from skinxai.data.near_duplicates import Fingerprint, find_pairs, fingerprint
from skinxai.data.records import Record, Records
from skinxai.data.splits import PARTS, Splits
from skinxai.data.stratifying import group
from skinxai.disk.staging import Staged
from skinxai.disk.tar_members import read_stored
from skinxai.disk.writing import escape_cell
from skinxai.errors import DatasetError, DatasetImageError, OutputError, SkinxaiError
from skinxai.images.limits import MAX_BYTES, MAX_PIXELS
from skinxai.images.reading import read_image
from skinxai.interruption import mapped
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.plain_text import agreeing, counted
from skinxai.review.agreed_cases import AgreedImage, LeftOutCase, agreed_images
from skinxai.review.cases import ReviewedCase

TABLE, LEFT_OUT, IMAGES = "records.csv", "left_out.csv", "images"
"""Names in the folder that is written."""
Read = Callable[[str], bytes | None]
"""The bytes of an image by its digest; ``None`` where it is gone."""


@dataclass(frozen=True)
class ExportedCases:
    """A data set of labelled cases.

    Args:
        folder: it holds ``records.csv``, ``images/`` and ``left_out.csv``.
        records: as `load_csv` reads them from there.
        cases: number of cases among them; one image may have several.
        left_out: the other cases, and why.
        notes: what the reader should know.
    """

    folder: Path
    records: Records
    cases: int
    left_out: tuple[LeftOutCase, ...]
    notes: tuple[str, ...]


def export_cases(
    folder: str | os.PathLike[str],
    cases: Sequence[ReviewedCase],
    read: Read,
    classifier: Classifier,
    *,
    old: Splits | None = None,
    reviewers: int = 1,
    not_copies: Collection[str] = (),
    max_pixels: int = MAX_PIXELS,
) -> ExportedCases:
    """Write a data set of the cases that reviewers agree on; see `ReviewStore.export`."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"folder {str(target)!r} must be new or empty; give another.")
    labels = classifier.config.labels
    if old is not None and set(old.train.labels) != set(labels):
        raise DatasetError(
            f"the old data must have the labels of the model, {list(labels)}, got "
            f"{list(old.train.labels)}."
        )
    images, left = agreed_images(cases, labels, reviewers)
    seen, gone = _look_at(images, read, max_pixels)
    records = Records(tuple(_record(each) for each in images if each.digest in seen), labels)
    linked = _same_skin(records, seen)
    known, notes = _known(classifier, old, max_pixels)
    reasons = gone | _reasons(records, linked, seen, known, old, not_copies)
    kept = [each for each in images if each.digest not in reasons]
    left += [LeftOutCase(case, reasons[each.digest]) for each in images if each.digest in reasons
             for case in each.cases]  # fmt: skip
    left.sort(key=lambda each: each.case_id)
    if not kept:
        raise DatasetError(
            "the review store must hold a case that can be exported, but all are left out:",
            [f"{each.case_id}: {each.reason}" for each in left],
        )
    lesions = {
        item.image_id: min(each.lesion_id for each in items)
        for items in group(_without_patients(records), linked)
        for item in items
    }
    if joined := sum(item.lesion_id != lesions[item.image_id] for item in records):
        show, count_ = agreeing(joined, "shows", "show"), agreeing(joined, "counts", "count")
        notes += (
            f"{counted(joined, 'image')} {show} the same skin as another lesion's, and {count_} as "
            f"of it",
        )
    _write(target, kept, lesions, read, old, left, max_pixels)
    made = load_csv(target / TABLE, target, labels=labels, name="reviewed cases")
    count = sum(len(each.cases) for each in kept)
    return ExportedCases(target, made, count, tuple(left), notes)


def _record(image: AgreedImage) -> Record:
    """What groups it; the path is its name in the folder that is written."""
    lesion = image.lesion or f"image-{image.digest[:16]}"
    path = Path(IMAGES, f"{image.digest}.png")
    return Record(image.digest, path, image.label, lesion, image.subject or None)


def _without_patients(records: Records) -> Records:
    return replace(records, items=tuple(replace(item, patient_id=None) for item in records))


def _look_at(
    images: Sequence[AgreedImage], read: Read, max_pixels: int
) -> tuple[dict[str, tuple[Look, Fingerprint]], dict[str, str]]:
    """What each image is recognised by, and why others cannot be read."""
    gone: dict[str, str] = {}

    def one(image: AgreedImage) -> tuple[Look, Fingerprint] | None:
        try:
            data = read(image.digest)
            if data is None:
                gone[image.digest] = "its image was not kept, or has expired"
                return None
            pixels = read_image(data, max_pixels=max_pixels).pixels
        except SkinxaiError as error:
            gone[image.digest] = f"its image cannot be read: {error}"
            return None
        print_ = fingerprint(pixels)
        return Look.at(pixels, print_.digest), print_

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = zip(images, mapped(pool, one, images), strict=True)
        return {each.digest: look for each, look in found if look is not None}, gone


def _same_skin(
    records: Records, seen: Mapping[str, tuple[Look, Fingerprint]]
) -> list[tuple[str, str]]:
    """Pairs of images of different lesions that show the same skin."""
    items = list(records)
    prints = [seen[item.image_id][1] for item in items]
    found = find_pairs(prints, [item.lesion_id for item in items]) if len(items) > 1 else ()
    return [(items[pair.first].image_id, items[pair.second].image_id) for pair in found]


def _known(
    classifier: Classifier, old: Splits | None, max_pixels: int
) -> tuple[dict[str, TrainedOn], tuple[str, ...]]:
    """Images that no new one may be a copy of, by what they are, and what cannot be looked for."""
    model = classifier.model
    found, notes = {}, []
    if classifier.trained_on is None:
        notes.append(f"{model} does not say which images it was trained on: copies are not found")
    else:
        found[f"an image that {model} was trained on"] = classifier.trained_on
    if classifier.calibration is not None:
        found[f"an image that {model} was calibrated on"] = classifier.calibration.known
    for part in ("val", "test") if old is not None else ():
        own: list[Look] = []
        for each in looks(getattr(old, part), max_pixels=max_pixels):
            if isinstance(each, SkinxaiError):
                raise DatasetImageError(
                    f"images of the {part} part of the old data must be readable;", [each]
                ) from each
            own.append(each)
        found[f"an image of the {part} part of the old data"] = TrainedOn.of_looks(own)
    return found, tuple(notes)


def _reasons(
    records: Records, linked: Sequence[tuple[str, str]],
    seen: Mapping[str, tuple[Look, Fingerprint]], known: Mapping[str, TrainedOn],
    old: Splits | None, not_copies: Collection[str],
) -> dict[str, str]:  # fmt: skip
    """Why an image would leak, by its digest: it, or one that is grouped with it."""
    found: dict[str, str] = {}
    pictures = {item.image_id: seen[item.image_id][0] for item in records}
    for what, images in known.items():
        alike = images.seen(pictures, not_copies=not_copies)
        found |= {
            name: f"a copy of {what}" for name in (*alike.exact, *alike.copies) if name not in found
        }
    for part in ("val", "test") if old is not None else ():
        items = getattr(old, part)
        lesions = {item.lesion_id for item in items}
        patients = {item.patient_id for item in items} - {None}
        for item in records:
            for what, own, their in (("lesion", item.lesion_id, lesions),
                                     ("subject", item.patient_id, patients)):  # fmt: skip
                if own in their:
                    text = f"its {what} {own!r} is in the {part} part of the old data"
                    found.setdefault(item.image_id, text)
    labels: dict[str, set[str]] = {}
    for item in records:
        labels.setdefault(pictures[item.image_id].digest, set()).add(item.label)
    for item in records:
        if len(said := labels[pictures[item.image_id].digest]) > 1:
            found[item.image_id] = f"disputed: its pixels are labelled {', '.join(sorted(said))}"
    for items in group(records, linked):
        leaks = [item.image_id for item in items if item.image_id in found]
        for item in items if leaks else ():
            found.setdefault(
                item.image_id, f"of the lesion or subject of another image: {found[leaks[0]]}"
            )
    return found


def _write(
    target: Path, kept: Sequence[AgreedImage], lesions: Mapping[str, str], read: Read,
    old: Splits | None, left: Sequence[LeftOutCase], max_pixels: int,
) -> None:  # fmt: skip
    """Write all files, or none of them."""
    rows = []
    with Staged(target) as staged:
        for each in kept:
            name = f"{IMAGES}/{each.digest}.png"
            staged.add(name, _png(read(each.digest) or b"", max_pixels))
            rows.append((name, each.label, lesions[each.digest], each.subject, "train"))
        number = 0
        for part in PARTS if old is not None else ():
            for item in getattr(old, part):
                number += 1
                name = f"old/{number:06}{item.path.suffix.lower()}"
                try:
                    staged.add(name, read_stored(item.path, MAX_BYTES))
                except OSError as error:
                    raise DatasetImageError(
                        f"image {str(item.path)!r} of the old data: {error.strerror}."
                    ) from error
                rows.append((name, item.label, item.lesion_id, item.patient_id or "", part))
        head = ("image", "label", "lesion_id", "patient_id", "part")
        width = len(head) - (old is None)
        staged.add(TABLE, _csv([row[:width] for row in (head, *rows)]))
        reasons = [(escape_cell(each.case_id), escape_cell(each.reason)) for each in left]
        staged.add(LEFT_OUT, _csv([("case", "reason"), *reasons]))


def _png(data: bytes, max_pixels: int) -> bytes:
    """The pixels alone: what else a file says of its patient or camera is left behind."""
    buffer = io.BytesIO()
    Image.fromarray(read_image(data, max_pixels=max_pixels).pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _csv(rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
