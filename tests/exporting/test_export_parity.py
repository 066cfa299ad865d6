"""Graphs are compared with torch before they are written; one that answers otherwise is not."""

import numpy as np
import onnx
import pytest
import torch
from small_runs import INPUT

from skinxai import Classifier
from skinxai.errors import ExportError
from skinxai.exporting import exported_files, onnx_graphs
from skinxai.exporting.parity import check_parity
from skinxai.predicting.graph_predictor import GraphMember, GraphPredictor
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.runners import OnnxRuntime

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def graphs(own: Classifier) -> dict[bool, onnx.ModelProto]:
    """With the network's weights, and without."""
    network = own.network
    return {
        kept: onnx_graphs.graph_of(network, INPUT.image_size, own_weights=kept)
        for kept in (False, True)
    }


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


def test_a_rounding_classifier_exports_what_does_not_round(own, tmp_path) -> None:
    own.save_pretrained(tmp_path / "model")
    rounded = Classifier.from_pretrained(tmp_path / "model", precision="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        parity = rounded.export(tmp_path / "x.onnx")
    assert parity.probability < 1e-5


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


def test_a_graph_that_cannot_be_opened_is_given_to_no_folder(own, graphs, monkeypatch) -> None:
    def wrong(model, image_size, *, own_weights):
        made = onnx.ModelProto()
        made.CopyFrom(graphs[own_weights])
        made.graph.node[0].op_type = "NonZero"
        return made

    monkeypatch.setattr(exported_files, "graph_of", wrong)
    with pytest.raises(ExportError, match=r"cannot open what torch wrote.*'NonZero'"):
        own.with_graph()
