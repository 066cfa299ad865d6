"""`StressTest`: how a model's answers change when something that is no lesion changes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from skinxai.plain_text import counted, markdown
from skinxai.results.figures import Figure
from skinxai.results.json_values import Reader, exactly, from_plain, many, number, to_plain


@dataclass(frozen=True)
class Stressed:
    """What one artefact at one strength did; each figure is a mean over images.

    Args:
        artefact: its name, e.g. ``"ruler"``.
        strength: e.g. ``"paper"``.
        meaning: what was done, in words.
        images: on which it was put.
        lesions: of how many lesions they are.
        no_mask: images left out because they have no mask of the lesion.
        no_room: images left out because the lesion leaves no room.
        true_class: change of the probability of the true class, −1 to 1.
        malignant: change of the malignant probability; NaN where no class is declared malignant.
        top_class: share of the images whose top class is another one.
        decision: share of those whose decision is another one; NaN of a model without operating
            points.
        abstained: share of those whose decision became ``"abstain"``.
        balanced_before: balanced accuracy of these images without the artefact.
        balanced_after: with it.
        balanced_change: after less before.
        covered: share of the lesion's pixels that it covers; NaN of changes of the whole image.
        maps: images of the two following figures.
        mass: share of the map's positive mass that is on the artefact, of the class that is
            answered with it; NaN of changes of the whole image.
        area: share of the image's pixels that it covers, which is the mass of a uniform map.
    """

    artefact: str
    strength: str
    meaning: str
    images: int
    lesions: int
    no_mask: int
    no_room: int
    true_class: Figure
    malignant: Figure
    top_class: Figure
    decision: Figure
    abstained: Figure
    balanced_before: Figure
    balanced_after: Figure
    balanced_change: Figure
    covered: Figure
    maps: int
    mass: Figure
    area: Figure


@dataclass(frozen=True)
class StressTest:
    """How a model's answers change with artefacts.

    Args:
        rows: one for each artefact and strength.
        model: ``name@revision``.
        data: which images.
        images: how many.
        lesions: how many.
        method: of the maps, a name in `skinxai.explainers`.
        operating_point: that decided; empty of a model without any.
        seed: of the choice of lesions and of all that was drawn.
        notes: what was left out, and which figures are not defined, with the reason.
    """

    rows: tuple[Stressed, ...]
    model: str
    data: str
    images: int
    lesions: int
    method: str
    operating_point: str
    seed: int
    notes: tuple[str, ...] = ()

    def row(self, artefact: str, strength: str) -> Stressed:
        """The row of an artefact at a strength.

        Raises:
            KeyError: no such row.
        """
        for each in self.rows:
            if (each.artefact, each.strength) == (artefact, strength):
                return each
        raise KeyError((artefact, strength))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``None`` where a figure is not defined."""
        values: dict[str, Any] = to_plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`.

        Raises:
            OptionError: an unknown or missing key, or a value of another type.
        """
        found: Self = from_plain(cls, _READERS)(values, "stress test")
        return found

    def to_markdown(self) -> str:
        """A table with a row for each artefact and strength, and the notes below it."""
        table = [_cells(row) for row in self.rows]
        heads = [head for head in COLUMNS if any(cells[head] != "–" for cells in table)]
        lines = [heads, ["---"] * len(heads), *([own[head] for head in heads] for own in table)]
        text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        notes = "".join(f"* {markdown(note)}\n" for note in self.notes)
        return f"{text}\n{notes}" if notes else text

    def __repr__(self) -> str:
        return (
            f"StressTest({counted(len(self.rows), 'change')} of {counted(self.images, 'image')} of "
            f"{counted(self.lesions, 'lesion')}; model={self.model!r})"
        )


COLUMNS = (
    "artefact", "strength", "images", "Δ p(true class)", "Δ p(malignant)", "top class changes",
    "decision changes", "to abstain", "balanced accuracy", "map mass on it", "its area",
)  # fmt: skip


def _cells(row: Stressed) -> dict[str, str]:
    """A row of the table, with a dash for each figure that is not defined."""
    cells = (
        markdown(row.artefact), markdown(row.strength), str(row.images), _signed(row.true_class),
        _signed(row.malignant), _share(row.top_class), _share(row.decision), _share(row.abstained),
        _before_after(row), _share(row.mass), _percent(row.area.value),
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True))


def _signed(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "–"
    ends = "–" if math.isnan(figure.low) else f"{_minus(figure.low)} to {_minus(figure.high)}"
    return f"{_minus(figure.value)} ({ends})"


def _minus(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")


def _share(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "–"
    ends = "–" if math.isnan(figure.low) else f"{100 * figure.low:.0f}–{100 * figure.high:.0f}"
    return f"{_percent(figure.value)} ({ends})"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f}%"


def _before_after(row: Stressed) -> str:
    if math.isnan(row.balanced_after.value):
        return "–"
    return f"{row.balanced_before.value:.2f} → {row.balanced_after.value:.2f}"


_WORDS: dict[Any, Reader] = {str: exactly(str), int: exactly(int), float: number}
_FIGURE = from_plain(Figure, _WORDS)
_READERS = _WORDS | {
    tuple[Stressed, ...]: many(from_plain(Stressed, _WORDS | {Figure: _FIGURE})),
    tuple[str, ...]: many(exactly(str)),
}
"""What reads a field, by its annotation."""
