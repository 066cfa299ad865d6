"""Folders of classes: read as they are meant, or refused with the folders that are the classes."""

import zlib
from pathlib import Path

import pytest
from PIL import Image

from skinxai.cli.table_options import own_split
from skinxai.data import Record, Records, given_split, load_csv, load_folder, split
from skinxai.data.detecting import open_records
from skinxai.data.given import has_parts, names_parts
from skinxai.errors import DatasetError, DatasetLabelError, LeakageError, OptionError
from skinxai.labels import LabelSet
from skinxai.results.drawing import encode_png


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(zlib.crc32(name.encode()).to_bytes(4, "big")[:3])  # no two files alike
        Image.new("RGB", (40, 40), colour).save(root / name, "PNG")
    return root


def tree(root: Path, uppers: tuple[str, ...], lowers: tuple[str, ...], count: int = 4) -> Path:
    return images(
        root, *(f"{u}/{low}/{u}{n}.png" for u in uppers for low in lowers for n in range(count))
    )


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "TESTING"), ("TRAIN", "valid")]
)
@pytest.mark.parametrize("above", [True, False])
def test_parts_are_no_classes(names: tuple[str, ...], above: bool, tmp_path: Path) -> None:
    classes = ("benign", "malignant")
    tree(tmp_path, names, classes) if above else tree(tmp_path, classes, names)
    records = load_folder(tmp_path)
    assert records.labels.codes == classes and records.class_counts() == [4 * len(names)] * 2
    assert all(item.label in item.image_id.split("/")[:2] for item in records)
    splits = given_split(records)
    sizes = [8, 8, 8] if len(names) == 3 else [8, 8, 0]
    assert [len(splits.train), len(splits.val), len(splits.test)] == sizes
    for part, word in ((splits.train, "train"), (splits.val, "val"), (splits.test, "test")):
        assert all(word in item.image_id.lower() for item in part) and not part.leaked
    test = sizes[2]
    assert (
        f"the folders of parts were read as a split, not as classes: train 8, val 8, test {test} "
        f"images"
    ) in records.notes


def test_a_split_without_validation_images_takes_some_of_the_training_images(
    tmp_path: Path,
) -> None:
    tree(tmp_path, ("train", "test"), ("benign", "malignant"), count=20)
    records = load_folder(tmp_path)
    splits = given_split(records, seed=1)
    assert splits == given_split(records, seed=1) != given_split(records, seed=2)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [34, 6, 40]
    assert all(item.image_id.startswith("test/") for item in splits.test)
    assert splits.val.class_counts() == [3, 3]


def test_a_copy_in_two_parts_is_a_leak(tmp_path: Path) -> None:
    tree(tmp_path, ("train", "test"), ("benign", "malignant"))
    copied = (tmp_path / "train/benign/train0.png").read_bytes()
    (tmp_path / "test/benign/other.png").write_bytes(copied)
    records = load_folder(tmp_path)
    with pytest.raises(LeakageError, match=r"must share no file.*'test/benign/other\.png' and"):
        given_split(records)
    marked = given_split(records, allow_leakage=True)
    assert marked.leaked and marked.test.leaked and marked.val.leaked


def test_parts_share_no_patient(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    path = tmp_path / "t.csv"
    path.write_text("image,label,patient_id,part\n0,a,p,train\n1,b,p ,test\n2,b,q,validation\n")
    records = load_csv(path, tmp_path)
    assert has_parts(records)
    with pytest.raises(LeakageError, match="patient 'p'"):
        given_split(records)


def test_images_without_parts_have_no_given_split(tmp_path: Path) -> None:
    records = load_folder(images(tmp_path, "a/1.png", "b/1.png"))
    assert not has_parts(records)
    with pytest.raises(DatasetError, match=r"must have the attribute 'part'.*make a split with sp"):
        given_split(records)
    only = load_folder(tree(tmp_path / "x", ("train",), ("a", "b")))
    assert only.labels.codes == ("a", "b") and not has_parts(only)
    with pytest.raises(DatasetError, match="and some must be of 'train', got"):
        given_split(only)
    assert len(split(only).train) == 4


def test_numbers_of_folds_are_no_parts() -> None:
    """Records made in a program may have them in the column split."""
    items = [Record(str(n), Path("x"), "ab"[n % 2], attributes={"split": n}) for n in range(3)]
    records = Records(tuple(items), LabelSet(("a", "b")))
    assert not names_parts(records)
    with pytest.raises(DatasetError, match=r"got \['0', '1', '2'\]"):
        given_split(records)


def test_parts_beside_classes_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, ("train", "test"), ("a", "b"))
    (tmp_path / "docs").mkdir()
    assert load_folder(tmp_path).labels.codes == ("a", "b")
    images(tmp_path, "more/1.png")
    with pytest.raises(DatasetError, match=r"has the parts 'test', 'train' beside 'more'"):
        load_folder(tmp_path)


