"""Each setting that touches the images or the loss means the same for two ranks as for one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranked
import ranked_jobs
from ranked_runs import EQUAL, check_equal, log
from small_runs import coloured, listed, model_folder, newest

from skinxai.data import TrainedOn, write_shards
from skinxai.data.hashing import looks
from skinxai.model_folders.ensembles import write_ensemble

pytestmark = pytest.mark.usefixtures("small_networks")
PLAIN = EQUAL | {"mixup": 0.0, "cutmix": 0.0}
SPOILED = {"spoils": ["train/red-03.png", 4]}  # the last step of the first of three epochs


def jobs(folder: Path) -> list[dict[str, Any]]:
    """Each is done by two ranks at once, and by one alone."""
    found = [
        ("frozen", EQUAL | {"frozen_groups": 1}, {}),
        ("teacher", EQUAL | {"teacher": str(folder / "members/0"), "teacher_share": 0.6}, {}),
        ("unseen", PLAIN | {"teacher": str(folder / "all"), "teacher_answers": "unseen"}, {}),
        ("float16", PLAIN | {"amp": "float16", "learning_rate": 1e-4}, {}),
        ("bfloat16", PLAIN | {"amp": "bfloat16", "learning_rate": 1e-4}, {}),
        ("skipping", EQUAL | {"unreadable": "skip", "sampler": None}, SPOILED),
        ("unread", EQUAL | {"unreadable": "skip"}, {}),
        ("raising", EQUAL | {"unreadable": "raise", "sampler": None}, SPOILED),
        ("shards", EQUAL | {"workers": 1}, {"data": "shards"}),
        ("device", EQUAL | {"augment_on": "device", "hair": 0.0, "colour_constancy": 0.3}, {}),
    ]  # fmt: skip
    return [{"name": n, "do": "train", "settings": s, "data": n} | more for n, s, more in found]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, small_networks) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    train = coloured(folder / "train", 9, 1)
    coloured(folder / "val", 5, 2)
    found = list(looks(train))
    members = [
        model_folder(
            folder / f"members/{fold}", seed=fold,
            trained_on=TrainedOn.of_looks(look for n, look in enumerate(found) if n % 2 == fold),
        )
        for fold in (0, 1)
    ]  # fmt: skip
    write_ensemble(folder / "all", members, weights=[0.5, 0.5], name="all")
    return folder


@pytest.fixture(scope="module")
def done(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of two ranks and of one."""
    two, one = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    every = jobs(pictures)
    for folder in (two, one):
        for job in every:
            for part in ("train", "val"):
                place = folder / job["data"] / part
                if job["name"] == "shards":
                    write_shards(listed(pictures / part), place, shard_bytes=30_000, progress=False)
                else:
                    shutil.copytree(pictures / part, place)
        for part in ("train", "val"):
            (folder / "unread" / part / "red-03.png").write_bytes(b"no image")
    runs = [job | {"out": f"runs/{job['name']}"} for job in every]
    found = ranked.do(two, runs)
    assert found.returncode == 0, found.stdout + found.stderr
    for job in runs:
        if job["name"] != "raising":
            ranked_jobs.train(one, 0, job)
    return two, one


EXACT = ("frozen", "teacher", "unseen", "skipping", "unread", "shards", "device")


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_learn_what_one_learns(name, done) -> None:
    two, one = done
    for rank in (0, 1):
        assert "model" in ranked.outcome(two, name, rank), ranked.outcome(two, name, rank)
    check_equal(two / "runs" / name, one / "runs" / name)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_two_ranks_learn_in_half_precision_what_one_learns(name, done) -> None:
    """The weights move by some hundred times their distance; the scaler counts the same steps."""
    two, one = done
    assert "model" in ranked.outcome(two, name), ranked.outcome(two, name)
    for own, other in zip(log(two / "runs" / name), log(one / "runs" / name), strict=True):
        assert own["loss"] == pytest.approx(other["loss"], rel=5e-3)
    (own, rest), (others, their) = newest(two / "runs" / name), newest(one / "runs" / name)
    assert rest["scaler"] == their["scaler"]
    assert bool(rest["scaler"]) == (name == "float16")
    for tensor in (n for n in others if n.startswith("network.")):
        np.testing.assert_allclose(own[tensor], others[tensor], rtol=0.01, atol=2e-3)


def test_frozen_layers_stay_what_they_were(done) -> None:
    """And so the run is not equal for want of learning."""
    two, _ = done
    frozen, free = (newest(two / "runs" / name)[0] for name in ("frozen", "skipping"))
    moved = [n for n in frozen if n.startswith("optimizer") and n.endswith("exp_avg")]
    assert (
        0 < len(moved) < len([n for n in free if n.startswith("optimizer") and n.endswith("_avg")])
    )


def test_an_image_that_one_rank_cannot_read_is_skipped_by_all(done) -> None:
    two, one = done
    for folder in (two, one):
        notes = (folder / "runs/skipping/events.log").read_text()
        assert notes.count("must stay readable while training") == 2  # in two epochs
        assert "train-red-03.png" in notes
        assert newest(folder / "runs/skipping")[1]["progress"]["skipped"] == ["train-red-03.png"]


def test_an_image_that_one_rank_cannot_read_ends_all(done) -> None:
    """In the second epoch, before the step that would have had it; the checkpoint is there."""
    two, _ = done
    said = [ranked.outcome(two, "raising", rank) for rank in (0, 1)]
    assert [each["error"] for each in said] == ["DatasetImageError"] * 2
    assert said[0]["message"] == said[1]["message"]
    assert sorted(each["told elsewhere"] for each in said) == [False, True]
    progress = newest(two / "runs/raising")[1]["progress"]
    assert progress["epoch"] == 1 and len(progress["log"]) == 1
