"""From rows to tables: means (of times, medians) with intervals, and how much the methods agree."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.assessment.faithfulness import BLIND
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.benchmarking.plan import Plan, is_cheap, passes_of
from skinxai.disk.regular_files import MAX_TABLE_BYTES, read_file
from skinxai.errors import OutputError

STUDY, ROWS = "study.json", "rows.jsonl"
FIGURES = (
    "deletion, mean", "insertion, mean", "deletion, blur", "insertion, blur", "pointing",
    "mass inside", "above centre", "randomised", "noisy", "other seed", "seconds",
)  # fmt: skip
SHOWN = {
    "mass inside": "mass in the lesion", "above centre": "… more than `centre`",
    "seconds": "seconds (median)",
    "randomised": "ρ random weights", "noisy": "ρ noise", "other seed": "ρ other seed",
}  # fmt: skip
Table = dict[str, Any]


def read_rows(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All whole rows of a comparison; one that a kill left half written is dropped.

    Raises:
        OutputError: rows that are no JSON, elsewhere than at the end.
    """
    path = Path(folder) / ROWS
    lines = read_file(path, MAX_TABLE_BYTES).decode().split("\n") if path.exists() else [""]
    try:
        images = [json.loads(line) for line in lines[:-1]]  # the last ends in no line feed
    except ValueError as error:
        raise OutputError(f"{str(path)!r} must hold one JSON list per line: {error}.") from error
    return [row for rows in images for row in rows]


def summarise(
    rows: Sequence[Mapping[str, Any]],
    plan: Plan,
    options: Mapping[str, Mapping[str, Any]],
    memory: Mapping[str, float] | None = None,
) -> Table:
    """Means and 95 % intervals of every figure, over the stratified images and over all.

    Args:
        rows: of `read_rows`.
        plan: that they were measured by.
        options: of each method.
        memory: MiB of each method.

    Returns:
        ``{"stratified": {method: …}, "all": {method: …}, "agreement": {method: {method: ρ}},
        "refused": {method: reason}}``; a figure is ``[mean, low, high]``,
        of images of one lesion without ends (``None``).
    """
    cheap = [*BLIND, *(name for name, own in options.items() if is_cheap(own))]
    parts = {
        "stratified": ([*BLIND, *options], [r for r in rows if r["number"] < plan.stratified]),
        "all": (cheap, rows),
    }
    table: Table = {
        part: {name: _figures(some, name, options.get(name)) for name in names}
        for part, (names, some) in parts.items()
    }
    for name, value in (memory or {}).items():
        table["stratified"][name]["MiB"] = value
    table["agreement"] = _agreement(rows)
    table["refused"] = {row["method"]: row["refused"] for row in rows if "refused" in row}
    return table


def _figures(
    rows: Sequence[Mapping[str, Any]], method: str, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Of one method; ``options`` are ``None`` for maps that never saw the image."""
    own = [row for row in rows if row["method"] == method and "refused" not in row]
    centre = {r["image"]: r.get("mass inside") for r in rows if r["method"] == "centre"}
    values = np.array(
        [
            [
                _above(row, centre) if figure == "above centre" else row.get(figure)
                for figure in FIGURES
            ]
            for row in own
        ],
        np.float64,  # None becomes NaN
    ).reshape(-1, len(FIGURES))
    found: dict[str, Any] = {
        "images": len(own), "options": None if options is None else dict(options),
        "constant": sum(bool(row["constant"]) for row in own),
    }  # fmt: skip
    if not own:
        return found
    low, high = clustered_bootstrap(
        lambda n: _typical(values[n]), [row["lesion"] for row in own], resamples=1000
    )
    for figure, mean, *ends in zip(FIGURES, _typical(values), low, high, strict=True):
        if np.isfinite(mean):
            found[figure] = [
                round(float(value), 4) if np.isfinite(value) else None for value in (mean, *ends)
            ]
    return found


def _above(row: Mapping[str, Any], centre: Mapping[str, float | None]) -> float | None:
    own, blind = row.get("mass inside"), centre[row["image"]]
    return None if own is None or blind is None else own - blind


def _typical(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of the columns, of what is known; of the seconds the median: other work disturbs."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
    seconds = FIGURES.index("seconds")
    timed = values[known[:, seconds], seconds]
    found[seconds] = np.median(timed) if len(timed) else np.nan
    return found


def _agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, list[float | None]]] = {}
    for row in rows:
        for other, value in row.get("agreement", {}).items():
            found.setdefault(row["method"], {}).setdefault(other, []).append(value)
    return {
        method: {other: _mean_of(values) for other, values in others.items()}
        for method, others in found.items()
    }


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 3) if known else None


def to_markdown(table: Table) -> str:
    """The tables as a page."""
    parts = []
    for name, title in (("stratified", "Every method"), ("all", "Methods of few passes")):
        methods = table[name]
        first = table["stratified"]
        if name == "all" and all(m["images"] == first[k]["images"] for k, m in methods.items()):
            continue  # the same images again
        known = (*FIGURES, "MiB")
        figures = [f for f in known if any(f in found for found in methods.values())]
        lines = [["method", "passes", "images", *(SHOWN.get(f, f) for f in figures)]]
        lines.append(["---"] * len(lines[0]))
        for method, found in methods.items():
            cells = [_cell(found.get(figure)) for figure in figures]
            own = found["options"]
            shown, passes = (f"*{method}*", 0) if own is None else (f"`{method}`", passes_of(own))
            if found["images"]:
                lines.append([shown, str(passes), str(found["images"]), *cells])
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"### {title}\n\n{body}\n")
    names = list(table["agreement"])
    lines = [["", *(f"`{name}`" for name in names)], ["---"] * (len(names) + 1)]
    for one in names:
        cells = [_rho(table["agreement"], one, other) for other in names]
        lines.append([f"`{one}`", *cells])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    parts.append(f"### Agreement\n\n{body}\n")
    parts += [f"* `{name}` was refused: {why}\n" for name, why in table["refused"].items()]
    return "\n".join(parts)


def _cell(figure: Sequence[float | None] | float | None) -> str:
    if figure is None:
        return ""
    if isinstance(figure, float):
        return f"{figure:.0f}"
    mean, low, high = figure
    return f"{mean:.2f} (–)" if low is None else f"{mean:.2f} ({low:.2f}–{high:.2f})"


def _rho(agreement: Mapping[str, Mapping[str, float | None]], one: str, other: str) -> str:
    value = agreement[one].get(other, agreement[other].get(one))
    return "" if value is None else f"{value:.2f}"
