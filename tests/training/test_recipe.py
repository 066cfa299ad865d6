"""The recipe for one GPU: its folds, its plan, its list of runs and what follows from them."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT
from safetensors.torch import save_file
from waiting import wait_for

from skinxai.data import Record, Records
from skinxai.data.hashing import looks
from skinxai.labels import LabelSet

NAMES = ("material", "planning", "jobs", "settings", "outcomes", "calling", "collecting", "table",
         "luggage")  # fmt: skip
RATES = {"lite0": 6000.0, "lite1": 2000.0, "lite2": 1500.0}
IMAGES = {"choices": 13600, "members": 11200, "student": 14000, "sources": 12000}


@pytest.fixture(scope="module")
def recipe() -> Iterator[SimpleNamespace]:
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(ROOT / "training/recipe"))
    yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in NAMES:
            del sys.modules[name]


def records(folder: Path, each: int = 10, *, copies: int = 0) -> Records:
    """Noise of two classes; the first images come again, darker, under other lesion ids."""
    draws, items = np.random.default_rng(0), []
    folder.mkdir()
    for n in range(2 * each):
        pixels = draws.integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)
        for name, factor in (("a", 1.0), ("b", 0.8))[: 2 if n < copies else 1]:
            path = folder / f"ISIC_{n:04d}{name}.png"
            picture.point([int(v * factor) for v in range(256)] * 3).save(path)
            items.append(Record(path.stem, path, "xy"[n % 2], f"lesion {n}{name}"))
    return Records(tuple(items), LabelSet(("x", "y")))


def test_copies_under_other_lesion_ids_share_a_fold(recipe, tmp_path) -> None:
    some = records(tmp_path / "images", copies=8)
    parts = {i.image_id: "val" if i.image_id.endswith("b") else "train" for i in some}
    recipe.material.fold_all(some, parts, tmp_path)
    content = json.loads((tmp_path / "folds.json").read_text())
    assert set(content["fold"]) == set(parts) and set(content["fold"].values()) == set(range(5))
    for n in range(8):
        assert content["fold"][f"ISIC_{n:04d}a"] == content["fold"][f"ISIC_{n:04d}b"]
    assert content["copies"] == [f"ISIC_{n:04d}b" for n in range(8)]


def test_a_webp_copy_that_passes_for_another_image_links_both(recipe, tmp_path) -> None:
    """The JPEG files of the images n and n + 8 differ; the WebP copy of n is the image n + 8."""
    alone = records(tmp_path / "images")
    paths = [item.path for item in alone]
    for n in range(8):
        (tmp_path / f"{alone[n].image_id}.webp").write_bytes(paths[n + 8].read_bytes())
    for n in range(8, 20):
        (tmp_path / f"{alone[n].image_id}.webp").write_bytes(paths[n].read_bytes())
    both = recipe.material.with_webp(alone, tmp_path)
    recipe.material.fold_all(both, dict.fromkeys((i.image_id for i in alone), "train"), tmp_path)
    content = json.loads((tmp_path / "folds.json").read_text())
    assert set(content["fold"]) == ids(alone)  # a copy is where its image is
    for n in range(8):
        fold = content["fold"]
        assert fold[alone[n].image_id] == fold[alone[n + 8].image_id]


@pytest.fixture
def material(recipe, tmp_path) -> SimpleNamespace:
    """Ten lesions of two images each; images 0 and 7 are linked, and so are 7 and 9."""
    items = tuple(
        Record(f"{n}{side}", tmp_path / f"{n}{side}.png", "xy"[n % 2], f"lesion {n}")
        for n in range(10) for side in "lr"
    )  # fmt: skip
    made = recipe.material.Material.__new__(recipe.material.Material)
    made.records = recipe.material.with_webp(Records(items, LabelSet(("x", "y"))), tmp_path)
    made.fold = {item.image_id: int(item.image_id[0]) % 5 for item in items}
    made.part = {i.image_id: "val" if int(i.image_id[0]) >= 7 else "train" for i in items}
    made.copies, made.linked = {"8l"}, [["0l", "7r"], ["7l", "9l"]]
    made.source = {i.image_id: "here" if i.image_id == "9r" else "there" for i in items}
    return made


def ids(part: Records) -> set[str]:
    return {item.image_id for item in part}


def test_both_copies_are_learnt_and_jpeg_files_are_judged(material) -> None:
    for learns in ("fold 2", "train fold 2", "train", "without here"):
        each = material.splits(learns)
        names = [item.image_id for item in each.train]
        plain = [name for name in names if not name.endswith("-webp")]
        assert plain and sorted(names) == sorted([*plain, *(f"{n}-webp" for n in plain)])
        assert ids(each.val) <= set(material.ids)
        webp = material.webp(each.val)
        assert [item.image_id for item in webp] == [f"{i.image_id}-webp" for i in each.val]
        assert [item.path.suffix for item in webp] == [".webp"] * len(each.val)
        assert webp.targets() == each.val.targets()


TABLE = "lesion_id,image_id,dx\n"


@pytest.fixture
def data(recipe, tmp_path, monkeypatch) -> Path:
    """Eleven lesions of each of two classes; the last of each is of the test part."""
    (folder := tmp_path / "data").mkdir()
    draws, rows, parts = np.random.default_rng(0), [], {}
    with (
        tarfile.open(folder / "part1.tar", "w") as webp,
        tarfile.open(folder / "part3.tar", "w") as jpeg,
    ):
        for n in range(22):
            name = f"ISIC_{24306 + n:07d}"
            parts[name] = "test" if n >= 20 else "val" if n >= 16 else "train"
            rows.append(f"HAM_{n:07d},{name},{'nv' if n % 2 else 'mel'}")
            small = Image.fromarray(draws.integers(0, 256, (6, 8, 3), np.uint8))
            for tar, suffix, side in ((webp, "webp", 112), (jpeg, "jpg", 80)):
                buffer = io.BytesIO()
                small.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(
                    buffer, {"jpg": "jpeg"}.get(suffix, suffix)
                )
                member = tarfile.TarInfo(f"images/{name}.{suffix}")
                member.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(member, buffer)
    (folder / "HAM10000_metadata.csv").write_text(TABLE + "\n".join(rows) + "\n")
    sources = "".join(f"{name},here\n" for name in parts)
    (folder / "HAM10000_source.csv").write_text("image_id,source\n" + sources)
    monkeypatch.setattr(recipe.material, "frozen_parts", lambda table: parts)
    return folder


def test_both_files_of_an_image_are_unpacked_and_none_of_the_test_part(
    recipe, data, tmp_path
) -> None:
    unpacked = recipe.material.unpack(data, tmp_path / "work", tiny=False)
    plain = [f"ISIC_{24306 + n:07d}" for n in range(20)]
    assert ids(unpacked) == {*plain, *(f"{name}-webp" for name in plain)}
    for item in unpacked:
        webp = item.image_id.endswith("-webp")
        assert item.path.suffix == (".webp" if webp else ".jpg")
        assert unpacked.pixels.read(item.image_id).shape == ((84, 112, 3) if webp else (60, 80, 3))
    made = recipe.material.Material(tmp_path / "work")
    assert len(made.splits("train").train) == 32 and len(made.splits("train").val) == 4
    again = recipe.material.unpack(data, tmp_path / "work", tiny=False)
    assert ids(again) == ids(unpacked)
    same_looks(made.records)
    prints = tmp_path / "work/fingerprints.json"
    prints.write_text(prints.read_text().replace(unpacked.pixels.digest, "of others"))
    with pytest.raises(SystemExit, match=r"json must be of the prepared images"):
        recipe.material.Material(tmp_path / "work")
    shutil.copy(tmp_path / "work/folds.json", data)
    recipe.material.unpack(data, tmp_path / "other", tiny=False)
    content = json.loads((data / "folds.json").read_text())
    del content["kinds"]  # as of one kind of files
    (data / "folds.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="of these images; delete it"):
        recipe.material.unpack(data, tmp_path / "third", tiny=False)


def same_looks(some: Records) -> None:
    """The records know all fingerprints, and these are those of their files."""
    assert set(some.pixels.fingerprints) == ids(some)
    assert list(looks(some)) == list(looks(some, cached=False))
    other = replace(some, pixels=replace(some.pixels, fingerprints={some[3].image_id: b"known"}))
    assert list(looks(other))[3].fingerprint == b"known"


def test_an_image_of_which_one_file_is_missing_is_named(recipe, data, tmp_path) -> None:
    (data / "part3.tar").unlink()
    with pytest.raises(SystemExit, match=r"hold a \.jpg file of each image, but 20 have none, "
                       r"ISIC_0024306 first"):  # fmt: skip
        recipe.material.unpack(data, tmp_path / "work", tiny=False)


def test_the_luggage_holds_both_files_and_no_image_of_the_test_part(
    recipe, data, tmp_path, monkeypatch
) -> None:
    (weights := tmp_path / "weights").mkdir()
    for network in recipe.settings.NETWORKS.values():
        tensors = {"classifier.weight": torch.ones(3, 2), "classifier.bias": torch.ones(3)}
        save_file(tensors, weights / f"{network}.safetensors")
    given = [str(data), str(weights), str(tmp_path), str(tmp_path / "out"), "--megabytes", "0.01"]
    monkeypatch.setattr(recipe.luggage, "frozen_parts", recipe.material.frozen_parts)
    monkeypatch.setattr(sys, "argv", ["luggage.py", *given])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/luggage-99.tgz").write_bytes(b"of another size")
    recipe.luggage.main()
    pieces = sorted((tmp_path / "out").glob("luggage-*.tgz"))
    sums = (tmp_path / "out/luggage.sha256").read_text().splitlines()
    assert [path.name for path in pieces] == [line.split()[1] for line in sums]
    assert len(pieces) > 2 and all(path.stat().st_size <= 10_000 for path in pieces)
    for path in reversed(pieces):  # each stands alone
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "in", filter="data")
    with tarfile.open(pieces[0]) as tar:
        first = set(tar.getnames())
    networks = recipe.settings.NETWORKS.values()
    assert first >= {f"weights/{name}.safetensors" for name in networks}
    assert first >= {"data/HAM10000_metadata.csv", "data/HAM10000_source.csv"}
    unpacked = recipe.material.unpack(tmp_path / "in/data", tmp_path / "work", tiny=False)
    assert len(unpacked) == 40
    packed = []
    for part in (tmp_path / "in/data").glob("part*.tar"):
        with tarfile.open(part) as tar:
            packed += tar.getnames()
    plain = [f"ISIC_{24306 + n:07d}" for n in range(20)]
    assert sorted(packed) == sorted(f"{name}.{kind}" for name in plain for kind in ("jpg", "webp"))


def test_luggage_has_no_piece_larger_than_asked(recipe) -> None:
    files = [("a", b"x" * 300), ("b", b"x" * 300), ("c", b"x" * 700)]
    found = recipe.luggage.divided(files, 1000)
    assert [[name for name, _ in piece] for piece in found] == [["a", "b"], ["c"]]
    with pytest.raises(SystemExit, match=r"--megabytes must be at least 0\.0, for c"):
        recipe.luggage.divided(files, 800)


def test_the_folds_cover_train_and_validation_part_and_share_no_lesion(material) -> None:
    judged = [material.splits(f"fold {k}") for k in range(5)]
    assert [len(each.val) for each in judged] == [4] * 5
    assert set().union(*(ids(each.val) for each in judged)) == set(material.ids)
    for each in judged:
        assert not ids(each.train) & ids(each.val) and len(each.test) == 0
        assert {i.lesion_id for i in each.train}.isdisjoint(i.lesion_id for i in each.val)


def test_members_and_student_never_learn_the_validation_part(material) -> None:
    held = {name for name, part in material.part.items() if part == "val"}
    for k in range(5):
        each = material.splits(f"train fold {k}")
        assert not held & (ids(each.train) | ids(each.val))
    student = material.splits("train")
    assert not held & ids(student.train)
    assert not {f"{name}-webp" for name in held} & ids(student.train)
    assert ids(student.val) == held - {"8l"}  # shows a lesion of the training part


def test_without_a_source_nothing_that_touches_it_is_learnt(recipe, material) -> None:
    """One image is from here; its lesion, and through two links two more, stay apart."""
    apart = {f"{n}{side}" for n in (0, 7, 9) for side in "lr"}
    assert material.touched("here") == apart
    each = material.splits("without here")
    learnt = {recipe.material.image_of(name) for name in ids(each.train)}
    assert learnt | ids(each.val) == set(material.ids) - apart
    assert {material.fold[name] for name in ids(each.val)} == {0}


def test_the_minutes_are_spent_as_worked_out_by_hand(recipe) -> None:
    plan = recipe.planning.plan_of(20, IMAGES, RATES, 2.0)
    members = 0.35 * 1200 - 10 * 2.0
    assert plan.epochs["members"] == int(members / (5 * 11200 * 1.15 * (1 / 2000 + 1 / 1500)))
    student = 0.35 * 1200 - 2.0
    assert plan.epochs["student"] == int(student / (14000 * 1.15 * 1.7 / 2000))
    assert plan.epochs["sources"] == int((120 - 8) / (4 * 12000 * 1.15 / 2000))
    names = list(recipe.settings.LADDER)
    assert list(plan.choices) == names[: len(plan.choices)]
    machine = recipe.jobs.Machine("cuda", "device", 0, "weights", False)
    listed = recipe.jobs.choices(machine, plan)
    assert len(listed) == plan.folds * (1 + len(plan.choices))
    assert sum(job.seconds for job in listed) <= 0.2 * 1200 + 1


@pytest.mark.parametrize(("factor", "bound"), [(0.01, 0), (1000, 1)])
def test_epochs_stay_between_their_limits(recipe, factor: float, bound: int) -> None:
    rates = {name: factor * rate for name, rate in RATES.items()}
    plan = recipe.planning.plan_of(20, IMAGES, rates, 0.0)
    for phase in ("members", "student", "sources"):
        assert plan.epochs[phase] == recipe.planning.LIMITS[phase][bound]


def test_more_pixels_leave_fewer_epochs(recipe) -> None:
    kept, epochs = recipe.jobs._kept({"image_size": (240, 320), "mixup": 0.2, "epochs": 2}, 20)
    assert kept == {"image_size": (336, 448), "mixup": 0.2}
    assert epochs == int(20 * 288 * 384 / (336 * 448))


def test_a_difference_below_its_spread_is_none(recipe) -> None:
    def row(name: str, gain: float, spread: float, folds: int = 3) -> dict[str, object]:
        return {"choice": name, "folds": folds, "gain": gain, "gain_spread": spread}

    rows = [
        {"choice": "base", "folds": 3},
        row("mixup", 0.02, 0.01),
        row("cutmix", 0.03, 0.01),  # the same axis, and better
        row("label-smoothing", 0.02, 0.03),
        row("average-0.998", -0.02, 0.001),
        row("drop-path-0.2", 0.05, 0.0, folds=1),
    ]
    assert recipe.outcomes.choose(rows) == {"cutmix": 1.0}


def test_gains_are_paired_by_fold(recipe, tmp_path) -> None:
    for name, values in (("base", (0.5, 0.7)), ("mixup", (0.55, 0.77))):
        for fold, value in enumerate(values):
            folder = tmp_path / "runs/choices" / f"{name}-{fold}"
            folder.mkdir(parents=True)
            one = dict.fromkeys(
                ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_recall"), value
            )
            (folder / "done.json").write_text(json.dumps({"one": one}))
    base, mixup = recipe.outcomes.compare(tmp_path, ["mixup", "focal"], 2)
    assert base["balanced_accuracy"] == pytest.approx(0.6)
    assert base["balanced_accuracy_spread"] == pytest.approx(0.1 * 2**0.5)
    assert mixup["gain"] == pytest.approx(0.06)
    assert mixup["gain_spread"] == pytest.approx(0.01 * 2**0.5)


def test_the_ensembles_weight_has_the_least_macro_log_loss(recipe) -> None:
    target = np.array([0, 0, 0, 1])
    one = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    two = np.array([[0.6, 0.4], [0.05, 0.95], [0.9, 0.1], [0.6, 0.4]])
    first = -(np.log(0.9) + np.log(0.8) + np.log(0.4)) / 3
    assert recipe.outcomes.macro_log_loss(target, one) == pytest.approx((first - np.log(0.3)) / 2)
    tried = {}
    for step in range(21):
        p = (step * one + (20 - step) * two) / 20
        tried[step / 20] = (-np.log(p[:3, 0]).mean() - np.log(p[3, 1])) / 2
    best = min(tried, key=tried.get)
    found = recipe.outcomes.fit_weights(target, {"lite1": one, "lite2": two})
    assert found == {"lite1": best, "lite2": 1 - best} and 0 < best < 1


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
