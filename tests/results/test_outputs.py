"""What is written: whole or not at all, under safe names, never over what is being read."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from skinxai.cli import app, predictions
from skinxai.disk.writing import append_line, write_atomic
from skinxai.errors import OutputError
from skinxai.results.folder import ResultFolder, table


def test_existing_output_is_replaced_whole(classifier, photos, tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    target.write_bytes(b"old")
    classifier.explain(photos[0]).save(target)
    with Image.open(target) as picture:
        picture.verify()
    assert [p.name for p in tmp_path.iterdir()] == ["why.png"]  # no temporary file is left


def test_output_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        write_atomic(tmp_path, b"new")
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OutputError, match="must be a folder"):
        ResultFolder(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_of_a_folder_that_is_not_there(classifier, photos, tmp_path: Path) -> None:
    target = tmp_path / "new" / "why.png"
    explanation = classifier.explain(photos[0])
    for write in (explanation.save, lambda path: append_line(path, "one")):
        with pytest.raises(OutputError, match=r"there is no folder '.*new'; make it first\.$"):
            write(target)
    target.parent.mkdir()
    explanation.save(target)
    with Image.open(target) as picture:
        picture.verify()


def test_folder_that_cannot_be_written() -> None:
    code = (
        "import os\nfrom skinxai.results.folder import ResultFolder\n"
        "from skinxai.disk.writing import *\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may write everywhere
        "for call in (lambda: ResultFolder('/usr'), lambda: write_atomic('/usr/x', b'')):\n"
        "    try: call()\n"
        "    except Exception as error: print(type(error).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["OutputError", "OutputError"]


def test_full_disk_leaves_the_old_output(tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    target.write_bytes(b"old")
    code = (
        "import resource, sys\nfrom skinxai.disk.writing import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(sys.argv[1], bytes(5000))\n"
        "except Exception as error: print(type(error).__name__)"
    )
    command = [sys.executable, "-c", code, str(target)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["OutputError"]
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_the_explained_image_is_never_replaced(classifier, photos, tmp_path: Path) -> None:
    image = tmp_path / "lesion.png"
    image.write_bytes(photos[0].read_bytes())
    link = tmp_path / "link.png"
    link.symlink_to(image)
    for path in (image, link):
        with pytest.raises(OutputError, match="must not be the explained image"):
            classifier.explain(image).save(path)
    assert image.read_bytes() == photos[0].read_bytes()


def test_inputs_in_the_output_folder_are_kept(photos, tmp_path: Path) -> None:
    for name in ("a.png", "a.gradcam.png"):
        (tmp_path / name).write_bytes(photos[0].read_bytes())
    arguments = ["predict", str(tmp_path), "--explain", "gradcam", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (tmp_path / "a.gradcam.png").read_bytes() == photos[0].read_bytes()
    assert (tmp_path / "a-2.gradcam.png").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".TIF"])
def test_other_picture_formats_are_refused(classifier, photos, tmp_path: Path, suffix) -> None:
    with pytest.raises(OutputError, match=r"must end in \.png or be a folder"):
        classifier.explain(photos[0]).save(tmp_path / f"why{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("../../x.jpg", "x.png"), ("a/b", "b.png"), ("..\\..\\x.jpg", "x.png"),
        ("CON", "_CON.png"), ("com1.jpg", "_com1.png"), ("aux.x.jpg", "_aux.x.png"),
        ("..", "image.png"), ("", "image.png"), ("new\nline.jpg", "new_line.png"),
        ("nul\0.jpg", "_nul.png"), ("x" * 300 + ".jpg", "x" * 80 + ".png"),
        (".hidden", "hidden.png"), ("naïve 🙂.jpg", "naïve.png"),
        ("a\u3164b.jpg", "a_u3164b.png"), ("\u115f.jpg", "u115f.png"),
    ],
)  # fmt: skip
def test_names_stay_below_the_folder(source: str, name: str, tmp_path: Path) -> None:
    found = ResultFolder(tmp_path).name_for(source, ".png")
    assert found == name
    assert (tmp_path / found).resolve().parent == tmp_path.resolve()


def test_names_never_collide(photos, tmp_path: Path) -> None:
    sources = []
    for name in ("a.png", "a.webp", "A.png", "more/a.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(photos[len(sources)].read_bytes())
        sources.append(str(path))
    out = tmp_path / "out"
    arguments = ["predict", *sources, "--explain", "gradcam", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    rows = json.loads((out / "results.json").read_text())
    overlays = [row["overlay"] for row in rows]
    assert [row["source"] for row in rows] == sources
    assert len({name.lower() for name in overlays}) == 4
    assert {p.name for p in out.glob("*.png")} == set(overlays)


def test_what_is_done_is_written_after_an_interruption(photos, tmp_path: Path, monkeypatch) -> None:
    lines, seen = predictions._lines, []

    def stop(result):
        seen.append(result)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return lines(result)

    monkeypatch.setattr(predictions, "_lines", stop)
    found = CliRunner().invoke(app, ["predict", str(photos[0].parent), "--out", str(tmp_path)])
    assert found.exit_code != 0 and len(seen) == 3
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row.get("error_code") for row in rows] == [None] * 3 + ["interrupted"] * 9


def test_a_name_that_a_spreadsheet_would_compute_is_text() -> None:
    rows = [{"source": "=HYPERLINK(0).jpg", "warnings": ["+1: x"], "p": -0.5}]
    assert table(rows) == "source,warnings,p\n'=HYPERLINK(0).jpg,'+1: x,-0.5\n"


def test_nothing_of_a_files_own_metadata_is_kept(classifier, photos, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = "of the planted patient", "planted artist"
    with Image.open(photos[0]) as photo:
        photo.convert("RGB").save(tmp_path / "photo.jpg", exif=exif, comment=b"planted comment")
    assert (tmp_path / "photo.jpg").read_bytes().count(b"planted") == 3
    assert "planted" not in json.dumps(classifier.predict(tmp_path / "photo.jpg").to_dict())
    classifier.explain(tmp_path / "photo.jpg").save(tmp_path / "why")
    written = [path.read_bytes() for path in (tmp_path / "why").iterdir()]
    assert written and not any(b"planted" in data for data in written)
