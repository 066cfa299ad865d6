"""Fingerprints in a temporary file: the same as in memory, and what happens on a full disk."""

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from skinxai import read_image, samples
from skinxai.data import Record, Records, audit, auditing, split
from skinxai.data.near_duplicates import Fingerprint, find_pairs, fingerprint
from skinxai.data.stored_prints import StoredPrints
from skinxai.errors import OutputError
from skinxai.labels import LabelSet

resource = pytest.importorskip("resource", reason="limits of a process")


def made(number: int, count: int) -> Fingerprint:
    draws = np.random.default_rng(number)
    return Fingerprint(
        f"image {number}", draws.integers(0, 256, (64, 64), np.uint8),
        draws.random((count, 2), np.float32), draws.integers(0, 256, (count, 128), np.uint8),
    )  # fmt: skip


def check_same(found: Fingerprint, expected: Fingerprint) -> None:
    assert found.digest == expected.digest
    for name in ("thumb", "points", "descriptors"):
        own, other = getattr(found, name), getattr(expected, name)
        assert own.dtype == other.dtype
        np.testing.assert_array_equal(own, other)


def test_they_come_back_in_any_order_and_to_several_threads_at_once() -> None:
    expected = [made(number, (0, 1, 300, 17)[number % 4]) for number in range(40)]
    with StoredPrints() as prints:
        for each in expected:
            prints.append(each)
        assert len(prints) == 40
        check_same(prints[-1], expected[-1])
        order = np.random.default_rng(0).integers(0, 40, 2000).tolist()
        with ThreadPoolExecutor(8) as pool:
            for number, found in zip(order, pool.map(prints.__getitem__, order), strict=True):
                check_same(found, expected[number])
        for found, each in zip(prints, expected, strict=True):
            check_same(found, each)
        for found, each in zip(prints[5:30:7], expected[5:30:7], strict=True):
            check_same(found, each)
        with pytest.raises(IndexError):
            prints[40]


def test_the_search_finds_the_same_pairs_in_a_file_as_in_a_list() -> None:
    pictures = [read_image(path).pixels for path in samples.paths()]
    turned = [np.ascontiguousarray(np.rot90(pixels)[::2, ::2]) for pixels in pictures[:3]]
    expected = [fingerprint(pixels) for pixels in [*pictures, *turned]]
    names = [str(number) for number in range(len(expected))]
    with StoredPrints() as prints:
        for each in expected:
            prints.append(each)
        found = find_pairs(prints, names)
    assert found == find_pairs(expected, names)
    own = {(place, len(pictures) + place) for place in range(3)}
    assert own <= {(pair.first, pair.second) for pair in found}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_an_error_that_says_what_to_do(monkeypatch) -> None:
    def full(buffering: int):
        return Path("/dev/full").open("r+b", buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    items = [Record(path.stem, path, "nv", path.stem) for path in samples.paths()]
    splits = split(Records(tuple(items), LabelSet(("nv", "mel")), "samples"))
    with pytest.raises(OutputError) as info:
        audit(splits, progress=False)
    folder = tempfile.gettempdir()
    assert str(info.value) == (
        f"Keeping the fingerprints of images in the temporary folder {folder!r} failed: No space "
        f"left on device; set the environment variable TMPDIR to a folder on a disk with room for "
        f"up to 46 kB for each image."
    )


def test_a_disk_that_fills_up_in_the_middle_of_a_fingerprint_is_an_error() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with StoredPrints() as prints:
        prints.append(made(0, 300))
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        try:
            with pytest.raises(OutputError, match="File too large"):
                prints.append(made(1, 300))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert len(prints) == 1
        prints.append(made(2, 5))
        check_same(prints[0], made(0, 300))
        check_same(prints[1], made(2, 5))


def test_without_a_folder_for_temporary_files_there_is_an_error(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match=r"'.*absent.*' failed: No such file .* TMPDIR"):
        StoredPrints()


def test_a_fingerprint_has_no_more_bytes_than_the_error_says() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    found = fingerprint(noise)
    assert len(found.points) <= 310  # keypoints of equal strength come on top
    size = found.thumb.nbytes + found.points.nbytes + found.descriptors.nbytes
    assert 40_000 < size < 46_000 < 4096 + 136 * 310 + 1000


@pytest.mark.skipif(sys.platform == "win32", reason="a name stays until the file is closed")
def test_a_killed_process_leaves_no_file(tmp_path) -> None:
    code = (
        "import sys; from skinxai.data.stored_prints import StoredPrints\n"
        "from skinxai.data.near_duplicates import fingerprint; import numpy as np\n"
        "prints = StoredPrints(); prints.append(fingerprint(np.zeros((40, 40, 3), np.uint8)))\n"
        "print(prints[0].thumb.nbytes, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"4096\n"
        held = list(Path(f"/proc/{process.pid}/fd").iterdir()) if sys.platform == "linux" else []
        assert not held or any(str(tmp_path) in str(each.readlink()) for each in held)
        assert not list(tmp_path.iterdir())
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def test_the_audit_closes_its_file(monkeypatch) -> None:
    opened = []

    class Noted(StoredPrints):
        def __init__(self) -> None:
            super().__init__()
            opened.append(self._file)

    monkeypatch.setattr(auditing, "StoredPrints", Noted)
    items = [Record(path.stem, path, "nv", path.stem) for path in samples.paths()]
    audit(split(Records(tuple(items), LabelSet(("nv", "mel")), "samples")), progress=False)
    assert [file.closed for file in opened] == [True]
