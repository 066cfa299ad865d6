"""Folders that are overwritten: all the old files or all the new ones, whatever happens."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import warm
from places import TESTS
from small_runs import coloured, model_folder
from typer.testing import CliRunner

from skinxai.cli import app
from skinxai.disk.staging import UNFINISHED, Staged, at_present, present, write_together
from skinxai.disk.writing import write_atomic
from skinxai.errors import OutputError
from skinxai.model_folders import files as model_files
from skinxai.model_folders.files import read_model_folder, write_model_folder
from skinxai.results.folder import ResultFolder

SCRIPT = TESTS / "killed_overwriting.py"
KINDS = ("save_pretrained", "Explanation.save", "predict --out")
OLD = {"a.txt": b"old", "below/b.txt": b"old"}
NEW = {"a.txt": b"new", "below/b.txt": b"new"}


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Holds the old files and one of the user; nothing that is hidden stays in it."""
    write_together(tmp_path / "out", OLD | {"own.txt": b"own"})
    yield tmp_path / "out"
    assert not list((tmp_path / "out").glob(".skinxai-*"))


def interrupted(folder: Path) -> None:
    """What a process leaves that is killed after the new files count, before they are moved."""
    code = (
        "import os, sys\nfrom skinxai.disk import staging\n"
        "staging._finish = lambda folder: (folder / staging.UNFINISHED).exists() and os._exit(9)\n"
        "staging.write_together(sys.argv[1], {'a.txt': b'new', 'below/b.txt': b'new'})"
    )
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 9


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Kind of folder → what is left after a kill before each call."""
    command = [sys.executable, SCRIPT, tmp_path_factory.mktemp("killed"), *KINDS]
    found = warm.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_before_any_call_leaves_the_old_or_the_new(kind: str, killed) -> None:
    counts = killed[kind]
    assert counts["kills"] > 25
    assert set(counts["as skinxai reads it"]) == {"old", "new"}
    others = set(counts["as other programs read it"])
    assert others <= {"old", "new", "old, marked", "neither, marked", "new, marked"}
    assert counts["refused"] == 0 and counts["not in order after the next write"] == []


@pytest.mark.usefixtures("small_networks")
def test_explain_replaces_nothing_before_its_end(tmp_path: Path, monkeypatch) -> None:
    """What a kill would leave then; what follows is the same for every kind above."""
    photos = [str(item.path) for item in coloured(tmp_path / "images", 1, 0)][:2]

    def explained(seed: int) -> dict[str, bytes]:
        model = model_folder(tmp_path / f"model-{seed}", seed=seed)
        words = ["explain", *photos, "--out", str(tmp_path / "out"), "--model", str(model)]
        assert CliRunner().invoke(app, words).exit_code == 0
        found = files(tmp_path / "out").items()
        return {name: data for name, data in found if not name.startswith(".skinxai-")}

    old = explained(0)
    assert len(old) == 8
    with monkeypatch.context() as patch:
        patch.setattr(ResultFolder, "write", lambda folder: None)
        assert explained(1) == old
    new = explained(1)
    assert new.keys() == old.keys() and all(new[name] != old[name] for name in old)


def test_what_was_not_moved_is_read_and_moved_by_the_next_write(folder: Path) -> None:
    interrupted(folder)
    assert (folder / UNFINISHED).is_dir() and (folder / "a.txt").read_bytes() == b"old"
    for name in NEW:
        assert at_present(folder / name, Path.read_bytes) == b"new"
    assert present(folder / "own.txt") == folder / "own.txt"
    write_together(folder, {"c.txt": b"newer"})
    assert files(folder) == NEW | {"own.txt": b"own", "c.txt": b"newer"}


@pytest.mark.parametrize("name", ["a.txt", "below/b.txt"])
def test_what_was_not_moved_never_replaces_what_is_newer(folder: Path, name: str) -> None:
    interrupted(folder)
    write_atomic(folder / name, b"newer")
    write_together(folder, {"c.txt": b""})
    assert files(folder) == NEW | {"own.txt": b"own", "c.txt": b"", name: b"newer"}


@pytest.mark.parametrize("names", [("a.txt", "below"), ("a.txt", "own.txt/c.txt")])
def test_a_name_that_is_taken_is_refused_before_anything_is_replaced(folder: Path, names) -> None:
    with pytest.raises(OutputError, match=r"^writing to the folder .* failed: "):
        write_together(folder, dict.fromkeys(names, b"new"))
    assert files(folder) == OLD | {"own.txt": b"own"}


def test_a_full_disk_leaves_the_old_files(folder: Path) -> None:
    code = (
        "import resource, sys\nfrom skinxai.disk.staging import write_together\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_together(sys.argv[1], {'a.txt': b'new', 'below/b.txt': bytes(5000)})\n"
        "except Exception as error: print(type(error).__name__)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["OutputError"]
    assert files(folder) == OLD | {"own.txt": b"own"}


def test_an_error_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Staged(tmp_path / "new" / "out") as staged:
        staged.add("a.txt", b"new")
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_of_files_to_move_is_left_alone(folder: Path, kind: str) -> None:
    way = folder / UNFINISHED
    way.write_bytes(b"own") if kind == "file" else way.symlink_to(folder / "below")
    with pytest.raises(OutputError):
        write_together(folder, NEW)
    assert files(folder).items() >= (OLD | {"own.txt": b"own"}).items()


def test_a_writer_at_work_is_not_taken_for_a_killed_one(folder: Path) -> None:
    with Staged(folder) as first:
        first.add("a.txt", b"first")
        with Staged(folder) as second:
            second.add("a.txt", b"second")
            second.add("below/b.txt", b"second")
        first.add("below/b.txt", b"first")
    assert files(folder) == dict.fromkeys(OLD, b"first") | {"own.txt": b"own"}


def test_writers_at_once_leave_the_files_of_one_of_them(folder: Path) -> None:
    def write(number: int) -> None:
        for _ in range(40):
            write_together(folder, dict.fromkeys(OLD, b"%d" % number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(set(files(folder).values()) - {b"own"}) == 1
    assert not (folder / UNFINISHED).exists()


def test_a_model_is_read_whole_while_it_is_overwritten(tmp_path: Path) -> None:
    models = [{"config.json": b"%d" % n, "model.safetensors": b"%d" % n * 9} for n in (0, 1)]
    digests = [write_model_folder(tmp_path, each) for each in models]
    stop = tmp_path.with_name("stop")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from skinxai.model_folders.files import write_model_folder\n"
        f"models = {models!r}\n"
        "while not Path(sys.argv[2]).exists():\n"
        "    for each in models: write_model_folder(sys.argv[1], each)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(stop)]) as writer:
        try:
            found = []
            while len(found) < 200 or (len(set(found)) < 2 and writer.poll() is None):
                files = read_model_folder(tmp_path)
                found.append(files.digest)
                assert dict(files.files) == models[digests.index(files.digest)]
        finally:
            stop.touch()
    assert set(found) == set(digests) and writer.returncode == 0


@pytest.mark.parametrize("back", ["config.json", "manifest.json"])
def test_a_model_is_read_whole_where_it_was_overwritten_twice_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: str
) -> None:
    """By another model, and by itself again: its manifest is the one that was read.

    It is itself again after its configuration was read once, or just before its manifest is.
    """
    first, other = ({"config.json": b"%d" % n, "model.safetensors": b"%d" % n} for n in (0, 1))
    write_model_folder(tmp_path, first)
    plain, reads = model_files.read_part, []

    def meanwhile(path: Path, *rest: Any) -> bytes:
        reads.append(path.name)
        if reads == ["manifest.json", "config.json"]:
            write_model_folder(tmp_path, other)
            found = plain(path, *rest)
            if back == path.name:
                write_model_folder(tmp_path, first)
            return found
        if reads == ["manifest.json", "config.json", "config.json", back]:
            write_model_folder(tmp_path, first)
        return plain(path, *rest)

    monkeypatch.setattr(model_files, "read_part", meanwhile)
    assert dict(read_model_folder(tmp_path).files) == first


def test_new_files_have_the_rights_that_the_user_gives(tmp_path: Path) -> None:
    write_together(tmp_path, NEW)
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "below").stat().st_mode == (tmp_path / "folder").stat().st_mode
