"""Numbers with their nouns: one place decides between ``1 image`` and ``2 images``."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import skinxai
from skinxai.plain_text import agreeing, counted

ROOT = Path(skinxai.__file__).parent
SHARE_OR_LIMIT = re.compile(
    r"^ of (the |its )?$|(at (most|least)|fewer than|each of|each of its|each|\d to) $"
)
"""Before the total of a share (``1 of 40 images``), and before a limit, which is never 1."""
AT_LEAST_TWO = {
    "checkpoints/optional_parts.py": "classes",
    "checkpoints/importing.py": "classes",
    "cli/reports.py": "len(sources)",
    "data/assembling.py": "len(self._problems)",
    "data/splits.py": "k len(lesions)",
    "experiments/cross_validating.py": "len(runs)",
    "explainers/attention.py": "prefix",
    "monitoring/drift_picture.py": "last.window",
    "monitoring/drift_tests.py": "window",
    "monitoring/monitor.py": "reference.classes",
    "monitoring/timeline.py": "self.last.window",
    "predicting/dropout.py": "count",
    "probing/linear_probe.py": "number",
    "reporting/case_words.py": "len(report.prediction.labels)",
    "reporting/model_cards.py": "len(facts.labels)",
    "training/beginning.py": "ranks.count",
    "training/joining.py": "launch.count launch.beside",
    "training/launch.py": "count",
    "training/loop.py": "row['images_per_second']",  # 1.0
    "training/validation.py": "parts",
    "trust/calibration.py": "classes",
    "trust/conformal.py": "len(self.counts)",
    "trust/reference_sample.py": "classes",
    "assessment/faithfulness.py": "len(levels)",
}
"""File → values that are never 1 where they are shown, such as numbers of classes or of ranks."""
WORDS = {
    "benchmarking/lesion_masks.py": "MASK.format('IMAGE')",
    "checkpoints/importing.py": "architecture",
    "images/arrays.py": "what",
    "probing/frozen_features.py": "what",
    "probing/probed.py": "self.k",
    "results/seen.py": "many",
    "training/data_checks.py": "what",
}
"""File → values that are no number of what follows."""


def trees() -> Iterator[tuple[str, list[ast.AST]]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), list(ast.walk(ast.parse(path.read_text())))


def is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) in names


def nouns() -> set[str]:
    """Last words of all nouns that `counted` is asked for, in the plural."""
    calls = [node for _, nodes in trees() for node in nodes if is_call(node, "counted")]
    texts = [call.args[1].value for call in calls if isinstance(call.args[1], ast.Constant)]
    return {counted(2, text).split()[-1] for text in texts}


def text_before(values: list[ast.expr], place: int) -> str:
    before = values[place - 1] if place else None
    return str(before.value) if isinstance(before, ast.Constant) else ""


def uncounted() -> Iterator[tuple[str, str, str]]:
    """File, value and text of each f-string that sets a value before a noun without `counted`."""
    noun = re.compile(rf" ((?!(of|in|for|to|and|has|needs) )[a-z]+ )?({'|'.join(nouns())})\b")
    for name, nodes in trees():
        for node in nodes:
            values = node.values if isinstance(node, ast.JoinedStr) else []
            for place, (value, text) in enumerate(pairwise(values)):
                if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                    continue
                shown = ast.unparse(value.value)
                if (
                    noun.match(text.value)
                    and value.conversion == -1
                    and not shown.isupper()
                    and not is_call(value.value, "agreeing")
                    and not SHARE_OR_LIMIT.search(text_before(values, place))
                ):
                    yield name, shown, text.value


def test_every_number_before_a_noun_is_counted() -> None:
    known = {
        (name, value)
        for table in (AT_LEAST_TWO, WORDS)
        for name, values in table.items()
        for value in values.split(" ")
    }
    found = {(name, value): text for name, value, text in uncounted()}
    assert {key: text for key, text in found.items() if key not in known} == {}
    assert known <= found.keys()


@pytest.mark.parametrize(
    ("count", "noun", "shown"),
    [
        (1, "image", "1 image"), (2, "image", "2 images"), (0, "image", "0 images"),
        (1, "network pass", "1 network pass"), (3, "network pass", "3 network passes"),
        (1, "class", "1 class"), (7, "class", "7 classes"),
    ],
)  # fmt: skip
def test_a_number_with_its_noun(count: int, noun: str, shown: str) -> None:
    assert counted(count, noun) == shown
    assert agreeing(count, "is", "are") == ("is" if count == 1 else "are")
