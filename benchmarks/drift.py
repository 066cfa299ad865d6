"""Whether drift is found, how soon, and how often there is a false alarm.

On the validation part of HAM10000, by the bundled network, whose weights have learnt none of these
images. Each reference is of some lesions, with temperature and novelty fitted on them alone; each
stream is of others::

    python benchmarks/drift.py HAM10000_FOLDER CACHE_FOLDER

The network is asked once for each disturbance; its answers are kept in CACHE_FOLDER. Writes
results/drift.json.
"""

import csv
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from drift_answers import DISTURBED, Answers, Calibrated, asked

from skinxai import Classifier
from skinxai.data import Splits, load_ham10000
from skinxai.monitoring import DriftMonitor, Timeline
from skinxai.monitoring.accuracy import (
    average_confidence,
    average_thresholded_confidence,
    difference_of_confidences,
)
from skinxai.monitoring.change_points import ChangePoints
from skinxai.monitoring.drift_picture import drawn
from skinxai.monitoring.drift_tests import DriftTests
from skinxai.monitoring.stretches import LOOKS
from skinxai.results import Observation
from skinxai.results.drawing import encode_png
from skinxai.trust.reference_sample import Columns, ReferenceSample

ROOT = Path(__file__).parent
COPIES = {"ISIC_0024408", "ISIC_0027559", "ISIC_0027932"}  # as in training/build_calibration.py
HELD, SEED = 0.4, 7
WINDOW, RATE, RATES = 100, 0.01, (0.01, 0.05)
WINDOWS = (50, WINDOW)
SPLITS, SHUFFLES, STREAMS, DRAWN, ONSET = 8, 6, 10, 50, 100
SHOWN, PICTURED = "blur, slight", 200
Array = np.ndarray


class Stream(NamedTuple):
    """Images that come, with which of them are right."""

    seen: list[Observation]
    right: Array

    def of(self, chosen: Array) -> "Stream":
        return Stream([self.seen[k] for k in chosen], self.right[chosen])


def stream_of(model: Calibrated, answers: Answers) -> Stream:
    return Stream(model.observed(answers), answers.rows.argmax(axis=1) == answers.labels)


def reference_of(answers: Answers) -> tuple[Calibrated, ReferenceSample]:
    model, seen = Calibrated.on(answers)
    made = ReferenceSample.fit(seen, answers.labels.tolist(), answers.lesions.tolist())
    return model, made


def parted(lesions: Array, share: float, draws: np.random.Generator) -> tuple[Array, Array]:
    """Places of some lesions' images, and of all others."""
    names = np.array(list(dict.fromkeys(lesions)))
    chosen = set(names[draws.permutation(len(names))[: int(len(names) * share)]])
    inside = np.array([lesion in chosen for lesion in lesions])
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def shuffled(lesions: Array, draws: np.random.Generator) -> Array:
    """All places, whole lesions in random order."""
    numbers = np.unique(lesions, return_inverse=True)[1]
    return np.argsort(draws.random(numbers.max() + 1)[numbers], kind="stable")


def looks(tests: DriftTests, seen: list[Observation]) -> Iterator[tuple[int, dict[str, float]]]:
    """Number of images by then, and the p-value of each test, as a monitor looks."""
    plan = tests.plan
    for end in range(plan.window, len(seen) + 1, plan.stride):
        rows = tests.rows(Columns.of(seen[end - plan.window : end]))
        yield end, {row.test: row.p_value for row in rows}


def false_alarms(answers: Answers) -> list[dict[str, Any]]:
    """Of undisturbed images: many splits into a reference and a stream."""
    counted: dict[tuple[int, float], list[tuple[int, int]]] = {}
    by_test: dict[tuple[int, float], Counter[str]] = {}
    for split in range(SPLITS):
        draws = np.random.default_rng([SEED, split])
        held, known = parted(answers.lesions, HELD, draws)
        model, reference = reference_of(answers.of(known))
        others = answers.of(held)
        stream = stream_of(model, others)
        for window in WINDOWS:
            tests = DriftTests(reference, window, min(RATES))
            alarmed = {rate: 0 for rate in RATES}
            stretches = 0
            for _ in range(SHUFFLES):
                seen = stream.of(shuffled(others.lesions, draws)).seen
                found = [p for _, p in looks(tests, seen)][1:]  # the first look is alone
                for start in range(0, len(found) - LOOKS + 1, LOOKS):
                    stretches += 1
                    for rate in RATES:
                        tests_of = {
                            name
                            for each in found[start : start + LOOKS]
                            for name, p_value in each.items()
                            if p_value <= rate
                        }
                        alarmed[rate] += bool(tests_of)
                        by_test.setdefault((window, rate), Counter()).update(tests_of)
            for rate in RATES:
                counted.setdefault((window, rate), []).append((alarmed[rate], stretches))
        print(f"split {split + 1} of {SPLITS}", {k: v[-1] for k, v in counted.items()}, flush=True)
    return [
        {"window": window, "stated": rate, **_rate(np.array(pairs)),
         "tests": dict(by_test[window, rate].most_common())}
        for (window, rate), pairs in counted.items()
    ]  # fmt: skip


