"""Exported files: where they are written, that they answer as torch does, how they are opened."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from places import ROOT
from small_runs import coloured, model_folder, rows

from skinxai import Classifier, samples
from skinxai.configs import PreprocessConfig
from skinxai.errors import IntegrityError, ModelError, ModelNotFoundError, OptionError, SkinxaiError
from skinxai.exporting.exported_files import exported_path
from skinxai.exporting.parity import Parity
from skinxai.graphs.exported import UNSEALED, seal

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def parities(own: Classifier, pictures: list, tmp_path_factory) -> dict[Path, Parity]:
    """Of each exported file."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        folder / "model.onnx": own.export(folder / "model.onnx", images=pictures),
        folder / "model.xml": own.export(folder / "model", format="openvino", images=pictures),
    }


@pytest.fixture
def exported(parities: dict[Path, Parity], tmp_path: Path) -> Path:
    """A folder with copies of the exported files."""
    for path in parities:
        for each in path.parent.glob(f"{path.stem}.*"):
            shutil.copy(each, tmp_path)
    return tmp_path


# where it is written


@pytest.mark.parametrize(
    ("path", "format", "written", "runner"),
    [
        ("model.onnx", None, "model.onnx", "onnx"),
        ("model.xml", None, "model.xml", "openvino"),
        ("MODEL.ONNX", None, "MODEL.ONNX", "onnx"),
        ("MODEL.XML", None, "MODEL.XML", "openvino"),
        ("model.onnx", "onnx", "model.onnx", "onnx"),
        ("model", "onnx", "model.onnx", "onnx"),
        ("model", "openvino", "model.xml", "openvino"),
        ("runs.new/model-1.2", "onnx", "runs.new/model-1.2.onnx", "onnx"),
    ],
)
def test_the_suffix_names_the_format_and_format_where_there_is_none(
    path, format, written, runner
) -> None:
    assert exported_path(Path(path), format) == (Path(written), runner)


@pytest.mark.parametrize(
    ("path", "format", "words"),
    [
        ("model", None, "path must end in .onnx or .xml, got 'model'; name the format where it has "
         "no suffix, format='onnx'."),
        ("model.pt", None, "path must end in .onnx or .xml, got 'model.pt'; name"),
        ("model.pt", "onnx", "path must end in .onnx or .xml, got 'model.pt'; name"),
        (".", "onnx", "path must end in .onnx or .xml, got ''"),
        ("model.xml", "onnx", "format must be what the suffix of the path names, 'openvino' for "
         "'model.xml', got 'onnx'; leave it out, or let the path end in .onnx."),
        ("model.onnx", "openvino", "got 'openvino'; leave it out, or let the path end in .xml."),
        ("model", "onxx", "format must be one of ['onnx', 'openvino'], got 'onxx'. Did you mean "
         "'onnx'?"),
        ("model", "ONNX", "got 'ONNX'. Did you mean 'onnx'?"),
        ("model", 3, "format must be one of ['onnx', 'openvino'], got 3."),
    ],
)  # fmt: skip
def test_no_format_or_two(path, format, words) -> None:
    with pytest.raises(OptionError) as info:
        exported_path(Path(path), format)
    assert words in str(info.value)


def test_a_format_is_written_under_its_suffix(own, exported) -> None:
    assert {path.name for path in exported.iterdir()} == {"model.onnx", "model.xml", "model.bin"}
    with pytest.raises(OptionError, match="format must be what the suffix of the path names"):
        own.export(exported / "new.xml", format="onnx")
    assert not (exported / "new.xml").exists()


# what answers


@pytest.mark.parametrize("name", ["MODEL.ONNX", "Model.Xml"])
def test_a_suffix_may_be_in_capitals(own, pictures, tmp_path, name) -> None:
    own.export(tmp_path / name, images=pictures)
    beside = {"MODEL.ONNX": set(), "Model.Xml": {"Model.bin"}}[name]
    assert {path.name for path in tmp_path.iterdir()} == {name} | beside
    graph = Classifier.from_pretrained(tmp_path / name)
    np.testing.assert_allclose(
        rows(graph.predict(pictures)), rows(own.predict(pictures)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "backend", "runs"),
    [
        ("model.onnx", None, "onnxruntime"),
        ("model.onnx", "auto", "onnxruntime"),
        ("model.onnx", "onnx", "onnxruntime"),
        ("model.onnx", "openvino", "openvino"),
        ("model.xml", None, "openvino"),
        ("model.xml", "auto", "openvino"),
        ("model.xml", "openvino", "openvino"),
    ],
)
def test_a_file_is_a_model_by_its_suffix(own, pictures, exported, name, backend, runs) -> None:
    graph = Classifier.from_pretrained(exported / name, backend=backend)
    assert graph.backend.startswith(runs)
    np.testing.assert_allclose(
        rows(graph.predict(pictures)), rows(own.predict(pictures)), atol=1e-5
    )
    assert (graph.labels, graph.model, graph.config) == (own.labels, own.model, own.config)
    assert graph.explain(pictures[0]).backend == graph.backend
    with pytest.raises(ModelError, match="load the model's folder"):
        graph.explain(pictures[0], "saliency")
    assert Classifier.from_pretrained(str(exported / name)).model == own.model


