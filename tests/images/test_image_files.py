"""What of a folder is read, and that whatever is not read is said."""

import json
from pathlib import Path

import pytest
from picture_files import encode, gradient
from PIL import Image
from small_runs import model_folder
from typer.testing import CliRunner

from skinxai.cli import app
from skinxai.errors import NoInputsError, SkinxaiWarning, UnsupportedImageError
from skinxai.images.listing import LeftOut, image_files
from skinxai.images.reading import read_image
from skinxai.images.sources import iter_sources
from skinxai.results.drawing import encode_png, is_own_picture

pytestmark = pytest.mark.usefixtures("small_networks")

DATA = encode(gradient())


def fill(folder: Path, *names: str, data: bytes = DATA) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def looked_at(place: object, **more: object) -> tuple[list[str], LeftOut]:
    """Names that a folder or pattern gives, and what is left out."""
    reports: list[LeftOut] = [LeftOut("")]
    _, found = iter_sources(str(place), report=reports.append, **more)
    return [Path(path).name for path in found], reports[-1]


def test_files_that_are_not_read_are_counted_by_kind(tmp_path: Path) -> None:
    fill(
        tmp_path, "a.png", "b.HEIC", "deep/c.heic", "IM0001", "deep/1.2.840.5001", "d.dcm", "e.dcm"
    )
    names, left = looked_at(tmp_path)
    assert names == ["a.png"]
    assert left.kinds == {".heic": 2, "without a suffix": 2, ".dcm": 2}
    assert left.note == (
        f"6 files of {tmp_path}/ are not read: 2 .dcm, 2 .heic, 2 without a suffix"
    )
    assert left.to_dict() == {
        "source": f"{tmp_path}/", "left_out": {".heic": 2, "without a suffix": 2, ".dcm": 2},
    }  # fmt: skip


def test_one_file_and_many_kinds_read_well(tmp_path: Path) -> None:
    left = LeftOut("x/")
    left.kinds[".dcm"] = 1
    assert left.note == "1 file of x/ is not read: 1 .dcm"
    left.kinds.update({f".k{n}": 1 for n in range(8)})
    assert left.note.endswith("1 .k3, 1 .k4, 3 of 3 other kinds")


def test_what_is_expected_beside_images_is_no_noise(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "table.csv", "notes.TXT", "Thumbs.db", "desktop.ini", "LICENSE")
    fill(tmp_path, ".DS_Store", "._a.png", ".hidden/b.heic", "x.tab", "README.md", "z.json")
    names, left = looked_at(tmp_path)
    assert names == ["a.png"] and not left


@pytest.mark.parametrize("kind", ["folder", "pattern"])
def test_a_folder_whose_files_are_all_left_out_is_an_error(kind: str, tmp_path: Path) -> None:
    fill(tmp_path, "a.heic", "b.heic", "c", "table.csv")
    place = tmp_path if kind == "folder" else tmp_path / "*"
    words = r"found none among 2 \.heic, 1 \.csv, 1 without a suffix; convert images of other "
    with pytest.raises(NoInputsError, match=words):
        iter_sources(str(place))


