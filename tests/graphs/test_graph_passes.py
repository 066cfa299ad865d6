"""Perturbation methods of a model with a graph compute their passes through it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import coloured

from skinxai import Attribution, Classifier, Explainer, explainers, plugins

pytestmark = pytest.mark.usefixtures("small_networks")

BACKENDS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [r.path for r in coloured(tmp_path_factory.mktemp("data") / "pictures", 3, seed=0)]


PASSES = {
    "occlusion": {"budget": 80}, "rise": {"budget": 40}, "lime": {"budget": 40}, "scorecam": {},
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("more", [{}, {"score": "probability"}, {"against": "blue"}, {"tta": True}])
@pytest.mark.parametrize("method", PASSES)
def test_passes_without_gradients_are_the_graphs(
    small: Path, pictures: list, backend: str, method: str, more: dict
) -> None:
    own = Classifier.from_pretrained(small)
    graph = Classifier.from_pretrained(small, backend=backend)
    asked = {"method": method, "target": "red"} | PASSES[method] | more
    expected, found = (each.explain(pictures[0], **asked) for each in (own, graph))
    scale = np.abs(expected.heatmap).max()
    np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=1e-4 * scale)
    assert found.backend == f"torch cpu float32, passes by {graph.backend}"
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[backend]
    assert package in found.versions and package not in expected.versions


def test_maps_of_all_classes_share_the_graphs_passes(small: Path, pictures: list) -> None:
    graph = Classifier.from_pretrained(small, backend="onnx")
    run = graph._in_use.graph.members[0].run
    asked: list[int] = []
    whole = run._session.run
    run._session = SimpleNamespace(run=lambda *a: (asked.append(len(a[1]["images"])), whole(*a))[1])
    graph.explain(pictures[0], method="rise", budget=50, all_classes=True)
    assert sum(asked) == 50


def test_a_graph_in_fewer_bits_computes_no_passes(small: Path, pictures: list) -> None:
    own = Classifier.from_pretrained(small)
    rounded = Classifier.from_pretrained(small, backend="openvino", precision="bfloat16")
    rounded._in_use.graph.members[0].run.precision = "bfloat16"  # also where the processor has none
    expected, found = (c.explain(pictures[0], method="rise", budget=20) for c in (own, rounded))
    assert found.backend == "torch cpu float32"
    assert np.array_equal(expected.heatmap, found.heatmap)


def test_a_plugins_passes_are_torchs(small: Path, pictures: list) -> None:
    class Changed(Explainer):
        """Asks a network that it has changed for a moment, as its hooks would."""

        def attribute(self, images, target, *, options):
            def scaled(module, inputs, output):
                return 3 * output

            hook = self.model.network.body.register_forward_hook(scaled)
            with torch.no_grad():
                scores = self.model(images)[:, 0]
            hook.remove()
            return Attribution(maps={"x": scores[:, None, None].expand(-1, 4, 4)})

    explainers.register("changed")(Changed)
    try:
        found = [
            Classifier.from_pretrained(small, **more).explain(pictures[0], method="changed")
            for more in ({}, {"backend": "onnx"})
        ]
    finally:
        plugins.explainers.remove(["changed"])
    assert np.array_equal(found[0].heatmap, found[1].heatmap)
    assert found[1].backend == "torch cpu float32"
