"""Maps of a calibrated model are judged by the probabilities that it returns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import BASE, coloured

from skinxai import Classifier, Trainer
from skinxai.assessment.faithfulness import deletion_and_insertion
from skinxai.benchmarking import benchmark_explainers, read_rows
from skinxai.explainers.baselines import baseline
from skinxai.images.transforms import evaluation_transform

pytestmark = pytest.mark.usefixtures("small_networks")
WRONG = {"red": "green", "green": "blue", "blue": "red"}


def test_curves_follow_the_calibrated_probability(tmp_path: Path) -> None:
    parts = [coloured(tmp_path / name, 8, 7 + k) for k, name in enumerate(("train", "val"))]
    settings = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 3}
    Trainer(**settings, output_dir=tmp_path / "run").fit(*parts)
    others = coloured(tmp_path / "others", 12, 0)
    mixed = tuple(
        replace(item, label=WRONG[item.label]) if k % 3 == 0 else item
        for k, item in enumerate(others)
    )
    plain = Classifier.from_pretrained(tmp_path / "run")
    calibrated = plain.calibrate(replace(others, items=mixed))
    temperature = calibrated.calibration.one_view.scaling.temperature
    assert not 0.8 < temperature < 1.25  # else both scores would be nearly the same
    judged = replace(others, items=others.items[:2])
    (masks := tmp_path / "masks").mkdir()
    for item in judged:
        with Image.open(item.path) as image:
            inside = np.zeros(image.size[::-1], np.uint8)
        inside[4:9, 4:9] = 255
        Image.fromarray(inside).save(masks / f"{item.path.stem}_segmentation.png")
    benchmark_explainers(
        calibrated, judged, masks, tmp_path / "out", methods=["gradcam"], progress=False,
        lesions=2, stratified=2, checked=0, steps=4,
    )  # fmt: skip
    rows = [row for row in read_rows(tmp_path / "out") if row["method"] == "uniform"]
    paths = {item.image_id: item.path for item in judged}
    assert len(rows) == 2
    for row in rows:
        preprocessing = calibrated.config.preprocessing
        pixels = np.asarray(Image.open(paths[row["image"]]))
        image = torch.from_numpy(evaluation_transform(pixels, preprocessing))
        place = calibrated.labels.index(row["target"])
        curves = {}
        for name, divisor in (("calibrated", temperature), ("plain", 1.0)):

            def score(batch, divisor=divisor, place=place):
                return (plain.network(batch).double() / divisor).softmax(dim=1)[:, place]

            curves[name] = deletion_and_insertion(
                score, image, baseline(image[None], "mean")[0],
                np.ones(image.shape[1:], np.float32), steps=4, seed=0,
            )  # fmt: skip
        assert row["deletion, mean"] == pytest.approx(curves["calibrated"].deletion, abs=1e-5)
        assert row["insertion, mean"] == pytest.approx(curves["calibrated"].insertion, abs=1e-5)
        assert abs(row["deletion, mean"] - curves["plain"].deletion) > 1e-3
