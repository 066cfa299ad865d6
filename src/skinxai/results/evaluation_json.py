"""What reads the fields of an `Evaluation` from JSON, by their annotations."""

from collections.abc import Mapping
from typing import Any

from skinxai.labels import LabelSet
from skinxai.results.comparison import Comparison, McNemar, PairedFigure
from skinxai.results.cross_validation import FoldResult, OutOfFold
from skinxai.results.figures import CalibrationBin, Figure, Gap, RocPoint, Subgroup
from skinxai.results.hard_case import HardCase
from skinxai.results.json_values import (
    Reader,
    by_name,
    exactly,
    from_plain,
    label_set,
    many,
    number,
    or_none,
)
from skinxai.results.malignancy import Decisions, Malignancy, NetBenefit, Tally
from skinxai.results.seen import SeenImages
from skinxai.results.selective_answers import ScoreComparison, SelectiveAnswers

_WORDS: dict[Any, Reader] = {
    str: exactly(str),
    str | None: or_none(exactly(str)),
    int: exactly(int),
    float: number,
    bool: exactly(bool),
    tuple[str, ...]: many(exactly(str)),
}
_FIGURE = from_plain(Figure, _WORDS)
_FIGURES = _WORDS | {Figure: _FIGURE, Mapping[str, Figure]: by_name(_FIGURE)}
_MALIGNANCY = from_plain(
    Malignancy, _FIGURES | {tuple[NetBenefit, ...]: many(from_plain(NetBenefit, _FIGURES))}
)
_DECISIONS = from_plain(Decisions, _FIGURES | {Tally: from_plain(Tally, _FIGURES)})
_SELECTIVE = from_plain(
    SelectiveAnswers,
    _FIGURES | {
        tuple[tuple[float, float], ...]: many(many(number)),
        Mapping[str, ScoreComparison]: by_name(from_plain(ScoreComparison, _FIGURES)),
    },
)  # fmt: skip
_SEEN = from_plain(SeenImages, _WORDS)
_COMPARISON = from_plain(
    Comparison,
    _WORDS | {
        Mapping[str, PairedFigure]: by_name(from_plain(PairedFigure, _FIGURES)),
        McNemar: from_plain(McNemar, _WORDS),
        SeenImages: _SEEN,
    },
)  # fmt: skip
_OUT_OF_FOLD = from_plain(OutOfFold, {tuple[FoldResult, ...]: many(from_plain(FoldResult, _WORDS))})
READERS: Mapping[Any, Reader] = _FIGURES | {
    SeenImages: _SEEN,
    LabelSet: label_set,
    tuple[tuple[int, ...], ...]: many(many(exactly(int))),
    Mapping[str, tuple[tuple[float, float], ...]]: by_name(many(many(number))),
    tuple[CalibrationBin, ...]: many(from_plain(CalibrationBin, _FIGURES)),
    Mapping[str, RocPoint]: by_name(from_plain(RocPoint, _FIGURES)),
    Malignancy | None: or_none(_MALIGNANCY),
    Mapping[str, Decisions]: by_name(_DECISIONS),
    SelectiveAnswers | None: or_none(_SELECTIVE),
    tuple[Subgroup, ...]: many(from_plain(Subgroup, _FIGURES)),
    tuple[Gap, ...]: many(from_plain(Gap, _FIGURES)),
    Comparison | None: or_none(_COMPARISON),
    OutOfFold | None: or_none(_OUT_OF_FOLD),
    tuple[HardCase, ...]: many(from_plain(HardCase, _WORDS)),
}
"""What reads a field of `Evaluation`, by its annotation."""
