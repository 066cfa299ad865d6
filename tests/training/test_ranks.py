"""Several ranks train as one does: real processes that torchrun starts, with gloo."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import ranked
from ranked_jobs import Ending
from ranked_runs import EQUAL, check_equal, log
from small_runs import coloured, differences, listed
from waiting import LIMIT

from skinxai import Trainer
from skinxai.errors import OptionError, TrainingError
from skinxai.training.joining import device_of, joined
from skinxai.training.launch import Launch
from skinxai.training.shares import Share, homes, places_of

pytestmark = pytest.mark.usefixtures("small_networks")
DRAWS = EQUAL | dict(drop_rate=0.3, checkpoint_minutes=1e-9)
SPLIT = EQUAL | dict(accumulate=2)
JOBS = [
    {"name": "equal", "do": "train", "settings": EQUAL},
    {"name": "split", "do": "train", "settings": SPLIT},
    {"name": "draws", "do": "train", "out": "whole/run", "settings": DRAWS},
    {"name": "stopped", "do": "train", "out": "stopped/run", "settings": DRAWS, "stops": 5},
    {"name": "again", "do": "train", "out": "stopped/run", "resume": True},
    {"name": "hungry", "do": "train", "settings": EQUAL, "hungry": 1},
    {"name": "seeds", "do": "train", "settings": EQUAL, "others": {"seed": 1}},
    {"name": "equal-again", "do": "train", "out": "equal", "settings": EQUAL},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    coloured(folder / "train", 9, 1)  # 27 images: the last batch of 3 has two shares
    coloured(folder / "val", 5, 2)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess:
    """All jobs, done by two ranks."""
    found = ranked.do(folder, JOBS)
    assert found.returncode == 0, found.stdout + found.stderr
    return found


@pytest.fixture(scope="module")
def alone(folder: Path, small_networks) -> Path:
    """Runs of one rank, in this process."""
    for name, settings in (("equal", EQUAL), ("split", SPLIT)):
        _train(folder, folder / f"{name}-alone", settings)
    return folder


def _train(folder: Path, out: Path, settings: dict) -> None:
    Trainer(**settings, output_dir=out).fit(listed(folder / "train"), listed(folder / "val"))


@pytest.mark.parametrize("name", ["equal", "split"])
def test_two_ranks_learn_what_one_learns(name, folder, done, alone) -> None:
    assert "error" not in ranked.outcome(folder, name), ranked.outcome(folder, name)
    check_equal(folder / name, folder / f"{name}-alone")
    models = {ranked.outcome(folder, name, rank)["model"] for rank in (0, 1)}
    assert len(models) == 1


def test_four_ranks_learn_what_one_learns(folder, alone, tmp_path) -> None:
    """Of the last batch of three images, the last rank has none."""
    for name in ("train", "val"):
        shutil.copytree(folder / name, tmp_path / name)
    few = {"name": "few", "do": "train", "settings": EQUAL | {"batch_size": 3}}
    found = ranked.do(tmp_path, [JOBS[0], few], ranks=4)
    assert found.returncode == 0, found.stderr
    check_equal(tmp_path / "equal", folder / "equal-alone")
    refused = ranked.outcome(tmp_path, "few", 3)
    assert refused["error"] == "OptionError"
    assert "at least 4 for 4 ranks and accumulate 1" in refused["message"]


def test_files_and_messages_are_of_the_first_rank_alone(folder, done) -> None:
    names = {path.name for path in (folder / "equal").iterdir()}
    assert names == {path.name for path in (folder / "split").iterdir()}
    assert (done.stdout + done.stderr).count("epoch 1 of 3:") == sum(
        not job.get("resume") and job["name"] not in ("seeds", "equal-again")
        for job in JOBS
    )  # fmt: skip
    events = (folder / "equal/events.log").read_text()
    assert events.count("each step shared by 2 ranks") == 1


def test_a_rank_leaves_no_thread_behind(folder, done) -> None:
    """One that still runs when Python ends may abort the process, after all was well."""
    assert [ranked.outcome(folder, "equal", rank)["left"] for rank in (0, 1)] == [[], []]


def test_a_stopped_run_goes_on_bit_by_bit(folder, done) -> None:
    for rank in (0, 1):
        assert ranked.outcome(folder, "stopped", rank) == {"end": "SignalExit(143)"}
        assert "model" in ranked.outcome(folder, "again", rank)
    assert differences(folder / "stopped/run", folder / "whole/run") == []
    assert (done.stdout + done.stderr).count("SIGTERM: training has stopped") == 1


def test_another_number_of_ranks_goes_on_and_a_dead_one_ends_the_run(
    folder, alone, tmp_path
) -> None:
    for name in ("train", "val"):
        shutil.copytree(folder / name, tmp_path / name)
    parts = listed(tmp_path / "train"), listed(tmp_path / "val")
    with pytest.raises(SystemExit):
        stops = [Ending("stops", 5)]
        Trainer(**EQUAL, output_dir=tmp_path / "one", callbacks=stops).fit(*parts)
    jobs = [
        {"name": "one by two", "do": "train", "out": "one", "resume": True},
        {"name": "two", "do": "train", "settings": EQUAL, "stops": 6},
        {"name": "dying", "do": "lose", "settings": DRAWS},
    ]
    found = ranked.do(tmp_path, jobs)
    check_equal(tmp_path / "one", folder / "equal-alone")
    assert len(log(tmp_path / "two")) == 1  # of three epochs
    Trainer.resume(tmp_path / "two").fit(*parts)
    check_equal(tmp_path / "two", folder / "equal-alone")
    # the second rank of the last job died: the first one says so, and its checkpoint is there
    assert found.returncode != 0
    lost = ranked.outcome(tmp_path, "dying")
    assert lost["error"] == "RankLostError" and "another rank has ended" in lost["message"]
    assert not (tmp_path / "dying/log.csv").exists()
    Trainer.resume(tmp_path / "dying").fit(*parts)
    assert len(log(tmp_path / "dying")) == DRAWS["epochs"]


def test_out_of_memory_on_one_rank_is_agreed_by_all(folder, done, alone) -> None:
    """Of 8 images 4 are a rank's; the second one takes two at most."""
    assert "model" in ranked.outcome(folder, "hungry"), ranked.outcome(folder, "hungry")
    assert log(folder / "hungry")[-1]["micro_batch"] == 4
    assert (folder / "hungry/events.log").read_text().count("the micro-batch is halved") == 1
    check_equal(folder / "hungry", folder / "split-alone")


