"""Copy what a call leaves into the output folder: at most eight files of 16 MiB, 64 MiB in all."""

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import table
from outcomes import SHIPPED_FOLDS
from settings import MEMBERS

MOST_FILES, MOST_BYTES, MOST_IN_ALL = 8, 16 * 2**20, 64 * 2**20
SMALL = {".json", ".csv", ".log", ".txt", ".md", ".npz"}
MADE_AGAIN = {"evaluation.json", "splits.csv", "fingerprints.json"}  # from answers, folds, images


def collect(work: Path, out: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write the table, all small files, and the models that ship, as far as they fit.

    Returns:
        A line for each file, and for each that had to be left out.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table.markdown(rows))
    (out / "table.json").write_text(json.dumps(list(rows), indent=1) + "\n")
    packs: list[tuple[str, list[Path]]] = [("records.tar.gz", list(_small(work)))]
    student = work / "runs" / "student" / "skinxai-ham10000"
    packs.append(("student.tar", list(_model(student))))
    for fold in SHIPPED_FOLDS:
        for network in MEMBERS:
            name = f"{network}-{fold}"
            packs.append((f"{name}.tar", list(_model(work / "runs" / "members" / name))))
    told = ["table.md, table.json"]
    for name, paths in packs:
        if not paths:
            continue
        data = _tar(paths, work, compressed=name.endswith(".gz"))
        others = [path for path in out.iterdir() if path.name != name]
        in_all = len(data) + sum(path.stat().st_size for path in others)
        if len(data) > MOST_BYTES or len(others) >= MOST_FILES or in_all > MOST_IN_ALL:
            told.append(f"{name} LEFT OUT: {len(data)} bytes; it stays in {work}")
            continue
        (out / name).write_bytes(data)
        told.append(f"{name}: {len(data) / 2**20:.1f} MiB, {len(paths)} files")
    return told


def _small(work: Path) -> Iterable[Path]:
    places = [work.glob("*"), (work / "logs").glob("*"), (work / "runs").rglob("*")]
    for path in chain.from_iterable(map(sorted, places)):
        if path.suffix in SMALL and path.name not in MADE_AGAIN and path.is_file():
            yield path


def _model(folder: Path) -> Iterable[Path]:
    """Files of a model folder, its log and its answers; nothing while there are no weights."""
    if (folder / "model.safetensors").exists():
        yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def _tar(paths: Sequence[Path], work: Path, *, compressed: bool) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compressed else "w") as tar:
        for path in paths:
            tar.add(path, path.relative_to(work))
    return buffer.getvalue()
