"""How much of a model's answers is left where camera, light or storage are others?

Images of the validation part of HAM10000, classes in turn, are stored at several qualities,
blurred, made noisy, and shifted in colour and light, as ``skinxai.artefacts`` does; and the same
pictures are asked at two sizes. The test part is not read. Writes ``robustness.json`` and
``robustness.md``::

    python benchmarks/robustness.py HAM10000_FOLDER SAMPLES_600x450 [--model MODEL_FOLDER]
        [--lesions 140] [--backend openvino] [--out benchmarks/results]
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resolutions import same_answers

from skinxai import Classifier
from skinxai.benchmarking import stress_test
from skinxai.data import Records
from skinxai.results import Figure, StressTest

ROOT = Path(__file__).parent.parent
SHIFTS = ("colour cast", "hue", "exposure", "uneven light", "noise", "blur", "JPEG", "WebP")
"""What another camera, another light or another program does to the same skin."""
HEADS = (
    "shift", "strength", "labels kept", "Δ p(true class)", "balanced accuracy",
    "Δ balanced accuracy", "to abstain",
)  # fmt: skip


@dataclass(frozen=True)
class Robustness:
    """What was measured of one model.

    Args:
        shifts: the answers to the changed images.
        sizes: what `resolutions.same_answers` says; empty where it was not asked.
    """

    shifts: StressTest
    sizes: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"sizes": dict(self.sizes), "shifts": self.shifts.to_dict()}

    def to_markdown(self) -> str:
        """The table, and what it is of."""
        found = self.shifts
        lines = [HEADS, ("---",) * len(HEADS), *map(_cells, found.rows)]
        text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        text += (
            f"\n{found.images} images of {found.lesions} lesions of {found.data}, classes in turn; "
            f"95 % intervals from a bootstrap over lesions.\n"
        )
        if self.sizes:
            mean = self.sizes["mean absolute difference of a probability"]
            text += (
                f"\nThe same picture at two sizes: {self.sizes['same top label']} of "
                f"{self.sizes['images']} labels stay; the mean absolute difference of a "
                f"probability is {mean:.3f}.\n"
            )
        return text


def _cells(row: Any) -> tuple[str, ...]:
    kept = Figure(1 - row.top_class.value, 1 - row.top_class.high, 1 - row.top_class.low)
    return (
        row.artefact, f"{row.strength}: {row.meaning}", _shown(kept, _percent),
        _shown(row.true_class, _signed),
        f"{row.balanced_before.value:.2f} → {row.balanced_after.value:.2f}",
        _shown(row.balanced_change, _signed), _shown(row.abstained, _percent),
    )  # fmt: skip


def _shown(figure: Figure, write: Callable[[float], str]) -> str:
    if math.isnan(figure.value):
        return "–"
    return f"{write(figure.value)} ({write(figure.low)} to {write(figure.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def _signed(value: float) -> str:
    shown = f"{value:+.2f}".replace("-", "−")
    return "0.00" if shown in ("+0.00", "−0.00") else shown


def measure(
    classifier: Classifier,
    records: Records,
    *,
    pair: tuple[Path, Path] | None = None,
    lesions: int = 140,
    progress: bool = True,
    resamples: int = 2000,
) -> Robustness:
    """Ask a model about changed images and, if there are any, about the same ones at two sizes.

    Args:
        classifier: any model.
        records: labelled images that took no part in training.
        pair: folder of images, and HAM10000 at another size, as in `resolutions.same_answers`.
        lesions: most lesions; classes take turns, so that rare ones count.
        progress: whether a bar is shown.
        resamples: of the bootstrap.
    """
    shifts = stress_test(
        classifier, records, artefacts=SHIFTS, lesions=lesions, maps=0, progress=progress,
        resamples=resamples,
    )  # fmt: skip
    return Robustness(shifts, same_answers(classifier, *pair) if pair else {})


def main() -> None:
    sys.path.append(str(ROOT / "training"))
    from frozen_split import frozen_split, without_copies

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--lesions", type=int, default=140)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    given = parser.parse_args()
    classifier = Classifier.from_pretrained(given.model, backend=given.backend)
    found = measure(
        classifier, without_copies(frozen_split(given.data).val),
        pair=(given.samples, given.data), lesions=given.lesions,
    )  # fmt: skip
    values = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    (given.out / "robustness.json").write_text(values + "\n")
    (given.out / "robustness.md").write_text(found.to_markdown())
    print(found.to_markdown())


if __name__ == "__main__":
    main()
