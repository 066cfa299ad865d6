"""Results as pandas tables. Nothing else in this room imports pandas."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pandas as pd

from skinxai.errors import OptionError
from skinxai.results.doubts import Novelty, Uncertainty
from skinxai.results.prediction import ItemError, Prediction

_DOUBTS = {"novelty": Novelty, "uncertainty": Uncertainty}


def to_frame(results: Iterable[Prediction | ItemError]) -> pd.DataFrame:
    """Predictions as a table for analysis, one row for each image, in order.

    Args:
        results: of `Classifier.predict` or `Classifier.stream`, of one label set.

    Returns:
        Columns ``source``, ``label``, ``probability``, ``p_CODE`` for each class in label order,
        ``malignant_probability``, ``model``, ``backend``, ``warnings`` (a list), ``error_code`` and
        ``error``, and of calibrated models ``calibrated_on``, ``operating_point``, ``decision``,
        ``reasons`` (a list), ``quality`` (a dict), ``novelty_score``, ``novelty_refused`` and
        ``prediction_set`` (a list, coverage 0.9). ``uncertainty_total`` and the other fields of
        `Uncertainty` have a column each. An `ItemError` has its code in ``error_code``, its
        sentence in ``error`` and no value in the columns of an answer.

    Raises:
        OptionError: predictions of several label sets.
    """
    rows: list[dict[str, Any]] = []
    codes: tuple[str, ...] = ()
    for each in results:
        if isinstance(each, ItemError):
            rows.append(each.to_dict())
            continue
        own = tuple(each.probabilities)
        if codes and own != codes:
            raise OptionError(
                f"results must be of one label set, got {list(codes)} and {list(own)}; make a "
                f"table of each."
            )
        codes = own
        row = each.to_dict()
        row |= {f"p_{code}": value for code, value in row.pop("probabilities").items()}
        for name in _DOUBTS:
            row |= {f"{name}_{key}": value for key, value in (row.pop(name) or {}).items()}
        rows.append(row)
    doubts = (f"{name}_{each.name}" for name, kind in _DOUBTS.items() for each in fields(kind))
    columns = [
        "source", "label", "probability", *(f"p_{code}" for code in codes),
        "malignant_probability", "calibrated_on", "operating_point", "decision", "reasons",
        "quality", *doubts, "prediction_set", "model", "backend", "warnings", "error_code",
        "error",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
