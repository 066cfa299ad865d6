"""`collect`: the parts of all shards, checked and merged in the manifest's order."""

import csv
import io
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinxai.disk.regular_files import read_file
from skinxai.disk.writing import atomic_file
from skinxai.errors import OptionError, PartsError
from skinxai.images.listing import is_below
from skinxai.manifests import arrow
from skinxai.manifests.sharded_run import MAX_PART_BYTES, part_name, read_run
from skinxai.plain_text import agreeing, counted
from skinxai.progress import Progress, counter
from skinxai.results.folder import flat

_PART = re.compile(r"part-(\d{6,9})\.parquet")
SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Collected:
    """The answers of a whole manifest.

    Args:
        out: the file.
        model: ``name@revision``.
        images: how many rows.
        errors: code of an error → how many images.
        labels: most probable class → how many images.
        decisions: decision → how many images; empty of a model without operating points.
    """

    out: Path
    model: str
    images: int
    errors: Mapping[str, int]
    labels: Mapping[str, int]
    decisions: Mapping[str, int]

    def to_text(self) -> str:
        """For people."""
        rows = [f"{counted(self.images, 'image')} by {self.model}, in {self.out}"]
        kinds = {"classes": self.labels, "decisions": self.decisions, "errors": self.errors}
        for name, counts in kinds.items():
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{key} {count}" for key, count in ranked)
            rows.append(f"{name}: {shown or 'none'}")
        return "\n".join(rows)


def collect(
    parts: str | os.PathLike[str], out: str | os.PathLike[str], *, progress: Progress = None
) -> Collected:
    """Check that the parts of a folder hold each row of its manifest once, and merge them.

    Memory holds some tens of thousands of rows.

    Args:
        parts: folder that `predict_manifest` wrote.
        out: ``.parquet`` or ``.csv``, outside of the folder; replaced whole or not at all.
        progress: as in `InputOptions`, of images.

    Raises:
        OptionError: another suffix, a file in the folder, or a package that is missing.
        PartsError: parts that are missing, damaged, of another run, or there twice.
        OutputError: a full disk, or a file that cannot be written.
    """
    arrow.pa()
    folder, target = Path(parts), Path(out)
    if target.suffix.lower() not in SUFFIXES:
        raise OptionError(f"out must end in .parquet or .csv, got {str(target)!r}.")
    if is_below(os.path.realpath(target), os.path.realpath(folder)):
        raise OptionError(f"out must lie outside the folder of parts, got {str(target)!r}.")
    run, words, _ = read_run(folder)
    chunks = -(-run["rows"] // run["chunk"])
    _check_names(folder, chunks, run, words)
    codes: dict[str, Counter[str]] = {
        name: Counter() for name in ("error_code", "label", "decision")
    }
    with counter(run["rows"], progress, "image") as count, atomic_file(target) as file:
        sink = _Csv(file, run["labels"]) if target.suffix.lower() == ".csv" else arrow.Merged(
            file, run["labels"], {"run": run}
        )  # fmt: skip
        for table in _tables(folder, run, chunks):
            sink.add(table)
            for name, counts in codes.items():
                counts.update(each for each in table[name].to_pylist() if each is not None)
            count(table.num_rows)
        sink.close()
    return Collected(
        target, run["model"], run["rows"], dict(codes["error_code"]), dict(codes["label"]),
        dict(codes["decision"]),
    )  # fmt: skip


def _check_names(folder: Path, chunks: int, run: Mapping[str, Any], words: list[str]) -> None:
    """Refuse a folder in which a part is missing, or a Parquet file that is none of its parts."""
    there = set()
    for path in sorted(folder.glob("*.parquet")):
        found = _PART.fullmatch(path.name)
        number = int(found[1]) if found else chunks
        if number >= chunks or path.name != part_name(number):
            raise PartsError(
                f"{str(folder)!r} must hold only the parts {part_name(0)} to "
                f"{part_name(chunks - 1)} of its run, but it has {path.name!r}; move it away."
            )
        there.add(number)
    missing = [number for number in range(chunks) if number not in there]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        first = missing[0] * run["chunk"]
        again = shlex.join(["skinxai", "predict", "--manifest", *words, "--out", str(folder)])
        raise PartsError(
            f"{len(missing)} of {chunks} chunks {agreeing(len(missing), 'is', 'are')} missing in "
            f"{str(folder)!r}: {shown} (the first begins with row {first} of the manifest)",
            python="call predict_manifest() again as before, which makes them alone",
            command=f"make them with {again}",
        )


def _tables(folder: Path, run: Mapping[str, Any], chunks: int) -> Iterator[Any]:
    """The answers of each chunk, in order; each is checked as a whole."""
    for number in range(chunks):
        path = folder / part_name(number)
        start = number * run["chunk"]
        stop = min(run["rows"], start + run["chunk"])
        try:
            table, about = arrow.read_part(read_file(path, MAX_PART_BYTES), run["labels"])
        except PartsError as error:
            raise _refused(path, f"{error}; delete it and predict again") from error
        except OSError as error:
            raise _refused(path, f"it cannot be read: {error.strerror}") from error
        if about.get("run") != run:
            raise _refused(path, "it is of another run; move it away and predict again")
        if (about.get("chunk"), about.get("start"), about.get("stop")) != (number, start, stop):
            other = about.get("chunk")
            raise _refused(
                path,
                f"it holds chunk {other}, which would be there twice; delete it and predict again",
            )
        if table["row"].to_pylist() != list(range(start, stop)):
            raise _refused(path, f"its rows are not {start} to {stop - 1}; delete it and predict")
        yield table


def _refused(path: Path, reason: str) -> PartsError:
    return PartsError(f"{str(path)!r} cannot be collected: {reason}.")


class _Csv:
    """Answers as CSV, with the cells of ``results.csv``."""

    def __init__(self, file: Any, labels: list[str]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="", write_through=False)
        names = arrow.answer_schema(labels).names
        self._writer = csv.DictWriter(self._text, names, lineterminator="\n", restval="")
        self._writer.writeheader()

    def add(self, table: Any) -> None:
        """Write some answers."""
        for row in table.to_pylist():
            quality = dict(row["quality"] or ())
            self._writer.writerow(flat(row | {"quality": quality}))

    def close(self) -> None:
        """Write what waits."""
        self._text.detach()
