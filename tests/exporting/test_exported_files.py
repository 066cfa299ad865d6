"""Exported files: where they are written, that they answer as torch does, how they are opened."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from places import ROOT
from small_runs import INPUT, coloured, model_folder, rows

from skinxai import Classifier, samples
from skinxai.configs import PreprocessConfig
from skinxai.errors import (
    ExportError,
    IntegrityError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    SkinxaiError,
)
from skinxai.exporting import exported_files, onnx_graphs
from skinxai.exporting.exported_files import exported_path
from skinxai.exporting.parity import Parity, check_parity
from skinxai.graphs.exported import UNSEALED, seal
from skinxai.predicting.graph_predictor import GraphMember, GraphPredictor
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.runners import OnnxRuntime

pytestmark = pytest.mark.usefixtures("small_networks")

BACKENDS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [r.path for r in coloured(tmp_path_factory.mktemp("data") / "pictures", 3, seed=0)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The model that is exported."""
    return Classifier.from_pretrained(
        model_folder(tmp_path_factory.mktemp("model") / "own", seed=1)
    )


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


def test_each_map_is_compared_with_its_own_size(own, graphs, tmp_path, pictures) -> None:
    """A strong map in the same batch does not hide the error of a faint one."""
    made = onnx.ModelProto()
    made.CopyFrom(graphs[True])
    (kernel,) = (own for own in made.graph.initializer if own.name == "kernel")
    values = np.frombuffer(kernel.raw_data, np.float32).reshape(3, 8, 1, 1).copy()
    values[:, 0] += 1e-4 * np.abs(values).max()  # the map of each image is off by another share
    kernel.raw_data = values.tobytes()
    run = OnnxRuntime(made.SerializeToString())
    member = GraphMember(preprocessing=INPUT, weight=1.0, model="", run=run, layer="")
    graph = GraphPredictor(members=(member,), labels=own.config.labels, model="")
    alone = [check_parity(own.torch_predictor, graph, [path]).map for path in pictures]
    assert max(alone) > 1.5 * float(np.median(alone)) > 1e-5
    together = check_parity(own.torch_predictor, graph, pictures, InputOptions(batch_size=9))
    assert together.map == pytest.approx(max(alone), rel=1e-3)


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


def test_a_rounding_classifier_exports_what_does_not_round(own, tmp_path) -> None:
    own.save_pretrained(tmp_path / "model")
    rounded = Classifier.from_pretrained(tmp_path / "model", precision="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        parity = rounded.export(tmp_path / "x.onnx")
    assert parity.probability < 1e-5


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


@pytest.fixture(scope="module")
def graphs(own: Classifier) -> dict[bool, onnx.ModelProto]:
    """With the network's weights, and without."""
    network = own.network
    return {
        kept: onnx_graphs.graph_of(network, INPUT.image_size, own_weights=kept)
        for kept in (False, True)
    }


def other_epsilon(graph: onnx.ModelProto) -> None:
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f = 0.5


def other_maps(graph: onnx.ModelProto) -> None:
    (kernel,) = (own for own in graph.graph.initializer if own.name == "kernel")
    kernel.raw_data = (2 * np.frombuffer(kernel.raw_data, np.float32)).tobytes()


def maps_of_nan(graph: onnx.ModelProto) -> None:
    (kernel,) = (own for own in graph.graph.initializer if own.name == "kernel")
    kernel.raw_data = (np.nan * np.frombuffer(kernel.raw_data, np.float32)).tobytes()


def other_embeddings(graph: onnx.ModelProto) -> None:
    (node,) = (each for each in graph.graph.node if "embeddings" in each.output)
    node.output[0] = "before"
    for each in graph.graph.node:
        each.input[:] = ["before" if name == "embeddings" else name for name in each.input]
    graph.graph.node.append(onnx.helper.make_node("Add", ["before", "before"], ["embeddings"]))


@pytest.mark.parametrize("change", [other_epsilon, other_maps, maps_of_nan, other_embeddings])
def test_a_graph_that_answers_otherwise_is_not_written(
    own, graphs, tmp_path, monkeypatch, change
) -> None:
    def wrong(model, image_size, *, own_weights):
        made = onnx.ModelProto()
        made.CopyFrom(graphs[own_weights])
        change(made)
        return made

    monkeypatch.setattr(exported_files, "graph_of", wrong)
    for ask in (lambda: own.export(tmp_path / "x.onnx"), own.with_graph):
        with pytest.raises(ExportError, match="must give torch's"):
            ask()
    assert not list(tmp_path.iterdir())


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


def test_a_graph_that_cannot_be_opened_is_given_to_no_folder(own, graphs, monkeypatch) -> None:
    def wrong(model, image_size, *, own_weights):
        made = onnx.ModelProto()
        made.CopyFrom(graphs[own_weights])
        made.graph.node[0].op_type = "NonZero"
        return made

    monkeypatch.setattr(exported_files, "graph_of", wrong)
    with pytest.raises(ExportError, match=r"cannot open what torch wrote.*'NonZero'"):
        own.with_graph()
