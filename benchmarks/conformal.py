"""Do conformal sets hold the true class as often as asked for, and how large are they?

The validation lesions of HAM10000 are split in halves 200 times: one half calibrates, the other is
judged. Coverage is compared with its beta-binomial band, which is exact where each lesion has one
image: with n calibration lesions and rank k = ⌈(n + 1) · coverage⌉, the number of m new lesions
whose set holds the true class is beta-binomial with (m, k, n + 1 − k). So each split has one image
of each lesion, drawn anew ("one image"); the same splits with all images, where each lesion has
the weight 1 ("all images, by lesion") or each image has ("all images, alike"), stand beside it.
Another 200 splits calibrate on four fifths of the lesions, for set sizes nearer to those of all.
Where each class has its own threshold, each class of each split is compared with its own band::

    python benchmarks/conformal.py HAM10000_FOLDER --out benchmarks/results/conformal.json

``--test`` also judges the sets that the model ships with on the test part: once, after everything
has been chosen, with a row for it in ``training/test_openings.csv``. ``--keep FOLDER``
keeps the probabilities, so that a second run does not predict again; ``--count 0`` leaves the
figures of the validation part as they are.
"""

import argparse
import functools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import betabinom

from skinxai import Classifier
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.selective import better_than_top_probability, risk_coverage
from skinxai.trust.conformal import Conformal
from skinxai.trust.uncertainty import entropy

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "training"))

from frozen_split import frozen_split, split_sha256, without_copies  # noqa: E402

FOLDER = ROOT / "src/skinxai/bundled"
METHODS = ("lac", "aps", "raps")
COVERAGES = (0.8, 0.9, 0.95)
SCHEMES = ("one image", "all images, by lesion", "all images, alike")
LEVEL = 0.95


def predicted(classifier: Classifier, part, keep: Path | None, name: str) -> np.ndarray:
    """Probabilities that are not calibrated."""
    path = keep and keep / f"{classifier.config.name}-{name}.npy"
    if path and path.exists():
        return np.load(path)
    plain = Classifier(replace(classifier._loaded, calibration=None))
    found = plain.predict([item.path for item in part], progress=True)
    rows = np.array([list(item.probabilities.values()) for item in found])
    if path:
        np.save(path, rows)
    return rows


def by_lesion(lesions: np.ndarray) -> np.ndarray:
    """Weights of images: each lesion has 1."""
    _, place, sizes = np.unique(lesions, return_inverse=True, return_counts=True)
    return 1 / sizes[place]


@functools.cache
def band(lesions: int, judged: int, coverage: float) -> tuple[float, float]:
    """Shares between which 95 % of splits lie; everything where calibration is too small."""
    rank = int(np.ceil((lesions + 1) * coverage - 1e-9))
    if rank > lesions or not judged:
        return 1.0, 1.0
    law = betabinom(judged, rank, lesions + 1 - rank)
    return law.ppf((1 - LEVEL) / 2) / judged, law.ppf((1 + LEVEL) / 2) / judged


