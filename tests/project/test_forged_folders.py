"""A small share of the forged folders of ``benchmarks/forged_folders.py``."""

import sys
import tempfile
from pathlib import Path
from random import Random

import pytest
import warm
from places import ROOT

SCRIPT = ROOT / "benchmarks" / "forged_folders.py"
KINDS = ("model", "ensemble", "prepared", "run", "graph", "table")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
@pytest.mark.skipif(not SCRIPT.exists(), reason="a source distribution has no benchmarks")
def test_forged_folders_end_in_an_error_of_ours_or_in_the_right_answer() -> None:
    command = [sys.executable, str(SCRIPT), "--count", "24", "--no-result"]
    done = warm.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    table = {row.split(" | ")[0].strip("| "): row.split(" | ") for row in done.stdout.split("\n")}
    assert [table[kind][1] for kind in KINDS] == ["24"] * len(KINDS)
    assert all(int(table[kind][2]) > 9 for kind in KINDS)  # refused: the script does forge


@pytest.mark.skipif(sys.platform != "linux", reason="the script is for Linux")
@pytest.mark.skipif(not SCRIPT.exists(), reason="a source distribution has no benchmarks")
def test_forged_links_lead_to_no_file_of_the_system(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from forging.binaries import change_file
    from forging.signing import write_manifest

    draws, links = Random(0), 0
    for number in range(100):
        path = tmp_path / f"{number}.json"
        path.write_bytes(b"{}")
        said = change_file(path, draws)
        if said.endswith("becomes link"):
            links += 1
            assert path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
            before = path.read_bytes()
            write_manifest(path, {"files": {}})
            assert path.is_symlink() and path.read_bytes() == before
    assert links > 3
