"""Tables and folders of images: read rightly, or refused with every bad row named."""

import pickle
from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import Record, Records, load_csv, load_folder, load_ham10000
from skinxai.data.masks import grey_strays
from skinxai.data.tables import ImageFiles
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    OptionError,
)
from skinxai.labels import HAM10000_LABELS, LabelSet

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
                                 "'label'.*Did you mean 'labels'"),
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
    assert "1 rows that repeat another" in records.notes


def test_marks_line_ends_and_quotes(folder: Path) -> None:
    path = folder.parent / "table.csv"
    path.write_bytes('\ufeffimage,label\r\n"a",nv\r\n\r\n"b.jpg","mel"\r\n'.encode())
    assert [r.label for r in load_csv(path, folder, labels=LABELS)] == ["nv", "mel"]


@pytest.mark.parametrize(("encoding", "words"), [("utf-16", "it is UTF-16"), ("latin-1", "UTF-8")])
def test_other_encodings(folder: Path, encoding: str, words: str) -> None:
    path = table(folder, "ä,nv", header="image,label", encoding=encoding)
    with pytest.raises(DatasetSchemaError, match=words):
        load_csv(path, folder, labels=LABELS)


def test_what_is_not_known_is_counted(folder: Path) -> None:
    path = table(folder, "a,nv,,-5,m", "b,mel,l1,forty,male")
    records = load_csv(path, folder, labels=LABELS)
    assert set(records.notes) == {
        "1 rows without a lesion id, each counted as its own lesion",
        "2 rows with an age outside 0–120",
        "1 rows with an unknown sex",
        "1 files are not listed and were left out",
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
    with pytest.raises(DatasetError, match="1 are missing: 'b'"):
        Records((one,), LABELS).subset(["a", "b"])


def test_a_records_attributes_are_its_own() -> None:
    given = {"sex": "male"}
    one = Record("a", Path("a"), "nv", attributes=given)
    given["sex"] = "female"
    assert dict(one.attributes) == {"sex": "male"}
    with pytest.raises(TypeError, match="does not support item assignment"):
        one.attributes["sex"] = "female"


def test_folders(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "mel/deep/2.JPG", "nv/1.png", "nv/notes.txt", ".cache/x/1.png")
    records = load_folder(tmp_path)
    assert records.labels.codes == ("mel", "nv") and records.class_counts() == [2, 1]
    assert [item.image_id for item in records] == ["mel/1.png", "mel/deep/2.JPG", "nv/1.png"]
    assert any("labels are sorted" in note for note in records.notes)
    with pytest.raises(DatasetError, match="at least two classes"):
        load_folder(tmp_path / "mel")
    with pytest.raises(DatasetError, match="root must be a folder"):
        load_folder(tmp_path / "nowhere")


def test_declared_order_of_folders(tmp_path: Path) -> None:
    images(tmp_path / "train", "1/a.png", "2/a.png", "10/a.png")
    images(tmp_path / "val", "10/b.png", "2/b.png")
    train = load_folder(tmp_path / "train", labels=("1", "2", "10"))
    val = load_folder(tmp_path / "val", labels=train.labels)  # a class fewer: mapped by name
    assert train.targets() == [0, 2, 1] and train.class_counts() == [1, 1, 1]
    assert val.labels == train.labels and val.class_counts() == [0, 1, 1]
    with pytest.raises(DatasetLabelError, match=r"got \['10'\]"):
        load_folder(tmp_path / "val", labels=("1", "2"))


COLUMNS = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def ham10000(root: Path, columns: str = COLUMNS) -> None:
    images(root, "HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg")
    images(root, "HAM10000_segmentations_lesion_tschandl/ISIC_1_segmentation.png")
    rows = ["HAM_2,ISIC_2,mel,histo,50.0,male,back", "HAM_1,ISIC_1,nv,follow_up,,unknown,foot"]
    (root / "HAM10000_metadata.csv").write_text("\n".join([columns, *rows]) + "\n")


@pytest.mark.parametrize("labels", [{"nv", "mel"}, frozenset(("nv", "mel")), "nv,mel", b"nm"])
def test_labels_without_an_order_are_refused(labels, folder: Path, tmp_path: Path) -> None:
    """The order of a set's texts differs between processes, and with it what each logit means."""
    images(tmp_path / "classes", "nv/1.png", "mel/2.png")
    for read in (
        lambda: load_csv(table(folder, *GOOD), folder, labels=labels),
        lambda: load_folder(tmp_path / "classes", labels=labels),
        lambda: LabelSet(labels),
        lambda: LabelSet.of(labels),
    ):
        with pytest.raises(OptionError, match="a list of label codes in the order of the logits"):
            read()
    keys = dict.fromkeys(("nv", "mel", "bcc"))
    given = load_csv(table(folder, *GOOD), folder, labels=keys.keys())
    assert given.labels.codes == ("nv", "mel", "bcc") and LabelSet.of(LABELS) is LABELS


def test_ham10000_as_it_comes(tmp_path: Path) -> None:
    ham10000(tmp_path)
    records = load_ham10000(tmp_path)
    assert [(r.image_id, r.label, r.lesion_id) for r in records] == [
        ("ISIC_1", "nv", "HAM_1"), ("ISIC_2", "mel", "HAM_2"),
    ]  # fmt: skip
    assert dict(records[0].attributes) == {"age": "", "sex": "", "localization": "foot"}
    assert records.licence == "CC-BY-NC-4.0" and "ViDIR" in records.attribution
    assert records.notes == ()
    (tmp_path / "HAM10000_images_part_2/ISIC_2.jpg").unlink()
    with pytest.raises(DatasetPathError, match="line 2: no file 'ISIC_2'"):
        load_ham10000(tmp_path)


def test_ham10000_as_isic_2018_has_it(tmp_path: Path) -> None:
    images(tmp_path, "ISIC2018_Task3_Training_Input/ISIC_1.jpg", "x/ISIC_2.jpg", "x/ISIC_3.jpg")
    truth = tmp_path / "ISIC2018_Task3_Training_GroundTruth"
    truth.mkdir()
    path = truth / "ISIC2018_Task3_Training_GroundTruth.csv"
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    path.write_text(head + "ISIC_1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nISIC_2,1,0,0,0,0,0,0\n")
    with pytest.raises(DatasetSchemaError, match="LesionGroupings"):
        load_ham10000(tmp_path)
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\nISIC_1,HAM_9,histopathology\nISIC_2,HAM_9,x\n"
    )
    records = load_ham10000(tmp_path)
    assert [(r.label, r.lesion_id) for r in records] == [("nv", "HAM_9"), ("mel", "HAM_9")]
    assert records.labels == HAM10000_LABELS
    assert records.notes == ("1 files are not listed and were left out",)
    path.write_text(head + "ISIC_1,0,0,0,0,0,0,0\nISIC_2,1,1,0,0,0,0,0\nISIC_3,1,0,0,0,0,0,0\n")
    with pytest.raises(DatasetLabelError, match="line 2 has 0; line 3 has 2") as caught:
        load_ham10000(tmp_path)
    assert len(caught.value.problems) == 2


