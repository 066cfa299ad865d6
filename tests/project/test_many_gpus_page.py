"""The commands of "Train on many GPUs", run as they stand on the page, by two ranks with gloo."""

import csv
import shlex
import subprocess
import sys
from pathlib import Path

import ranked
from page_commands import commands_of
from places import ROOT
from waiting import LIMIT

PAGE = "how-to/train-on-many-gpus.md"
COMMANDS = [c for c in commands_of(PAGE) if "my_training.py" not in c]


def test_two_ranks_train_and_refuse_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = ranked.one_thread()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=LIMIT,
        )  # fmt: skip

    def by_forked_ranks(command: str) -> subprocess.CompletedProcess:
        words = shlex.split(command.partition(" -m skinxai ")[2])
        return ranked.do(tmp_path, [{"name": "page", "do": "command", "words": words}])

    draw, *trained = COMMANDS
    assert run(draw).returncode == 0
    launches = {command.partition(" -m skinxai ")[0] for command in trained}
    assert launches == {"torchrun --standalone --nproc-per-node 2"}
    for command, name in zip(trained, ("two", "apart", "divided"), strict=True):
        # torchrun starts the first; all it does is the same for the others
        done = run(command) if name == "two" else by_forked_ranks(command)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert said.count("epoch 1 of 1:") == 1 and said.count(f"model       {name}@") == 1
        with (tmp_path / "runs" / name / "log.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 1
        assert (tmp_path / "runs" / name / "evaluation.html").exists()
    for command, sentence in (
        (trained[0], "holds a run; go on with it with --resume"),
        (trained[0].replace("64x96", "6x9"), "--image-size must be"),
    ):
        again = by_forked_ranks(command)
        assert ranked.outcome(tmp_path, "page") == {"end": "SystemExit(2)"}
        assert again.stderr.count(sentence) == 1
        assert "Traceback" not in again.stderr
