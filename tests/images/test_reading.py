"""Only regular files of bounded size are read, wherever a file is named, and nothing waits."""

import ast
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import LIMIT

import skinxai
from skinxai.data import Splits, load_csv, load_folder
from skinxai.data.prepared import load_prepared
from skinxai.disk import regular_files
from skinxai.disk.regular_files import check_file, open_file, read_file
from skinxai.disk.writing import append_line
from skinxai.errors import SkinxaiError
from skinxai.graphs.exported import open_exported
from skinxai.model_folders.files import read_model_folder
from skinxai.reporting import read_evaluation, read_log
from skinxai.training.run_folder import RunFolder

SOURCES = Path(skinxai.__file__).parent
unix = pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes in folders")


@pytest.fixture(autouse=True)
def never_waits() -> Iterator[None]:
    """End a call that waits for somebody at the other end of a pipe."""
    if sys.platform == "win32":
        yield
        return

    def waits(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, waits)
    signal.alarm(round(LIMIT))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        made.bind(path.name)
        os.chdir(here)


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_folder(path: Path) -> None:
    path.mkdir()


ODD = {each.__name__: each for each in (a_pipe, a_device, a_socket, a_loop, a_folder)}
WORDS = {
    "a_pipe": "it is a pipe, not a regular file",
    "a_device": "it is a device, not a regular file",
    "a_socket": "it is a socket, not a regular file",
    "a_loop": "Too many levels of symbolic links",
    "a_folder": "it is a folder, not a regular file",
}


@unix
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    ODD[kind](tmp_path / "x")
    for read in (check_file, lambda path: read_file(path, 9), lambda path: open_now(path)):
        with pytest.raises(OSError) as info:
            read(tmp_path / "x")
        assert info.value.strerror == WORDS[kind]


def open_now(path: Path) -> None:
    with open_file(path, 9):
        pass


@unix
def test_a_pipe_put_there_between_looking_and_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_pipe(tmp_path / "x")
    monkeypatch.setattr(regular_files, "check_file", lambda *_: 0)
    with pytest.raises(OSError, match="it is a pipe, not a regular file"):
        read_file(tmp_path / "x", 9)


def test_sizes_are_bounded_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123456789")
    assert read_file(tmp_path / "x", 9) == b"123456789"
    with pytest.raises(OSError, match="it has 9 bytes and may have at most 8"):
        read_file(tmp_path / "x", 8)
    with (tmp_path / "x").open("r+b") as file:
        file.truncate(2**40)  # nothing on the disk
    with pytest.raises(OSError, match=f"it has {2**40} bytes and may have at most 9"):
        read_file(tmp_path / "x", 9)


