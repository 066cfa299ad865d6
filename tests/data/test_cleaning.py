"""What tables, labels and folders' names mean, whatever their blanks, case and Unicode form."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from skinxai.data.cleaning import alike, clean, fold, known_attributes, known_id, path_id
from skinxai.data.hints import read_table, table_remedy, tables_in
from skinxai.data.masks import grey_strays, is_mask_folder


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\xa0", "\0", "\u200b", "\u2060", "\ufeff", ""])
def test_outer_blanks_of_any_kind_go_and_inner_ones_stay(blank: str) -> None:
    assert clean(f"{blank} a{blank}b {blank}") == f"a{blank}b"
    assert clean("La\u0308sion") == "L\xe4sion"
    assert fold(f"{blank}A{blank}B") == "ab"


def test_ids_that_mean_unknown_are_empty() -> None:
    unknown = ["", " ", "NaN", "-nan", "NA", "n/a", "N.A.", "#N/A", "#NA", "<NA>", "NaT", "NULL",
               "None", "-", "--", "?", " Unknown ", "missing"]  # fmt: skip
    assert [text for text in unknown if known_id(text)] == []
    known = ["0", "nana", "none1", "a-b", "NV", "007", "1.1", "1.10", "1.00", "P1.0", ".0"]
    assert [known_id(f" {text}\n") for text in known] == known
    assert [known_id(text) for text in ("12.0", " 0.0 ", "007.0")] == ["12", "0", "007"]


def test_sexes_and_ages_whatever_their_columns_are_called() -> None:
    counted: Counter[str] = Counter()
    given = {"Sex": " Female", "AGE_Approx": "45,5", "sex": "MALE", "Age": "150", "Site": "Back"}
    assert known_attributes(given, counted) == {
        "Sex": "female", "AGE_Approx": "45.5", "sex": "male", "Age": "", "Site": "Back"
    }  # fmt: skip
    assert +counted == {"with an age outside 0–120": 1}
    assert known_attributes({"SEX": "m"}, counted) == {"SEX": ""}  # Spanish: mujer
    assert counted["with an unknown sex"] == 1


def test_labels_of_another_case_or_blanks_are_groups_in_order() -> None:
    labels = ["nv", "NV ", "Mel anoma", "bcc", "melanoma", "melanoma", "nv"]
    assert alike(labels) == [["Mel anoma", "melanoma"], ["NV ", "nv"]]
    assert alike(["stra\xdfe", "STRASSE"]) == [["STRASSE", "stra\xdfe"]]
    assert alike(["0", "0.0", "1", "01", "1.1", "a01", "a1"]) == [["0", "0.0"], ["01", "1"]]
    assert alike(["nv", "nv"]) == alike([]) == []


def test_paths_are_ids_in_composed_form() -> None:
    assert path_id("a/La\u0308sion.png") == "a/L\xe4sion.png"
    assert path_id("a/\udce4.png") == "a/\\xe4.png"


@pytest.mark.parametrize(
    "name", ["mask", "Masks", "my_seg", "GroundTruth", "ground truth", "gt", "labels-2"]
)  # fmt: skip
def test_folders_of_masks_by_their_names(name: str) -> None:
    assert is_mask_folder(name)


@pytest.mark.parametrize("name", ["damask", "masked", "segmentor", "images", "gtx", "relabels", ""])
def test_folders_of_photographs_by_their_names(name: str) -> None:
    assert not is_mask_folder(name)


def saved(folder: Path, name: str, mode: str) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new(mode, (4, 4)).save(folder / name)
    return folder / name


def test_grey_files_in_a_smaller_folder_are_strays(tmp_path: Path) -> None:
    main = [saved(tmp_path / "a", f"{n}.png", "RGB") for n in range(3)]
    grey, palette = saved(tmp_path / "b", "grey.png", "L"), saved(tmp_path / "b", "p.png", "P")
    colour, jpeg = saved(tmp_path / "b", "rgb.png", "RGB"), saved(tmp_path / "c", "g.jpg", "L")
    gif = saved(tmp_path / "c", "p.gif", "P")
    assert grey_strays([*main, grey, palette, colour]) == [grey, palette]
    assert grey_strays([*main, jpeg, gif]) == []  # masks are kept without loss
    assert grey_strays([saved(tmp_path / "a", "own.png", "L"), *main]) == []  # in one folder
    others = [saved(tmp_path / "d", f"{n}.png", "L") for n in range(4)]
    assert grey_strays([*others, *main]) == []  # most are grey: those are the photographs


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_what_the_first_line_has_most_of(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"image{delimiter}label{delimiter}sex\na,{delimiter}b;,;,;{delimiter}c\n")
    table = read_table(path)
    assert (table.delimiter, list(table.columns)) == (delimiter, ["image", "label", "sex"])
    assert tables_in(tmp_path) == [path]


def test_a_remedy_has_the_columns_that_a_table_has(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Image_Name,sex,lesion\na,male,1\n")
    remedy = table_remedy(path, tmp_path)
    columns = {"image": "Image_Name", "label": "…", "lesion_id": "lesion"}
    assert remedy["python"] == (
        f"read the table with load_csv({str(path)!r}, {str(tmp_path)!r}, columns={columns}), "
        f"or folders of classes with load_folder({str(tmp_path)!r})"
    )
    assert remedy["command"] == (
        f"give the table itself: {path} --images {tmp_path} --image-column Image_Name "
        f"--label-column '…' --lesion-column lesion"
    )
    path.write_text("dx;image;patient\nnv;a;1\n")
    remedy = table_remedy(path, tmp_path)
    columns = {"image": "image", "label": "dx", "patient_id": "patient"}
    assert remedy["python"] == (
        f"read the table with load_csv({str(path)!r}, {str(tmp_path)!r}, columns={columns}, "
        f"delimiter=';')"
    )
    assert remedy["command"].endswith("--label-column dx --patient-column patient --delimiter ';'")