def _rate(pairs: Array) -> dict[str, Any]:
    """Alarmed stretches of all, with a 95 % interval over the splits."""
    draws = np.random.default_rng(SEED)
    again = pairs[draws.integers(0, len(pairs), (2000, len(pairs)))].sum(axis=1)
    low, high = np.quantile(again[:, 0] / again[:, 1], (0.025, 0.975))
    alarmed, stretches = pairs.sum(axis=0)
    return {"stretches": int(stretches), "alarmed": int(alarmed),
            "rate": float(alarmed / stretches), "low": float(low), "high": float(high),
            "splits": len(pairs)}  # fmt: skip


def found_in(
    name: str, tests: DriftTests, calm: Stream, calm_lesions: Array, changed: Stream, lesions: Array
) -> dict[str, Any]:
    """Power, delay and estimated accuracy of one kind of drift.

    Args:
        name: of it.
        tests: with a reference of other lesions.
        calm: undisturbed images of lesions that the reference has not.
        calm_lesions: of these.
        changed: images that drifted.
        lesions: of these; where they are the same as ``calm_lesions``, a stream has each once.
    """
    draws = np.random.default_rng(SEED)
    window = min(tests.plan.window, len(changed.seen))
    assert window == tests.plan.window, f"{name}: too few images"
    alarms: Counter[str] = Counter()
    powers, errors, true = 0, [], []
    for _ in range(DRAWN):
        some = changed.of(shuffled(lesions, draws)[:window])
        columns = Columns.of(some.seen)
        raised = [row.test for row in tests.rows(columns) if row.alarm]
        powers += bool(raised)
        alarms.update(raised)
        rows, known = columns.probabilities, tests.reference
        estimates = (average_confidence(rows), difference_of_confidences(rows, known),
                     average_thresholded_confidence(rows, known))  # fmt: skip
        true.append(some.right.mean())
        errors.append(np.array(estimates) - true[-1])
    delays = [_delay(tests, calm, calm_lesions, changed, lesions, draws) for _ in range(STREAMS)]
    kept = [each for each in delays if each is not None]
    reached = sorted(each for each in kept if np.isfinite(each))
    middle = float(np.median(kept)) if kept else None
    most = sorted(alarms.items(), key=lambda item: -item[1])[:3]
    of_errors = np.array(errors)
    return {
        "drift": str(name), "window": window, "images": len(changed.seen), "power": powers / DRAWN,
        "tests": {test: count / DRAWN for test, count in most},
        "delay": middle if middle is not None and np.isfinite(middle) else None,
        "found": len(reached), "streams": len(kept),
        "adwin": _adwin(calm, calm_lesions, changed, lesions, draws),
        "accuracy": float(np.mean(true)),
        "estimates": {
            key: {"bias": float(of_errors[:, k].mean()),
                  "error": float(np.abs(of_errors[:, k]).mean())}
            for k, key in enumerate(("average confidence", "difference of confidences",
                                     "thresholded confidence"))
        },
    }  # fmt: skip


def _joined(
    calm: Stream, calm_lesions: Array, changed: Stream, lesions: Array, draws: np.random.Generator
) -> list[Observation]:
    """Undisturbed images, then images of other lesions that drifted."""
    first = shuffled(calm_lesions, draws)[:ONSET]
    before = set(calm_lesions[first])
    rest = [k for k in shuffled(lesions, draws) if lesions[k] not in before]
    return calm.of(first).seen + changed.of(np.array(rest)).seen


