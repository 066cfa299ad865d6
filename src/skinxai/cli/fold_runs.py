"""``skinxai train --folds``: the cross-validation that it begins or goes on with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from skinxai.cli.evaluations import in_words
from skinxai.cli.saying import note, tell
from skinxai.plain_text import agreeing, counted

if TYPE_CHECKING:
    from skinxai.data import Records, Splits
    from skinxai.experiments import CrossValidation


def folded(records: Records, splits: Path | None, seed: int) -> Records | Splits:
    """What is folded: all images, or those of the train and validation part of a split."""
    from skinxai.data import Splits, given_split
    from skinxai.data.given import names_parts

    if splits is not None:
        parts = Splits.from_csv(splits, records)
        what = str(splits)
    elif names_parts(records):
        parts = given_split(records, seed)
        what = "the data's own split"
    else:
        return records
    note(
        f"the folds are made of the train and validation part of {what}; its "
        f"{counted(len(parts.test), 'test image')} {agreeing(len(parts.test), 'is', 'are')} not "
        f"looked at"
    )
    return parts


def report(found: CrossValidation) -> None:
    """Where the models are, how they do on the images they have not learnt, and what is next."""
    results = found.evaluation.out_of_fold
    assert results is not None  # of every cross-validation
    for each in results.folds:
        tell(
            f"fold {each.fold:<6} {each.model}: balanced accuracy {each.balanced_accuracy:.3f}, "
            f"macro-F1 {each.macro_f1:.3f}, accuracy {each.accuracy:.3f}; epoch {each.epoch}"
        )
    mean, deviation = results.spread("macro_f1")
    tell(f"out-of-fold {in_words(found.evaluation)}")
    tell(
        f"spread      macro-F1 {mean:.3f} ± {deviation:.3f} over "
        f"{counted(len(results.folds), 'fold')}"
    )
    tell(f"page        {found.page}")
    tell(f"table       {found.table}")
    tell(f"ensemble    {found.ensemble}")
    tell(f"next        skinxai predict IMAGE --model {shlex.quote(str(found.ensemble))}")
