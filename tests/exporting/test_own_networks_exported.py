"""Exported files of networks of one's own, and what torch writes of them."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_runs import INPUT, LABELS, Small, rows

from skinxai import Classifier, backbones, checkpoints, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.errors import ExportError, SkinxaiWarning
from skinxai.exporting import onnx_graphs
from skinxai.graphs.onnx_checks import check_graph
from skinxai.predicting.runners import OnnxRuntime


def test_ones_own_network_can_be_exported(tmp_path, pictures) -> None:
    network = Small(2, 0.0)
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    mine.export(tmp_path / "own.onnx")
    graph = Classifier.from_pretrained(tmp_path / "own.onnx")
    np.testing.assert_allclose(
        rows(graph.predict(pictures)), rows(mine.predict(pictures)), atol=1e-5
    )


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_files_of_unsaved_networks_are_told_apart(tmp_path, suffix) -> None:
    """A cache, or a half-finished run, would else take one's answers for the other's."""
    names = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = Small(2, 0.0)
        mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
        path = (tmp_path / str(seed)).with_suffix(suffix)
        mine.export(path)
        names += {Classifier.from_pretrained(path).model for _ in range(2)}
    assert len(set(names)) == len(names) == 2
    for name, path in zip(names, sorted(tmp_path.glob(f"*{suffix}")), strict=True):
        own, _, revision = name.partition("@")
        assert own == "module" and len(revision) == 12
        assert b"sha256:" + revision.encode() in path.read_bytes()


@pytest.mark.parametrize("of_network", [False, True], ids=["len", "shape"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_graph_takes_any_number_of_images(of_network, count, tmp_path, pictures) -> None:
    """Torch writes a graph for 2 where that is read as an int, and 2 images would not tell."""

    class Counting(Small):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            maps = super().features(images)
            many = maps.shape[0] if of_network else len(maps)
            return maps * torch.ones(1, 8, 1, 1).expand(many, -1, -1, -1)

    network = Counting(2, 0.0)
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    path = tmp_path / "own.onnx"
    if of_network:
        mine.export(path, images=pictures[:count])
        found = rows(Classifier.from_pretrained(path).predict(pictures))
        np.testing.assert_allclose(found, rows(mine.predict(pictures)), atol=1e-5)
    else:
        with pytest.raises(ExportError, match=r"only for 2 images at once.*images\.shape\[0\]"):
            mine.export(path, images=pictures[:count])
        assert not list(tmp_path.iterdir())


def test_what_openvino_cannot_read_is_an_error_of_the_export(tmp_path, pictures) -> None:
    class Spectral(Small):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft2(super().features(images)).abs()

    network = Spectral(2, 0.0)
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    with pytest.raises(ExportError, match=r"own\.xml would be of no use.*another format") as info:
        mine.export(tmp_path / "own.xml", images=pictures)
    assert "\n" not in str(info.value) and not list(tmp_path.iterdir())


NAMES = ("mean", "std", "kernel", "conv2d", "images", "logits", "class_activation_maps")


class Named(Small):
    """Has weights with the names of a graph's values and constants, input and outputs."""

    def __init__(self, classes: int, drop_rate: float) -> None:
        super().__init__(classes, drop_rate)
        for number, name in enumerate(NAMES):
            self.register_buffer(name, torch.full((1, 1, 1, 1), 0.5 + number / 10))
        self.network = torch.nn.Conv2d(8, 8, 1)
        self.bias, self.weight = torch.nn.Parameter(torch.ones(8)), self.network.weight

    def features(self, images: torch.Tensor) -> torch.Tensor:
        for name in NAMES:
            images = images * getattr(self, name) + 0.1
        return self.network(super().features(images)) * self.bias[:, None, None]


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_weights_may_have_the_names_of_a_graphs_values(backend, tmp_path, pictures) -> None:
    """As ``mean`` and ``std`` of a network that normalises its images itself."""
    backbones.register("named")(
        lambda name, num_classes, drop_rate: SkinClassifier(
            Named(num_classes, drop_rate), lambda n, x: n.features(x), lambda n, f: n.head(f)
        )
    )
    try:
        torch.manual_seed(0)
        network = backbones.build("named", len(LABELS))
        config = ModelConfig("own", "named", LABELS, INPUT)
        checkpoints.save(str(tmp_path / "own"), network, config, "A card.")
        own = Classifier.from_pretrained(tmp_path / "own", device="cpu")
        own.with_graph(pictures).save_pretrained(tmp_path / "graph")
        graph = Classifier.from_pretrained(tmp_path / "graph", backend=backend)
        np.testing.assert_allclose(
            rows(graph.predict(pictures)), rows(own.predict(pictures)), atol=1e-5
        )
    finally:
        plugins.backbones.remove(["named"])


class InPlace(Small):
    """A head that changes what it is given, as torchvision's DenseNet does."""

    def __init__(self, classes: int, drop_rate: float) -> None:
        super().__init__(classes, drop_rate)
        self.body = self.body[:-1]  # its activation is the head's

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return super().head(torch.relu_(maps))