def test_how_much_it_differs_from_torch(parities, pictures) -> None:
    for parity in parities.values():
        assert parity.images == len(pictures)
        assert parity.probability < 1e-5 and parity.map < 1e-4


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_what_does_not_go_with_a_file(exported, name) -> None:
    path = exported / name
    with pytest.raises(OptionError, match=r"must be 'onnx' or 'openvino', got 'torch'; load the"):
        Classifier.from_pretrained(path, backend="torch")
    with pytest.raises(OptionError, match="device must be 'cpu'"):
        Classifier.from_pretrained(path, device="cuda")
    for more in ({"revision": "0123456"}, {"check": True}, {"precision": "bfloat16"}):
        with pytest.raises(OptionError, match="must be left out for an exported file"):
            Classifier.from_pretrained(path, **more)
    with pytest.raises(OptionError, match=r"reads \*.onnx"):
        Classifier.from_pretrained(exported / "model.xml", backend="onnx")
    with pytest.raises(ModelNotFoundError, match="must be readable: No such file"):
        Classifier.from_pretrained(exported / f"other{path.suffix}")


@pytest.mark.parametrize(
    ("name", "package", "words"),
    [
        ("model.onnx", "onnxruntime", "needs the package onnxruntime: pip install 'skinxai[onnx]'"),
        ("model.onnx", "onnx", "needs the package onnx: pip install 'skinxai[onnx]'"),
        ("model.xml", "openvino", "needs the package openvino: pip install 'skinxai[openvino]'"),
    ],
)
def test_the_missing_package_is_named(exported, monkeypatch, name, package, words) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError) as info:
        Classifier.from_pretrained(exported / name)
    assert words in str(info.value)


def test_a_folder_with_such_a_name_is_a_folder(own, tmp_path) -> None:
    own.save_pretrained(tmp_path / "folder.onnx")
    assert Classifier.from_pretrained(tmp_path / "folder.onnx").backend.startswith("torch")


def test_a_file_is_evaluated(own, exported, tmp_path) -> None:
    records = coloured(tmp_path / "pictures", 3, seed=2)
    graph = Classifier.from_pretrained(exported / "model.onnx")
    one, two = (each.evaluate(records, resamples=20) for each in (own, graph))
    assert one.confusion == two.confusion and two.model == own.model and not two.leaked


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_pages_lines_answer_as_skinxai_does(tmp_path, monkeypatch, interpolation) -> None:
    """Of an image that lies on its side, with a mean and a deviation of its own."""
    settings = PreprocessConfig((40, 64), (0.7, 0.5, 0.4), (0.2, 0.25, 0.3), interpolation)
    folder = model_folder(tmp_path / "own", seed=1, preprocessing=settings)
    own = Classifier.from_pretrained(folder)
    own.export(tmp_path / "model.onnx")
    photo, exif = Image.open(samples.paths()[0]), Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "lesion.jpg", exif=exif)
    page = (ROOT / "docs/how-to/run-without-torch.md").read_text()
    (code,) = re.findall(
        r'^```{.python title="needs onnxruntime,.*?\n(.*?)^```$', page, re.M | re.S
    )
    assert "skinxai." not in code.replace('"skinxai.config"', "")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    expected = own.predict("lesion.jpg").probabilities
    assert names["probabilities"] == pytest.approx(dict(expected), abs=1e-5)


# what is refused


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.bin"])
def test_one_other_bit_is_refused(exported, name) -> None:
    path = exported / name
    loaded = path.with_suffix(".xml") if name == "model.bin" else path
    whole, draws = path.read_bytes(), np.random.default_rng(0)
    for place in draws.integers(len(whole), size=40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(SkinxaiError):
            Classifier.from_pretrained(loaded, backend="openvino")
    path.write_bytes(whole)
    Classifier.from_pretrained(loaded, backend="openvino")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_sealed_graph_without_logits_is_refused(exported, backend) -> None:
    path = exported / "model.onnx"
    graph = onnx.load(path)
    (digest,) = (each for each in graph.metadata_props if each.value.startswith("sha256:"))
    digest.value = UNSEALED.decode()
    graph.graph.node.append(onnx.helper.make_node("Neg", ["logits"], ["scores"]))
    (logits,) = (each for each in graph.graph.output if each.name == "logits")
    logits.name = "scores"
    path.write_bytes(seal(graph.SerializeToString()))
    with pytest.raises(IntegrityError, match="must have the output 'logits', and has"):
        Classifier.from_pretrained(path, backend=backend)


def test_an_edited_file_is_refused(exported) -> None:
    path = exported / "model.onnx"
    graph = onnx.load(path)
    for each in graph.metadata_props:
        each.value = each.value.replace('["red","green"', '["green","red"')
    onnx.save(graph, path)
    with pytest.raises(IntegrityError, match="must be as exported"):
        Classifier.from_pretrained(path)
    del graph.metadata_props[:]
    onnx.save(graph, path)
    with pytest.raises(IntegrityError, match="must carry the labels"):
        Classifier.from_pretrained(path)
