"""The models of the repository are what their cards, the README and the log say."""

import csv
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from safetensors.numpy import load

from skinxai import Classifier, samples
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.opening import BUNDLED


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_second_model_of_the_repository() -> None:
    """Its figures in README and card are those of the log; it calibrates its members' mean."""
    folder = ROOT / "models/skinxai-ham10000-ensemble"
    ensemble = Classifier.from_pretrained(folder, device="cpu")
    path = samples.paths()[0]
    found = ensemble.predict(path)
    mean = np.zeros((1, len(ensemble.labels)))
    for member in ensemble.config.members:
        loaded = Classifier.from_pretrained(folder / member.folder, device="cpu")._loaded
        own = Classifier(replace(loaded, calibration=None)).predict(path)
        mean += member.weight * np.array([own.probabilities[code] for code in ensemble.labels])
    calibrated = ensemble.calibration.one_view.scaling(mean)[0]
    assert list(found.probabilities.values()) == pytest.approx(calibrated, abs=1e-9)
    lines = [
        f"{member.weight!r} {sha256(folder / member.folder / 'model.safetensors')}\n"
        for member in ensemble.config.members
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    rows = list(csv.DictReader((ROOT / "training/test_openings.csv").read_text().splitlines()))
    own = {row["views"]: row for row in rows if row["weights_sha256"] == digest}
    readme = (ROOT / "README.md").read_text()
    for figure in ("accuracy", "balanced_accuracy", "macro_f1"):
        shown = f"{float(own['one view'][figure]):.3f}"
        assert shown in ensemble.card and shown in readme
        assert f"{float(own['four flips'][figure]):.3f}" in readme
    assert ensemble.trained_on == Classifier.from_pretrained().trained_on
    assert ensemble.trained_on.without_fingerprint == 0


def test_the_validation_figures_of_the_ensembles_page() -> None:
    """Both folders keep the answers for all validation images, as their reference for drift."""
    page = " ".join((ROOT / "docs/how-to/ensemble.md").read_text().split())
    told = [
        r"On these (\d+) images it has accuracy (\S+), balanced accuracy (\S+) and macro-F1 (\S+);",
        r"the (bundled) network alone has (\S+), (\S+) and (\S+)\.",
    ]
    for words, folder in zip(told, ("models/skinxai-ham10000-ensemble", "bundled"), strict=True):
        loaded = read_model_folder(BUNDLED if folder == "bundled" else ROOT / folder)
        arrays = load(loaded.files["reference.safetensors"])
        rows, labels = arrays["probabilities"], arrays["labels"]
        own = metrics_of(confusion_matrix(labels, rows.argmax(axis=1), rows.shape[1]))
        found = re.search(words, page)
        assert found is not None and found[1] in (str(len(labels)), "bundled")
        figures = (own.accuracy, own.balanced_accuracy, own.macro_f1)
        assert found.groups()[1:] == tuple(f"{figure:.3f}" for figure in figures)
        assert len(labels) == json.loads(loaded.files["calibration.json"])["images"]


def test_the_bundled_models_neighbours() -> None:
    """A training lesion's own place is found again; a file of at most 2 MB has all lesions."""
    classifier = Classifier.from_pretrained(device="cpu")
    path = ROOT / "src/skinxai/bundled/neighbours.safetensors"
    assert path.stat().st_size <= 2_000_000
    assert len(classifier.neighbours) == 5248
    found = classifier.nearest(list(samples.paths()), k=5)
    assert [len(each) for each in found] == [5] * 4
    labels = [[lesion.label for lesion in each] for each in found]
    assert labels[0].count("mel") >= 3 and labels[3].count("nv") == 5  # a melanoma, a nevus
    assert all(0 <= n.distance < 1 and n.path is None for each in found for n in each)
