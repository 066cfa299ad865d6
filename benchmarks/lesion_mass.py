"""How much of a Grad-CAM map lies inside the lesion, beside maps that never saw the image?

One image of each of 200 lesions of the test part, whole and as an off-centre crop. The lesion is
a mask drawn by experts; no diagnosis is read. The blind maps are a uniform one and a Gaussian in
the middle with a quarter of each side as its deviation. Mirrored images show how far maps are
shifted by the network itself::

    python benchmarks/lesion_mass.py HAM10000_FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from skinxai import Classifier, read_image
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.data import Splits, load_ham10000

ROOT = Path(__file__).parent.parent
LESIONS, WINDOW = 200, 0.6


def chosen(root: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Lesion, pixels and mask of one image for each of the first 200 lesions, shuffled once."""
    test = Splits.from_csv(ROOT / "training/splits.csv", load_ham10000(root)).test
    first = {item.lesion_id: item for item in reversed(test)}
    order = np.random.default_rng(0).permutation(sorted(first))
    found = []
    for item in (first[lesion] for lesion in order):
        pixels = read_image(item.path).pixels
        path = root / f"HAM10000_segmentations_lesion_tschandl/{item.image_id}_segmentation.png"
        if path.exists() and len(found) < LESIONS:
            with Image.open(path) as mask:
                size = pixels.shape[1::-1]
                found.append((item.lesion_id, pixels, np.asarray(mask.resize(size)) > 0))
    return found


def off_centre(pixels: np.ndarray, mask: np.ndarray, corner: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of 60 % of each side with the lesion towards one of the four corners."""
    starts = []
    for axis in (0, 1):
        size = mask.shape[axis]
        window = round(WINDOW * size)
        centre = np.nonzero(mask)[axis].mean()
        wanted = centre - (0.25 if corner >> axis & 1 else 0.75) * window
        starts.append(slice(start := int(np.clip(wanted, 0, size - window)), start + window))
    return pixels[tuple(starts)], mask[tuple(starts)]


def gaussian(shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.exp(-8 * (y[:, None] ** 2 + x**2))


def centroid(weights: np.ndarray) -> np.ndarray:
    """Centre of mass as shares of height and width."""
    height, width = weights.shape
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return np.array([weights.sum(1) @ y, weights.sum(0) @ x]) / weights.sum()


def study(classifier: Classifier, pictures: list) -> dict:
    found = classifier.explain([pixels for _, pixels, _ in pictures], progress=True)
    rows, lesions = [], []
    for (lesion, _, mask), explanation in zip(pictures, found, strict=True):
        heatmap = explanation.heatmap
        if heatmap.sum() > 0 and mask.any():
            maps = (heatmap, np.ones(mask.shape), gaussian(mask.shape))
            rows.append([(m * mask).sum() / m.sum() for m in maps])
            lesions.append(lesion)
    values = np.array(rows)
    table = np.column_stack([values, values[:, 0] - values[:, 1], values[:, 0] - values[:, 2]])
    low, high = clustered_bootstrap(lambda n: table[n].mean(axis=0), lesions)
    names = ("gradcam", "uniform", "gaussian", "gradcam - uniform", "gradcam - gaussian")
    shares = {
        name: [round(float(v), 3) for v in (table[:, k].mean(), low[k], high[k])]
        for k, name in enumerate(names)
    }
    return {
        "share of the map inside the lesion: mean, low and high end of 95 %": shares,
        "images": len(lesions),
        "maps without mass": len(pictures) - len(lesions),
    }


def mirror_shift(classifier: Classifier, pictures: list) -> dict:
    """Half the way from the mirrored image's map, mirrored back, to the image's own map.

    A network that treats both sides alike has 0; what is left does not come from the picture.
    """
    images = [pixels for _, pixels, _ in pictures]
    labels = [prediction.label for prediction in classifier.predict(images)]
    shifts = []
    for axis in (0, 1):
        mirrored = [np.flip(pixels, axis) for pixels in images]
        pairs = zip(
            classifier.explain(images, target=labels),
            classifier.explain(mirrored, target=labels),
            strict=True,
        )
        ways = [
            (centroid(own.heatmap) - centroid(np.flip(other.heatmap, axis)))[axis] / 2
            for own, other in pairs
            if own.heatmap.any() and other.heatmap.any()
        ]
        shifts.append(round(float(np.mean(ways)), 3))
    return dict(zip(("down", "right"), shifts, strict=True))


def main(root: Path) -> None:
    classifier = Classifier.from_pretrained()
    whole = chosen(root)
    corners = np.random.default_rng(1).integers(0, 4, len(whole))
    crops = [(n, *off_centre(p, m, c)) for (n, p, m), c in zip(whole, corners, strict=True)]
    results = {
        "model": classifier.model,
        "whole images": study(classifier, whole),
        "off-centre crops": study(classifier, crops),
        "shift of maps by mirroring, shares of the sides": mirror_shift(classifier, whole),
    }
    text = json.dumps(results, indent=2)
    (Path(__file__).parent / "results/lesion_mass.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
