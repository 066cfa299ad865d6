"""Class folders and HAM10000 in each of its published layouts."""

from pathlib import Path

import pytest
from PIL import Image
from test_loading import GOOD, LABELS, folder, images, table

from skinxai.data import load_csv, load_folder, load_ham10000
from skinxai.data.masks import grey_strays
from skinxai.data.tables import ImageFiles
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    OptionError,
)
from skinxai.images.sources import iter_sources
from skinxai.labels import HAM10000_LABELS, LabelSet

__all__ = ["folder"]  # fixtures


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


SYSTEM = ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX")


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_the_system_hold_no_images(tmp_path: Path, name: str) -> None:
    """Previews beside the images, and images that were deleted, would be further lesions."""
    images(tmp_path, "mel/1.png", "nv/1.png", "nv/2.png")
    images(tmp_path, f"{name}/x.png", f"nv/{name}/2.png/PREVIEW.jpg", f"nv/{name}/1.png")
    assert [item.image_id for item in load_folder(tmp_path)] == [
        "mel/1.png",
        "nv/1.png",
        "nv/2.png",
    ]
    (table := tmp_path / "t.csv").write_text("image,label\n2,nv\nmel/1,mel\n")
    assert len(load_csv(table, tmp_path)) == 2
    assert len(list(iter_sources(str(tmp_path))[1])) == 3


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
    assert records.notes == ("1 file is not listed and was left out",)
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
