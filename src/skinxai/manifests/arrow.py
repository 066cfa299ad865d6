"""Answers and manifests as Parquet: the only file with pyarrow."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from skinxai.configs import canonical_json
from skinxai.errors import DatasetSchemaError, OptionError, PartsError
from skinxai.manifests.manifest import ManifestRow
from skinxai.results import ItemError, Prediction
from skinxai.version import __version__

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

KEY = b"skinxai"
"""Of what a part says about itself, as JSON, in the metadata of its schema."""
PACKED: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}


def pa() -> Any:
    """The package; an `OptionError` where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise OptionError(
            'answers in Parquet need the package pyarrow: pip install "skinxai[parquet]".'
        ) from error
    return pyarrow


def answer_schema(labels: Sequence[str]) -> pyarrow.Schema:
    """The columns of answers, for a model's labels."""
    types = pa()
    text, number = types.string(), types.float64()
    texts = types.list_(text)
    return types.schema(
        [
            types.field("row", types.int64(), nullable=False),
            ("image", text), ("id", text), ("label", text), ("probability", number),
            *((f"p_{code}", number) for code in labels),
            ("malignant_probability", number), ("decision", text), ("operating_point", text),
            ("reasons", texts), ("quality", types.map_(text, number)),
            ("novelty_score", number), ("novelty_refused", types.bool_()), ("warnings", texts),
            ("error_code", text), ("error", text),
            ("model", text), ("backend", text), ("skinxai", text),
        ]
    )  # fmt: skip


def answer(
    number: int, row: ManifestRow, found: Prediction | ItemError, error: str, model: str,
    backend: str,
) -> dict[str, Any]:  # fmt: skip
    """One row of answers: the number of the manifest's row, that row, and what is said of it.

    ``error`` is the sentence of an `ItemError`, and ``model`` is ``name@revision``.
    """
    made: dict[str, Any] = {
        "row": number, "image": row.image, "id": row.id or None, "model": model,
        "backend": backend, "skinxai": __version__,
    }  # fmt: skip
    if isinstance(found, ItemError):
        return made | {"error_code": found.code, "error": error}
    novelty = asdict(found.novelty) if found.novelty else {}
    return made | {
        "label": found.label,
        "probability": found.probability,
        **{f"p_{code}": value for code, value in found.probabilities.items()},
        "malignant_probability": found.malignant_probability,
        "decision": found.decision,
        "operating_point": found.operating_point,
        "reasons": list(found.reasons),
        "quality": list(found.quality.items()),
        "novelty_score": novelty.get("score"),
        "novelty_refused": novelty.get("refused"),
        "warnings": list(found.warnings),
    }


def part_bytes(
    rows: list[dict[str, Any]], labels: Sequence[str], about: Mapping[str, Any]
) -> bytes:
    """A part of rows of `answer`, which says this about itself: one for one input, bit by bit."""
    types = pa()
    table = types.Table.from_pylist(rows, schema=_schema(labels, about))
    out = io.BytesIO()
    types.parquet.write_table(table, out, row_group_size=max(1, len(rows)), **PACKED)
    return out.getvalue()


def read_part(data: bytes, labels: Sequence[str]) -> tuple[pyarrow.Table, dict[str, Any]]:
    """The answers of a part, whose checksums are looked at, and what it says about itself.

    Raises:
        PartsError: it is damaged, or no part of answers of these labels.
    """
    types = pa()
    try:
        table = types.parquet.ParquetFile(
            types.BufferReader(data), page_checksum_verification=True
        ).read(use_threads=False)
        table.validate(full=True)
    except (types.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PartsError(f"it is damaged or no Parquet: {str(error).splitlines()[0]}") from error
    text = (table.schema.metadata or {}).get(KEY)
    if text is None or not table.schema.equals(answer_schema(labels)):
        raise PartsError("it has other columns than the answers of this run")
    try:
        about = json.loads(text)
        if not isinstance(about, dict) or canonical_json(about) != text:
            raise ValueError("it is not as it was written")
    except ValueError as error:
        raise PartsError("what it says about itself is damaged") from error
    return table.replace_schema_metadata(None), about


def _schema(labels: Sequence[str], about: Mapping[str, Any]) -> pyarrow.Schema:
    """The columns of a file of answers that says something about itself."""
    return answer_schema(labels).with_metadata({KEY: canonical_json(about)})


class Merged:
    """A Parquet file that is written part by part; memory holds some tens of thousands of rows."""

    GROUP = 65_536
    """Rows of a row group, and most rows that wait to be written, less one part."""

    def __init__(self, out: BinaryIO, labels: Sequence[str], about: Mapping[str, Any]) -> None:
        self._schema, self._rows = _schema(labels, about), 0
        self._writer = pa().parquet.ParquetWriter(out, self._schema, **PACKED)
        self._waiting: list[pyarrow.Table] = []

    def add(self, table: pyarrow.Table) -> None:
        """Write some answers."""
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= self.GROUP:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the file's end."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        whole = pa().concat_tables(self._waiting).replace_schema_metadata(self._schema.metadata)
        self._writer.write_table(whole, row_group_size=max(1, whole.num_rows))
        self._waiting, self._rows = [], 0


class ParquetRows:
    """A manifest in Parquet; a row's place is its number. Damage is a `DatasetSchemaError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.chosen: Mapping[str, str] = {}
        with self._open() as file:
            self.columns = tuple(file.schema_arrow.names)

    def scan(self) -> Iterator[tuple[int, ManifestRow]]:
        """Each row with its place, in order."""
        with self._open() as file:
            yield from enumerate(chain.from_iterable(self._batches(file, None)))

    def read(self, place: int, count: int) -> list[ManifestRow]:
        """Some rows from a place on."""
        found: list[ManifestRow] = []
        with self._open() as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            groups, before = [], 0
            for number, size in enumerate(sizes):
                if before < place + count and before + size > place:
                    groups.append((number, before))
                before += size
            if not groups:
                return found
            number = groups[0][1]
            for batch in self._batches(file, [each for each, _ in groups]):
                found += batch[max(0, place - number) : max(0, place + count - number)]
                number += len(batch)
                if number >= place + count:
                    break
        return found

    def _open(self) -> Any:
        types = pa()
        try:
            return types.parquet.ParquetFile(self._path, pre_buffer=False, buffer_size=2**20)
        except (types.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _batches(self, file: Any, groups: list[int] | None) -> Iterator[list[ManifestRow]]:
        types, roles = pa(), list(self.chosen)
        names = [self.chosen[role] for role in roles]
        for name in names:
            kind = file.schema_arrow.field(name).type
            kind = kind.value_type if types.types.is_dictionary(kind) else kind
            is_kind = types.types
            known = (is_kind.is_string, is_kind.is_large_string, is_kind.is_string_view,
                     is_kind.is_integer, is_kind.is_null)  # fmt: skip
            if not any(is_this(kind) for is_this in known):
                raise DatasetSchemaError(
                    f"column {name!r} of {self._path.name} must be text, but it is {kind}; write "
                    f"it as text."
                )
        try:
            for batch in file.iter_batches(8192, groups, names, use_threads=False):
                cells = [batch.column(name).to_pylist() for name in names]
                texts = [["" if cell is None else str(cell) for cell in each] for each in cells]
                if len(texts) == 1:
                    yield [ManifestRow(image, None) for image in texts[0]]
                else:
                    yield [ManifestRow(*pair) for pair in zip(*texts, strict=True)]
        except (types.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatasetSchemaError:
        return DatasetSchemaError(
            f"{self._path.name} must be a whole Parquet file: {str(error).splitlines()[0]}."
        )