def test_ham10000_as_the_archive_has_it(tmp_path: Path) -> None:
    images(tmp_path, "ISIC_1.JPG", "ISIC_2.JPG")
    (tmp_path / "metadata.csv").write_text(
        "isic_id,age_approx,diagnosis,lesion_id,sex,benign_malignant,diagnosis_confirm_type\n"
        "ISIC_1,45,pigmented benign keratosis,IL_1,male,benign,histopathology\n"
        "ISIC_2,50,nevus,IL_2,female,benign,serial imaging\n"
    )
    records = load_ham10000(tmp_path)
    assert [(r.label, r.lesion_id) for r in records] == [("bkl", "IL_1"), ("nv", "IL_2")]
    assert dict(records[0].attributes) == {"age_approx": "45", "sex": "male"}


def test_ham10000_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(DatasetSchemaError, match=r"must hold HAM10000_metadata\.csv"):
        load_ham10000(tmp_path)
    ham10000(tmp_path, COLUMNS.replace("lesion_id", "lesion"))
    with pytest.raises(DatasetSchemaError, match=r"'lesion_id'.*Did you mean 'lesion'"):
        load_ham10000(tmp_path)


def test_every_spelling_of_a_label_has_its_rename(tmp_path: Path) -> None:
    rows = "".join(f"{n},{label}\n" for n, label in enumerate(("mel", "MEL", "Mel", "nv")))
    (tmp_path / "t.csv").write_text(f"image,label\n{rows}")
    for n in range(4):
        picture(tmp_path / f"{n}.png", "RGB")
    with pytest.raises(DatasetLabelError) as caught:
        load_csv(tmp_path / "t.csv", tmp_path)
    first, *others = ("mel", "MEL", "Mel")
    for _ in range(3):  # any of them may be the one that stays
        if all(f"{other!r}: {first!r}" in str(caught.value) for other in others):
            break
        first, *others = (*others, first)
    else:
        pytest.fail(str(caught.value))


def picture(path: Path, mode: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new(mode, (8, 8)).save(path)
    return path


def test_grey_pictures_of_another_folder_are_strays_among_photographs(tmp_path: Path) -> None:
    main = [picture(tmp_path / "a" / f"{n}.png", "RGB") for n in range(6)]
    others = [picture(tmp_path / "b" / f"{n}.png", mode) for n, mode in enumerate("LP1")]
    colour, jpeg = picture(tmp_path / "b/c.png", "RGB"), picture(tmp_path / "b/d.jpg", "L")
    assert grey_strays([*main, *others, colour, jpeg]) == others
    assert grey_strays([*main, picture(tmp_path / "a/grey.png", "L")]) == []
    grey = [picture(tmp_path / "c" / f"{n}.png", "L") for n in range(5)]
    assert grey_strays([*grey, *others]) == []  # where all are grey, none is a stray


def test_a_folder_within_one_of_its_name(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    outer, inner = picture(root / "a.png", "RGB"), picture(root / "images" / "a.png", "RGB")
    only = picture(root / "b.png", "RGB")
    found = ImageFiles([root])
    assert [found.find(name) for name in ("images/a", "images/a.png", "images/b.png")] == [
        inner, inner, only
    ]  # fmt: skip
    assert found.find("a.png") == outer and found.find("images/c.png") is None
