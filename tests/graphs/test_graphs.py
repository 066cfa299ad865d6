"""Graphs answer as torch does, without torch, and those that do not are refused."""

import copy
import hashlib
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load, save
from signed_folders import sign
from small_runs import INPUT, Small, build_small, model_folder, rows
from torch import nn

from skinxai import Classifier
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import IntegrityError, ModelError, OptionError
from skinxai.exporting.onnx_graphs import class_map_kernel
from skinxai.graphs.exported import WEIGHTS_DIGEST
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.parts import GRAPH, WEIGHTS
from skinxai.model_folders.tensors import BINDING, pack_bytes, unpack_bytes, weights_metadata

pytestmark = pytest.mark.usefixtures("small_networks")

BACKENDS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of other weights."""
    folder = tmp_path_factory.mktemp("others")
    whole = Classifier.from_pretrained(model_folder(folder / "whole", seed=2))
    whole.with_graph().save_pretrained(folder / "other")
    return folder / "other"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tta", [False, True])
def test_probabilities_are_torchs(small: Path, pictures: list, backend: str, tta: bool) -> None:
    own = Classifier.from_pretrained(small)
    graph = Classifier.from_pretrained(small, backend=backend)
    expected, found = (each.predict(pictures, tta=tta) for each in (own, graph))
    np.testing.assert_allclose(rows(found), rows(expected), atol=1e-5)
    assert found[0].model == expected[0].model == graph.model
    assert found[0].backend == graph.backend
    assert graph.backend.startswith({"onnx": "onnxruntime", "openvino": "openvino"}[backend])


@pytest.mark.parametrize("backend", BACKENDS)
def test_grad_cam_is_torchs(small: Path, pictures: list, backend: str) -> None:
    own = Classifier.from_pretrained(small)
    graph = Classifier.from_pretrained(small, backend=backend)
    questions: tuple = ({}, {"target": "blue"}, {"against": "red"}, {"all_classes": True})
    for more in questions:
        for expected, found in zip(
            own.explain(pictures, **more), graph.explain(pictures, **more), strict=True
        ):
            pairs = [(expected, found)]
            if more.get("all_classes"):
                assert list(expected) == list(found)
                pairs = list(zip(expected.values(), found.values(), strict=True))
            for one, two in pairs:
                scale = max(float(one.heatmap.max()), 1e-6)
                np.testing.assert_allclose(two.heatmap / scale, one.heatmap / scale, atol=1e-4)
                names = ("target", "against", "score", "method", "layer", "model", "source")
                assert all(getattr(one, name) == getattr(two, name) for name in names)
                assert two.backend == graph.backend and "torch" not in two.versions


def test_class_activation_maps_and_the_bias_sum_to_the_logit(small: Path) -> None:
    """Zhou et al., CVPR 2016, and by hand: the kernel is the classifier's weight over the cells."""
    own = Classifier.from_pretrained(small).network
    kernel = class_map_kernel(own, INPUT.image_size)
    fc, cells = own.network.fc, 4 * 6
    assert kernel is not None
    torch.testing.assert_close(kernel, fc.weight.detach() / cells)
    images = torch.randn(3, 3, *INPUT.image_size)
    run = Classifier.from_pretrained(small, backend="onnx")._in_use.graph.members[0].run
    outputs = run(images.numpy())
    sums = outputs["class_activation_maps"].sum(axis=(2, 3)) + fc.bias.detach().numpy()
    np.testing.assert_allclose(sums, outputs["logits"], atol=1e-5)


class Curved(Small):
    """A head that is not linear."""

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return self.fc(maps.mean((2, 3)).tanh())


class Corner(Small):
    """A linear head that looks at one corner."""

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return self.fc(maps[:, :, 0, 0])


