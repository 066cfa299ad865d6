"""HAM10000 and exports of the ISIC archive: what is read of them, and what is claimed for them."""

from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import load_ham10000
from skinxai.data.detecting import open_records
from skinxai.data.published import HAM10000_ATTRIBUTION, HAM10000_LICENCE, find_published
from skinxai.errors import DatasetSchemaError

HAM = "lesion_id,image_id,dx\n{0}_1,{1}_1,nv\n{0}_2,{1}_2,mel\n"


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(root / name, "PNG")


def export(root: Path, header: str, *rows: str, name: str = "metadata.csv") -> Path:
    """A table, and an image for each of its rows' first cells."""
    images(root, *(f"{row.partition(',')[0]}.jpg" for row in rows))
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.mark.parametrize(
    ("lesion", "image", "known"),
    [("HAM", "ISIC", True), ("HAM", "X", False), ("L", "ISIC", False), ("L", "X", False)],
)
@pytest.mark.parametrize("name", ["HAM10000_metadata.csv", "metadata.csv"])
def test_ham10000_is_claimed_where_all_its_ids_are(name, lesion, image, known, tmp_path) -> None:
    images(tmp_path, f"{image}_1.jpg", f"{image}_2.jpg")
    (tmp_path / name).write_text(HAM.format(lesion, image))
    if name == "metadata.csv":
        assert (find_published(tmp_path) is not None) == known
    else:
        records = load_ham10000(tmp_path)
        claimed = (records.name, records.licence, records.attribution)
        ours = ("HAM10000", HAM10000_LICENCE, HAM10000_ATTRIBUTION)
        assert claimed == (ours if known else ("private data", "", ""))
        assert any("neither the name nor the licence" in note for note in records.notes) != known


@pytest.mark.parametrize(("own", "licence"), [("CC-0", "CC-0"), ("", HAM10000_LICENCE)])
def test_the_licence_of_a_table_comes_before_that_of_ham10000(own, licence, tmp_path) -> None:
    header = "isic_id,copyright_license,attribution,diagnosis"
    rows = [f"ISIC_00243{n},{own},{'A' if own else ''},nevus" for n in (10, 11)]
    records = load_ham10000(export(tmp_path, header, *rows))
    assert (records.name, records.licence) == ("HAM10000", licence)
    assert records.attribution == ("A" if own else HAM10000_ATTRIBUTION)
    assert not any("neither the name nor the licence" in note for note in records.notes)


def test_an_archives_export_without_a_licence_claims_none(tmp_path: Path) -> None:
    records = load_ham10000(export(tmp_path, "isic_id,diagnosis", "ISIC_1,nevus"))
    assert (records.licence, records.attribution) == ("", "")
    assert any("neither the name nor the licence" in note for note in records.notes)


def test_the_most_special_diagnosis_that_has_a_class_decides(tmp_path: Path) -> None:
    header = "isic_id,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,diagnosis_5"
    rows = [
        "ISIC_1,Benign,Nevus,Melanoma in situ,,", "ISIC_2,Malignant,Melanoma,,Of a rare kind,",
        "ISIC_3,Benign,Solar lentigo,Nevus,Dermatofibroma,Basal cell carcinoma",
    ]  # fmt: skip
    records = load_ham10000(export(tmp_path, header, *rows))
    assert [item.label for item in records] == ["mel", "mel", "bcc"]
    assert [dict(item.attributes) for item in records] == [{}] * 3  # they give the label away


def test_an_export_without_diagnoses_names_the_call(tmp_path: Path) -> None:
    export(tmp_path, "isic_id,target", "ISIC_1,0")
    with pytest.raises(DatasetSchemaError, match=r"must have the column 'diagnosis'") as caught:
        load_ham10000(tmp_path)
    columns = "columns={'image': 'isic_id', 'label': 'target'}"
    assert columns in str(caught.value)
    assert "--image-column isic_id --label-column target" in caught.value.on_command_line


def test_a_table_of_ham10000_with_another_column_names_the_call(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text("lesion,image_id,dx\nHAM_1,ISIC_1,nv\n")
    with pytest.raises(DatasetSchemaError, match="Rename the column; or read the table with load_"):
        load_ham10000(tmp_path)


def test_a_table_that_lies_there_twice_is_one(tmp_path: Path) -> None:
    for folder in ("", "copy/"):
        export(tmp_path, "isic_id,diagnosis", "ISIC_1,nevus", name=f"{folder}metadata.csv")
    assert [item.label for item in open_records(tmp_path)] == ["nv"]


def test_a_comma_is_forgiven_in_diagnoses_alone(tmp_path: Path) -> None:
    header = "isic_id,attribution,diagnosis_1,sex"
    export(tmp_path, header, "ISIC_1,A,Melanoma, NOS,male", "ISIC_2,A,Nevus,male")
    assert [item.label for item in load_ham10000(tmp_path)] == ["mel", "nv"]
    export(tmp_path, header, "ISIC_1,A, B,Melanoma,male", "ISIC_2,A,Nevus,male")
    with pytest.raises(DatasetSchemaError, match="line 2 has 5"):
        load_ham10000(tmp_path)
