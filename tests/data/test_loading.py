"""Tables and folders of images: read rightly, or refused with every bad row named."""

import gzip
import pickle
from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import Record, Records, Splits, load_csv, load_folder, load_ham10000
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    OptionError,
)
from skinxai.labels import LabelSet

LABELS = LabelSet(("nv", "mel", "bcc"))
HEADER = "image,label,lesion_id,age,sex"


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(root / name, "PNG")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return images(tmp_path / "pictures", "a.png", "b.jpg", "deep/c.png")


def table(folder: Path, *rows: str, header: str = HEADER, **encoding: str) -> Path:
    path = folder.parent / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n", **({"encoding": "utf-8"} | encoding))
    return path


GOOD = ("b,mel,l2,50,male", "a.png,nv,l1,,", "deep/c.png,nv,l1,30,female")


def test_a_table_of_ones_own(folder: Path) -> None:
    records = load_csv(table(folder, *GOOD), folder, labels=LABELS, name="clinic")
    assert [(r.image_id, r.label, r.lesion_id) for r in records] == [
        ("a.png", "nv", "l1"), ("b", "mel", "l2"), ("deep/c.png", "nv", "l1"),
    ]  # fmt: skip
    assert records[1].path == folder / "b.jpg" and dict(records[1].attributes) == {
        "age": "50", "sex": "male",
    }  # fmt: skip
    assert repr(records) == "Records(clinic: 3 images of 2 lesions; nv 2, mel 1, bcc 0)"
    assert records.notes == ()
    assert pickle.loads(pickle.dumps(records)) == records


def test_other_names_delimiter_and_merged_classes(folder: Path) -> None:
    path = table(
        folder, "x1;b;keratosis;P7", "x2;a;lentigo;P7", "x3;c;mole;P8",
        header="case;file;finding;person",
    )  # fmt: skip
    records = load_csv(
        path,
        folder,
        columns={"image": "file", "label": "finding", "lesion_id": "case", "patient_id": "person"},
        labels=("benign", "nevus"),
        label_map={"keratosis": "benign", "lentigo": "benign", "mole": "nevus"},
        delimiter=";",
    )
    assert [(r.label, r.lesion_id, r.patient_id) for r in records] == [
        ("benign", "x2", "P7"), ("benign", "x1", "P7"), ("nevus", "x3", "P8"),
    ]  # fmt: skip


def test_labels_spelt_as_renamed_ones_are_not_classes_of_their_own(folder: Path) -> None:
    """Else some nevi would be the class nv, and others the class nevus."""
    path = table(folder, "a,Nevus,l1,,", "b,nevus ,l2,,", "deep/c.png,mel,l3,,")
    with pytest.raises(DatasetLabelError, match="'nevus' differs from 'Nevus'") as caught:
        load_csv(path, folder, label_map={"Nevus": "nv"})
    assert "label_map={'nevus': 'nv'}" in str(caught.value)
    unnamed = table(folder, "a,nevus,l1,,", "b,nv,l2,,", "deep/c.png,mel,l3,,")
    with pytest.raises(DatasetLabelError, match="'nevus' differs from 'Nevus'"):
        load_csv(unnamed, folder, label_map={"Nevus": "nv"})  # which is in no row
    path = table(folder, "a,Nevus,l1,,", "b,nevus ,l2,,", "deep/c.png,mel,l3,,")
    both = load_csv(path, folder, label_map={"Nevus": "nv", "nevus": "nv"})
    assert [item.label for item in both] == ["nv", "nv", "mel"]
    kept = load_csv(path, folder, label_map={"Nevus": "nevus"})  # the other one is the code already
    assert [item.label for item in kept] == ["nevus", "nevus", "mel"] and len(kept.notes) == 2
    declared = load_csv(
        path, folder, labels=("nv", "nevus", "mel"), label_map={"Nevus": "nv", "naevus": "nv"}
    )
    assert [item.label for item in declared] == ["nv", "nevus", "mel"]
    assert declared.notes[1:] == ("no row has the label 'naevus', which was to be renamed",)


def test_one_column_a_class(folder: Path) -> None:
    path = table(folder, "a,1,0", "b,0.0,1.0", "c,1,0", header="image,MEL,NV")
    records = load_csv(
        path, folder, columns={"label": ["MEL", "NV"]}, label_map={"MEL": "mel", "NV": "nv"}
    )
    assert [r.label for r in records] == ["mel", "nv", "mel"]
    assert records.labels.codes == ("mel", "nv")
    assert any("labels are sorted" in note for note in records.notes)


