"""Grad-CAM and Score-CAM against pytorch-grad-cam, torch-cam and Captum, as ratios within one run.

Usage: python benchmarks/explain_speed.py [--rounds N]

Network time for the same input tensor, 224 × 224, the same weights, all in float32; peers are left
out where they are not installed. Each way runs in turn, in rounds; the fastest of each counts.
"ours, contiguous" is the split into features and head alone; "ours, channels last" adds the layout,
and "ours" the folding of batch normalisation, as `Classifier` has both; "Captum, channels last" is
given the layout as well. In its turn each way runs twice, and the second time counts. "ours,
OpenVINO" is the same network's graph, as with
`backend="openvino"`: its class activation maps, and for Score-CAM its passes. Of the trained
network most last channels are constant over a photograph and share a pass; of random weights on
noise none is. Writes results/explain_speed.json.
"""

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from skinxai import Classifier, backbones, explainers, samples
from skinxai.backbones.folding import folded
from skinxai.backbones.network import SkinClassifier
from skinxai.explaining.passes import GraphPasses
from skinxai.explaining.views import View, Watch
from skinxai.exporting.onnx_graphs import graph_of
from skinxai.graphs import MAPS
from skinxai.predicting.runners import RUNNERS, Runner

RESULTS = Path(__file__).parent / "results" / "explain_speed.json"
NETWORKS = ("tf_efficientnet_lite0", "efficientnet_b0")
LAYER = "bn2"  # last before the pooling, in each of them
BATCHES = (1, 16)
Way = Callable[[], object]


def copy_of(
    name: str, weights: dict[str, torch.Tensor], layout: torch.memory_format
) -> SkinClassifier:
    model = backbones.build(name, 7)
    model.network.load_state_dict(weights)
    return model.to(memory_format=layout)


def ours(model: SkinClassifier, method: str, images: torch.Tensor, target: torch.Tensor) -> Way:
    explainer = explainers.get(method)(model)
    options = explainers.get(method).options_type()
    return lambda: explainer.attribute(images, target, options=options)


def openvino_graph(model: SkinClassifier, images: torch.Tensor) -> Runner:
    graph = graph_of(model, tuple(images.shape[2:]), own_weights=True)
    return RUNNERS["openvino"](graph.SerializeToString())


def ours_by_graph(model: SkinClassifier, images: torch.Tensor, target: torch.Tensor) -> Way:
    """Grad-CAM as `skinxai.explaining.by_graph` has it."""
    run, arrays, rows = openvino_graph(model, images), images.numpy(), np.arange(len(images))
    return lambda: np.maximum(run(arrays)[MAPS][rows, target.numpy()], 0)


def scorecam_by_graph(model: SkinClassifier, images: torch.Tensor, target: torch.Tensor) -> Way:
    view = View(
        model, None, None, score="logit", against=None, image_size=tuple(images.shape[2:]),
        watch=Watch(), passes=GraphPasses(openvino_graph(model, images)),
    )  # fmt: skip
    return ours(view, "scorecam", images, target)


def every_class(model: SkinClassifier, images: torch.Tensor) -> Way:
    """Maps of all seven classes from one forward pass."""

    def run() -> None:
        with torch.no_grad():
            features = model.features(images)
        view = View(
            model, images, features, score="logit", against=None,
            image_size=tuple(images.shape[2:]), watch=Watch(),
        )  # fmt: skip
        explainer = explainers.get("gradcam")(view)
        for k in range(7):
            explainer.attribute(images, torch.full((len(images),), k), options=None)

    return run