@pytest.mark.parametrize("kind", [Curved, Corner])
def test_another_head_has_no_such_maps(kind: type[Small]) -> None:
    network = kind(3, 0.0).eval()
    model = SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f))
    assert class_map_kernel(model, INPUT.image_size) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_graph_cannot_explain_torch_does_and_says_so(
    small: Path, pictures: list, backend: str
) -> None:
    own = Classifier.from_pretrained(small)
    graph = Classifier.from_pretrained(small, backend=backend)
    for more in ({"method": "saliency"}, {"tta": True}, {"score": "probability"}):
        expected, found = (each.explain(pictures[0], **more) for each in (own, graph))
        assert np.array_equal(expected.heatmap, found.heatmap)
        assert found.backend == "torch cpu float32" != graph.backend
    ((prediction, explanation),) = graph.stream(pictures[:1], explain="gradcam")
    assert prediction.backend == explanation.backend == graph.backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_gets_one_answer_in_any_batch_copy_and_thread(
    small: Path, pictures: list, backend: str
) -> None:
    graph = Classifier.from_pretrained(small, backend=backend)
    alone = rows([graph.predict(path) for path in pictures])
    np.testing.assert_allclose(rows(graph.predict(pictures)), alone, atol=1e-6)
    for made in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert np.array_equal(rows([made.predict(path) for path in pictures]), alone)
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(graph.predict, pictures * 10))
    assert np.array_equal(rows(many), np.tile(alone, (10, 1)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_ensemble_of_graphs(
    small: Path, other: Path, pictures: list, backend: str, tmp_path: Path
) -> None:
    write_ensemble(tmp_path / "both", [small, other], weights=[0.25, 0.75], name="two")
    for model in (tmp_path / "both", [small, other]):  # a folder, and one in memory
        own = Classifier.from_pretrained(model)
        graph = Classifier.from_pretrained(model, backend=backend)
        np.testing.assert_allclose(
            rows(graph.predict(pictures)), rows(own.predict(pictures)), atol=1e-5
        )
        assert graph.model == own.model
        assert graph.explain(pictures[0]).backend == "torch cpu float32"  # of several maps


def test_auto_takes_an_ensembles_graphs_where_each_member_has_one(
    small: Path, other: Path, pictures: list, tmp_path: Path
) -> None:
    without = model_folder(tmp_path / "without", seed=3)
    write_ensemble(tmp_path / "both", [small, other], name="two")
    write_ensemble(tmp_path / "one", [small, without], name="two")
    for model, name in (
        (tmp_path / "both", "openvino"), ([small, other], "openvino"),
        (tmp_path / "one", "torch"), ([without, other], "torch"),
    ):  # fmt: skip
        found = Classifier.from_pretrained(model, backend="auto", device="cpu")
        own = Classifier.from_pretrained(model)
        assert found.backend.startswith(f"{name} ") and found.model == own.model
        np.testing.assert_allclose(
            rows(found.predict(pictures)), rows(own.predict(pictures)), atol=1e-5
        )


def with_function(graph: onnx.ModelProto) -> None:
    graph.functions.add(name="f", domain="own")


def with_other_operators(graph: onnx.ModelProto) -> None:
    graph.opset_import.add(domain="com.example", version=1)


def with_values_elsewhere(graph: onnx.ModelProto) -> None:
    graph.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def with_a_subgraph(graph: onnx.ModelProto) -> None:
    graph.graph.node[0].attribute.add(name="body", g=onnx.GraphProto())


def with_an_unknown_weight(graph: onnx.ModelProto) -> None:
    next(o for o in graph.graph.initializer if not o.HasField("raw_data")).name = "nobody.weight"


def with_another_shape(graph: onnx.ModelProto) -> None:
    next(o for o in graph.graph.initializer if not o.HasField("raw_data")).dims[0] += 1


def with_another_type(graph: onnx.ModelProto) -> None:
    next(o for o in graph.graph.initializer if not o.HasField("raw_data")).data_type = 7


def of_another_model(graph: onnx.ModelProto) -> None:
    graph.metadata_props[0].value = "0" * 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_another_type, "is none"),
        (with_function, "nothing else"),
        (with_other_operators, "nothing else"),
        (with_values_elsewhere, "nothing else"),
        (with_a_subgraph, "nothing else"),
        (with_an_unknown_weight, "is none"),
        (with_another_shape, "is none"),
        (of_another_model, "it belongs to others"),
        (None, "whole ONNX graph"),
    ],
)
def test_a_forged_graph_is_refused(small: Path, tmp_path: Path, change, words: str) -> None:
    """In a folder whose manifest agrees with it, as a forger would see to."""
    data = unpack_bytes("onnx", (small / GRAPH).read_bytes(), (-1,), GRAPH)
    if change is None:
        data = data[: len(data) // 2]
    else:
        graph = onnx.load_from_string(data)
        change(graph)
        data = graph.SerializeToString()
    data = pack_bytes("onnx", np.frombuffer(data, np.uint8))
    for path in small.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / GRAPH).write_bytes(data)
    sign(tmp_path)
    with pytest.raises(IntegrityError, match=words):
        Classifier.from_pretrained(tmp_path, backend="onnx")