REFUSED = {
    "a column of another name": (("a,nv",), "image,labels", DatasetSchemaError,
                                 "'label', .*; name its own with columns={.*'label': 'labels'}."),
    "a column in another case": (
        ("a,nv,x",), "image,label, Label ", DatasetSchemaError,
        "must have each column once, but 'Label' is there twice, once as 'label'; rename one or r",
    ),
    "an attribute in another case": (
        ("a,nv,x,y",), "image,label,Sex,sex", DatasetSchemaError, "'sex' is there twice, once as 'S"
    ),
    "a column twice": (("a,nv,x",), "image,label,label", DatasetSchemaError, "'label' is there tw"),
    "semicolons": (("a;nv",), "image;label", DatasetSchemaError, "pass delimiter=';'"),
    "a ragged row": (("a,nv", "b,mel,x"), "image,label", DatasetSchemaError, "line 3 has 3"),
    "unknown labels": (("a,mell,,,", "b,xyz,,,"), HEADER, DatasetLabelError,
              "2 times: line 2: label 'mell'.*Did you mean 'mel'.*line 3: label 'xyz'"),
    "a label in another case": (("a,MEL ,,,",), HEADER, DatasetLabelError,
              "'mel' by blanks, case or zeros alone.*label_map={'MEL': 'mel'}"),
    "no label": (("a,,,,", "b,NaN,,,"), HEADER, DatasetLabelError,
                 "line 2: .*empty.*line 3: .*empty"),
    "an image twice": (("a,nv,,,", "a,nv,,,"), HEADER, DatasetSchemaError,
                       "line 3: image 'a' is in line 2"),
    "an image under two labels": (("a,nv,,,", "a,mel,,,"), HEADER, DatasetLabelError,
                                  "with another label"),
    "missing files": (tuple(f"no{n},nv,,," for n in range(25)), HEADER, DatasetPathError,
              "breaks this 25 times.*'no19'; and 5 more"),
    "an empty table": ((), "", DatasetSchemaError, "must have a header"),
    "a header alone": ((), HEADER, DatasetSchemaError, "at least one image, but it lists none"),
    "an absolute path": (("/etc/passwd,nv,,,",), HEADER, DatasetPathError, "must be a path below"),
    "a path upwards": (("../a.png,nv,,,",), HEADER, DatasetPathError, "must be a path below"),
    "a drive": (("C:\\a.png,nv,,,",), HEADER, DatasetPathError, "must be a path below"),
    "all-at-once": (("a,mell,,,", "no,nv,,,", "b,nv,,,", "b,nv,,,"), HEADER, DatasetLabelError,
                    "3 times: line 2.*line 3.*line 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, folder: Path) -> None:
    rows, header, error, words = REFUSED[case]
    with pytest.raises(error, match=words) as caught:
        load_csv(table(folder, *rows, header=header), folder, labels=LABELS)
    assert type(caught.value) is error


NAMED = {
    "usual names": ("filename,diagnosis,sex", {}, {"image": "filename", "label": "diagnosis"},
                    "--image-column filename --label-column diagnosis"),
    "groups as well": ("IMG_ID,dx,lesion", {},
                       {"image": "IMG_ID", "label": "dx", "lesion_id": "lesion"},
                       "--image-column IMG_ID --label-column dx --lesion-column lesion"),
    "a mistyped name": ("datei,the kind,age", {"image": "date", "label": "the kind"},
                        {"image": "datei", "label": "the kind"},
                        "--image-column datei --label-column 'the kind'"),
    "a mistyped group": ("image,label,laesion", {"lesion_id": "lesion_nr"},
                         {"image": "image", "label": "label", "lesion_id": "laesion"},
                         "--image-column image --label-column label --lesion-column laesion"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_the_columns_that_a_refusal_names_can_be_typed_as_they_stand(case, folder: Path) -> None:
    header, given, columns, options = NAMED[case]
    path = table(folder, "a,nv,1", "b,mel,2", header=header)
    with pytest.raises(DatasetSchemaError, match="must have the column ") as caught:
        load_csv(path, folder, columns=given)
    assert str(caught.value).endswith(f"; name its own with columns={columns}.")
    assert caught.value.on_command_line.endswith(f"; name its own with {options}.")
    records = load_csv(path, folder, columns=columns)
    assert [record.label for record in records] == ["nv", "mel"]
    assert "lesion_id" not in columns or [r.lesion_id for r in records] == ["1", "2"]


def test_a_name_of_several_files_is_no_guess(folder: Path) -> None:
    images(folder, "deep/a.png", "b.png")
    with pytest.raises(DatasetPathError, match=r"could be any of .*deep/a\.png") as caught:
        load_csv(table(folder, "a,nv,,,", "b,nv,,,"), folder, labels=LABELS)
    assert len(caught.value.problems) == 2
    records = load_csv(table(folder, "a.png,nv,,,", "c.png,mel,,,"), folder, labels=LABELS)
    assert [r.path for r in records] == [folder / "a.png", folder / "deep/c.png"]


def test_dedupe_keeps_the_first(folder: Path) -> None:
    path = table(folder, "a,nv,l1,,", "a,nv,l1,,", "b,mel,l3,,")
    records = load_csv(path, folder, labels=LABELS, dedupe=True)
    assert [r.lesion_id for r in records] == ["l1", "l3"]
    assert "1 row repeating another" in records.notes


def test_marks_line_ends_and_quotes(folder: Path) -> None:
    path = folder.parent / "table.csv"
    path.write_bytes('\ufeffimage,label\r\n"a",nv\r\n\r\n"b.jpg","mel"\r\n'.encode())
    assert [r.label for r in load_csv(path, folder, labels=LABELS)] == ["nv", "mel"]


@pytest.mark.parametrize(("encoding", "words"), [("utf-16", "it is UTF-16"), ("latin-1", "UTF-8")])
def test_other_encodings(folder: Path, encoding: str, words: str) -> None:
    path = table(folder, "ä,nv", header="image,label", encoding=encoding)
    with pytest.raises(DatasetSchemaError, match=words):
        load_csv(path, folder, labels=LABELS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_map": {0: "nv"}}, "label_map must map text to text, .* got 0 for 0"),
        ({"label_map": {"0": 1}}, "label_map must map text to text, .* got 1 for '0'"),
        ({"label_map": {"0": ["nv"]}}, r"label_map must map text to text, .* got \['nv'\] for '0'"),
        ({"label_map": [("0", "nv")]}, "label_map must be a mapping, such as "),
        ({"label_map": {"0": "nv", "0 ": "mel"}},
         "label_map must give each label one code, but gives 'nv' for '0' and 'mel' for '0 '"),
        ({"columns": "label"}, "columns must be a mapping, such as .* got 'label'"),
        ({"columns": {"label": 1}}, "columns must map text to text, .* got 1 for 'label'"),
        ({"columns": {"patient_id": None}}, "columns must map .* got None for 'patient_id'"),
        ({"columns": {"label": ["age", 2]}}, "columns must map .* got 2 for 'label'"),
    ],
)  # fmt: skip
def test_wrong_names_are_refused(folder: Path, options: dict, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        load_csv(table(folder, *GOOD), folder, **options)


@pytest.mark.parametrize("delimiter", [None, 5, "", ";;"])
def test_a_delimiter_is_one_character(folder: Path, delimiter: object) -> None:
    with pytest.raises(DatasetSchemaError, match="delimiter must be one character"):
        load_csv(table(folder, *GOOD), folder, delimiter=delimiter)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"PK\x03\x04\0\0", "it is an Excel workbook or another ZIP file; save it anew as 'CSV"),
        (b"\xd0\xcf\x11\xe0\0", "it is an Excel workbook; save it anew as 'CSV UTF-8'"),
        (b"PAR1\0", "it is a Parquet file; save it anew as 'CSV UTF-8'"),
        (gzip.compress(b"image,label", mtime=0), "it is compressed by gzip; unpack it first"),
        ("image,label".encode("utf-16-le"), "it is UTF-16 or holds the character NUL"),
        (b"image,label\na,n\0v", "it is UTF-16 or holds the character NUL"),
    ],
)
def test_files_of_other_formats_are_named(folder: Path, start: bytes, words: str) -> None:
    (path := folder.parent / "other").write_bytes(start)
    with pytest.raises(DatasetSchemaError, match=words):
        load_csv(path, folder)
    with pytest.raises(DatasetSchemaError, match=words):
        Splits.from_csv(path, load_csv(table(folder, *GOOD), folder))


def test_what_is_not_known_is_counted(folder: Path) -> None:
    path = table(folder, "a,nv,,-5,m", "b,mel,l1,forty,male")
    records = load_csv(path, folder, labels=LABELS)
    assert set(records.notes) == {
        "1 row without a lesion id, each counted as its own lesion",
        "2 rows with an age outside 0–120",
        "1 row with an unknown sex",
        "1 file is not listed and was left out",
    }
    assert records[0].lesion_id == "a"
    assert [dict(r.attributes) for r in records] == [
        {"age": "", "sex": ""}, {"age": "", "sex": "male"},
    ]  # fmt: skip


def test_all_other_columns_are_attributes(folder: Path) -> None:
    rows = ("a,nv,histo,back", "b,mel,histo,foot")
    records = load_csv(table(folder, *rows, header="image,label,dx_type,site"), folder)
    assert [dict(r.attributes) for r in records] == [
        {"dx_type": "histo", "site": "back"}, {"dx_type": "histo", "site": "foot"},
    ]  # fmt: skip


def test_archives_are_not_opened(folder: Path) -> None:
    archive = folder.parent / "data.zip"
    archive.write_bytes(b"PK\3\4")
    for call in (load_folder, load_ham10000, lambda root: load_csv(table(folder), root)):
        with pytest.raises(DatasetError, match="unpack it first"):
            call(archive)


def test_records_are_checked() -> None:
    one = Record("a", Path("a"), "nv")
    assert one.lesion_id == "a"
    with pytest.raises(DatasetSchemaError, match=r"image_id must be unique, .* 'a'"):
        Records((one, one), LABELS)
    with pytest.raises(DatasetLabelError, match=r"labels must be one of .* 'a' has 'naevus'"):
        Records((Record("a", Path("a"), "naevus"),), LABELS)
    with pytest.raises(DatasetError, match="1 is missing: 'b'"):
        Records((one,), LABELS).subset(["a", "b"])


def test_a_records_attributes_are_its_own() -> None:
    given = {"sex": "male"}
    one = Record("a", Path("a"), "nv", attributes=given)
    given["sex"] = "female"
    assert dict(one.attributes) == {"sex": "male"}
    with pytest.raises(TypeError, match="does not support item assignment"):
        one.attributes["sex"] = "female"
