"""`predictions`: images to results, lazily and in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from skinxai.memory import in_batches
from skinxai.predicting.inputs import InputOptions, Look, Prepared, prepared_batches
from skinxai.predicting.network_passes import Answer
from skinxai.predicting.predictor import Predictor
from skinxai.results import ItemError, Prediction, Uncertainty
from skinxai.results.observation import Monitor

Doubts = Callable[[Sequence[Prepared]], Sequence[Uncertainty | None]]
"""What gives the uncertainty of each of N >= 1 images, in the place of the passes' own."""


def predictions(
    predictor: Predictor[Any], images: Iterable[Any], options: InputOptions, *, tta: bool = False,
    look: Look | None = None, doubts: Doubts | None = None, monitor: Monitor | None = None,
) -> Iterator[Prediction | ItemError]:  # fmt: skip
    """Predict lazily, in order; memory holds one batch."""

    def answered(some: Sequence[Prepared]) -> list[Answer]:
        found = predictor.predict(some, tta=tta)
        if doubts is None:
            return found
        return [
            replace(each, uncertainty=own) for each, own in zip(found, doubts(some), strict=True)
        ]

    for batch in prepared_batches(
        images, predictor.preprocessings, options, look=look, measured=predictor.measured
    ):
        items = [item for item in batch if isinstance(item, Prepared)]
        answers: dict[int, Answer] = {}
        if items:
            found = in_batches(items, answered)
            answers = {item.index: answer for item, answer in zip(items, found, strict=True)}
        for item in batch:
            if not isinstance(item, Prepared):
                yield item
                continue
            made = predictor.prediction(item, answers[item.index], options)
            if monitor is not None and isinstance(made, Prediction):
                monitor.add(predictor.observation(item, answers[item.index], made))
            yield made
