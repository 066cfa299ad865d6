"""What conformal sets are made of, and what is refused before any set is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skinxai.errors import DatasetLabelError, InputShapeError, ModelConfigError, OptionError
from skinxai.labels import MAX_CLASSES
from skinxai.plain_text import counted
from skinxai.trust.nonconformity import METHODS, MILLION
from skinxai.trust.probability_rows import Floats

if TYPE_CHECKING:
    from skinxai.trust.conformal import Conformal

MAX_IMAGES = 1_000_000
MAX_PENALTY = 100.0


def exact_share(coverage: float) -> Fraction:
    """The coverage as the decimal number that was written: 0.9 is nine tenths."""
    if isinstance(coverage, bool) or not isinstance(coverage, int | float | np.floating):
        raise OptionError(f"coverage must be a number in (0, 1), got {coverage!r:.40}.")
    if not 0 < float(coverage) < 1:
        percent = f"; did you mean {coverage / 100:g}?" if 1 < coverage < 100 else "."
        raise OptionError(f"coverage must be in (0, 1), got {coverage!r}{percent}")
    return Fraction(repr(float(coverage)))


def class_positions(target: npt.ArrayLike, rows: Floats) -> npt.NDArray[np.int64]:
    """One class position for each row, as int64.

    Raises:
        InputShapeError: not one for each row.
        DatasetLabelError: values that are no class positions.
    """
    truth = np.asarray(target)
    if truth.shape != (len(rows),):
        raise InputShapeError(
            f"target must have one class for each of {len(rows)} rows, got the shape {truth.shape}."
        )
    if truth.dtype.kind not in "iu" or not ((truth >= 0) & (truth < rows.shape[1])).all():
        raise DatasetLabelError(
            f"target must be class positions, integers from 0 to {rows.shape[1] - 1}, got "
            f"{np.unique(truth)[:8].tolist()} of type {truth.dtype}."
        )
    return truth.astype(np.int64)


def check_penalty(
    error: type[OptionError] | type[ModelConfigError], penalty: Any, free: Any, classes: int
) -> None:
    """Refuse numbers of RAPS outside their rule, with the error of whoever gave them."""
    number = type(penalty) in (int, float) and 0 <= penalty <= MAX_PENALTY
    if not number or type(free) is not int or not 0 <= free <= classes:
        raise error(
            f"penalty must be a number from 0 to {MAX_PENALTY:g} and free_classes an integer from "
            f"0 to {classes}, got {penalty!r:.40} and {free!r:.40}."
        )


def check_layout(values: object, known: set[str]) -> None:
    """Refuse JSON of other keys, or with anything but lists where lists belong.

    Raises:
        ModelConfigError: such a value.
    """
    if not isinstance(values, Mapping) or set(values) != known:
        given = sorted(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
        raise ModelConfigError(
            f"conformal sets must be an object with the keys {sorted(known)}, got {given!r:.200}."
        )
    lists = [values["counts"]]
    for name in ("scores", "lesion_sizes"):
        lists += [values[name], *(values[name] if isinstance(values[name], list) else [])]
    if not all(isinstance(each, list) for each in lists):
        raise ModelConfigError(
            "counts of conformal sets must be a list, scores and lesion_sizes lists of lists."
        )


def check_parts(found: Conformal) -> None:
    """Refuse a file whose parts do not fit together: its sets would be of another coverage."""
    if found.method not in METHODS or type(found.class_conditional) is not bool:
        raise ModelConfigError(
            f"conformal sets must have a method of {list(METHODS)} and class_conditional true or "
            f"false, got {found.method!r:.40} and {found.class_conditional!r:.40}."
        )
    numbers = (found.counts, *found.scores, *found.lesion_sizes)
    if not all(type(n) is int and 0 <= n < 2**48 for part in numbers for n in part):
        raise ModelConfigError(
            "counts, scores and lesion_sizes of conformal sets must be integers >= 0."
        )
    classes, total = len(found.counts), sum(found.counts)
    if not 2 <= classes <= MAX_CLASSES or not 1 <= total <= MAX_IMAGES:
        raise ModelConfigError(
            f"counts of conformal sets must be of 2 to {MAX_CLASSES} classes and 1 to {MAX_IMAGES} "
            f"images, got {counted(classes, 'class')} and {counted(total, 'image')}."
        )
    check_penalty(ModelConfigError, found.penalty, found.free_classes, classes)
    if found.method != "raps" and (found.penalty or found.free_classes):
        raise ModelConfigError(f"penalty and free_classes must be 0 for {found.method}.")
    lengths = found.counts if found.class_conditional else (total,)
    for name, parts in (("scores", found.scores), ("lesion_sizes", found.lesion_sizes)):
        if tuple(map(len, parts)) != lengths:
            raise ModelConfigError(
                f"{name} of conformal sets must have {list(lengths)[:20]} entries, as counts says, "
                f"got {[len(part) for part in parts][:20]}."
            )
    highest = MILLION + 1000 + round(found.penalty * classes * MILLION)
    for part in found.scores:
        if any(a > b for a, b in pairwise(part)) or max(part, default=0) > highest:
            raise ModelConfigError(
                f"scores of conformal sets must ascend and be at most {highest} millionths."
            )
    for part in found.lesion_sizes:
        if broken := [size for size, n in Counter(part).items() if size < 1 or n % size]:
            raise ModelConfigError(
                f"lesion_sizes of conformal sets must count whole lesions: {broken[0]} stands "
                f"there {counted(Counter(part)[broken[0]], 'time')}."
            )