def _delay(tests: DriftTests, *streams: Any) -> float | None:
    """Images from the onset to the first alarm; infinite without any, None where it came before."""
    for images, p_values in looks(tests, _joined(*streams)):
        if min(p_values.values()) <= RATE:
            return images - ONSET if images > ONSET else None
    return np.inf


def _adwin(*streams: Any) -> dict[str, Any]:
    """Of streams: how many have a change before the onset, and the median delay of the rest."""
    early, delays = 0, []
    for _ in range(STREAMS):
        points = ChangePoints()
        for each in _joined(*streams):
            points.add(each)
        noticed = [each.noticed for each in points.found]
        early += bool(noticed) and min(noticed) <= ONSET
        delays.append(min((n - ONSET for n in noticed if n > ONSET), default=np.inf))
    middle = float(np.median(delays))
    return {"before": early, "delay": middle if np.isfinite(middle) else None,
            "found": int(np.isfinite(delays).sum()), "streams": STREAMS}  # fmt: skip


def disturbed(
    answers: Answers, changed: dict[str, Answers], held: Array, known: Array
) -> list[Any]:
    model, reference = reference_of(answers.of(known))
    tests = DriftTests(reference, WINDOW, RATE)
    calm = answers.of(held)
    made = [("none", calm), *changed.items()]
    found = []
    for name, each in made:
        assert (each.lesions == calm.lesions).all()
        found.append(
            found_in(name, tests, stream_of(model, calm), calm.lesions, stream_of(model, each),
                     each.lesions)
        )  # fmt: skip
        print(found[-1], flush=True)
    picture(tests, stream_of(model, calm), stream_of(model, changed[SHOWN]), calm.lesions)
    return found


def picture(tests: DriftTests, calm: Stream, changed: Stream, lesions: Array) -> None:
    """What a monitor sees of undisturbed images, and of others that are disturbed."""
    monitor = DriftMonitor.of_tests(tests)
    order = shuffled(lesions, np.random.default_rng(SEED))
    first, then = order[:PICTURED], order[PICTURED : 2 * PICTURED]
    for each in calm.of(first).seen + changed.of(then).seen:
        monitor.add(each)
    shown = Timeline("skinxai-ham10000-lite1", monitor.report(), monitor.history)
    (ROOT.parent / "docs/images/drift.png").write_bytes(encode_png(drawn(shown)))


def sources(answers: Answers) -> list[Any]:
    """A reference of three sources, and the fourth."""
    found = []
    for name in sorted(set(answers.sources)):
        rest = np.flatnonzero(answers.sources != name)
        held, known = parted(answers.lesions[rest], 0.2, np.random.default_rng(SEED))
        model, reference = reference_of(answers.of(rest[known]))
        calm, other = answers.of(rest[held]), answers.of(answers.sources == name)
        tests = DriftTests(reference, 50 if len(other) < 2 * WINDOW else WINDOW, RATE)
        found.append(
            found_in(name, tests, stream_of(model, calm), calm.lesions, stream_of(model, other),
                     other.lesions)
        )  # fmt: skip
        print(found[-1], flush=True)
    return found


def main(root: Path, cache: Path) -> None:
    training = ROOT.parent / "training"
    sha256 = (training / "splits.sha256").read_text().strip()
    splits = Splits.from_csv(training / "splits.csv", load_ham10000(root), sha256=sha256)
    items = [item for item in splits.val if item.image_id not in COPIES]
    with (root / "HAM10000_source.csv").open() as file:
        origins = {row["image_id"]: row["source"] for row in csv.DictReader(file)}
    model = Classifier.from_pretrained(backend="openvino")
    cache.mkdir(parents=True, exist_ok=True)
    answers = asked(model, items, origins, cache)
    held, known = parted(answers.lesions, HELD, np.random.default_rng(SEED))
    some = [items[k] for k in held]
    warnings.simplefilter("error")
    alarms, fourth = false_alarms(answers), sources(answers)
    changed = {name: asked(model, some, origins, cache, name) for name in DISTURBED}
    report = {
        "model": model.model.split("@")[0], "part": "val", "images": len(items),
        "lesions": len(set(answers.lesions)), "window": WINDOW, "stated": RATE,
        "sources": Counter(answers.sources.tolist()),
        "disturbed": disturbed(answers, changed, held, known), "fourth_source": fourth,
        "false_alarms": alarms,
    }  # fmt: skip
    path = ROOT / "results/drift.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
