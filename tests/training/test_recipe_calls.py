"""A call of the recipe for one GPU: its processes, what it leaves, and its table."""

import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT
from waiting import wait_for

WORKER = """
    import json, sys, time
    for line in sys.stdin:
        name = json.loads(line)["name"]
        if "dies" in name:
            sys.exit(3)
        if "hangs" in name:
            time.sleep(600)
        key, value = ("failed", "no") if "fails" in name else ("done", {"x": 1})
        print(json.dumps({"job": name, key: value}), flush=True)
"""


@pytest.fixture
def processes(recipe, tmp_path, monkeypatch) -> Iterator[object]:
    (tmp_path / "worker.py").write_text(textwrap.dedent(WORKER))
    monkeypatch.setattr(recipe.calling, "HERE", tmp_path)
    made = recipe.calling.Processes(tmp_path, 2, 1)
    yield made
    made.stop()


def test_a_failed_run_takes_only_what_needs_it_along(recipe, processes, tmp_path) -> None:
    job, told = recipe.jobs.Job, []
    names = ("a", "fails", "b", "dies", "c")
    listed = [job(name, "lite0", "train") for name in names]
    listed += [job("student", "lite1", "train", needs=("a", "dies"))]
    assert processes.run(listed, time.monotonic() + 60, told.append)
    assert sorted(line.split(":")[0] for line in told) == [
        "a", "b", "c", "dies FAILED", "fails FAILED"
    ]  # fmt: skip
    assert json.loads((tmp_path / "failed.json").read_text()) == {
        "fails": "no", "dies": "its process ended with 3"
    }  # fmt: skip


def test_a_process_in_which_a_run_has_failed_does_no_other(recipe, tmp_path, monkeypatch) -> None:
    """After a fault of the device, all that its process computes fails."""
    worker = """
        import json, sys
        faulty = False
        for line in sys.stdin:
            name = json.loads(line)["name"]
            faulty = faulty or "fails" in name
            print(json.dumps({"failed": "no"} if faulty else {"done": {}}), flush=True)
    """
    (tmp_path / "worker.py").write_text(textwrap.dedent(worker))
    monkeypatch.setattr(recipe.calling, "HERE", tmp_path)
    made, told = recipe.calling.Processes(tmp_path, 1, 1), []
    listed = [recipe.jobs.Job(name, "lite0", "train") for name in ("a", "fails", "b", "c")]
    assert made.run(listed, time.monotonic() + 60, told.append)
    made.stop()
    assert told == ["a: {}", "fails FAILED: no", "b: {}", "c: {}"]


def test_a_process_that_ended_while_it_was_idle_is_replaced(recipe, processes) -> None:
    job, told = recipe.jobs.Job, []
    assert processes.run([job("a", "lite0", "train")], time.monotonic() + 60, told.append)
    (idle,) = processes._idle
    idle.kill()
    idle.wait()
    assert processes.run([job("b", "lite0", "train")], time.monotonic() + 60, told.append)
    assert [line.split(":")[0] for line in told] == ["a", "b"]


def test_runs_are_measured_while_all_of_them_compute(recipe, tmp_path, monkeypatch) -> None:
    """One that is warm before the others has the device for itself until they are, too."""
    now = [0.0]
    monkeypatch.setattr(recipe.worker.time, "perf_counter", lambda: now[0])

    def step(clock) -> None:
        now[0] += 1
        clock.on_step(0, 0.0, 0.0)

    clock = recipe.worker.Clock(3.0, tmp_path / "meeting", 2)
    for _ in range(20):
        step(clock)
    assert clock.steps[0] == 1 and not clock.times
    (tmp_path / "meeting/other").touch()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(20):
            step(clock)
    assert clock.times == [21, 22, 23, 24, 25]