def test_linked_and_closed_folders_are_said(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", "elsewhere/b.png")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    names, left = looked_at(tmp_path / "in")
    assert names == ["a.png"] and left.links == 2
    assert left.note == f"2 linked folders of {tmp_path}/in/ are not followed"
    left = LeftOut("gone/")
    assert not list(image_files(str(tmp_path / "gone"), left))
    assert left.closed == 1 and left.note == "1 folder of gone/ is closed to this user"


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.heic")
    reports: list[LeftOut] = []
    _, found = iter_sources(str(tmp_path), report=reports.append)
    assert [len(list(found)), len(list(found))] == [1, 0] and len(reports) == 1


@pytest.mark.parametrize("pattern", ["", "/*"])
def test_python_warns_of_what_is_left_out(pattern: str, classifier, photos, tmp_path: Path) -> None:
    fill(tmp_path, "a.png", data=photos[0].read_bytes())
    fill(tmp_path, "b.heic", "c.dcm")
    place = str(tmp_path) + pattern
    words = r"2 files of .* are not read: 1 \.dcm, 1 \.heic\."
    with pytest.warns(SkinxaiWarning, match=words):
        assert len(classifier.predict(place, progress=False)) == 1
    with pytest.warns(SkinxaiWarning, match=words):
        assert len(list(classifier.stream(place, progress=False))) == 1
    with pytest.warns(SkinxaiWarning, match=words):
        assert len(classifier.explain(place, progress=False)) == 1


def test_the_command_line_says_what_is_left_out(photos, tmp_path: Path) -> None:
    folder = tmp_path / "lesions"
    fill(folder, "a.png", data=photos[0].read_bytes())
    fill(folder, "b.heic", "c.heic", "d")
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["predict", str(folder), "--format", "json", "--out", str(out)])
    assert found.exit_code == 0
    note = f"note: 3 files of {folder}/ are not read: 2 .heic, 1 without a suffix"
    assert note in found.stderr.splitlines()
    for text in (found.stdout, (out / "results.json").read_text()):
        rows = json.loads(text)
        assert len(rows) == 2 and rows[0]["source"] == str(folder / "a.png")
        assert rows[1] == {
            "source": f"{folder}/", "left_out": {".heic": 2, "without a suffix": 1},
        }  # fmt: skip
    assert len((out / "results.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("place", ["", "/**/*.png", "/*/*.png"])
def test_the_output_folder_is_never_read(place: str, tmp_path: Path) -> None:
    fill(
        tmp_path, "in/a.png", "in/sub/b.png", "in/out/c.png", "in/out/deep/d.png", "in/outer/e.png"
    )
    (tmp_path / "in/out/results.csv").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for folder in (tmp_path / "in", tmp_path / "link"):
        names, left = looked_at(f"{folder}{place}", out=tmp_path / "in/out")
        assert not {"c.png", "d.png"} & set(names) and {"b.png", "e.png"} <= set(names)
        assert left.kinds["in the output folder"] == (1 if place == "/*/*.png" else 2)


def test_an_output_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    fill(tmp_path, "out/c.png")
    assert looked_at(tmp_path / "out", out=tmp_path / "out")[0] == ["c.png"]
    assert looked_at(tmp_path / "out/*.png", out=tmp_path / "out")[0] == ["c.png"]
    assert looked_at(tmp_path / "out", out=tmp_path)[0] == ["c.png"]


def test_a_second_run_reads_what_the_first_read(
    photos, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fill(tmp_path, "a.png", data=photos[0].read_bytes())
    fill(tmp_path, "b.png", data=photos[1].read_bytes())
    model = str(model_folder(tmp_path_factory.mktemp("small") / "model", seed=1))
    for command in ("predict", "explain", "predict", "explain"):
        for out in (tmp_path / "results", tmp_path):  # below the images, and beside them
            more = ["--explain", "gradcam"] if command == "predict" else ["--compare", "gradcam"]
            found = CliRunner().invoke(
                app, [command, str(tmp_path), *more, "--model", model, "--out", str(out)]
            )
            assert found.exit_code == 0, found.output
        rows = json.loads((tmp_path / "results/results.json").read_text())
        assert [row["source"] for row in rows if "label" in row] == [
            str(tmp_path / "a.png"), str(tmp_path / "b.png"),
        ]  # fmt: skip
    assert rows[-1]["left_out"] == {"in the output folder": 8, "written by skinxai": 8, ".npy": 2}


@pytest.mark.parametrize("kind", ["overlay", "sheet"])
def test_an_own_picture_is_refused_where_it_is_named(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(gradient())
    data = encode_png(picture, {"target": "mel"} if kind == "overlay" else None)
    fill(tmp_path, "a.png", data=data)
    with Image.open(tmp_path / "a.png") as opened:
        for image in (tmp_path / "a.png", data, opened):
            with pytest.raises(UnsupportedImageError, match="which skinxai drew"):
                read_image(image)
    assert looked_at(fill(tmp_path, "b.png"))[0] == ["b.png"]


def test_every_picture_that_is_written_has_the_mark(classifier, photos, tmp_path: Path) -> None:
    explanation = classifier.explain(photos[0])
    explanation.save(tmp_path / "why.png")
    explanation.save(tmp_path / "why")
    pictures = sorted(tmp_path.rglob("*.png"))
    assert sorted(path.name for path in pictures) == ["overlay.png", "sheet.png", "why.png"]
    assert all(is_own_picture(path.read_bytes()) for path in pictures)
    assert is_own_picture(explanation._repr_png_())
    assert not is_own_picture(photos[0].read_bytes())
