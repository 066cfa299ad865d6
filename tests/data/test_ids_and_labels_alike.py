"""Ids and labels mean the same however a table, a folder or a program wrote them."""

import hashlib
import io
import json
import tarfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import coloured

from skinxai.configs import canonical_json
from skinxai.data import Record, Records, folds, load_csv, load_prepared, load_shards, prepare
from skinxai.errors import DatasetLabelError, LeakageError, ModelConfigError
from skinxai.labels import LabelSet
from skinxai.training.data_checks import check_parts

COMPOSED = "névus"
APART = unicodedata.normalize("NFD", COMPOSED)


def table(folder: Path, records: Records, **columns: list[str]) -> Path:
    paths = [str(item.path) for item in records]
    rows = [("image", *columns), *zip(paths, *columns.values(), strict=True)]
    path = folder / "table.csv"
    path.write_text("".join(f"{','.join(row)}\n" for row in rows))
    return path


def rewrite(folder: Path, now: str, before: str) -> None:
    """Give cells of a prepared folder another text, as it may stand in a table."""
    cells, manifest = folder / "records.csv", folder / "manifest.json"
    data = cells.read_bytes().replace(f'"{now}"'.encode(), f'"{before}"'.encode())
    assert before.encode() in data
    cells.write_bytes(data)
    content = json.loads(manifest.read_bytes())
    del content["digest"]
    listed = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    content["files"]["records.csv"] = listed
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    manifest.write_bytes(canonical_json(content | {"digest": digest}))


@pytest.mark.parametrize("role", ["lesion_id", "patient_id"])
@pytest.mark.parametrize(
    ("old", "new"), [("7.0", "7"), (f"{APART} 1", f"{COMPOSED} 1"), (" a", "a")],
)  # fmt: skip
def test_a_prepared_folder_names_lesions_and_patients_as_a_table_does(
    tmp_path, role, old, new
) -> None:
    """It holds the ids that it was written with, as they stood in a table at the time."""
    records = coloured(tmp_path / "c", 2, 0)
    given = tuple(replace(item, **{role: old}) for item in records)
    prepare(replace(records, items=given), tmp_path / "q", progress=False)
    rewrite(tmp_path / "q", new, old)
    again = load_prepared(tmp_path / "q")
    labels = [item.label for item in records]
    found = load_csv(
        table(tmp_path, records, label=labels, **{role: [old] * len(records)}), tmp_path / "c",
        labels=records.labels,
    )  # fmt: skip
    assert {getattr(item, role) for item in (*again, *found)} == {new}
    with pytest.raises(LeakageError, match=f"must share no {role.partition('_')[0]}"):
        check_parts(again, found)


def test_an_id_stays_when_a_record_is_made_again() -> None:
    for name in ("7.0", " a ", APART):
        item = Record(name, Path("x.png"), "mel")
        assert item.lesion_id == name and replace(item, path=Path("y.png")).lesion_id == name
        other = Record("x", Path("x.png"), "mel", name, name)
        assert other == replace(other, label="mel") and other.lesion_id == other.patient_id
    assert Record("x", Path("x.png"), "mel", "  ", " ").lesion_id == "x"
    assert Record("x", Path("x.png"), "mel", "  ", " ").patient_id is None


def test_images_of_one_lesion_are_in_one_fold_however_its_name_is_written(tmp_path) -> None:
    records = coloured(tmp_path / "c", 8, 0)
    names = {item.image_id: f"é {n // 2}" for n, item in enumerate(records)}
    items = [replace(i, lesion_id=unicodedata.normalize(("NFC", "NFD")[n % 2], names[i.image_id]))
             for n, i in enumerate(records)]  # fmt: skip
    for fold in folds(replace(records, items=tuple(items)), 2):
        own, others = ({names[i.image_id] for i in part} for part in (fold.val, fold.train))
        assert own and not own & others


def test_a_label_is_one_class_however_it_is_composed(tmp_path) -> None:
    with pytest.raises(ModelConfigError, match="at least two different"):
        LabelSet((APART, COMPOSED))
    records = coloured(tmp_path / "c", 2, 0)
    path = table(tmp_path, records, label=[COMPOSED, "x", "mel", "mel", APART, COMPOSED])
    found = load_csv(path, tmp_path / "c", label_map={"x": APART})
    assert list(found.labels) == ["mel", COMPOSED] and found.class_counts() == [2, 4]


def test_labels_of_shards_that_differ_by_blanks_or_case_are_refused(tmp_path) -> None:
    def shards(name: str, *words: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        with tarfile.open(folder / "a.tar", "w") as tar:
            for n, item in enumerate(coloured(tmp_path / f"c{name}", 2, 0)):
                text = json.dumps({"label": words[n % len(words)]}).encode()
                for file, data in ((f"{n}.png", item.path.read_bytes()), (f"{n}.json", text)):
                    info = tarfile.TarInfo(file)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        return folder

    for name, words in (
        ("a", ("mel", "Mel")), ("b", ("nv", "nv ", "mel")), ("c", ("1", "1.0")),
        ("d", (APART, COMPOSED, "mel")),
    ):  # fmt: skip
        with pytest.raises(DatasetLabelError, match="must not differ by blanks, case, zeros"):
            load_shards(shards(name, *words), progress=False)
