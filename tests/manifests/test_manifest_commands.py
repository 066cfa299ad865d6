"""``skinxai predict --manifest`` and ``skinxai collect``."""

import shlex
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from skinxai import Classifier, samples
from skinxai.cli import app
from skinxai.errors import SkinxaiError
from skinxai.manifests import predict_manifest
from skinxai.plain_text import printable

LAUNCHED = ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def said(*arguments: object) -> str:
    found = run(*arguments)
    if isinstance(found.exception, SkinxaiError):
        return found.exception.on_command_line
    assert found.exit_code == 2, found.output
    return found.stderr.splitlines()[-1].removeprefix("Error: ")


def test_shards_are_collected(model, table, tmp_path, monkeypatch) -> None:
    parts, words = tmp_path / "parts", ["--model", model, "--chunk", 4, "--batch-size", 3]
    first = run("predict", "--manifest", table, "--out", parts, "--shard", "1/2", *words)
    assert first.exit_code == 1, first.exception  # an image that cannot be read
    assert "note: shard 1/2, numbered from 0, from --shard" in first.stderr
    missing = said("collect", parts, "--out", tmp_path / "a.parquet")
    assert missing.startswith("3 of 6 chunks are missing")
    command = shlex.split(missing.partition("make them with ")[2].rstrip("."))
    assert run(*command[1:]).exit_code == 1
    found = run("collect", parts, "--out", tmp_path / "a.parquet")
    assert found.exit_code == 0 and found.stdout.startswith("23 images by model@")
    predict_manifest(
        Classifier.from_pretrained(model), table, tmp_path / "own", chunk=4, batch_size=3
    )
    for path in (tmp_path / "own").glob("part-*"):
        assert path.read_bytes() == (parts / path.name).read_bytes()
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 23
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    again = run("predict", "--manifest", table, "--out", parts, *words)
    assert "note: shard 1/3, numbered from 0, from RANK" in again.stderr
    assert "2 of them finished before" in again.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("predict", "Give IMAGES, or a table of them with --manifest."),
        ("predict x.png --shard 0/2", "--shard goes with --manifest."),
        ("predict x.png --manifest T --out OUT",
         "IMAGES and --manifest exclude each other; give one of them."),
        ("predict --manifest T", "--manifest needs --out FOLDER for the parts."),
        ("predict --manifest T --out OUT --json", "--json does not go with --manifest."),
        ("predict --manifest T --out OUT --shard 2/2",
         "--shard must be a number and how many there are, numbered from 0 to 1, got 2/2."),
        ("predict --manifest T --out OUT --shard 1/2 --shards 3",
         "--shards 3 contradicts --shard 1/2."),
        ("predict --manifest T --out OUT --shards 3",
         "--shards needs a launcher that numbers its processes; give --shard NUMBER/COUNT."),
        ("predict --manifest T --out OUT --actors 2", "--actors goes with --engine ray."),
        ("predict --manifest T --out OUT --engine ray --shard 0/2",
         "--engine ray shares all chunks itself; leave --shard out."),
        ("predict --manifest T --out OUT --model MODEL --image-column imag",
         "lesions.csv must have the column 'imag', but it has 'note', 'id', 'image'; name "
         "another with --image-column image."),
        ("predict --manifest T --out OUT --model MODEL --id-column note",
         "lesions.csv must have each id once, but 'two\\nlines, quoted' stands in the rows 0 "
         "and 1, counted from 0; name a column of ids that differ with --id-column."),
        ("predict --manifest MODEL --out OUT --model MODEL",
         "--manifest must be a table of images, but 'MODEL' is a folder; give it in the place of "
         "--manifest: skinxai predict MODEL."),
        ("predict --manifest T --out OUT --model MODEL --chunk 0",
         "--chunk must be an integer >= 1, got 0."),
    ],
)  # fmt: skip
def test_what_is_refused_in_one_sentence(model, table, tmp_path, words, sentence) -> None:
    places = {"T": table, "OUT": tmp_path / "out", "MODEL": model}
    found = said(*(places.get(word, word) for word in words.split()))
    assert found.replace(str(model), "MODEL") == sentence
    assert not (tmp_path / "out").exists()


def test_the_remedy_for_tabs_is_what_a_shell_passes_on(model, table, tmp_path) -> None:
    """The message shows the tab as an escape, and a shell passes the two letters on."""
    tabs = table.with_name("tabs.csv")
    tabs.write_text("image\tlabel\n0.png\tred\n1.png\tgreen\n2.png\tblue\n")
    asked = {
        "manifest": ("predict", "--manifest", tabs, "--model", model, "--out", tmp_path / "out"),
        "table": ("prepare", tabs, tmp_path / "prepared"),
    }
    for words in asked.values():
        remedy = shlex.split(printable(said(*words)).rpartition("; give ")[2].rstrip("."))
        assert remedy == ["--delimiter", "\\t"]
        assert run(*words, *remedy).exit_code == 0
    again = run(*asked["manifest"], "--delimiter", "\t")  # the same run
    assert again.exit_code == 0 and "1 of them finished before" in again.stderr


def test_the_program_with_the_bundled_model_and_real_images(tmp_path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    names = []
    for path in samples.paths():
        (folder / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    (folder / "m.csv").write_text("image\n" + "\n".join(names))
    command = [sys.executable, "-c", "from skinxai.cli import main; main()"]
    words = ["predict", "--manifest", "photographs/m.csv", "--out", "parts", "--backend", "onnx"]
    subprocess.run([*command, *words], cwd=tmp_path, check=True, capture_output=True)
    (row, *_), (expected, *_) = (
        pq.read_table(tmp_path / "parts/part-000000.parquet").to_pylist(),
        Classifier.from_pretrained(backend="onnx").predict([folder / names[0]]),
    )
    assert row["decision"] == expected.decision and row["label"] == expected.label
    assert row["p_mel"] == pytest.approx(expected.probabilities["mel"], abs=1e-6)
    assert row["novelty_score"] == pytest.approx(expected.novelty.score, abs=1e-6)
    assert row["reasons"] == list(expected.reasons)
