"""Answers of a model that does not exist, drawn from one distribution, or from a shifted one."""

import numpy as np

from skinxai.results import Observation
from skinxai.trust.reference_sample import QUALITY, ReferenceSample

WIDE, CLASSES = 24, 4
MODEL = "drawn@000000000000"


def answers(
    count: int, draws: np.random.Generator, *, embedding: float = 0.0, sharpness: float = 0.0,
    classes: tuple[float, ...] = (0.2, 0.8, 1.5, 4.0), copies: int = 1, model: str = MODEL,
) -> list[Observation]:  # fmt: skip
    """Answers; each lesion has ``copies`` images that hardly differ."""
    found = []
    for _ in range(-(-count // copies)):
        vector, rows = draws.normal(embedding, 1, WIDE), draws.dirichlet(classes)
        quality, colours = draws.normal(size=len(QUALITY)), draws.normal(size=12)
        quality[QUALITY.index("blurred")] += sharpness
        quality[QUALITY.index("overexposed")] = 0.0  # a tie of all images
        quality[QUALITY.index("border")] = draws.integers(0, 3)  # ties of many
        score = draws.beta(3, 4)
        for _ in range(copies):
            jitter = draws.normal(0, 0.01 if copies > 1 else 0)
            found.append(
                Observation(
                    model, rows, (vector + jitter).astype(np.float32),
                    dict(zip(QUALITY, map(float, quality + jitter), strict=True)),
                    (colours + jitter).astype(np.float32), float(score), "routine",
                )
            )  # fmt: skip
    return found[:count]


def sample(count: int, seed: int = 0, *, copies: int = 1) -> ReferenceSample:
    """A reference; its labels are those of the top classes, of all but every fifth image."""
    drawn = answers(count, np.random.default_rng(seed), copies=copies)
    tops = [int(each.probabilities.argmax()) for each in drawn]
    labels = [(top + (k % 5 == 0)) % CLASSES for k, top in enumerate(tops)]
    lesions = [f"lesion {k // copies}" for k in range(count)]
    return ReferenceSample.fit(drawn, labels, lesions, axes=8)
