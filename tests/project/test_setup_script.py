"""scripts/venv says what it will take before it takes it, and takes less where less is enough.

Python, nvidia-smi and uname are small scripts here, which tell what they were asked.
"""

import os
import subprocess
from pathlib import Path

import pytest
from places import ROOT

SMALL = "https://download.pytorch.org/whl/cpu"
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    *--index-url*) echo "asked $*; config $PIP_CONFIG_FILE; more '$PIP_EXTRA_INDEX_URL'" >>"$TOLD"
        exit "$INDEX_ANSWERS" ;;
    *--editable*) echo "INSTALLS $*" >&2 ;;
esac
"""


@pytest.fixture
def setup(tmp_path: Path):
    """Runs scripts/venv on a made-up machine: what it said, and what an index was asked."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def program(name: str, text: str) -> Path:
        path = programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    python = program("python", PYTHON)

    def run(*, gpu=False, index_answers=True, system="Linux", **more: str) -> tuple[str, str]:
        program("nvidia-smi", f"#!/bin/sh\nexit {0 if gpu else 9}\n")
        program("uname", f"#!/bin/sh\necho {system}\n")
        told = tmp_path / "told"
        told.unlink(missing_ok=True)
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHON": str(python),
            "TOLD": str(told), "INDEX_ANSWERS": "0" if index_answers else "1",
            "PIP_EXTRA_INDEX_URL": "https://example.org/other",
        }  # fmt: skip
        command = ["sh", str(ROOT / "scripts/venv"), str(tmp_path / "made")]
        done = subprocess.run(
            command, env=environment | more, capture_output=True, text=True, check=True
        )
        return done.stderr, told.read_text() if told.exists() else ""

    return run


def before_it_installs(said: str) -> str:
    before, _, after = said.partition("INSTALLS")
    assert "--constraint constraints.txt --editable ." in after
    return before


def test_without_a_gpu_the_wheels_are_for_the_processor(setup) -> None:
    said, asked = setup()
    assert f"Asking {SMALL} for PyTorch for the processor alone, 0.2 GB." in said
    assert "takes about 1.5 GB of disk: PyTorch for the processor" in before_it_installs(said)
    assert "6 GB" not in said and "Ctrl-C" not in said
    assert f"--index-url {SMALL} --constraint constraints.txt torch torchvision" in asked
    assert asked.endswith("config /dev/null; more ''\n")  # no other place of pip's


def test_where_that_index_cannot_be_reached_the_ordinary_one_is_taken(setup) -> None:
    said, asked = setup(index_answers=False)
    before = before_it_installs(said)
    assert asked and "It cannot be reached, or has no wheels for this machine" in before
    assert "takes about 6 GB of disk: PyTorch with CUDA, and the other packages." in before
    assert "set TORCH_INDEX to an index that has them" in before


def test_with_a_gpu_it_says_how_to_have_less(setup) -> None:
    said, asked = setup(gpu=True)
    before = before_it_installs(said)
    assert not asked and "takes about 6 GB of disk: PyTorch with CUDA" in before
    assert f"For about 1.5 GB, stop this with Ctrl-C and set TORCH_INDEX={SMALL}" in before


def test_another_index(setup) -> None:
    said, asked = setup(gpu=True, TORCH_INDEX="https://example.org/cpu")
    assert "--index-url https://example.org/cpu " in asked
    assert "takes about 1.5 GB of disk" in before_it_installs(said)


def test_no_index(setup) -> None:
    said, asked = setup(TORCH_INDEX="")
    assert not asked and "takes about 6 GB of disk" in before_it_installs(said)


def test_elsewhere_the_ordinary_wheels_are_small(setup) -> None:
    said, asked = setup(system="Darwin")
    assert not asked and "takes about 1.5 GB of disk." in before_it_installs(said)


def test_a_second_run_does_nothing(setup) -> None:
    assert setup()[0]
    assert setup() == ("", "")