def test_parts_without_classes_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "train/1.png", "train/2.png", "test/1.png")
    with pytest.raises(DatasetError, match="they hold 3 images in no folder"):
        load_folder(tmp_path)


NO_CLASSES = {
    "images": ("images", "masks"), "img": ("img", "labels"), "alone": ("Images",),
    "fold1": ("fold1", "fold2"), "fold_0": ("fold_0", "fold_1", "fold_2"), "set": ("set1", "set2"),
    "batch": ("batch-1", "batch-2"), "part": ("HAM10000_images_part_1", "HAM10000_images_part_2"),
    "hospitals": ("graz", "wien"), "years": ("2019", "2020"),
    "truth": ("ISIC_Input", "ISIC_GroundTruth"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_CLASSES)
@pytest.mark.parametrize("lowers", [("benign", "malignant"), ("rot", "blau")])
def test_folders_that_are_no_classes_are_refused(
    case: str, lowers: tuple[str, str], tmp_path: Path
) -> None:
    uppers = NO_CLASSES[case]
    tree(tmp_path, uppers, lowers)
    first, second = sorted(lowers)
    with pytest.raises(DatasetError, match=f"one level down are '{first}', '{second}'") as caught:
        load_folder(tmp_path)
    assert f"load_folder({str(tmp_path / sorted(uppers)[0])!r})" in str(caught.value)
    assert "load_folder" not in caught.value.on_command_line
    if len(uppers) > 1 and case in ("hospitals", "years"):
        assert load_folder(tmp_path, labels=uppers).labels.codes == uppers


@pytest.mark.parametrize(
    "uppers",
    [
        ("images", "masks"),
        ("fold1", "fold2"),
        ("photos", "x"),
        ("masks", "x"),
        ("Ground Truth", "x"),
    ],
)
def test_such_folders_without_folders_below_are_refused(uppers, tmp_path: Path) -> None:
    images(tmp_path, *(f"{upper}/{n}.png" for upper in uppers for n in range(2)))
    with pytest.raises(DatasetError, match="there is no folder in them"):
        load_folder(tmp_path)
    assert len(load_folder(tmp_path, labels=uppers)) == 4


def test_names_of_lesions_below_other_names_are_the_classes(tmp_path: Path) -> None:
    images(tmp_path, "graz/benign/1.png", "wien/malignant/2.png", "wien/nevus/3.png")
    with pytest.raises(DatasetError, match="one level down are 'benign', 'malignant', 'nevus'"):
        load_folder(tmp_path)


def test_parts_above_folds_are_refused_too(tmp_path: Path) -> None:
    images(tmp_path, *(f"{p}/{k}/{n}.png" for p in ("train", "test") for k in ("images", "masks")
                       for n in range(2)))  # fmt: skip
    with pytest.raises(DatasetError, match="name kinds of files, not classes"):
        load_folder(tmp_path)


def test_classes_may_have_folders_of_patients(tmp_path: Path) -> None:
    images(tmp_path, "mel/p1/1.png", "mel/p2/1.png", "nv/p1/1.png", "nv/p3/1.png", "nv/p4/1.png")
    assert load_folder(tmp_path).class_counts() == [2, 3]
    tree(tmp_path / "other", ("mel", "nv"), ("2019", "2020"))  # names of lesions are classes
    assert load_folder(tmp_path / "other").labels.codes == ("mel", "nv")
    images(tmp_path / "third", "1/a.png", "2/a.png", "10/a.png")
    assert len(load_folder(tmp_path / "third").labels) == 3


def test_folders_that_differ_by_case_or_blanks_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "Mel/1.png", "mel/2.png", "nv/1.png")
    for labels in (None, ("mel", "Mel", "nv")):
        with pytest.raises(DatasetLabelError, match=r"'Mel' and 'mel' do; rename one"):
            load_folder(tmp_path, labels=labels)
    images(tmp_path / "b", "basal cell/1.png", "basal  cell/2.png", "nv/1.png")
    with pytest.raises(DatasetLabelError, match="'basal  cell' and 'basal cell' do"):
        load_folder(tmp_path / "b")


