"""`stress_test`: what erased lesions, ink, rulers and the like do to a model's answers."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.artefacts import Artefact, Changed
from skinxai.assessment.faithfulness import mass_inside
from skinxai.assessment.intervals import clustered_bootstrap, with_width
from skinxai.benchmarking.running import check_unseen
from skinxai.benchmarking.stress_sample import StressSample
from skinxai.classifier import Classifier
from skinxai.data.hashing import check_ids
from skinxai.data.records import Record, Records
from skinxai.errors import OptionError
from skinxai.images.limits import MAX_PIXELS, check_max_pixels
from skinxai.numeric import whole, whole_seed
from skinxai.plain_text import agreeing
from skinxai.progress import Progress, watched
from skinxai.results import Figure, Prediction
from skinxai.results.stress_test import Stressed, StressTest

Floats = npt.NDArray[np.float64]
FIGURES = (
    "true_class", "malignant", "top_class", "decision", "abstained", "covered", "mass", "area",
)  # fmt: skip
SHARES = ("top_class", "decision", "abstained")
BALANCED = ("balanced_before", "balanced_after", "balanced_change")
LEFT_OUT = {
    "no_mask": ("has no mask", "have no mask"),
    "no_room": ("leaves no room beside the lesion", "leave no room beside the lesion"),
}


def stress_test(
    classifier: Classifier,
    records: Records,
    masks: str | os.PathLike[str] | None = None,
    *,
    artefacts: Sequence[str] | None = None,
    method: str = "gradcam",
    lesions: int | None = 300,
    maps: int = 60,
    seed: int = 0,
    resamples: int = 2000,
    not_copies: Collection[str] = (),
    batch_size: int = 32,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = None,
) -> StressTest:
    """Measure what a model's answers lean on besides the lesion.

    Each image is changed in every way of `skinxai.artefacts.CATALOGUE`, and the answers are
    compared with that for the image itself. What is drawn on an image depends on the seed and the
    image's id alone, so that every model sees the same. Intervals are 95 % bootstraps over
    lesions.

    Args:
        classifier: any model.
        records: labelled images that took no part in training.
        masks: folder of ``IMAGE_segmentation.png``, white in the lesion. Without masks, and for
            images without one, what is erased or put beside the lesion is left out, and the
            result says so.
        artefacts: names, e.g. ``["ink", "ruler"]``; all by default.
        method: of the maps, a name in `skinxai.explainers`.
        lesions: most lesions, of all classes in turn; ``None``: all of them. All images of each
            are taken.
        maps: most images whose maps are made, the first ones; 0: none.
        seed: of the choice of lesions and of all that is drawn.
        resamples: of the bootstrap.
        not_copies: ids of images that are wrongly taken for copies of training images.
        batch_size: images in one forward pass.
        max_pixels: most pixels of an image that are decoded.
        progress: as in `skinxai.predicting.inputs.InputOptions`.

    Raises:
        OptionError: records with other labels than the model's, artefacts that need masks where
            none were given, or a number out of its range.
        UnknownNameError: no such artefact or method.
        LeakageError: images that the model says it was trained on.
        DatasetError: no images, no mask for any image, two images of one file name, which would
            share a mask, or a mask that is empty or of another shape.
        InputError: an image that cannot be read, or of less than 32 pixels.
    """
    max_pixels = check_max_pixels(max_pixels)
    codes = classifier.config.labels.codes
    if records.labels.codes != codes:
        raise OptionError(
            f"records must have the model's labels {list(codes)}, got {list(records.labels)}."
        )
    check_ids(not_copies, records)
    maps, resamples = whole("maps", maps, 0), whole("resamples", resamples)
    seed = whole_seed(seed)
    sample = StressSample.of(
        records, None if masks is None else Path(masks), artefacts, lesions=lesions, seed=seed,
        max_pixels=max_pixels,
    )  # fmt: skip
    check_unseen(classifier, sample.items, max_pixels, not_copies=not_copies)
    run = _Run(classifier, method, {"batch_size": batch_size, "max_pixels": max_pixels})
    items = watched(sample.items, len(sample.items), progress, "image")
    for number, item in enumerate(items):
        run.add(sample, item, with_maps=number < maps)
    rows = tuple(run.tallies[each].row(each, len(codes), resamples) for each in sample.artefacts)
    return StressTest(
        rows=tuple(row for row in rows if row.images),
        model=classifier.model,
        data=records.described,
        images=len(sample.items),
        lesions=len({item.lesion_id for item in sample.items}),
        method=method,
        operating_point=run.operating_point or "",
        seed=seed,
        notes=tuple(_notes(rows, sample)),
    )


def _notes(rows: Sequence[Stressed], sample: StressSample) -> Iterator[str]:
    for reason, why in LEFT_OUT.items():
        for count in sorted({getattr(row, reason) for row in rows} - {0}, reverse=True):
            own = [f"{r.artefact} ({r.strength})" for r in rows if getattr(r, reason) == count]
            said = f"{count} of {len(sample.items)} images {agreeing(count, *why)}"
            yield f"{said}, left out of: {', '.join(own)}"
    if len({item.label for item in sample.items}) < 2:
        yield "balanced accuracy is not defined: all images are of one class"


@dataclass
class _Tally:
    """Of one artefact at one strength: a value of each figure for each image."""

    values: list[list[float]] = field(default_factory=list)
    lesions: list[str] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    answers: list[tuple[int, int]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEFT_OUT, 0))
    maps: int = 0

    def row(self, artefact: Artefact, classes: int, resamples: int) -> Stressed:
        figures = {name: Figure(*3 * [float("nan")]) for name in FIGURES + BALANCED}
        if self.values:
            values = np.asarray(self.values, np.float64)
            target = np.asarray(self.targets)
            right = np.asarray(self.answers) == target[:, None]  # (N, 2), before and after

            def statistic(n: npt.NDArray[np.int64]) -> Floats:
                before, after = (_balanced(target[n], right[n, k], classes) for k in (0, 1))
                return np.append(_means(values[n]), (before, after, after - before))

            low, high = clustered_bootstrap(statistic, self.lesions, resamples=resamples)
            mean = statistic(np.arange(len(values)))
            figures = {
                name: Figure(*map(float, ends))
                for name, *ends in zip(FIGURES + BALANCED, mean, low, high, strict=True)
            }
            for name in SHARES:
                hits = values[:, FIGURES.index(name)] > 0
                figures[name] = with_width(figures[name], hits, self.lesions)
        counts = {"images": len(self.values), "lesions": len(set(self.lesions)), "maps": self.maps}
        fields: dict[str, Any] = counts | self.left_out | figures
        return Stressed(artefact.name, artefact.strength, artefact.meaning, **fields)


def _means(values: Floats) -> Floats:
    """Of the columns, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
    return found


