"""What one image of a request got: an answer, or why there is none."""

import uuid
from dataclasses import dataclass
from typing import Any

from skinxai.results import ItemError, Prediction
from skinxai.serving.batching import Outcome
from skinxai.serving.problems import Problem


@dataclass(frozen=True)
class Row:
    """What one image of a request got.

    Args:
        id: of the answer, for feedback.
        prediction: the answer, as plain values; its source says which image it was.
        problem: why there is none.
    """

    id: str
    prediction: dict[str, Any] | None = None
    problem: Problem | None = None


def row_json(index: int, row: Row, kept: bool | None = None) -> dict[str, Any]:
    """One row of an answer; with ``recorded`` where the service keeps answers."""
    found: dict[str, Any] = {"id": row.id, "index": index}
    if kept is not None:
        found["recorded"] = kept
    if row.problem is not None:
        return found | {"error": row.problem.to_dict()}
    assert row.prediction is not None
    return found | row.prediction


def row_of(outcome: Outcome) -> Row:
    """A row with an id of its own, from what a batch or a decoder gave."""
    name = uuid.uuid4().hex
    if isinstance(outcome, Prediction):
        return Row(name, outcome.to_dict())
    error = outcome.error if isinstance(outcome, ItemError) else outcome
    return Row(name, problem=Problem.of(error))
