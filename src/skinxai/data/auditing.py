"""`audit`: find what would make figures from a split wrong, before training."""

import os
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any

from skinxai.data.associations import telling_columns
from skinxai.data.claims import ordered
from skinxai.data.hashing import check_ids
from skinxai.data.near_duplicates import Fingerprint, find_pairs, fingerprint
from skinxai.data.prepared import changed_files
from skinxai.data.records import Record, Records
from skinxai.data.shards import REMEDY
from skinxai.data.splits import PARTS, Splits, check_splits, in_two_parts
from skinxai.data.stored_prints import StoredPrints
from skinxai.errors import OptionError, SkinxaiError
from skinxai.images.limits import MAX_PIXELS, check_max_pixels
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.plain_text import agreeing
from skinxai.progress import watched
from skinxai.results import AuditedPair, AuditReport, Finding, SeenImages

FEW_LESIONS = 10


def audit(
    splits: Splits,
    *,
    trained_on: TrainedOn | Container[str] = (),
    not_copies: Collection[str] = (),
    progress: bool | None = None,
    max_pixels: int = MAX_PIXELS,
) -> AuditReport:
    """Audit a split for overlaps, duplicates, leak columns, rare classes and unreadable files.

    Reads every image. Ten thousand images of 320×240 take some minutes on two cores. Below 20,000
    images the time of the search for duplicates grows with the square of their number; from there
    on like n log n, by an approximate search, which loses some pairs. The fingerprints of the
    images lie in a temporary file, up to 46 kB for each image.

    Args:
        splits: the split to audit; it may be one whose leakage was allowed.
        trained_on: the images that the starting weights were trained on: a model's `TrainedOn`,
            or any container of hashes of `skinxai.data.pixel_hash`. Only images outside the
            training part are reported. A `TrainedOn` with fingerprints also finds copies that
            were re-encoded, resized, turned or cropped.
        not_copies: ids of images that look like copies of these training images but are not.
        progress: ``True`` or ``False``; ``None`` shows bars on a terminal.
        max_pixels: largest number of pixels of an image that is decoded.

    Raises:
        OutputError: if there is no room for the temporary file.
        OptionError: if ``splits`` are none, or an argument is outside its rule.
    """
    check_splits(splits, "audit()")
    max_pixels = check_max_pixels(max_pixels)
    _check_hashes(trained_on)
    parts = {name: getattr(splits, name) for name in PARTS}
    items = [(name, item) for name in PARTS for item in parts[name]]
    findings = [
        *_overlaps(parts),
        *_columns(items, splits.train.labels),
        *_classes(parts),
        *_lesions([item for _, item in items]),
        *_left_out(splits),
        *_changed(parts.values()),
    ]
    check_ids(not_copies, [item for _, item in items])
    with StoredPrints() as prints:
        looks, unreadable = _read([item for _, item in items], prints, progress, max_pixels)
        known = [place for place, look in enumerate(looks) if look is not None]
        found = find_pairs(
            prints,
            [items[place][1].lesion_id for place in known],
            progress=lambda loop, name, total: _bar(loop, name, progress, total),
        )
    if unreadable:
        findings.append(
            Finding("unreadable", "error", f"cannot be read: {_some(unreadable)}", len(unreadable))
        )
    judged = {
        items[place][1].image_id: look
        for place, look in enumerate(looks)
        if look is not None and items[place][0] != "train"
    }
    findings += _seen(trained_on, judged, not_copies, progress)
    pairs = tuple(
        _audited(items[known[pair.first]], items[known[pair.second]], pair) for pair in found
    )
    findings += _pair_findings(pairs)
    order = {"error": 0, "warning": 1}
    findings.sort(key=lambda finding: order[finding.severity])
    counts = {name: len(part) for name, part in parts.items()}
    return AuditReport(splits.train.name, counts, tuple(findings), pairs)


def _check_hashes(trained_on: object) -> None:
    """Refuse what no image would be found in, such as a model's name or names of files."""
    if isinstance(trained_on, str | bytes) or not isinstance(trained_on, Container):
        raise OptionError(
            f"trained_on must be a model's TrainedOn or a set of pixel hashes, got "
            f"{trained_on!r:.80}; a Classifier has it as its attribute trained_on."
        )
    if isinstance(trained_on, Collection) and not isinstance(trained_on, TrainedOn):
        TrainedOn.from_hashes(trained_on)


def _overlaps(parts: dict[str, Records]) -> list[Finding]:
    found = []
    for kind, key in (("lesion", "lesion_id"), ("patient", "patient_id")):
        if names := in_two_parts(parts.values(), key):
            message = f"in more than one part: {_some(names)}"
            found.append(Finding(f"shared {kind}", "error", message, len(names)))
    return found


def _columns(items: list[tuple[str, Record]], labels: LabelSet) -> list[Finding]:
    once = {item.image_id: item for _, item in items}
    found = telling_columns(Records(tuple(once.values()), labels))
    if not found:
        return []
    message = (
        f"{agreeing(len(found), 'column that gives', 'columns that give')} the label away: "
        f"{'; '.join(map(str, found))}. Leave them out of the table; where one says how or where "
        f"images were taken, the images may give it away too"
    )
    return [Finding("leak column", "error", message, len(found))]


def _classes(parts: dict[str, Records]) -> list[Finding]:
    found = []
    for name, part in parts.items():
        lesions = {
            code: len({i.lesion_id for i in part if i.label == code}) for code in part.labels
        }
        absent = [code for code, count in lesions.items() if not count]
        few = [f"{code} ({count})" for code, count in lesions.items() if 0 < count < FEW_LESIONS]
        if absent and len(part):
            severity = "error" if name == "train" else "warning"
            message = f"without an image in the {name} part: {_some(absent)}"
            found.append(Finding("class", severity, message, len(absent)))
        if few:
            message = f"of fewer than {FEW_LESIONS} lesions in the {name} part: {_some(few)}"
            found.append(Finding("class", "warning", message, len(few)))
    return found


