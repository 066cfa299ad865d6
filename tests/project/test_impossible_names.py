"""Names that no file can have: each is refused in one typed sentence, also where files are written.

The character NUL is in no name. Where the locale is ASCII, other text has no name either.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import LABELS

from skinxai import Classifier, ModelConfig, PreprocessConfig, backbones, checkpoints
from skinxai.data import load_prepared
from skinxai.disk.staging import write_together
from skinxai.disk.writing import append_line, check_folder, make_folder, write_atomic
from skinxai.errors import OutputError, SkinxaiError
from skinxai.review import ReviewStore

ACTIONS: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: write_atomic(path, b""),
    "a line": lambda path: append_line(path, "x"),
    "a folder": make_folder,
    "a folder for later": check_folder,
    "files together": lambda path: write_together(path, {"a": b""}),
    "a file of several": lambda path: write_together(path.parent, {path.name: b""}),
    "a prepared folder": load_prepared,
    "a store": lambda path: ReviewStore.open(f"sqlite:///{path}"),
    "a store's images": lambda path: ReviewStore.open(f"sqlite:///{path.parents[1]}/a.db", path),
}


@pytest.mark.parametrize("what", ACTIONS)
def test_a_name_with_nul(what: str, tmp_path: Path) -> None:
    with pytest.raises(SkinxaiError, match="no file can have this name"):
        ACTIONS[what](tmp_path / "new" / "a\0b")


def test_no_name_at_all_is_not_the_present_folder(classifier, tmp_path: Path, monkeypatch) -> None:
    """Its README.md would be replaced by the model card."""
    monkeypatch.chdir(tmp_path)
    for write in (
        classifier.save_pretrained,
        Classifier.from_pretrained([None, None]).save_pretrained,
        lambda folder: write_together(folder, {"a": b""}),
    ):
        with pytest.raises(OutputError, match=r"must have a name, got an empty text; '\.' is the"):
            write("")
        assert not list(tmp_path.iterdir())
    write(".")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_an_export(classifier, tmp_path: Path, suffix: str) -> None:
    """It is refused before anything is noted of a file that is not written."""
    with pytest.raises(SkinxaiError, match=rf"a.*b\.{suffix}' failed: no file can have this name"):
        classifier.export(tmp_path / f"a\0b.{suffix}")


ASCII = """
import sys
from skinxai import Classifier
from skinxai.errors import SkinxaiError

classifier = Classifier.from_pretrained(sys.argv[2], device="cpu")
for name in ("m\\u00e4l.xml", "m\\u00e4l.onnx", "m\\u00e4l"):
    try:
        (classifier.export if "." in name else classifier.save_pretrained)(name)
    except SkinxaiError as error:
        print(ascii(str(error)))
classifier.export(sys.argv[1])  # as the system gives it, it has a name
print(Classifier.from_pretrained(sys.argv[1]).model == classifier.model)
"""


def test_text_where_names_are_ascii(tmp_path_factory, tmp_path: Path) -> None:
    config = ModelConfig("tiny", "timm/test_resnet", LABELS, PreprocessConfig((64, 64)))
    model = tmp_path_factory.mktemp("tiny")
    checkpoints.save(str(model), backbones.build(config.backbone, len(LABELS)), config, "A card.")
    told = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", ASCII, "m\u00e4l.xml".encode(), model],
        env=told, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *refused, same = done.stdout.splitlines()
    assert len(refused) == 3 and all("no file can have this name" in text for text in refused)
    assert same == "True"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m\u00e4l.bin", "m\u00e4l.xml"]
