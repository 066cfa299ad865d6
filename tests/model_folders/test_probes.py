"""A model keeps what it answered when it was saved, and is asked again."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from signed_folders import sign
from small_runs import INPUT, LABELS, build_small, model_folder, registered
from typer.testing import CliRunner

from skinxai import Classifier, PreprocessConfig, checkpoints
from skinxai.backbones import network
from skinxai.cli import app
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, ModelError
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.parts import PROBE
from skinxai.model_folders.probe import picture


@pytest.fixture(autouse=True)
def networks():
    with registered():
        yield


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "saved", seed=1)


def test_the_drawn_picture_is_always_the_same() -> None:
    """Another picture would make every model kept so far fail its check."""
    first = picture(PreprocessConfig((288, 384)))
    assert first.shape == (3, 288, 384)
    assert hashlib.sha256(first.tobytes()).hexdigest().startswith("653161c09214")


def test_what_is_kept_is_the_networks_answer(saved: Path) -> None:
    own = Classifier.from_pretrained(saved, check=True)
    with torch.no_grad():
        logits = own.network(torch.from_numpy(picture(INPUT)[None]))
    kept = json.loads((saved / PROBE).read_bytes())
    assert kept == {"probabilities": pytest.approx(logits.softmax(1)[0].tolist(), abs=2e-6)}


def test_it_travels_with_the_model(saved: Path, tmp_path: Path) -> None:
    again = Classifier.from_pretrained(saved)
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / PROBE).read_bytes() == (saved / PROBE).read_bytes()
    assert Classifier.from_pretrained(tmp_path / "again").model.partition("@")[2] in again.model


def test_a_network_that_answers_otherwise_is_refused(saved: Path, tmp_path: Path, monkeypatch):
    """As where another version of a package builds another network from the same bytes."""
    other = model_folder(tmp_path / "other", seed=2)
    write_ensemble(tmp_path / "both", [saved, other], name="both")
    Classifier.from_pretrained(tmp_path / "both", check=True)
    logits = network.SkinClassifier.logits
    monkeypatch.setattr(network.SkinClassifier, "logits", lambda self, x: 1.1 * logits(self, x))
    Classifier.from_pretrained(saved)
    for folder in (saved, tmp_path / "both"):
        with pytest.raises(ModelError, match="does not answer as when it was saved"):
            Classifier.from_pretrained(folder, check=True)
    done = CliRunner().invoke(app, ["verify", str(saved)])
    assert isinstance(done.exception, ModelError)


def test_a_graph_is_asked_too(saved: Path, tmp_path: Path) -> None:
    Classifier.from_pretrained(saved).with_graph().save_pretrained(tmp_path / "graph")
    for backend in ("torch", "onnx", "openvino"):
        Classifier.from_pretrained(tmp_path / "graph", backend=backend, check=True)
    (tmp_path / "graph" / PROBE).write_text('{"probabilities":[0.2,0.3,0.5]}')
    sign(tmp_path / "graph")
    for backend in ("torch", "onnx", "openvino"):
        Classifier.from_pretrained(tmp_path / "graph", backend=backend)
        with pytest.raises(ModelError, match="does not answer as when it was saved"):
            Classifier.from_pretrained(tmp_path / "graph", backend=backend, check=True)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"probabilities":[1,2]}', '{"probabilities":[0.2,0.3,0.5],"more":1}', "x"]
)
def test_another_schema_is_refused(saved: Path, text: str) -> None:
    (saved / PROBE).write_text(text)
    sign(saved)
    with pytest.raises(IntegrityError, match="must hold 3 probabilities"):
        Classifier.from_pretrained(saved, check=True)


def test_a_model_that_keeps_none_cannot_be_checked(saved: Path) -> None:
    (saved / PROBE).unlink()
    sign(saved)
    with pytest.raises(ModelError, match=r"needs probe.json"):
        Classifier.from_pretrained(saved, check=True)
    done = CliRunner().invoke(app, ["verify", str(saved)])
    assert done.exit_code == 0 and "cannot be compared" in done.output


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_answer_is_not_finite_is_not_saved(value: float, tmp_path: Path) -> None:
    model = build_small("small", len(LABELS))
    with torch.no_grad():
        next(model.network.parameters()).fill_(value)
    with pytest.raises(ModelError, match="its answer for a drawn picture is not finite"):
        checkpoints.save(
            str(tmp_path / "m"), model, ModelConfig("m", "small", LABELS, INPUT), "", None
        )
    assert not (tmp_path / "m").exists()