def _balanced(target: npt.NDArray[np.int64], right: npt.NDArray[np.bool_], classes: int) -> float:
    """Mean recall over the classes that occur; NaN of a single one, whose recall it would be."""
    counts = np.bincount(target, minlength=classes)
    hits = np.bincount(target, weights=right, minlength=classes)
    occurs = counts > 0
    return float((hits[occurs] / counts[occurs]).mean()) if occurs.sum() > 1 else float("nan")


class _Run:
    """A model asked about images and their changed copies."""

    def __init__(self, classifier: Classifier, method: str, options: dict[str, Any]) -> None:
        self._classifier, self._method, self._options = classifier, method, options
        self.tallies: dict[Artefact, _Tally] = {}
        self.operating_point: str | None = None

    def add(self, sample: StressSample, item: Record, *, with_maps: bool) -> None:
        """Ask about one image and all that is made of it."""
        image, mask = sample.read(item)
        made: list[tuple[Artefact, Changed]] = []
        for artefact in sample.artefacts:
            tally = self.tallies.setdefault(artefact, _Tally())
            if artefact.needs_mask and mask is None:
                tally.left_out["no_mask"] += 1
                continue
            changed = artefact(image.pixels, mask, image_id=item.image_id, seed=sample.seed)
            if changed is None:
                tally.left_out["no_room"] += 1
            else:
                made.append((artefact, changed))
        before, *after = self._classifier.predict(
            [image.pixels, *(changed.pixels for _, changed in made)],
            progress=False,
            **self._options,
        )
        self.operating_point = before.operating_point
        maps = self._maps(made) if with_maps else {}
        for (artefact, changed), answer in zip(made, after, strict=True):
            tally, where = self.tallies[artefact], changed.where
            mass = area = covered = float("nan")
            if artefact.local and mask is not None:
                covered = float(where[mask].mean())
            if artefact in maps:
                mass, area = mass_inside(maps[artefact], where), float(where.mean())
                tally.maps += 1
            changes = change(before, answer, item.label)
            tally.values.append([*changes, covered, mass, area])
            tally.lesions.append(item.lesion_id)
            labels = self._classifier.config.labels
            tally.targets.append(labels.position(item.label))
            tally.answers.append((labels.position(before.label), labels.position(answer.label)))

    def _maps(self, made: Sequence[tuple[Artefact, Changed]]) -> dict[Artefact, Any]:
        """Of what is somewhere in the image, the map of the class that is answered."""
        local = [(artefact, changed.pixels) for artefact, changed in made if artefact.local]
        if not local:
            return {}
        found = self._classifier.explain(
            [pixels for _, pixels in local], self._method, progress=False, **self._options
        )
        return {
            artefact: each.heatmap
            for (artefact, _), each in zip(local, found, strict=True)
            if each.heatmap is not None
        }


def change(before: Prediction, after: Prediction, label: str) -> list[float]:
    """The first five of `FIGURES`, of one image.

    Args:
        before: the answer for the image.
        after: the answer for the changed image.
        label: its true class.
    """
    nan = float("nan")
    malignant = decision = abstained = nan
    if before.malignant_probability is not None and after.malignant_probability is not None:
        malignant = after.malignant_probability - before.malignant_probability
    if before.decision is not None:
        decision = float(after.decision != before.decision)
        abstained = float(after.decision == "abstain" != before.decision)
    return [
        after.probabilities[label] - before.probabilities[label],
        malignant,
        float(after.label != before.label),
        decision,
        abstained,
    ]
