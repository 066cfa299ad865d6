"""Draw one small picture of each explanation method, as in the table of the documentation.

Usage: python examples/method_pictures.py FOLDER [METHOD ...]     (all methods without names)

The lesion is a melanoma that comes with the package, explained for the class that the bundled model
predicts. Attention methods need a transformer: their picture is of the tiny one of
`skinxai.testing`, whose class token looks at patches of strong colour.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from skinxai import Classifier, Explanation, explainers, samples
from skinxai.results.sheets import contour, smooth
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture

WIDTH = 240
ATTENTION = ("attention_rollout", "gradient_attention")


def small(explanation: Explanation, outline: bool = True) -> Image.Image:
    """The overlay, with the contour of the map's smoothed top tenth."""
    height, width = explanation.heatmap.shape
    size = WIDTH, round(WIDTH * height / width)
    overlay = explanation.overlay().resize(size, Image.Resampling.LANCZOS)
    if not outline:
        return overlay
    heatmap = Image.fromarray(explanation.heatmap).resize(size)
    border = contour(smooth(np.asarray(heatmap)))[..., None]
    return Image.fromarray(np.where(border, 255, np.asarray(overlay)).astype(np.uint8))


def main(folder: str, *methods: str) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    classifier, transformer = Classifier.from_pretrained(), colour_classifier("transformer")
    drawn = picture({"upper left": "red", "lower middle": "blue"})
    for name in methods or explainers.names():
        if name in ATTENTION:
            found = transformer.explain(drawn, name, target="red")
        else:
            found = classifier.explain(samples.paths()[0], name)
        small(found, outline=name not in ATTENTION).save(out / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
