"""What only a GPU can show: memory that runs out, pinned loading, sixteen bits, its generator."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from on_a_device import colours
from small_runs import BASE, LABELS, Small, coloured, rows
from torch import Tensor

from skinxai import Classifier, PreprocessConfig, Trainer, backbones, explainers, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.data import Records
from skinxai.errors import OptionError, OutOfMemoryError, PluginMannersError
from skinxai.explainers.base import Attribution, Explainer
from skinxai.predicting.devices import device_named
from skinxai.testing.pictures import picture
from skinxai.training.loaders import TrainingImages, batches, plan

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("small_networks")]

IMAGES = [picture({"upper left": colour}) for colour in ("red", "green", "blue", "red")]
EACH = 2**28
"""Bytes that `Greedy` takes for each image."""


class Greedy(Small):
    """Takes 256 MiB of the GPU for each image of a pass."""

    def features(self, images: Tensor) -> Tensor:
        torch.empty(len(images) * EACH, dtype=torch.uint8, device=images.device)
        return super().features(images)


@contextmanager
def memory_for(images: int) -> Iterator[None]:
    """Within it, torch may have so much more of the GPU than it has, and no more."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + images * EACH + EACH // 2
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    root = tmp_path_factory.mktemp("colours")
    return coloured(root / "train", 8, 0), coloured(root / "val", 4, 1)


def greedy() -> Classifier:
    torch.manual_seed(0)
    network = Greedy(3, 0.1).eval()
    return Classifier.from_module(
        network, LABELS, PreprocessConfig((32, 48)), network.features, network.head, device="cuda"
    )


def test_predictions_and_maps_in_smaller_batches_where_memory_runs_out() -> None:
    model = greedy()
    expected, embedded = rows(model.predict(IMAGES)), model.embed(IMAGES)
    maps = [each.heatmap for each in model.explain(IMAGES, "saliency")]
    with memory_for(2):
        np.testing.assert_allclose(rows(model.predict(IMAGES)), expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(model.embed(IMAGES), embedded, rtol=1e-4, atol=1e-5)
        for own, other in zip(model.explain(IMAGES, "saliency"), maps, strict=True):
            np.testing.assert_allclose(own.heatmap, other, rtol=0, atol=1e-3 * other.max())
        model.explain(IMAGES[0], "occlusion", budget=100)
    with memory_for(0), pytest.raises(OutOfMemoryError, match="out of memory with one image"):
        model.predict(IMAGES)
    np.testing.assert_allclose(rows(model.predict(IMAGES)), expected, rtol=0, atol=1e-5)


def test_a_step_is_cut_where_memory_runs_out(parts, tmp_path: Path) -> None:
    def build(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
        network = Greedy(num_classes, drop_rate)
        return SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f))

    backbones.register("greedy")(build)
    try:
        trainer = Trainer(
            **BASE | {"backbone": "greedy", "device": "cuda", "epochs": 1},
            output_dir=tmp_path / "run",
        )  # fmt: skip
        with memory_for(2):
            trainer.fit(*parts)
    finally:
        plugins.backbones.remove(["greedy"])
    told = (tmp_path / "run" / "events.log").read_text()
    assert "the micro-batch is halved, and a step now has 4 of them" in told  # of 2 images each
    assert "out of memory in evaluation: its batches are computed in 4 parts" in told


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_predictions_in_sixteen_bits(precision: str, folders, photos) -> None:
    whole = Classifier.from_pretrained(folders[0], device="cpu")
    rounded = Classifier.from_pretrained(folders[0], device="cuda", precision=precision)
    found, expected = rows(rounded.predict(photos)), rows(whole.predict(photos))
    assert 1e-7 < np.abs(found - expected).max() < 0.05
    assert rounded.predict(photos[0]).backend == f"torch cuda {precision}"
    maps = [each.explain(photos[0], target="red").heatmap for each in (rounded, whole)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-3 * np.abs(maps[1]).max())


def test_answers_do_not_depend_on_whether_a_program_allows_tf32(classifier, photos) -> None:
    """The bundled model, some forty convolutions deep."""
    here = rows(classifier.predict(photos[:4]))
    model = Classifier.from_pretrained(device="cuda")
    before = torch.backends.cudnn.allow_tf32
    try:
        for allowed in (True, False):
            torch.backends.cudnn.allow_tf32 = allowed
            np.testing.assert_allclose(rows(model.predict(photos[:4])), here, rtol=0, atol=1e-5)
            assert torch.backends.cudnn.allow_tf32 == allowed
    finally:
        torch.backends.cudnn.allow_tf32 = before
    Classifier.from_pretrained(device="cuda", check=True)


def test_training_batches_are_pinned(parts) -> None:
    images = TrainingImages(parts[0], PreprocessConfig((32, 48)))
    for workers in (0, 1):
        for batch in batches(images, plan(range(len(images)), 8), workers, pinned=True):
            assert batch.pixels.is_pinned() and batch.target.is_pinned()
            assert batch.pixels.to("cuda", non_blocking=True).sum().item() == batch.pixels.sum()


def test_auto_answers_with_torch_on_the_gpu_and_not_with_the_graph() -> None:
    assert Classifier.from_pretrained(backend="auto").backend == "torch cuda float32"


def test_devices_by_name() -> None:
    assert device_named("auto").type == device_named("cuda").type == "cuda"
    assert device_named("cuda:0") == torch.device("cuda:0")
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(OptionError, match=rf"got '{absent}': the GPUs are \['cuda:0'"):
        device_named(absent)
    for name in ("auto", "cuda:0"):
        model = colours("convolutions", name)
        assert next(model.network.parameters()).is_cuda
        assert model.predict(IMAGES[0]).backend == "torch cuda float32"


def test_a_plugin_that_draws_from_the_gpus_generator_is_named() -> None:
    class Drawing(Explainer):
        def attribute(self, images, target, *, options) -> Attribution:
            return Attribution(maps={"drawn": torch.rand(len(images), 4, 4, device="cuda")})

    explainers.register("drawing")(Drawing)
    try:
        model = colours("convolutions", "cuda")
        before = torch.cuda.get_rng_state()
        with pytest.raises(PluginMannersError, match="changed torch's random state"):
            model.explain(IMAGES[0], "drawing")
        assert torch.equal(torch.cuda.get_rng_state(), before)
    finally:
        plugins.explainers.remove(["drawing"])