def reversed_labels(tensors: dict) -> None:
    for name in ("fc.weight", "fc.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][::-1])


def not_a_number(tensors: dict) -> None:
    tensors["fc.bias"] = np.full_like(tensors["fc.bias"], np.nan)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("change", [reversed_labels, not_a_number, None])
def test_other_weights_than_the_graphs_are_refused(
    small: Path, tmp_path: Path, backend: str, change
) -> None:
    """The logits would be theirs, and the maps those of the old ones."""
    for path in small.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = (small / WEIGHTS).read_bytes()
    metadata = {BINDING: weights_metadata(weights)[BINDING]}
    tensors = {name: values.copy() for name, values in load(weights).items()}
    if change is None:
        metadata = {BINDING: "0" * 64}
    else:
        change(tensors)
    (tmp_path / WEIGHTS).write_bytes(save(tensors, metadata))
    sign(tmp_path)
    with pytest.raises(IntegrityError):
        Classifier.from_pretrained(tmp_path, backend=backend)


def test_a_graph_that_agrees_with_damaged_weights_is_refused(small: Path, tmp_path: Path) -> None:
    """As a forger would see to, who computes the digest of the weights anew."""
    for path in small.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = (small / WEIGHTS).read_bytes()
    tensors = {name: values.copy() for name, values in load(weights).items()}
    not_a_number(tensors)
    made = save(tensors, {BINDING: weights_metadata(weights)[BINDING]})
    graph = onnx.load_from_string(unpack_bytes("onnx", (small / GRAPH).read_bytes(), (-1,), GRAPH))
    for each in graph.metadata_props:
        if each.key == WEIGHTS_DIGEST:
            each.value = hashlib.sha256(made).hexdigest()
    (tmp_path / WEIGHTS).write_bytes(made)
    data = np.frombuffer(graph.SerializeToString(), np.uint8)
    (tmp_path / GRAPH).write_bytes(pack_bytes("onnx", data))
    sign(tmp_path)
    with pytest.raises(IntegrityError, match="must hold finite values"):
        Classifier.from_pretrained(tmp_path, backend="onnx")


def test_what_is_missing_is_named(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = model_folder(tmp_path / "without", seed=1)
    with pytest.raises(ModelError, match=r"needs graph.safetensors .*with_graph"):
        Classifier.from_pretrained(without, backend="onnx")
    with pytest.raises(OptionError, match="backend must be"):
        Classifier.from_pretrained(small, backend="tensorrt")
    with pytest.raises(OptionError, match="device must be 'cpu'"):
        Classifier.from_pretrained(small, backend="onnx", device="cuda")
    assert Classifier.from_pretrained(without, backend="auto").backend.startswith("torch")
    on_processor = {"backend": "auto", "device": "cpu"}  # also on a machine with a GPU
    assert Classifier.from_pretrained(small, **on_processor).backend.startswith("openvino")
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    assert Classifier.from_pretrained(small, **on_processor).backend.startswith("torch")
    for backend in BACKENDS:
        with pytest.raises(OptionError, match=rf"pip install 'skinxai\[{backend}\]'"):
            Classifier.from_pretrained(small, backend=backend)


def test_a_graph_of_this_folder_builds_the_registered_network(small: Path) -> None:
    """It is saved again with the model, and serves the same weights under another name."""
    again = Classifier.from_pretrained(small)
    folder = small.parent / "again"
    again.save_pretrained(folder, name="renamed")
    assert (folder / GRAPH).read_bytes() == (small / GRAPH).read_bytes()
    assert Classifier.from_pretrained(folder, backend="onnx").model.startswith("renamed@")
    assert isinstance(build_small("small", 3).network, nn.Module)