def gradcam_ways(name: str, images: torch.Tensor, target: torch.Tensor) -> dict[str, Way]:
    weights = backbones.build(name, 7).network.state_dict()
    plain = copy_of(name, weights, torch.contiguous_format)
    last = copy_of(name, weights, torch.channels_last)
    images_last = images.to(memory_format=torch.channels_last)
    fused = folded(last.eval(), (images.shape[2], images.shape[3]))
    ways = {
        "ours": ours(fused, "gradcam", images_last, target),
        "ours, channels last": ours(last, "gradcam", images_last, target),
        "ours, contiguous": ours(plain, "gradcam", images, target),
        "ours, all seven classes": every_class(fused, images_last),
    }
    if version("openvino"):
        ways["ours, OpenVINO"] = ours_by_graph(last, images, target)
    if version("captum"):
        from captum.attr import LayerGradCam

        for label, model, batch in (
            ("Captum", copy_of(name, weights, torch.contiguous_format), images),
            ("Captum, channels last", copy_of(name, weights, torch.channels_last), images_last),
        ):
            method = LayerGradCam(model.network, getattr(model.network, LAYER))
            ways[label] = lambda m=method, b=batch: m.attribute(
                b, target=target, relu_attributions=True
            )
    if version("grad-cam"):
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        network = copy_of(name, weights, torch.contiguous_format).network
        theirs = GradCAM(network, [getattr(network, LAYER)])
        targets = [ClassifierOutputTarget(int(k)) for k in target]
        ways["pytorch-grad-cam"] = lambda: theirs(input_tensor=images, targets=targets)
    if version("torchcam"):
        from torchcam.methods import GradCAM as TorchCam

        network = copy_of(name, weights, torch.contiguous_format).network
        extractor = TorchCam(network, LAYER)
        ways["torch-cam"] = lambda: extractor([int(k) for k in target], network(images))
    return ways


def a_sample() -> torch.Tensor:
    """A photograph ``(1, 3, 224, 224)``, as the bundled network reads it."""
    from torchvision.transforms.v2.functional import normalize, pil_to_tensor, resize

    pixels = pil_to_tensor(Image.open(samples.paths()[0])).float() / 255
    small = resize(pixels, [224, 224], antialias=True)
    own = Classifier.from_pretrained().config.preprocessing
    return normalize(small, list(own.mean), list(own.std))[None]


def scorecam_ways(
    name: str, weights: dict[str, torch.Tensor], images: torch.Tensor, target: torch.Tensor
) -> dict[str, Way]:
    last = copy_of(name, weights, torch.channels_last)
    fused = folded(last.eval(), (images.shape[2], images.shape[3]))
    ways = {"ours": ours(fused, "scorecam", images, target)}
    if version("openvino"):
        ways["ours, OpenVINO"] = scorecam_by_graph(fused, images, target)
    if version("grad-cam"):
        from pytorch_grad_cam import ScoreCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        network = copy_of(name, weights, torch.contiguous_format).network
        theirs = ScoreCAM(network, [getattr(network, LAYER)])
        ways["pytorch-grad-cam"] = lambda: theirs(
            input_tensor=images, targets=[ClassifierOutputTarget(int(target[0]))]
        )
    return ways


def fastest(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Seconds of the fastest run of each way, which take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for number in range(rounds + 1):
        for name, way in ways.items():
            way()  # threads of the way before may still spin, and its data be in the caches
            start = time.perf_counter()
            way()
            if number:  # the first round warms up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(rounds: int) -> None:
    torch.manual_seed(0)
    found: dict[str, object] = {
        "threads": torch.get_num_threads(),
        "versions": {
            n: version(n) for n in ("torch", "timm", "openvino", "captum", "grad-cam", "torchcam")
        },
    }
    for name in NETWORKS:
        for batch in BATCHES:
            images, target = torch.randn(batch, 3, 224, 224), torch.arange(batch) % 7
            best = fastest(gradcam_ways(name, images, target), rounds if batch > 1 else 5 * rounds)
            found[f"gradcam, {name}, batch {batch}"] = shown(best)
            print(name, batch, found[f"gradcam, {name}, batch {batch}"], flush=True)
    bundled, target = Classifier.from_pretrained(), torch.tensor([0])
    trained = bundled.network.network.state_dict()
    random = backbones.build(NETWORKS[0], 7).network.state_dict()
    for name, what, weights, images in (
        (bundled.config.backbone, "bundled weights, a photograph", trained, a_sample()),
        (NETWORKS[0], "random weights, noise", random, torch.randn(1, 3, 224, 224)),
    ):
        best = fastest(scorecam_ways(name, weights, images, target), 1)
        found[f"scorecam, {name}, batch 1, {what}"] = shown(best)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def shown(best: dict[str, float]) -> dict[str, object]:
    return {
        "milliseconds": {name: round(1000 * value, 2) for name, value in best.items()},
        "times as long as ours": {
            name: round(value / best["ours"], 2) for name, value in best.items()
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    main(parser.parse_args().rounds)