@pytest.mark.parametrize("name", ["a\0b", "\udcff\ud800"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no file can have this name"):
        read_file(tmp_path / name, 9)


@unix
def test_lines_are_added_to_regular_files_alone(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one \udcff")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_bytes() == b"one \\udcff\ntwo\n"
    for kind in ("a_pipe", "a_loop", "a_folder"):
        ODD[kind](tmp_path / kind)
        with pytest.raises(SkinxaiError, match=r"^writing .* failed: "):
            append_line(tmp_path / kind, "three")


def table_of(path: Path) -> None:
    load_csv(path, path.parent, columns={"image": "image", "label": "label"})


DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "manifest of a model": ("manifest.json", lambda path: read_model_folder(path.parent)),
    "exported model": ("model.onnx", open_exported),
    "prepared folder": ("manifest.json", lambda path: load_prepared(path.parent)),
    "table": ("t.csv", table_of),
    "split": ("s.csv", lambda path: Splits.from_csv(path, None)),  # type: ignore[arg-type]
    "evaluation": ("evaluation.json", read_evaluation),
    "run": ("train.json", lambda path: RunFolder(path.parent).read_settings()),
    "log": ("log.csv", lambda path: read_log(path.parent)),
    "checkpoint": (
        f"checkpoints/{1:09d}-{'0' * 32}.safetensors",
        lambda path: RunFolder(path.parent.parent).checkpoints.newest(),
    ),
    "image": ("mel/a.jpg", lambda path: load_folder(path.parent.parent)),
}


@unix
@pytest.mark.parametrize("kind", ["a_pipe", "a_device", "a_loop"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_what_is_no_regular_file(door: str, kind: str, tmp_path: Path) -> None:
    name, read = DOORS[door]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    ODD[kind](tmp_path / name)
    if door == "log":  # a run without a log has no rows
        assert read(tmp_path / name) == []
        return
    with pytest.raises(SkinxaiError):
        read(tmp_path / name)


OPENING = {
    "open", "fdopen", "read_bytes", "read_text", "memmap", "fromfile", "loadtxt", "genfromtxt",
    "read_csv", "read_json", "read_excel", "load_file", "safe_open", "imread", "mmap", "FileIO",
}  # fmt: skip
OWN = {
    ("disk/regular_files.py", "open"): 1,
    ("disk/regular_files.py", "fdopen"): 1,
    ("disk/writing.py", "open"): 2,  # to write, and to lock
    ("disk/staging.py", "open"): 3,  # to write, and folders
    ("disk/staging.py", "fdopen"): 1,
    ("demo/middleware.py", "read_text"): 1,  # the system's
    ("model_folders/downloading.py", "read_bytes"): 1,  # a note of the Hub's cache, after is_file
    ("disk/writing.py", "fdopen"): 2,
    ("data/shards.py", "open"): 1,  # to write
    ("data/shards.py", "memmap"): 1,  # after check_file
    ("data/tar_writer.py", "open"): 1,  # to write
    ("data/masks.py", "open"): 1,  # Pillow's, of an open file
    ("artefacts/photographing.py", "open"): 1,  # Pillow's, of bytes
    ("benchmarking/lesion_masks.py", "open"): 1,  # Pillow's, of bytes
    ("exporting/exported_files.py", "read_bytes"): 3,  # what it wrote into a temporary folder
    ("exporting/eight_bits.py", "read_bytes"): 1,
    ("explaining/isolation.py", "read_bytes"): 2,
    ("review/engines.py", "open"): 1,  # to make a database
    ("cli/environment.py", "read_text"): 2,  # the system's
    ("cli/saying.py", "open"): 2,  # the null device
    ("training/free_memory.py", "read_text"): 3,
    ("benchmarking/peak_memory.py", "read_text"): 2,
    ("cli/benchmarks.py", "read_text"): 1,  # what it has just written
    ("demo/script.py", "read_bytes"): 1,  # the package's own pictures
    ("demo/controls.py", "read_bytes"): 1,
    ("demo/answering.py", "read_bytes"): 1,
    ("demo/batch.py", "read_bytes"): 1,
    ("manifests/fetching.py", "open"): 1,  # fsspec's, of an address
    ("manifests/sharded_run.py", "open"): 1,  # a manifest, by open_file
    ("serving/app.py", "open"): 1,  # the models
    ("serving/cloud_routes.py", "read_json"): 1,  # of a request
    ("serving/feedback_route.py", "read_json"): 1,
    ("serving/open_inference_routes.py", "read_json"): 1,
}
"""File, call → how many of it open nothing that a user names."""
NO_FILES = ("upload", "ReviewStore")
"""Names of objects whose ``open()`` opens no file of a user's here."""


def test_files_of_others_are_opened_in_one_place() -> None:
    found: dict[tuple[str, str], int] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            name = getattr(called, "attr", getattr(called, "id", ""))
            owner = getattr(getattr(called, "value", None), "id", "")
            if name in OPENING and owner not in NO_FILES:
                key = (path.relative_to(SOURCES).as_posix(), name)
                found[key] = found.get(key, 0) + 1
    assert found == OWN
