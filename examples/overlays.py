"""Draw images beside their Grad-CAM overlays, as in the README's picture.

Usage: python examples/overlays.py OUT.jpg [IMAGE ...]     (two shipped samples without images)
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from skinxai import Classifier, Explanation, Prediction, samples

SIZE, GAP, TITLE = (420, 315), 8, 30


def row(prediction: Prediction, explanation: Explanation) -> Image.Image:
    """The image, the overlay beside it, and what the model says above."""
    width, height = SIZE
    picture = Image.new("RGB", (2 * width + GAP, height + TITLE), "white")
    shown = "  ".join(f"{code} {value:.2f}" for code, value in prediction.top(3))
    title = f"{Path(prediction.source).stem}   {shown}   {prediction.decision or ''}"
    draw = ImageDraw.Draw(picture)
    draw.text((2, 5), title, fill="black", font=ImageFont.load_default(size=17))
    parts = (Image.fromarray(explanation.pixels), explanation.overlay())
    for column, part in enumerate(parts):
        small = part.resize(SIZE, Image.Resampling.LANCZOS)
        picture.paste(small, (column * (width + GAP), TITLE))
    return picture


def main(out: str, *images: str) -> None:
    classifier = Classifier.from_pretrained()
    pairs = classifier.stream(images or samples.paths()[:2], explain="gradcam")
    rows = [row(prediction, explanation) for prediction, explanation in pairs]
    width, height = rows[0].size
    picture = Image.new("RGB", (width, len(rows) * (height + GAP) - GAP), "white")
    for place, each in enumerate(rows):
        picture.paste(each, (0, place * (height + GAP)))
    picture.save(out, quality=88)


if __name__ == "__main__":
    main(*sys.argv[1:])