def test_a_run_is_measured_alone_where_the_others_do_not_come(
    recipe, tmp_path, monkeypatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(recipe.worker.time, "perf_counter", lambda: now[0])
    clock = recipe.worker.Clock(3.0, tmp_path / "meeting", 2)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(200):
            now[0] += 1
            clock.on_step(0, 0.0, 0.0)
    warm = recipe.worker.WARM_UP + 1
    assert clock.times[0] == warm + recipe.worker.PATIENCE + 1


def test_the_minutes_end_a_run_that_is_under_way(recipe, processes) -> None:
    listed = [recipe.jobs.Job(name, "lite0", "train") for name in ("a", "hangs")]
    told: list[str] = []
    assert not processes.run(listed, time.monotonic() + 3, told.append)
    own = list(processes._at)
    processes.stop()
    assert [process.returncode for process in own] == [-15]


def test_the_longest_runs_begin_first(recipe, processes, monkeypatch) -> None:
    monkeypatch.setattr(processes, "_count", 1)
    told: list[str] = []
    listed = [recipe.jobs.Job(f"{n}", "lite0", "train", seconds=n) for n in (2, 7, 5)]
    assert processes.run(listed, time.monotonic() + 60, told.append)
    assert [line[0] for line in told] == ["7", "5", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells a process of this.")
def test_runs_end_with_a_call_that_is_killed(recipe, tmp_path) -> None:
    worker = """
        import os, pathlib, signal, sys, time
        here = pathlib.Path(__file__).parent
        signal.signal(signal.SIGTERM, lambda *_: ((here / "told").touch(), sys.exit()))
        (here / "begun").touch()
        time.sleep(600)
    """
    call = """
        import pathlib, sys, time
        import calling, jobs
        here = calling.HERE = pathlib.Path(sys.argv[1])
        own = [jobs.Job("a", "lite0", "train")]
        calling.Processes(here, 1, 1).run(own, time.monotonic() + 600, print)
    """
    (tmp_path / "worker.py").write_text(textwrap.dedent(worker))
    path = os.pathsep.join([str(ROOT / "training/recipe"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", textwrap.dedent(call), tmp_path]
    parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    try:
        wait_for((tmp_path / "begun").exists)
    finally:
        parent.kill()
        parent.wait()
    wait_for((tmp_path / "told").exists)


def test_a_call_that_is_stopped_leaves_what_it_has(tmp_path) -> None:
    call = """
        import pathlib, runpy, sys, time
        import material
        def unpack(data, work, **options):
            (work / "begun").touch()
            time.sleep(600)
        material.unpack = unpack
        sys.argv[0] = "recipe"
        runpy.run_path(str(pathlib.Path(material.__file__).parent), run_name="__main__")
    """
    path = os.pathsep.join([str(ROOT / "training/recipe"), os.environ.get("PYTHONPATH", "")])
    folders = [tmp_path / name for name in ("data", "weights", "work", "out")]
    finished(tmp_path / "work")
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(call), *folders],
        env=os.environ | {"PYTHONPATH": path},
    )
    try:
        wait_for((tmp_path / "work/begun").exists)
        process.terminate()
        assert process.wait() == 1  # the message of sys.exit
    finally:
        process.kill()
    assert len(list((tmp_path / "out").iterdir())) == 8


def finished(work: Path, *, large: str = "") -> None:
    """Folders of a student and ten members, with a checkpoint each."""
    names = ["student/skinxai-ham10000"]
    names += [f"members/{n}-{k}" for n in ("lite1", "lite2") for k in range(5)]
    for name in names:
        folder = work / "runs" / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints/large").write_bytes(b"x")
        (folder / "log.csv").write_text("a")
        size = 17 * 2**20 if name == large else 1000
        (folder / "model.safetensors").write_bytes(b"x" * size)


def test_a_call_leaves_eight_files_and_writes_over_those_of_the_one_before(
    recipe, tmp_path
) -> None:
    finished(tmp_path / "work")
    for _ in range(2):
        told = recipe.collecting.collect(tmp_path / "work", tmp_path / "out", [])
        assert not [line for line in told if "LEFT OUT" in line]
        assert len(list((tmp_path / "out").iterdir())) == 8


def test_a_file_above_16_mib_stays_behind_and_is_named(recipe, tmp_path) -> None:
    finished(tmp_path / "work", large="members/lite1-0")
    told = recipe.collecting.collect(tmp_path / "work", tmp_path / "out", [])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "student.tar" in names and "lite1-0.tar" not in names
    assert [line.split(":")[0] for line in told if "LEFT OUT" in line] == ["lite1-0.tar LEFT OUT"]


def test_all_files_of_a_call_together_have_a_limit_too(recipe, tmp_path, monkeypatch) -> None:
    finished(tmp_path / "work")
    whole = recipe.collecting.collect(tmp_path / "work", tmp_path / "out", [])
    assert not [line for line in whole if "LEFT OUT" in line]
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    monkeypatch.setattr(recipe.collecting, "MOST_IN_ALL", size - 1)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    told = recipe.collecting.collect(tmp_path / "work", tmp_path / "out", [])
    assert [line.split(":")[0] for line in told if "LEFT OUT" in line] == ["lite2-1.tar LEFT OUT"]


def test_fingerprints_stay_out_of_the_records(recipe, tmp_path) -> None:
    finished(tmp_path / "work")
    for name in ("folds.json", "fingerprints.json"):
        (tmp_path / "work" / name).write_text("{}")
    recipe.collecting.collect(tmp_path / "work", tmp_path / "out", [])
    with tarfile.open(tmp_path / "out/records.tar.gz") as tar:
        names = tar.getnames()
    assert "folds.json" in names and "fingerprints.json" not in names
    assert "runs/members/lite1-0/log.csv" in names


def test_the_table_says_what_is_done_begun_and_to_do(recipe, tmp_path) -> None:
    settings = {"image_size": (64, 80), "epochs": 3}
    listed = [recipe.jobs.Job(f"members/{n}", "lite1", "train", settings, seconds=9) for n in "abc"]
    for name in "ab":
        (tmp_path / "runs/members" / name).mkdir(parents=True)
        (tmp_path / "runs/members" / name / "log.csv").write_text(
            "epoch,accuracy,balanced_accuracy,macro_f1\n1,0.5,0.4,0.3\n2,0.6,0.5,0.2\n"
        )
    one = {"accuracy": 0.9, "balanced_accuracy": 0.8, "macro_f1": 0.7, "melanoma_recall": 0.6}
    done = {"one": one, "webp": one | {"balanced_accuracy": 0.5}, "seconds": 12.0}
    (tmp_path / "runs/members/a/done.json").write_text(json.dumps(done))
    lines = recipe.table.markdown(recipe.table.rows(tmp_path, listed)).splitlines()[2:]
    assert lines == [
        "| members/a | done | 64x80 | 2/3 | 0.900 | 0.800 | 0.700 | 0.600 | 0.500 | 12 | 9 |",
        "| members/b | begun | 64x80 | 2/3 | 0.5 | 0.4 | 0.3 |  |  |  | 9 |",
        "| members/c | to do | 64x80 | 0/3 |  |  |  |  |  |  | 9 |",
    ]
