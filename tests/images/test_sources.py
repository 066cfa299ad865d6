"""Paths, patterns and URLs."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from picture_files import encode, gradient

from skinxai import ItemError, read_image
from skinxai.data import load_csv, load_folder
from skinxai.errors import (
    InputDtypeError,
    InputNotFoundError,
    InputPathError,
    InputPermissionError,
    NoInputsError,
    UrlBlockedError,
)
from skinxai.images.sources import describe, iter_sources

DATA = encode(gradient())


def loop(folder: Path) -> Path:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return folder / "a"


def broken(folder: Path) -> Path:
    (folder / "link.png").symlink_to("nowhere.png")
    return folder / "link.png"


REFUSED = {
    "missing": (lambda f: f / "no.png", InputNotFoundError, r"found no image file at '.*no\.png'"),
    "broken-link": (broken, InputNotFoundError, r"found no image file at '.*link\.png'"),
    "loop": (loop, InputPathError, "(?i)symbolic links"),
    "long-name": (lambda f: f / ("x" * 300 + ".png"), InputPathError, "(?i)name too long"),
    "nul": (lambda f: f"{f}/a\0.png", InputPathError, "no file can have this name"),
    "http": (lambda f: "http://x.org/a.jpg", UrlBlockedError, "download the file"),
    "https": (lambda f: "https://x.org/a.jpg", UrlBlockedError, "download the file"),
    "file": (lambda f: f"file://{f}/a.png", UrlBlockedError, "is not read"),
    "ftp": (lambda f: "ftp://x.org/a.png", UrlBlockedError, "is not read"),
    "gopher": (lambda f: "gopher://x.org/a", UrlBlockedError, "is not read"),
    "data": (lambda f: "data:image/png;base64,AA", UrlBlockedError, "is not read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    make, error, words = REFUSED[case]
    with pytest.raises(error, match=words) as caught:
        read_image(make(tmp_path))
    assert type(caught.value) is error


def test_file_that_may_not_be_read() -> None:
    code = (
        "import os, tempfile\nfrom skinxai import read_image\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may read everything
        "handle, path = tempfile.mkstemp()\nos.chmod(path, 0)\n"
        "try: read_image(path)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "finally: os.unlink(path)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.startswith(InputPermissionError.__name__) and "change its permissions" in found


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe not utf-8.png", "🙂.png", "\u202eright to left.png", "new\nline.png",
        "-leading.png", "~", "[0-9].png", "x" * 251 + ".png",
    ],
)  # fmt: skip
def test_odd_names(name: str | bytes, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), name if isinstance(name, bytes) else name.encode())  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(DATA)
    text = os.fsdecode(path)
    single, found = iter_sources(text)
    assert single and list(found) == [text]
    read = read_image(text)
    assert read.pixels.shape == (48, 64, 3)
    assert read.source.isprintable() and len(read.source) <= 200


def test_tilde_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~").write_bytes(DATA)
    assert read_image("~").source == "~"


@pytest.mark.parametrize("kind", ["pattern", "empty", "hidden", "others"])
def test_nothing_is_an_error(kind: str, tmp_path: Path) -> None:
    if kind == "hidden":
        (tmp_path / ".a.png").write_bytes(DATA)
        (tmp_path / ".folder").mkdir()
        (tmp_path / ".folder/b.png").write_bytes(DATA)
    elif kind == "others":
        (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NoInputsError, match="found none"):
        iter_sources(f"{tmp_path}/*.png" if kind == "pattern" else tmp_path)


def test_matches_by_the_thousand_take_400_bytes_each(tmp_path: Path) -> None:
    for number in range(20_000):
        os.close(os.open(f"{tmp_path}/{number:06d}.png", os.O_CREAT | os.O_WRONLY))
    tracemalloc.start()
    for images in (f"{tmp_path}/*.png", tmp_path):
        _, found = iter_sources(images)
        assert next(found).endswith("000000.png")
        assert sum(1 for _ in found) == 19_999
    assert tracemalloc.get_traced_memory()[1] < 400 * 20_000
    tracemalloc.stop()


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/z.png", "b/10.jpg", "c.txt", "a.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(DATA)
    found = [os.path.relpath(p, tmp_path) for p in iter_sources(tmp_path)[1]]
    assert found == ["a.webp", "a/z.png", "b/10.jpg", "b/2.JPG"]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPE", ".gif", ".jpeg"])
def test_one_list_of_suffixes_for_folders_and_tables(suffix: str, tmp_path: Path) -> None:
    for label in ("mel", "nv"):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{label}{suffix}").write_bytes(DATA)
    names = [f"mel{suffix}", f"nv{suffix}"]
    assert [Path(path).name for path in iter_sources(tmp_path)[1]] == names
    assert [item.path.name for item in load_folder(tmp_path)] == names
    (tmp_path / "table.csv").write_text("image,label\nmel,mel\nnv,nv\n")
    listed = load_csv(tmp_path / "table.csv", tmp_path)
    assert [item.path.name for item in listed] == names


def test_file_that_goes_before_it_is_read(classifier, photos, tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(photos[number].read_bytes())
    stream = classifier.stream(tmp_path, batch_size=1, on_error="return")
    first = next(stream)
    paths[1].unlink()
    paths[2].write_bytes(b"replaced")
    rest = list(stream)
    assert first.source == str(paths[0])
    assert [item.code for item in rest] == ["input_not_found", "image_unsupported"]
    assert all(isinstance(item, ItemError) for item in rest)


@pytest.mark.parametrize("image", [None, 3, object(), [1, 2]])
def test_things_that_are_no_image(image: object) -> None:
    with pytest.raises(InputDtypeError, match="must be a path, bytes"):
        read_image(image)
    assert describe(image)


def test_text_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with (tmp_path / "a.txt").open() as file, pytest.raises(InputDtypeError, match="open it with"):
        read_image(file)