def rows_of_channels(network: InPlace, maps: torch.Tensor, size: object) -> torch.Tensor:
    return maps.flip(1)


@pytest.mark.parametrize("grid", [None, rows_of_channels])
def test_a_head_that_works_in_place_changes_no_embedding(grid, tmp_path) -> None:
    """Novelty is told from them, so that a calibrated model would abstain from other images."""
    torch.manual_seed(0)
    network = InPlace(3, 0.0)
    model = SkinClassifier(
        network, lambda n, x: n.features(x), lambda n, f: n.head(f), grid=grid
    ).eval()
    graph = onnx_graphs.graph_of(model, INPUT.image_size, own_weights=True)
    images = torch.randn(3, 3, *INPUT.image_size)
    run = OnnxRuntime(graph.SerializeToString())
    with torch.no_grad():
        logits, embeddings = model.with_embeddings(images)
    assert run.names == ["logits", "embeddings"] and (embeddings < 0).any()
    found = run(images.numpy())
    np.testing.assert_allclose(found["logits"], logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(found["embeddings"], embeddings.numpy(), atol=1e-6)


class WithoutGradients(Small):
    """A head that nobody can differentiate."""

    @torch.no_grad()
    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return super().head(maps)


@pytest.mark.parametrize("kind", [InPlace, WithoutGradients])
def test_ones_own_head_in_place_or_without_gradients(kind, tmp_path, pictures) -> None:
    torch.manual_seed(0)
    network = kind(2, 0.0)
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    assert mine.export(tmp_path / "own.onnx", images=pictures).map is None
    graph = Classifier.from_pretrained(tmp_path / "own.onnx")
    np.testing.assert_allclose(
        rows(graph.predict(pictures)), rows(mine.predict(pictures)), atol=1e-5
    )


def test_features_that_are_pooled_already_are_the_embeddings(tmp_path, pictures) -> None:
    """As where the network's own pooling comes before the split: novelty is told from them."""

    class Pooled(Small):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            return super().features(images).mean(dim=(2, 3))

        def head(self, pooled: torch.Tensor) -> torch.Tensor:
            return self.fc(pooled)

    torch.manual_seed(0)
    network, whole = Pooled(2, 0.0).eval(), Small(2, 0.0).eval()
    whole.load_state_dict(network.state_dict())
    mine, other = (
        Classifier.from_module(each, ["a", "b"], INPUT, each.features, each.head, device="cpu")
        for each in (network, whole)
    )
    np.testing.assert_allclose(mine.embed(pictures), other.embed(pictures), atol=1e-6)
    graph = onnx_graphs.graph_of(mine.network, INPUT.image_size, own_weights=True)
    run, images = OnnxRuntime(graph.SerializeToString()), torch.randn(3, 3, *INPUT.image_size)
    assert run.names == ["logits", "embeddings"]
    found = run(images.numpy())["embeddings"]
    np.testing.assert_allclose(found, network.features(images).detach().numpy(), atol=1e-6)
    mine.export(tmp_path / "own.onnx", images=pictures)


def test_a_grid_that_turns_a_square_map_is_exported_without_maps(tmp_path) -> None:
    """The graph's maps would lie as the features do, and torch's Grad-CAM the other way."""
    torch.manual_seed(0)
    network, square = Small(2, 0.0), PreprocessConfig((32, 32))
    given = (network, ["a", "b"], square, network.features, network.head)
    plain = Classifier.from_module(*given)
    turned = Classifier.from_module(*given, grid=lambda maps: maps.transpose(2, 3))
    draws = np.random.default_rng(0)
    images = [draws.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(3)]
    heatmaps = [each.explain(images[0]).heatmap for each in (plain, turned)]
    np.testing.assert_allclose(heatmaps[1], heatmaps[0].T, atol=1e-5)
    assert heatmaps[0].max() > 0 and not np.allclose(heatmaps[0], heatmaps[1])
    assert plain.export(tmp_path / "plain.onnx", images=images).map < 1e-5
    assert turned.export(tmp_path / "turned.onnx", images=images).map is None
    graph = Classifier.from_pretrained(tmp_path / "turned.onnx")
    np.testing.assert_allclose(rows(graph.predict(images)), rows(turned.predict(images)), atol=1e-5)


class Sorted(Small):
    """What no graph does: a choice by values."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        if float(images.mean()) > 0:
            return self.body(images)
        return self.body(-images)


def test_a_network_that_torch_cannot_export_is_named(tmp_path) -> None:
    network = Sorted(2, 0.0)
    with pytest.warns(SkinxaiWarning, match="depends on the other images of its batch"):
        mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    with pytest.raises(ExportError, match="torch could not export"):
        mine.export(tmp_path / "x.onnx")


class Watched(Sorted):
    """It notes how its activation works while it is traced."""

    def __init__(self) -> None:
        super().__init__(2, 0.0)
        self.act, self.noted = torch.nn.ReLU6(inplace=True), set()

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        self.noted.add(self.act.inplace)
        return super().head(self.act(maps))


@pytest.mark.parametrize("base", [Small, Sorted])
def test_activations_work_in_place_again_after_an_export(base) -> None:
    """Whether torch could write it or not: the network is its owner's."""
    network = Watched()
    network.features = lambda images: base.features(network, images)
    model = SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f)).eval()
    if base is Sorted:
        with pytest.raises(ExportError):
            onnx_graphs.graph_of(model, INPUT.image_size, own_weights=True)
    else:
        graph = onnx_graphs.graph_of(model, INPUT.image_size, own_weights=True)
        assert network.noted == {True, False}  # asked, then traced
        images = torch.randn(3, 3, *INPUT.image_size)
        found = OnnxRuntime(graph.SerializeToString())(images.numpy())["logits"]
        np.testing.assert_allclose(found, model(images).detach().numpy(), atol=1e-6)
    assert network.act.inplace is True


