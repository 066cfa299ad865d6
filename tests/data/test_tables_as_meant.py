"""Ids, labels and paths of tables as people mean them."""

from pathlib import Path

import pytest
from PIL import Image

from skinxai.cli.table_options import own_split
from skinxai.data import load_csv, load_folder
from skinxai.data.tables import ImageFiles
from skinxai.errors import DatasetLabelError, DatasetPathError, DatasetSchemaError


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(root / name, "PNG")
    return root


def table(folder: Path, *rows: str, header: str = "image,label") -> Path:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "t.csv"


@pytest.mark.parametrize("word", ["unknown", "Missing"])
def test_words_that_are_classes_of_some_data_sets_are_labels(word: str, tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    records = load_csv(table(tmp_path, f"1,{word}", "2,nv"), tmp_path)
    assert [item.label for item in records] == [word, "nv"]


@pytest.mark.parametrize("word", ["NA", "-", "null", "?"])
def test_a_label_that_is_not_there_is_refused_unless_it_is_mapped(word, tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    path = table(tmp_path, f"1,{word}", "2,nv")
    with pytest.raises(DatasetLabelError, match="line 2: the label is empty"):
        load_csv(path, tmp_path)
    records = load_csv(path, tmp_path, label_map={word: "other"})
    assert [item.label for item in records] == ["other", "nv"]


@pytest.mark.parametrize("role", ["patient_id", "lesion_id"])
def test_ids_that_differ_by_blanks_or_case_are_noted(role: str, tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "1,nv,p1", "2,mel,P 1", "3,mel,P2", header=f"image,label,{role}")
    records = load_csv(path, tmp_path)
    said = f"{role} 'P 1' and 'p1' differ by blanks, case or zeros alone, and count as different"
    assert said in records.notes and len({getattr(item, role) for item in records}) == 3


@pytest.mark.parametrize("role", ["patient_id", "lesion_id"])
def test_whole_numbers_with_a_point_are_the_same_ids(role: str, tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "1,nv,12", "2,mel,12.0", "3,mel,012", header=f"image,label,{role}")
    records = load_csv(path, tmp_path)
    assert [getattr(item, role) for item in records] == ["12", "12", "012"]
    assert f"1 row with .0 after the number of the {role}, which was removed" in records.notes
    said = f"{role} '012' and '12' differ by blanks, case or zeros alone, and count as different"
    assert said in records.notes


@pytest.mark.parametrize("other", ["0.0", "00"])
def test_one_number_written_in_two_ways_is_not_two_labels(other: str, tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "1,0", f"2,{other}", "3,1")
    with pytest.raises(DatasetLabelError, match="must not differ by blanks, case or zeros alone"):
        load_csv(path, tmp_path)
    records = load_csv(path, tmp_path, label_map={other: "0"})
    assert [item.label for item in records] == ["0", "0", "1"]


def test_blanks_around_the_names_of_class_folders_are_no_part_of_labels(tmp_path: Path) -> None:
    images(tmp_path, "mel /1.png", "nv\u00a0/2.png", " bcc/3.png")
    assert load_folder(tmp_path).labels.codes == ("bcc", "mel", "nv")


@pytest.mark.parametrize("name", ["test", "val"])
def test_a_folder_named_like_a_part_is_a_class_where_a_label_says_so(name, tmp_path) -> None:
    images(tmp_path, f"{name}/1.png", "control/2.png")
    records = load_folder(tmp_path, labels=("control", name))
    assert sorted(item.label for item in records) == sorted(["control", name])


def test_paths_of_windows_are_paths(tmp_path: Path) -> None:
    images(tmp_path, "deep/1.png", "deep/2.png")
    records = load_csv(table(tmp_path, r"deep\1.png,nv", r".\deep\2.png,mel"), tmp_path)
    assert sorted(item.path.name for item in records) == ["1.png", "2.png"]


def test_absolute_paths_may_turn_back_within_the_folder_alone(tmp_path: Path) -> None:
    root = images(tmp_path / "in", "1.png", "deep/2.png")
    images(tmp_path, "3.png")
    path = table(tmp_path, f"{root}/deep/../1.png,nv", f"{root}/./deep//2.png,mel")
    assert [item.path.name for item in load_csv(path, root)] == ["1.png", "2.png"]
    for outside in (f"{root}/../3.png", f"{root}/deep/../../3.png", f"{root}-2/1.png"):
        with pytest.raises(DatasetPathError, match="must be a path below"):
            load_csv(table(tmp_path, f"{outside},nv", "1,mel"), root)


def test_a_linked_folder_has_two_absolute_paths(tmp_path: Path) -> None:
    real = images(tmp_path / "real", "1.png", "2.png")
    link = tmp_path / "link"
    link.symlink_to(real)
    for root in (real, link):
        path = table(tmp_path, f"{real}/1.png,nv", f"{root}/2.png,mel")
        assert len(load_csv(path, root)) == 2


def test_names_of_files_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    files = ImageFiles([images(tmp_path, "L\xe4sion.png", "La\u0308sion2.png")])
    for number in ("", "2"):
        for name in (f"L\xe4sion{number}.png", f"La\u0308sion{number}"):
            assert files.find(name) is not None


@pytest.mark.parametrize("rows", [1, 3000])
def test_a_letter_in_another_encoding_is_a_typed_error_wherever_it_is(rows, tmp_path) -> None:
    text = "".join(f"{n}.png,nv\n" for n in range(rows))  # files are decoded by the kilobyte
    (tmp_path / "t.csv").write_bytes(f"image,label\n{text}Läsion,mel\n".encode("cp1252"))
    with pytest.raises(DatasetSchemaError, match="must be CSV in UTF-8"):
        load_csv(tmp_path / "t.csv", tmp_path)


def test_names_of_columns_of_lesions_and_patients_may_be_in_any_case(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    path = table(
        tmp_path, "1,nv,a,p", "2,mel,b,p", "3,mel,c,q", header="image,label,LESION_ID,Patient_Id"
    )
    records = load_csv(path, tmp_path)
    assert [(item.lesion_id, item.patient_id) for item in records] == [
        ("a", "p"), ("b", "p"), ("c", "q")
    ]  # fmt: skip
    assert not records[0].attributes
    both = table(tmp_path, "1,nv,x,p", "2,mel,y,p", header="image,label,Patient_ID,patient_id")
    with pytest.raises(DatasetSchemaError, match="'patient_id' is there twice, once as 'P"):
        load_csv(both, tmp_path)


@pytest.mark.parametrize(
    ("column", "role"), [("patient", "patient_id"), ("Patient ID", "patient_id"),
                         ("PatientNr.", "patient_id"), ("Lesion", "lesion_id")],
)  # fmt: skip
def test_a_column_that_seems_to_hold_ids_is_told(column: str, role: str, tmp_path: Path) -> None:
    """Read as an attribute, it keeps nothing together."""
    images(tmp_path, "1.png", "2.png")
    path = table(tmp_path, "1,nv,p", "2,mel,p", header=f"image,label,{column}")
    said = f"the column {column!r} is not read as {role}"
    assert any(note.startswith(said) for note in load_csv(path, tmp_path).notes)
    named = load_csv(path, tmp_path, columns={role: column})
    assert {getattr(item, role) for item in named} == {"p"}
    assert not any("is not read as" in note for note in named.notes)


def test_the_column_of_parts_may_be_in_any_case_and_beside_another(tmp_path: Path) -> None:
    """Not read, the test images would be drawn anew, and learnt."""
    for n in range(8):
        Image.new("RGB", (40, 40), (20 * n, 0, 0)).save(tmp_path / f"{n}.png")
    for header, cells in (
        ("SPLIT", "{}"), ("Part", "{}"), ("Split,part", "{},back"), ("part,split", "back,{}"),
    ):  # fmt: skip
        parts = [cells.format("train" if n < 4 else "test") for n in range(8)]  # or of the body
        rows = [f"{n},{'ab'[n % 2]},{part}" for n, part in enumerate(parts)]
        records = load_csv(table(tmp_path, *rows, header=f"image,label,{header}"), tmp_path)
        assert [item.image_id for item in own_split(records, 0).test] == ["4", "5", "6", "7"]
        assert not any("is not read as a split" in note for note in records.notes)


def test_a_column_of_parts_with_other_names_is_told(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(4)))
    rows = [f"{n},{'ab'[n % 2]},{('develop', 'holdout')[n // 2]}" for n in range(4)]
    records = load_csv(table(tmp_path, *rows, header="image,label,Split"), tmp_path)
    said = "'part' or 'split' is not read as a split, because it holds 'develop', 'holdout' and"
    assert any(said in note for note in records.notes)


def test_sexes_and_ages_are_read_as_people_write_them(tmp_path: Path) -> None:
    images(tmp_path, *(f"{n}.png" for n in range(4)))
    path = table(
        tmp_path, '0,a,Male ,"45,5"', "1,b,FEMALE,70", "2,a,NA,unknown", "3,b,x,121",
        header="image,label,sex,age",
    )  # fmt: skip
    records = load_csv(path, tmp_path)
    assert [(item.attributes["sex"], item.attributes["age"]) for item in records] == [
        ("male", "45.5"), ("female", "70"), ("", ""), ("", ""),
    ]  # fmt: skip
    assert {"1 row with an unknown sex", "1 row with an age outside 0–120"} <= {*records.notes}


@pytest.mark.parametrize("name", ["a/B.PNG", "b.jpg", "B.PNG", "B", "A\\b.PNG"])
def test_a_missing_file_names_the_one_of_another_case_or_suffix(name, tmp_path: Path) -> None:
    images(tmp_path, "a/b.png", "c.png")
    with pytest.raises(DatasetPathError, match=r"line 2: no file '.*', only 'a/b\.png'"):
        load_csv(table(tmp_path, f"{name},nv", "c,mel"), tmp_path)
    with pytest.raises(DatasetPathError, match=r"line 2: no file 'b\.1'\.$"):
        load_csv(table(tmp_path, "b.1,nv", "c,mel"), tmp_path)


def test_rows_that_name_no_image_are_not_taken_for_repetitions(tmp_path: Path) -> None:
    images(tmp_path, "1.png")
    with pytest.raises(DatasetSchemaError) as raised:
        load_csv(table(tmp_path, ",nv", "1,mel", " ,mel"), tmp_path)
    assert "line 2: it names no image; line 4: it names no image" in str(raised.value)
    assert "already" not in str(raised.value)


def test_an_image_without_a_lesion_whose_name_is_a_lesion_of_others_is_noted(
    tmp_path: Path,
) -> None:
    """It may be the lesion's first image, so they stay together; and who reads it is told."""
    images(tmp_path, "1.png", "2.png", "3.png", "4.png")
    path = table(tmp_path, "1,a,", "2,b,", "3,a,1", "4,b,1", header="image,label,lesion_id")
    records = load_csv(path, tmp_path)
    assert [item.lesion_id for item in records] == ["1", "2", "1", "1"]
    assert "1 row without a lesion id, each counted as its own lesion" in records.notes
    (note,) = (text for text in records.notes if "'1'" in text)
    assert note.startswith("1 row without a lesion id whose image is the lesion_id of other rows")
