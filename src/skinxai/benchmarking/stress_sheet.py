"""A picture of a stress test: one row for each artefact."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from skinxai.artefacts import Artefact
from skinxai.benchmarking.stress_sample import StressSample
from skinxai.classifier import Classifier
from skinxai.data.records import Record, Records
from skinxai.images.limits import MAX_PIXELS
from skinxai.results import Prediction
from skinxai.results.drawing import overlay

PANEL = (240, 180)
"""Width and height into which each picture is fitted."""
GAP, LINE, BARS, INK, SOFT = 8, 17, 250, (20, 20, 20), (120, 120, 120)
PAGE = 3 * (PANEL[0] + GAP) + BARS + GAP
"""Width of the whole picture."""
BEFORE, AFTER = (176, 190, 204), (59, 110, 165)
CLASSES = 4


def stress_sheet(
    classifier: Classifier,
    records: Records,
    masks: str | os.PathLike[str] | None = None,
    *,
    artefacts: Sequence[str] | None = None,
    method: str = "gradcam",
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Draw each artefact at its greatest strength on one image: image, changed, map, answers.

    Each row shows another image of the sample that `stress_test` takes with the same seed, in its
    order: none is picked for what the model says of it.

    Args:
        classifier: any model.
        records: as in `stress_test`.
        masks: as there.
        artefacts: as there.
        method: of the maps.
        seed: as there.
        max_pixels: as there.

    Returns:
        An RGB picture with a row for each artefact that can be drawn on any image, or a sentence
        where there is none.
    """
    sample = StressSample.of(
        records, None if masks is None else Path(masks), artefacts, lesions=None, seed=seed,
        max_pixels=max_pixels,
    )  # fmt: skip
    strongest = {each.name: each for each in sample.artefacts}
    rows = []
    left = list(sample.items)
    for artefact in strongest.values():
        for item in left:
            image, mask = sample.read(item)
            if artefact.needs_mask and mask is None:
                continue
            made = artefact(image.pixels, mask, image_id=item.image_id, seed=seed)
            if made is not None:
                rows.append(
                    _row(classifier, item, artefact, image.pixels, made.pixels, method, max_pixels)
                )
                left = [each for each in left if each is not item] or list(sample.items)
                break
    if not rows:
        page = Image.new("RGB", (PAGE, LINE + 2 * GAP), "white")
        words = "None of the artefacts can be drawn on any of the images."
        ImageDraw.Draw(page).text((GAP, GAP), words, INK, ImageFont.load_default(13))
        return page
    page = Image.new("RGB", (PAGE, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        page.paste(row, (0, sum(each.height for each in rows[:number])))
    return page


def _row(
    classifier: Classifier, item: Record, artefact: Artefact, pixels: npt.NDArray[np.uint8],
    changed: npt.NDArray[np.uint8], method: str, max_pixels: int,
) -> Image.Image:  # fmt: skip
    before, after = classifier.predict([pixels, changed], max_pixels=max_pixels, progress=False)
    (found,) = classifier.explain([changed], method, max_pixels=max_pixels, progress=False)
    panels = [(Image.fromarray(pixels), f"{item.path.stem[:26]}, {item.label}"),
              (Image.fromarray(changed), str(artefact))]  # fmt: skip
    if found.heatmap is not None:
        panels.append((overlay(changed, found.heatmap, 0.5), f"{method} of {found.target}"))
    width, height = PANEL
    page = Image.new("RGB", (PAGE, height + LINE + 2 * GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, (picture, title) in enumerate(panels):
        x = GAP + number * (width + GAP)
        draw.text((x, 2), title, INK, font)
        picture.thumbnail(PANEL, Image.Resampling.LANCZOS)
        page.paste(picture, (x, LINE + 4))
    _draw_bars(draw, (GAP + 3 * (width + GAP), 2), before, after, font)
    return page


def _draw_bars(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], before: Prediction, after: Prediction,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:  # fmt: skip
    """Probabilities of the classes that either answer has most of, and the decisions."""
    x, y = place
    either = {code: max(before.probabilities[code], after.probabilities[code])
              for code in before.probabilities}  # fmt: skip
    top = sorted(either, key=lambda code: -either[code])[:CLASSES]
    draw.text((x, y), "probability before and after", SOFT, font)
    for code in top:
        y += 2 * LINE - 2
        draw.text((x, y), code, INK, font)
        for step, (answer, colour) in enumerate(((before, BEFORE), (after, AFTER))):
            value, line = answer.probabilities[code], y + step * 13
            draw.rectangle((x + 60, line, x + 60 + round(140 * value), line + 10), colour)
            draw.text((x + 66 + round(140 * value), line - 3), f"{100 * value:.0f}%", INK, font)
    if before.decision is not None:
        draw.text((x, y + 2 * LINE), f"{before.decision}, then {after.decision}", INK, font)