def test_ranks_that_disagree_are_refused_in_one_sentence(folder, done) -> None:
    first, second = (ranked.outcome(folder, "seeds", rank) for rank in (0, 1))
    assert first["error"] == "ResumeMismatchError" and first["message"] == second["message"]
    assert "same seed, but rank 0 has 0 and rank 1 has 1" in first["message"]
    assert sorted([first["told elsewhere"], second["told elsewhere"]]) == [False, True]
    assert not (folder / "seeds/train.json").exists()


def test_a_run_that_is_there_is_refused_on_all_ranks(folder, done) -> None:
    for rank in (0, 1):
        assert "holds a run" in ranked.outcome(folder, "equal-again", rank)["message"]


def test_torchrun_starts_a_run_again_by_itself(folder, tmp_path) -> None:
    for name in ("train", "val"):
        shutil.copytree(folder / name, tmp_path / name)
    jobs = [{"name": "dying", "do": "lose", "settings": DRAWS}]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    command = ranked.torchrun(str(ranked.HERE), str(tmp_path))
    found = subprocess.run(
        [*command[:-2], "--max-restarts=1", *command[-2:]], env=ranked.one_thread(), cwd=tmp_path,
        capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert len(log(tmp_path / "dying")) == DRAWS["epochs"]


def test_places_of_shares_by_hand() -> None:
    assert homes([3, 2]) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
    assert places_of([3, 2]) == [[0, 2, 4], [1, 3]]
    assert places_of([1, 3]) == [[0], [1, 2, 3]]  # images of the first could not be read
    share = Share((3, 2), 1, [])
    assert share.count == 5 and share.own == 2
    assert [share.rows(slice(*w)) for w in ((0, 3), (3, 5))] == [slice(0, 1), slice(1, 2)]


WHOLE = {
    "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host", "MASTER_PORT": "29500", "TORCHELASTIC_RESTART_COUNT": "2",
}  # fmt: skip


def test_what_a_launcher_says() -> None:
    found = Launch.now(WHOLE)
    assert (found.rank, found.count, found.local, found.beside) == (1, 4, 1, 2)
    assert (found.restarts, found.address, found.port) == (2, "host", 29500)
    assert Launch.now({}) == Launch() and Launch.now({"RANK": "", "WORLD_SIZE": ""}) == Launch()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "4"}, "RANK must be below WORLD_SIZE 4, got 4"),
        ({"RANK": "one"}, "RANK must be an integer >= 0, got 'one'"),
        ({"RANK": "-1"}, "RANK must be an integer >= 0, got '-1'"),
        ({"RANK": None}, "RANK must be set"),
        ({"WORLD_SIZE": None}, "WORLD_SIZE must be set"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK must be below LOCAL_WORLD_SIZE 2, got 2"),
        ({"LOCAL_RANK": None}, "LOCAL_RANK must be set where 4 ranks are started"),
        ({"LOCAL_WORLD_SIZE": None}, "LOCAL_WORLD_SIZE must be set where 4 ranks"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR must say where 4 ranks find each other"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT must say where"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT must say where"),
    ],
)
def test_a_launcher_that_contradicts_itself_is_refused(change, words) -> None:
    given = {name: value for name, value in (WHOLE | change).items() if value is not None}
    with pytest.raises(OptionError, match=words):
        Launch.now(given)


def test_a_port_that_another_program_has_is_refused(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        here = {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for name, value in (WHOLE | here).items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(TrainingError, match=f"the port of .*{port} must be free"),
            joined("cpu"),
        ):
            pass


def test_ranks_without_a_gpu_each_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(OptionError, match="this machine has 1 for 2 ranks"):
        device_of("cuda", Launch.now(WHOLE))
    with pytest.raises(OptionError, match="must be 'auto', 'cuda' or 'cpu' for 4 ranks"):
        device_of("cuda:0", Launch.now(WHOLE))
    assert device_of("cpu", Launch.now(WHOLE)) == "cpu"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_of("cuda", Launch.now(WHOLE)) == "cuda:1"