def one_of_each(rows: np.ndarray, lesions: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """One image of each lesion, at random."""
    shuffled = draws.permutation(rows)
    return shuffled[np.unique(lesions[shuffled], return_index=True)[1]]


def study(
    rows: np.ndarray,
    target: np.ndarray,
    lesions: np.ndarray,
    codes: list,
    count: int,
    share: float = 0.5,
    schemes: tuple = SCHEMES,
) -> list:
    """Means over splits in which this share of the lesions calibrates."""
    names, found = np.unique(lesions), {}
    for split in range(count):
        draws = np.random.default_rng(split)
        half = np.isin(lesions, draws.permutation(names)[: round(share * len(names))])
        halves = [np.flatnonzero(half), np.flatnonzero(~half)]
        single = [one_of_each(part, lesions, draws) for part in halves]
        for scheme in schemes:
            own, new = single if scheme == "one image" else halves
            groups = None if scheme == "all images, alike" else lesions[own].tolist()
            weights = by_lesion(lesions[new])
            for method in METHODS:
                for each in (False, True):
                    fitted = Conformal.fit(
                        rows[own],
                        target[own],
                        method=method,
                        class_conditional=each,
                        lesions=groups,
                    )
                    for coverage in COVERAGES:
                        sets = fitted.sets(rows[new], coverage)
                        key = (scheme, method, each, coverage)
                        found.setdefault(key, []).append(
                            judged(
                                sets, target[new], weights, fitted, coverage, own, target, lesions
                            )
                        )
    return [summary(key, splits, codes) for key, splits in found.items()]


def judged(sets, truth, weights, fitted, coverage, own, target, lesions) -> dict:
    """Of one split; the band is of each class where each class has its own threshold."""
    hit, classes = sets[np.arange(len(truth)), truth], sets.shape[1]
    members = [truth == k for k in range(classes)]
    share = [np.average(hit[m], weights=weights[m]) if m.any() else np.nan for m in members]
    covered = np.average(hit, weights=weights)
    if fitted.class_conditional:
        calibrating = [len(np.unique(lesions[own][target[own] == k])) for k in range(classes)]
        sizes = [(n, round(weights[m].sum())) for n, m in zip(calibrating, members, strict=True)]
        found = [
            (at, *band(*size, coverage)) for at, size in zip(share, sizes, strict=True) if size[1]
        ]
    else:
        calibrating = len(np.unique(lesions[own]))
        found = [(covered, *band(calibrating, round(weights.sum()), coverage))]
    return {
        "coverage": covered,
        "below": np.mean([at < low - 1e-9 for at, low, _ in found]),
        "above": np.mean([at > high + 1e-9 for at, _, high in found]),
        "size": np.average(sets.sum(axis=1), weights=weights),
        "alone": np.average(sets.sum(axis=1) == 1, weights=weights),
        "classes": share,
        "always": len(fitted.always(coverage)),
    }


def summary(key: tuple, splits: list[dict], codes: list) -> dict:
    scheme, method, each, coverage = key

    def mean(name: str):
        return np.nanmean([split[name] for split in splits], axis=0).round(4).tolist()

    return {
        "calibration": scheme,
        "method": method,
        "class_conditional": each,
        "asked": coverage,
        "coverage": mean("coverage"),
        "in the band": round(1 - mean("below") - mean("above"), 4),
        "below the band": mean("below"),
        "above the band": mean("above"),
        "mean set size": mean("size"),
        "sets of one class": mean("alone"),
        "coverage of each class": dict(zip(codes, mean("classes"), strict=True)),
        "classes in every set": mean("always"),
    }


def on_test(classifier: Classifier, test: tuple, codes: list) -> list:
    """Coverage and size of the shipped sets, each with a 95 % interval by lesions."""
    rows, truth, groups = test
    shipped, found, weights = classifier.calibration.one_view, [], by_lesion(groups)
    for coverage in COVERAGES:
        sets = shipped.conformal.sets(shipped.scaling(rows), coverage)
        hit, size = sets[np.arange(len(truth)), truth], sets.sum(axis=1)

        def statistic(n, hit=hit, size=size):
            overall = (hit[n], size[n], size[n] == 1)
            figures = [np.average(v, weights=weights[n]) for v in overall]
            for k in range(len(codes)):
                of_class = n[truth[n] == k]
                figures.append(hit[of_class].mean() if len(of_class) else np.nan)
            return np.array(figures)

        values = statistic(np.arange(len(truth)))
        low, high = clustered_bootstrap(statistic, groups.tolist(), resamples=500)
        names = ["coverage", "mean set size", "sets of one class", *codes]
        each_row = np.stack([values, low, high], axis=1).round(4).tolist()
        found.append({"asked": coverage} | dict(zip(names, each_row, strict=True)))
    return found


def scores_compared(rows: np.ndarray, target: np.ndarray, lesions: np.ndarray) -> dict:
    """Does another score of the same probabilities find wrong answers better than the top one?"""
    ranked, right, found = np.sort(rows, axis=1), rows.argmax(axis=1) == target, {}
    top = ranked[:, -1]
    for name, scores in (
        ("top probability", top),
        ("entropy", -entropy(rows)),
        ("top minus second", top - ranked[:, -2]),
    ):
        curve = risk_coverage(scores, right)
        difference = better_than_top_probability(scores, top, right, lesions.tolist()).difference
        found[name] = {
            "AURC": round(curve.aurc, 4),
            "excess AURC": round(curve.excess_aurc, 4),
            "accuracy at 80 %": round(curve.accuracy_at(0.8), 4),
            "AURC minus that of the top probability": [
                round(v, 4) for v in (difference.value, difference.low, difference.high)
            ],
        }
    return found


def truth_of(part, codes: list) -> tuple[np.ndarray, np.ndarray]:
    """Class positions and lesions."""
    target = np.array([codes.index(item.label) for item in part])
    return target, np.array([item.lesion_id for item in part])


def log_opening(classifier: Classifier, rows, target, lesions) -> dict[str, float]:
    """Note, before a figure is shown, that the test part's diagnoses were read.

    Returns:
        What the probabilities are worth that are not calibrated.
    """
    from open_test import append, digest_of

    evaluation = evaluate_probabilities(
        target,
        rows,
        lesions.tolist(),
        classifier.config.labels,
        model=classifier.model,
        data="test",
    )
    append("one view, conformal sets", digest_of(FOLDER), split_sha256(), evaluation)
    return {
        "expected calibration error": round(evaluation.expected_calibration_error.value, 4),
        "Brier score": round(evaluation.brier_score.value, 4),
    }


def table(rows: list[dict]) -> str:
    lines = [f"{'calibration':22} {'method':12} asked  cover  in band  below  above  size  alone"]
    for row in rows:
        name = row["method"] + (", classes" if row["class_conditional"] else "")
        lines.append(
            f"{row['calibration']:22} {name:13} {row['asked']:.2f}  {row['coverage']:.3f}"
            f"   {row['in the band']:.3f}   {row['below the band']:.3f}"
            f"  {row['above the band']:.3f}  {row['mean set size']:.2f}  "
            f"{row['sets of one class']:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--test", action="store_true")
    asked = parser.parse_args()
    splits = frozen_split(asked.root)
    val, test = without_copies(splits.val), without_copies(splits.test)
    classifier = Classifier.from_pretrained(FOLDER)
    codes = list(classifier.labels)
    rows = predicted(classifier, val, asked.keep, "val")
    target, lesions = truth_of(val, codes)
    results = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    if asked.count:
        results |= {
            "model": classifier.model,
            "images": len(rows),
            "lesions": len(np.unique(lesions)),
            "accuracy": round(float((rows.argmax(axis=1) == target).mean()), 4),
            "splits": asked.count,
            "scores of the validation images": scores_compared(rows, target, lesions),
            "halves": study(rows, target, lesions, codes, asked.count),
            "four fifths calibrate": study(
                rows, target, lesions, codes, asked.count, 0.8, SCHEMES[1:2]
            ),
        }
        print(json.dumps(results["scores of the validation images"], indent=1))
        print(table(results["halves"] + results["four fifths calibrate"]))
    if asked.test:
        new = predicted(classifier, test, asked.keep, "test")
        truth, groups = truth_of(test, codes)
        results["test, not calibrated"] = log_opening(classifier, new, truth, groups)
        results["test"] = on_test(classifier, (new, truth, groups), codes)
        print(json.dumps(results["test"], indent=1))
    asked.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
