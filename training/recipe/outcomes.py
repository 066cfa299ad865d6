"""What follows from finished runs: the chosen settings, the ensemble's weights, its folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from settings import LADDER, MEMBERS

from skinxai.model_folders.ensembles import write_ensemble

FIGURE = "balanced_accuracy"
STEPS = 20  # of a weight between 0 and 1
SHIPPED_FOLDS = (0, 1)
"""Folds whose members ship: ten networks of both kinds are more than 40 MB."""


def folds_of(work: Path, name: str, folds: int) -> dict[int, Mapping[str, float]]:
    """Figures of a choice on each fold that is done."""
    paths = {n: work / "runs" / "choices" / f"{name}-{n}" / "done.json" for n in range(folds)}
    return {n: json.loads(path.read_text())["one"] for n, path in paths.items() if path.exists()}


def compare(work: Path, names: Sequence[str], folds: int) -> list[dict[str, Any]]:
    """Each choice's mean over the folds, its spread, and its gain over the base.

    The gain is of the same folds: one that was tried on a fold on which the base failed has none.
    """
    base = {fold: each[FIGURE] for fold, each in folds_of(work, "base", folds).items()}
    rows = []
    for name in ("base", *names):
        found = folds_of(work, name, folds)
        if not found:
            continue
        row: dict[str, Any] = {"choice": name, "folds": len(found)}
        for figure in ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_recall"):
            own = [each[figure] for each in found.values()]
            row[figure], row[f"{figure}_spread"] = mean(own), spread(own)
        if name != "base" and found.keys() <= base.keys():
            gains = [each[FIGURE] - base[fold] for fold, each in found.items()]
            row["gain"], row["gain_spread"] = mean(gains), spread(gains)
        rows.append(row)
    return rows


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for one value."""
    return stdev(values) if len(values) > 1 else 0.0


def choose(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that are better than the base's by more than the spread of the gain.

    At most one for each axis, the best. One fold has no spread, and chooses nothing.
    """
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        gain = row.get("gain", 0.0)
        if row["folds"] < 2 or gain <= row.get("gain_spread", 0.0) or gain <= 0:
            continue
        axis = LADDER[row["choice"]][0]
        best[axis] = max(best.get(axis, (0.0, "")), (gain, row["choice"]))
    kept: dict[str, Any] = {}
    for _, name in best.values():
        kept |= LADDER[name][1]
    return kept


def macro_log_loss(target: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over classes of the mean negative log probability of the true class."""
    own = -np.log(np.clip(probabilities[np.arange(len(target)), target], 1e-6, None))
    return float(np.mean([own[target == each].mean() for each in np.unique(target)]))


def fit_weights(target: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Weights of two networks' mean with the least macro log loss of their out-of-fold answers.

    Not by balanced accuracy: that moves in steps of single images, of which the rarest class has
    few, so that its best weight is mostly chance. The log loss is smooth, and its mean over classes
    counts each class alike.

    Args:
        target: class of each image ``(N,)``.
        answers: network → probabilities ``(N, K)``.
    """
    first, second = answers
    tried = [
        (macro_log_loss(target, w * answers[first] + (1 - w) * answers[second]), abs(w - 0.5), w)
        for w in (step / STEPS for step in range(STEPS + 1))
    ]
    weight = min(tried)[2]
    return {first: weight, second: 1 - weight}


def out_of_fold(work: Path, network: str) -> dict[str, np.ndarray]:
    """Answers of a network's members, each to the fold that it did not learn, by image id."""
    parts = [
        np.load(work / "runs" / "members" / f"{network}-{fold}" / "answers.npz")
        for fold in range(5)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}
    order = np.argsort(joined["ids"])
    return {name: values[order] for name, values in joined.items()}


def ensemble(work: Path) -> dict[str, Any]:
    """Fit the weights and write two folders: all members as the teacher, and those that ship."""
    found = {network: out_of_fold(work, network) for network in MEMBERS}
    first = found[MEMBERS[0]]
    if any((first["ids"] != each["ids"]).any() for each in found.values()):
        raise SystemExit("members of all networks must have answered the same images")
    weights = fit_weights(first["target"], {name: each["flips"] for name, each in found.items()})
    least = 0.05  # each member stays a teacher
    weights = {name: min(max(weight, least), 1 - least) for name, weight in weights.items()}
    runs = work / "runs" / "members"
    for name, folds in (("teacher", range(5)), ("ensemble", SHIPPED_FOLDS)):
        folders = [runs / f"{network}-{fold}" for network in MEMBERS for fold in folds]
        each = [weights[network] / len(folds) for network in MEMBERS for _ in folds]
        write_ensemble(work / name, folders, weights=each, name=f"skinxai-ham10000-{name}")
    from worker import figures

    mixed = sum(weights[name] * each["flips"] for name, each in found.items())
    content = {
        "weights": weights,
        "macro_log_loss": macro_log_loss(first["target"], mixed),
        "out_of_fold": figures(first["target"], mixed),
        "alone": {name: figures(first["target"], each["flips"]) for name, each in found.items()},
    }
    (work / "ensemble.json").write_text(json.dumps(content, indent=2) + "\n")
    return content