class LeftInPlace(Small):
    """It uses what the activation left in the place, and not what it returns."""

    def __init__(self) -> None:
        super().__init__(2, 0.0)
        self.act = torch.nn.ReLU6(inplace=True)

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        own = maps - maps.mean()
        self.act(own)
        return super().head(own)


def test_what_an_activation_leaves_in_its_place_is_in_the_graph() -> None:
    torch.manual_seed(0)
    network = LeftInPlace()
    model = SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f)).eval()
    graph = onnx_graphs.graph_of(model, INPUT.image_size, own_weights=True)
    images = torch.randn(3, 3, *INPUT.image_size)
    found = OnnxRuntime(graph.SerializeToString())(images.numpy())["logits"]
    np.testing.assert_allclose(found, model(images).detach().numpy(), atol=1e-6)
    network.act.inplace = False
    assert not np.allclose(found, model(images).detach().numpy(), atol=1e-3)


@pytest.mark.parametrize("name", ["own.onnx", "own.xml"])
def test_weights_of_a_type_that_no_graph_may_have(name, tmp_path, pictures) -> None:
    """The file would be refused whenever it is opened: it is not written, and not to be blamed."""
    network = Small(2, 0.0).bfloat16()
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    with pytest.raises(ExportError, match=r"cannot open what torch wrote.*\.float\(\)") as info:
        mine.export(tmp_path / name, images=pictures)
    assert "export the model again" not in str(info.value)
    assert str(info.value).count(name) == 2 and "/" not in str(info.value)
    assert not list(tmp_path.iterdir())


def halves_and_windows(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What torch writes as sequences of parts, by one width and by several, and a roll."""
    left, right = network(x).split(16, dim=3)
    top, _, low = (left - 2 * right).split([5, 3, 8], dim=2)
    return torch.cat([top, torch.roll(low, 3, dims=2), low], dim=2)


def test_splits_are_tensors_in_a_graph_and_answer_as_torch_does() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 4, 3, padding=1, stride=2)
    model = SkinClassifier(network, halves_and_windows, lambda _, x: x.mean(dim=(2, 3))).eval()
    graph = onnx_graphs.graph_of(model, (32, 64), own_weights=True)
    assert not {node.op_type for node in graph.graph.node} & {"SplitToSequence", "SequenceAt"}
    check_graph(graph, "model.onnx")
    images = torch.randn(3, 3, 32, 64)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (found,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, model(images).numpy(), atol=1e-6)


@pytest.mark.parametrize("places", [(0, 1), (1,), (0, 0), (-1,), (2,), (0, None)])
@pytest.mark.parametrize("side", [8, 0], ids=["known side", "side of the images"])
def test_only_parts_that_are_each_taken_once_by_their_place(places: tuple, side: int) -> None:
    """Others stay a sequence, which means the same and is refused when it is opened."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = {place: f"k{place}" for place in places if place is not None}
    nodes = [
        helper.make_node("SplitToSequence", ["x", "width"], ["parts"], axis=-1, keepdims=1),
        *(
            helper.make_node("SequenceAt", ["parts", names[place]], [f"y{n}"])
            if place is not None
            else helper.make_node("ConcatFromSequence", ["parts"], [f"y{n}"], axis=-1)
            for n, place in enumerate(places)
        ),
    ]
    constants = [onnx.numpy_helper.from_array(np.array(k), name) for k, name in names.items()]
    constants.append(onnx.numpy_helper.from_array(np.array(5), "width"))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, (2, side or "w"))],
        [helper.make_tensor_value_info(f"y{n}", kind, None) for n in range(len(places))],
        constants,
    )  # fmt: skip

    def answers() -> list[np.ndarray]:
        opsets = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        values = np.arange(16, dtype=np.float32).reshape(2, 8)
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": values})

    before = answers() if places != (2,) else []
    onnx_graphs._split_into_tensors(graph)
    split = [node.op_type for node in graph.node] == ["Split"]
    assert split == (side == 8 and places in [(0, 1), (1,)])
    for one, two in zip(before, answers() if before else [], strict=True):
        np.testing.assert_array_equal(one, two)