def test_what_folders_leave_out_is_noted(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "mel/._1.png", "nv/1.png", "nv/deep/2.jfif", "beside.png")
    (tmp_path / "mel/2.heic").write_bytes(b"x")
    (tmp_path / "nv/3").write_bytes(b"x")
    (tmp_path / "top.dcm").write_bytes(b"x")
    records = load_folder(tmp_path)
    assert records.class_counts() == [1, 2]
    assert "1 image lies in no folder of a class and was left out" in records.notes
    assert records.notes[-1] == (
        f"3 files of {tmp_path}/ are not read: 1 .dcm, 1 .heic, 1 without a suffix"
    )


def test_a_class_of_which_nothing_is_read_is_an_error(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "nv/1.png")
    (tmp_path / "bcc").mkdir()
    assert load_folder(tmp_path).labels.codes == ("mel", "nv")  # an empty folder is none
    for name in ("1.heic", "2.heic", "notes.txt"):
        (tmp_path / "bcc" / name).write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"'bcc' of .* it holds 2 \.heic, 1 \.txt; convert"):
        load_folder(tmp_path)


def test_a_folder_of_own_pictures_alone_is_no_class(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "nv/1.png")
    (tmp_path / "why").mkdir()
    (tmp_path / "why/1.gradcam.png").write_bytes(encode_png(Image.new("RGB", (40, 40))))
    records = load_folder(tmp_path)
    assert records.labels.codes == ("mel", "nv")
    assert records.notes[-1] == f"1 file of {tmp_path}/ is not read: 1 written by skinxai"


def test_class_folders_beside_a_table(tmp_path: Path) -> None:
    images(tmp_path, "mel/1.png", "nv/1.png")
    (tmp_path / "metadata.csv").write_text("file_name,note\nmel/1.png,x\n")
    assert open_records(tmp_path).labels.codes == ("mel", "nv")


def test_no_class_folders_beside_a_table_names_the_call(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    (tmp_path / "list.csv").write_text("file_name;dx;patient\n1.png;mel;p\n2.png;nv;q\n")
    with pytest.raises(DatasetError, match="no image in any subfolder") as caught:
        open_records(tmp_path)
    columns = "{'image': 'file_name', 'label': 'dx', 'patient_id': 'patient'}"
    assert f"columns={columns}, delimiter=';')" in str(caught.value)
    assert caught.value.on_command_line.endswith(
        "--image-column file_name --label-column dx --patient-column patient --delimiter ';'."
    )


def test_one_image_without_a_part_does_not_undo_the_others_split(tmp_path: Path) -> None:
    tree(tmp_path / "folders", ("mel", "nv"), ("train", "test"))
    images(tmp_path / "folders", "nv/extra.png")
    with pytest.raises(DatasetError, match="move what belongs to no part elsewhere"):
        load_folder(tmp_path / "folders")
    names = [f"{n}.png" for n in range(9)]
    images(tmp_path / "table", *names)
    parts = ["train"] * 5 + ["test"] * 3 + [""]
    rows = [
        f"{n},{('mel', 'nv')[i % 2]},{p}" for i, (n, p) in enumerate(zip(names, parts, strict=True))
    ]
    (tmp_path / "t.csv").write_text("image,label,part\n" + "\n".join(rows))
    with pytest.raises(DatasetError, match="must have the attribute 'part'"):
        own_split(load_csv(tmp_path / "t.csv", tmp_path / "table"), 0)


def test_a_training_part_of_single_lesions_cannot_give_a_validation_part(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "test/a/4.png")
    with pytest.raises(DatasetError, match="must have a val part, or some class in two lesions"):
        given_split(load_folder(tmp_path))


def test_classes_whose_names_begin_as_pictures_do(tmp_path: Path) -> None:
    for name in ("image-guided", "pictured", "nv"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32), "tan").save(tmp_path / name / f"{name}.png")
    assert set(load_folder(tmp_path).labels) == {"image-guided", "pictured", "nv"}


@pytest.mark.parametrize("name", ["images", "columns", "label_map"])
def test_what_goes_with_a_table_is_refused_for_a_folder(name: str, tmp_path: Path) -> None:
    value = tmp_path if name == "images" else {"a": "b"}
    with pytest.raises(OptionError, match="images, columns and label maps go with a table"):
        open_records(tmp_path, **{name: value})
