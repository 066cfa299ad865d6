"""Tables as they are published and as clinics write them: read as people mean them."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import Splits, load_csv, load_folder, load_ham10000, split
from skinxai.data.published import HAM10000_LICENCE, ISIC_DIAGNOSES, find_published
from skinxai.errors import DatasetError, DatasetLabelError, DatasetPathError, DatasetSchemaError


def images(root: Path, *names: str, mode: str = "RGB") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (40, 40)).save(root / name, "PNG")
    return root


def table(root: Path, text: str, name: str = "t.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\t", "\u200b", "\ufeff", "  "])
def test_blanks_around_ids_are_no_part_of_them(blank: str, tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    rows = f"0,nv,P1,L1\n1,mel{blank},{blank}P1,L1{blank}\n2,nv,P2,L2\n"
    records = load_csv(table(tmp_path, f"image,label,patient_id,lesion_id\n{rows}"), tmp_path)
    assert [(r.patient_id, r.lesion_id) for r in records] == [
        ("P1", "L1"), ("P1", "L1"), ("P2", "L2"),
    ]  # fmt: skip
    assert records.labels.codes == ("mel", "nv")
    for role in ("label", "patient_id", "lesion_id"):
        assert f"1 row with blanks around the {role}, which were removed" in records.notes


@pytest.mark.parametrize(
    "word", ["", "nan", "NaN", "NA", "N/A", "NULL", "None", "-", "unknown", "Unknown ", "<NA>"]
)
def test_words_for_unknown_are_no_ids(word: str, tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    rows = f"0,nv,{word},{word}\n1,mel,{word},{word}\n"
    records = load_csv(table(tmp_path, f"image,label,patient_id,lesion_id\n{rows}"), tmp_path)
    assert [(r.patient_id, r.lesion_id) for r in records] == [(None, "0"), (None, "1")]
    assert "2 rows without a lesion id, each counted as its own lesion" in records.notes
    said = f"2 rows whose patient is {word.strip()!r}, which means unknown"
    assert (said in records.notes) == bool(word)


@pytest.mark.parametrize("labels", [None, ("Mel", "mel", "nv"), ("mel", "nv")])
@pytest.mark.parametrize("other", ["Mel", "m el"])
def test_labels_that_differ_by_case_or_blanks_are_refused(labels, other, tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    path = table(tmp_path, f"image,label\n0,mel\n1,{other}\n2,nv\n")
    with pytest.raises(DatasetLabelError, match=f"'{other}'") as caught:
        load_csv(path, tmp_path, labels=labels)
    assert "'mel'" in str(caught.value)
    renamed = load_csv(path, tmp_path, labels=("mel", "nv"), label_map={other: "mel"})
    assert renamed.class_counts() == [2, 1]


def test_a_mask_is_no_lesion(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "a/2.png")
    images(tmp_path, "masks/3.png", "x/4.png", mode="L")
    path = table(tmp_path, "image,label\n1,nv\n2,mel\n3,nv\n")
    with pytest.raises(DatasetPathError, match=r"no file '3', only masks/3\.png in a folder of m"):
        load_csv(path, tmp_path)
    path = table(tmp_path, "image,label\n1,nv\n2,mel\n4,nv\n")
    with pytest.raises(DatasetPathError, match=r"x/4\.png' has one channel and lies in another"):
        load_csv(path, tmp_path)
    path = table(tmp_path, "image,label\n1,nv\n2,mel\nx/4.png,nv\n")
    assert len(load_csv(path, tmp_path)) == 3


def test_what_a_tables_folder_leaves_out_is_noted_and_named_where_a_row_wants_it(
    tmp_path: Path,
) -> None:
    root = images(tmp_path / "in", "1.png", "2.png")
    (root / "3.HEIC").write_bytes(b"x")
    (root / "IM4").write_bytes(b"x")
    for name in ("3", "3.HEIC"):
        path = table(tmp_path, f"image,label\n1,nv\n2,mel\n{name},nv\n")
        words = rf"line 4: no file '{name}', only a \.heic file, which is not read"
        with pytest.raises(DatasetPathError, match=words):
            load_csv(path, root)
    records = load_csv(table(tmp_path, "image,label\n1,nv\n2,mel\n"), root)
    note = f"2 files of {root}/ are not read: 1 .heic, 1 without a suffix"
    assert note in records.notes


def test_paths_lead_to_the_folder_however_they_are_written(tmp_path: Path) -> None:
    root = images(tmp_path / "in", "0.png", "deep/1.png", "2.png")
    rows = f"./0.png,nv\n{root}/deep/1.png,mel\nin/2.png,nv\n"
    records = load_csv(table(tmp_path, f"image,label\n{rows}"), root)
    assert sorted(item.path.name for item in records) == ["0.png", "1.png", "2.png"]
    assert {"0.png", "deep/1.png"} <= {item.image_id for item in records}
    with pytest.raises(DatasetSchemaError, match=r"'\./0\.png' is in line 2 already as '0\.png'"):
        load_csv(table(tmp_path, "image,label\n0.png,nv\n./0.png,nv\n"), root)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_compared_composed(form: str, tmp_path: Path) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    names = [unicodedata.normalize(form, f"Läsion_{n}.png") for n in range(2)]
    images(tmp_path, *names)
    listed = [unicodedata.normalize(other, name) for name in names]
    records = load_csv(table(tmp_path, f"image,label\n{listed[0]},nv\n{listed[1]},mel\n"), tmp_path)
    assert [item.path.name for item in records] == names
    assert not any("blanks" in note for note in records.notes)
    path = table(tmp_path, f"image_id,part\n{listed[0]},train\n{listed[1]},val\n", "s.csv")
    assert len(Splits.from_csv(path, records).train) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_splits_in_another_encoding_are_a_typed_error(encoding: str, tmp_path: Path) -> None:
    records = load_csv(
        table(images(tmp_path, "Läsion.png", "b.png"), "image,label\nLäsion.png,nv\nb.png,mel\n"),
        tmp_path,
    )
    (tmp_path / "s.csv").write_bytes("image_id,part\nLäsion.png,train\n".encode(encoding))
    with pytest.raises(DatasetSchemaError, match="must be"):
        Splits.from_csv(tmp_path / "s.csv", records)


def test_names_that_are_no_utf8_can_be_split_and_read_again(tmp_path: Path) -> None:
    for label in (b"mel", b"nv"):
        for n in range(6):
            images(tmp_path, os.fsdecode(label + b"/l\xe4sion%d.png" % n))
    records = load_folder(tmp_path)
    assert all(item.image_id.isprintable() for item in records)
    splits = split(records)
    splits.to_csv(tmp_path / "splits.csv")
    assert Splits.from_csv(tmp_path / "splits.csv", records) == splits


ISIC = "isic_id,attribution,copyright_license,diagnosis_1,diagnosis_2,diagnosis_3,lesion_id\n"
VASCULAR = "Benign soft tissue proliferations - Vascular"


@pytest.mark.parametrize("quote", ['"', ""])
def test_an_export_of_the_archive_as_it_is_today(quote: str, tmp_path: Path) -> None:
    images(tmp_path, *(f"ISIC-images/ISIC_000000{n}.jpg" for n in range(3)))
    rows = (
        f"ISIC_0000000,A,CC-0,Malignant,m,{quote}Melanoma, NOS{quote},IL_1\n"
        f"ISIC_0000001,B,CC-BY-NC,Benign,{VASCULAR},,IL_2\nISIC_0000002,B,CC-0,Benign,b,Nevus,\n"
    )
    table(tmp_path, ISIC + rows, "metadata.csv")
    records = load_ham10000(tmp_path)
    assert [item.label for item in records] == ["mel", "vasc", "nv"]
    assert (records.name, records.licence, records.attribution) == (
        "ISIC archive", "CC-0 AND CC-BY-NC", "A; B",
    )  # fmt: skip
    assert not any(name.startswith("diagnosis") for name in records[0].attributes)
    assert any("comma that is not quoted" in note for note in records.notes) == (not quote)


def test_other_diagnoses_of_the_archive_name_the_call(tmp_path: Path) -> None:
    images(tmp_path, "ISIC_1.jpg", "ISIC_0024306.jpg")
    row = '{},A,CC-0,Malignant,m,"Squamous cell carcinoma, NOS",L\n'
    table(tmp_path, ISIC + row.format("ISIC_1"), "metadata.csv")
    with pytest.raises(DatasetLabelError, match=r"load_csv\(.*'label': 'diagnosis_3'") as caught:
        load_ham10000(tmp_path)
    assert "--image-column isic_id --label-column diagnosis_3" in caught.value.on_command_line
    table(tmp_path, ISIC + row.format("ISIC_0024306"), "metadata.csv")
    assert [item.label for item in load_ham10000(tmp_path)] == ["akiec"]  # an image of HAM10000


HAM = "lesion_id,image_id,dx,dx_type\n{0}_1,{1}_1,nv,x\n{0}_2,{1}_2,mel,y\n"


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab", "metadata.csv"])
def test_ham10000_is_known_by_its_ids(name: str, tmp_path: Path) -> None:
    images(tmp_path, "ISIC_1.jpg", "ISIC_2.jpg", "X_1.jpg", "X_2.jpg")
    mark = "\t" if name.endswith("tab") else ","
    table(tmp_path, HAM.format("HAM", "ISIC").replace(",", mark), name)
    records = load_ham10000(tmp_path)
    assert (records.name, records.licence) == ("HAM10000", HAM10000_LICENCE)
    table(tmp_path, HAM.format("L", "X").replace(",", mark), name)
    if name == "metadata.csv":
        with pytest.raises(DatasetSchemaError, match=r"load_csv\(.*'label': 'dx'"):
            load_ham10000(tmp_path)
    else:
        records = load_ham10000(tmp_path)
        assert (records.name, records.licence, records.attribution) == ("private data", "", "")


@pytest.mark.parametrize(("lesion", "image"), [("HAM", "X"), ("L", "ISIC")])
def test_ham10000_is_known_by_both_of_its_ids(lesion: str, image: str, tmp_path: Path) -> None:
    images(tmp_path, f"{image}_1.jpg", f"{image}_2.jpg")
    table(tmp_path, HAM.format(lesion, image), "HAM10000_metadata")
    assert load_ham10000(tmp_path).name == "private data"


def test_two_tables_that_differ_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "a/ISIC_1.jpg", "b/ISIC_1.jpg")
    for folder in ("a", "b"):
        table(tmp_path / folder, f"isic_id,diagnosis\nISIC_1,nevus\n{folder}\n", "metadata.csv")
    with pytest.raises(DatasetError, match="must hold one table of images"):
        load_ham10000(tmp_path)


def test_each_diagnosis_of_the_archive_has_its_class(tmp_path: Path) -> None:
    codes = {
        "Actinic keratosis": "akiec", "Solar or actinic keratosis": "akiec",
        "Squamous cell carcinoma in situ": "akiec",
        "Squamous cell carcinoma in situ, Bowens disease": "akiec",
        "Basal cell carcinoma": "bcc", "Pigmented benign keratosis": "bkl",
        "Seborrheic keratosis": "bkl", "Solar lentigo": "bkl",
        "Lichen planus like keratosis": "bkl", "Dermatofibroma": "df", "Melanoma": "mel",
        "Melanoma, NOS": "mel", "Melanoma in situ": "mel", "Melanoma Invasive": "mel",
        "Nevus": "nv", "Vascular lesion": "vasc",
        "Benign soft tissue proliferations - Vascular": "vasc", "nevus": "nv",
    }  # fmt: skip
    names = [f"ISIC_{n:02}" for n in range(len(codes))]
    images(tmp_path, *(f"{name}.jpg" for name in names), "._ISIC_00.jpg")
    rows = "".join(f'{i},"{d}",L{i}\n' for i, d in zip(names, codes, strict=True))
    table(tmp_path, f"isic_id,diagnosis,lesion_id\n{rows}", "metadata.csv")
    records = load_ham10000(tmp_path)
    assert [item.label for item in records] == list(codes.values())
    assert not any("not listed" in note for note in records.notes)  # ._ISIC_00.jpg is no image
    assert {name.lower() for name in codes} == set(ISIC_DIAGNOSES)


def test_a_groupings_file_must_have_its_columns(tmp_path: Path) -> None:
    images(tmp_path, "ISIC_1.jpg")
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,0,1,0,0,0,0,0\n"
    table(tmp_path, head, "ISIC2018_Task3_Training_GroundTruth.csv")
    table(tmp_path, "image,lesion\nISIC_1,H\n", "ISIC2018_Task3_Training_LesionGroupings.csv")
    with pytest.raises(DatasetSchemaError, match="must have the column 'lesion_id'"):
        load_ham10000(tmp_path)


def test_a_quote_that_is_not_closed_is_refused(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(8)))
    rows = [f"{n}.png,nv,note" for n in range(8)]
    for wrong in (['2.png,nv,"cut'], ['2.png,nv,"cut', '5.png,nv,"cut']):
        named = {row.split(",")[0]: row for row in wrong}
        text = "\n".join(named.get(row.split(",")[0], row) for row in rows)
        with pytest.raises(DatasetSchemaError, match="must be CSV in UTF-8, near line"):
            load_csv(table(tmp_path, f"image,label,note\n{text}\n"), tmp_path)


def test_too_many_cells_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png")
    with pytest.raises(DatasetSchemaError, match="line 2 has 4"):
        load_csv(table(tmp_path, "image,label\n1.png,mel,see, below\n"), tmp_path)


def test_repeated_rows_of_another_patient_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    rows = "1.png,nv,\n2.png,mel,P2\n1.png,nv,P1\n"
    with pytest.raises(DatasetSchemaError, match="with another lesion or patient"):
        load_csv(table(tmp_path, f"image,label,patient_id\n{rows}"), tmp_path, dedupe=True)


def test_tables_that_systems_leave_beside_the_data_are_no_data(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "nv/2.png", "__MACOSX/mel/3.txt.png")
    (tmp_path / "__MACOSX" / "._HAM10000_metadata.csv").write_bytes(b"\0\5\x16\7")
    (tmp_path / "metadata.csv").write_bytes(b"")
    assert find_published(tmp_path) is None


@pytest.mark.parametrize(
    ("number", "name"),
    [(24305, "ISIC archive"), (24306, "HAM10000"), (36064, "HAM10000"), (36065, "ISIC archive")],
)
def test_an_export_is_called_ham10000_by_its_first_and_last_id(number, name, tmp_path) -> None:
    images(tmp_path, "ISIC_0030000.jpg", f"ISIC_{number:07}.jpg")
    rows = "".join(f"ISIC_{n:07},A,CC-0,Benign,b,Nevus,L{n}\n" for n in (30000, number))
    table(tmp_path, ISIC + rows, "metadata.csv")
    assert load_ham10000(tmp_path).name == name


HIDDEN = [
    ".old/metadata.csv", "a/.b/c/metadata.csv", "._metadata.csv", "__MACOSX/metadata.csv",
    "a/__MACOSX/metadata.csv",
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
def test_hidden_tables_are_passed_over(hidden: str, tmp_path: Path) -> None:
    images(tmp_path, "ISIC_1.jpg")
    (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
    table(tmp_path, "isic_id,diagnosis\nISIC_1,melanoma\n", hidden)
    assert find_published(tmp_path) is None
    own = table(tmp_path, "isic_id,diagnosis\nISIC_1,nevus\n", "metadata.csv")
    assert find_published(tmp_path).table.path == own