def _lesions(items: Iterable[Record]) -> Iterator[Finding]:
    """Lesion ids that stand for several lesions, such as numbers that begin anew for each patient.

    Their images would be one lesion in every interval, and in what is missed by lesion.
    """
    patients: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    for item in items:
        patients.setdefault(item.lesion_id, set()).update({item.patient_id or ""} - {""})
        labels.setdefault(item.lesion_id, set()).add(item.label)
    for what, of, remedy in (
        ("patients", patients, "; name each lesion by patient and number if the ids begin anew "
                               "for each patient"),
        ("labels", labels, ""),
    ):  # fmt: skip
        if names := [f"{n} ({len(own)})" for n, own in sorted(of.items()) if len(own) > 1]:
            message = (
                f"{agreeing(len(names), 'lesion', 'lesions')} whose images are of several {what}: "
                f"{_some(names)}{remedy}"
            )
            yield Finding("lesion", "warning", message, len(names))


def _left_out(splits: Splits) -> list[Finding]:
    if not splits.left_out:
        return []
    count = splits.left_out
    images = agreeing(count, "image of the data set is", "images of the data set are")
    message = f"{images} in no part, so neither learnt from nor judged on"
    return [Finding("left out", "warning", message, count)]


def _changed(parts: Iterable[Records]) -> Iterator[Finding]:
    """Originals, which the audit reads, that are not what was prepared and is learnt."""
    if names := sorted({name for part in parts for name in changed_files(part)}):
        message = (
            f"{agreeing(len(names), 'original file has', 'original files have')} changed since the "
            f"folder was prepared, and training reads what was prepared: {_some(names)}; {REMEDY}"
        )
        yield Finding("changed", "error", message, len(names))


def _seen(
    trained_on: TrainedOn | Container[str], looks: Mapping[str, Look], not_copies: Collection[str],
    progress: bool | None,
) -> Iterator[Finding]:  # fmt: skip
    """Images outside the training part that the starting weights were trained on."""
    if isinstance(trained_on, TrainedOn):
        seen = trained_on.seen(looks, not_copies=not_copies, progress=progress)
    else:
        exact = tuple(name for name, look in looks.items() if look.digest in trained_on)
        seen = SeenImages(exact)
    if names := list(seen.exact):
        message = f"the starting weights were trained on these pixels: {_some(names)}"
        yield Finding("trained on", "error", message, len(names))
    if names := list(seen.copies):
        look = agreeing(len(names), "looks like a copy", "look like copies")
        message = f"{look} of what the starting weights were trained on: {_some(names)}"
        yield Finding("copy", "error", message, len(names))
    for note in seen.notes:
        yield Finding("copy", "warning", note, len(looks))


def _read(
    items: list[Record], prints: StoredPrints, progress: bool | None, max_pixels: int
) -> tuple[list[Look | None], list[str]]:
    """What each image is recognised by; the fingerprints of those that can be read are added."""
    unreadable: list[str] = []

    def one(item: Record) -> tuple[Look, Fingerprint] | None:
        try:
            pixels = read_image(item.path, max_pixels=max_pixels).pixels
        except SkinxaiError as error:
            unreadable.append(f"{item.image_id} ({error.code})")
            return None
        found = fingerprint(pixels)
        return Look.at(pixels, found.digest), found

    looks: list[Look | None] = []
    read = ordered(one, items, workers=os.cpu_count() or 1)
    for each in _bar(read, "read", progress, len(items)):
        looks.append(None if each is None else each[0])
        if each is not None:
            prints.append(each[1])
    return looks, sorted(unreadable)


def _audited(first: tuple[str, Record], second: tuple[str, Record], pair: Any) -> AuditedPair:
    return AuditedPair(
        first[1].image_id,
        second[1].image_id,
        (first[0], second[0]),
        (first[1].label, second[1].label),
        pair.kind,
        round(pair.similarity, 3),
        pair.keypoints,
    )


def _pair_findings(pairs: tuple[AuditedPair, ...]) -> list[Finding]:
    found = []
    for kind, across_severity in (("identical", "error"), ("near", "warning")):
        own = [pair for pair in pairs if pair.kind == kind]
        across = [pair for pair in own if pair.parts[0] != pair.parts[1]]
        other = [pair for pair in own if pair.labels[0] != pair.labels[1]]
        what = "the same pixels" if kind == "identical" else "what looks like the same skin"
        if across:
            start = f"{_pairs(len(across))} of different lesions with {what} in two parts"
            message = f"{start}: {_ids(across)}"
            found.append(Finding(kind, across_severity, message, len(across)))
        if inside := len(own) - len(across):
            message = f"{_pairs(inside)} of different lesions with {what} within one part"
            found.append(Finding(kind, "warning", message, inside))
        if other:
            message = f"{_pairs(len(other))} with {what} and different labels: {_ids(other)}"
            found.append(Finding(kind, "warning", message, len(other)))
    return found


def _pairs(count: int) -> str:
    return agreeing(count, "pair", "pairs")


def _ids(pairs: list[AuditedPair]) -> str:
    return _some([f"{pair.image_id} and {pair.other_id}" for pair in pairs])


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _bar(loop: Iterable[Any], name: str, progress: bool | None, total: int | None = None) -> Any:
    return watched(loop, total, progress, "", name)
