"""Methods compared on pictures whose patch is the lesion."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from skinxai import Explainer, backbones, checkpoints, explainers, plugins, samples
from skinxai.assessment.faithfulness import (
    deletion_and_insertion,
    mass_inside,
    pointing,
    rank_correlation,
)
from skinxai.benchmarking import benchmark_explainers, read_rows, running, summarise, to_markdown
from skinxai.benchmarking.measuring import Bench, agreement, scrambled
from skinxai.benchmarking.plan import Plan
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, TrainedOn
from skinxai.errors import ResumeMismatchError
from skinxai.explainers.base import Attribution
from skinxai.explainers.baselines import baseline
from skinxai.images.transforms import evaluation_transform
from skinxai.labels import LabelSet
from skinxai.results.drawing import resize_map
from skinxai.testing.networks import COLOURS, colour_classifier
from skinxai.testing.pictures import PLACES, picture, window

LABELS = LabelSet(tuple(COLOURS))
SMALL = dict(budget=60, lesions=9, stratified=6, checked=2, steps=4, progress=False)
METHODS = ["gradcam", "smoothgrad", "occlusion", "attention_rollout"]


@pytest.fixture
def data(tmp_path: Path) -> tuple[Records, Path]:
    """Nine pictures, one patch each, and the patches as masks."""
    masks, items = tmp_path / "masks", []
    masks.mkdir()
    for colour in COLOURS:
        for place in PLACES:
            name = f"{colour}-{place.replace(' ', '-')}"
            pixels = picture({place: colour})
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
            mask = np.zeros(pixels.shape[:2], np.uint8)
            mask[window(place)] = 255
            Image.fromarray(mask).save(masks / f"{name}_segmentation.png")
            items.append(Record(name, tmp_path / f"{name}.png", colour, lesion_id=f"l-{name}"))
    return Records(tuple(items), LABELS, "patches"), masks


def test_the_figures_are_those_of_the_maps(data, tmp_path) -> None:
    """Each is computed again from the explanation itself."""
    records, masks = data
    classifier = colour_classifier()
    benchmark_explainers(classifier, records, masks, tmp_path / "out", methods=METHODS, **SMALL)
    rows = read_rows(tmp_path / "out")
    by_id = {item.image_id: item for item in records}
    other = scrambled(classifier, 0)
    for row in (r for r in rows if r["method"] == "gradcam" and r["number"] < 2):
        path = by_id[row["image"]].path
        both = [c.explain(path, target=row["target"]).heatmap for c in (classifier, other)]
        assert row["randomised"] == agreement(*both)
        turned = np.flip(both[0], 0).copy()
        expected = rank_correlation(*(resize_map(m, (24, 40)) for m in (both[0], turned)))
        assert agreement(both[0], turned) == pytest.approx(expected)
    judged = [r for r in rows if r["method"] == "occlusion"]
    assert len(judged) == 6  # costly: of the stratified ones alone
    for row in judged[:2]:
        item = by_id[row["image"]]
        found = classifier.explain(item.path, "occlusion", target=row["target"], budget=60)
        mask = np.asarray(Image.open(masks / f"{item.image_id}_segmentation.png")) > 0
        assert row["pointing"] == pointing(found.heatmap, mask) == 1
        assert row["mass inside"] == pytest.approx(mass_inside(found.heatmap, mask))
        image = torch.from_numpy(
            evaluation_transform(np.asarray(Image.open(item.path)), classifier.config.preprocessing)
        )
        k = classifier.labels.index(row["target"])
        curves = deletion_and_insertion(
            lambda batch, k=k: classifier.network(batch).softmax(dim=1)[:, k], image,
            baseline(image[None], "blur")[0], resize_map(found.heatmap, image.shape[1:]), steps=4,
        )  # fmt: skip
        assert row["deletion, blur"] == pytest.approx(curves.deletion, abs=1e-6)
        assert row["insertion, blur"] == pytest.approx(curves.insertion, abs=1e-6)


def test_good_maps_beat_those_that_never_saw_the_image(data, tmp_path) -> None:
    records, masks = data
    out = tmp_path / "out"
    page = benchmark_explainers(colour_classifier(), records, masks, out, methods=METHODS, **SMALL)
    table = json.loads((out / "table.json").read_text())
    good, centre = table["all"]["gradcam"], table["all"]["centre"]
    assert good["images"] == 9 and table["stratified"]["gradcam"]["images"] == 6
    assert good["mass inside"][0] > 0.6 > 0.3 > centre["mass inside"][0]
    assert good["above centre"][0] == pytest.approx(
        good["mass inside"][0] - centre["mass inside"][0], abs=2e-4
    )
    assert good["deletion, mean"][0] < centre["deletion, mean"][0]
    assert good["insertion, mean"][0] > centre["insertion, mean"][0]
    assert good["noisy"][0] > 0.9
    assert "other seed" in table["stratified"]["smoothgrad"] and "other seed" not in good
    assert "occlusion" not in table["all"]
    assert table["agreement"]["smoothgrad"]["smoothgrad"] == 1
    assert "attention" in table["refused"]["attention_rollout"]
    text = page.read_text()
    assert "| `occlusion` | 60 | 6 |" in text and "| *centre* | 0 | 9 |" in text
    assert {path.name for path in (out / "gallery").iterdir()} == {f"{c}.jpg" for c in COLOURS}


def test_a_killed_comparison_goes_on(data, tmp_path, monkeypatch) -> None:
    records, masks = data
    settings = SMALL | {"methods": ["gradcam", "smoothgrad"]}
    benchmark_explainers(colour_classifier(), records, masks, tmp_path / "whole", **settings)
    rows = Bench.rows

    def killed(self: Bench, item: Record, number: int):
        if number == 4:
            raise KeyboardInterrupt
        return rows(self, item, number)

    monkeypatch.setattr(Bench, "rows", killed)
    with pytest.raises(KeyboardInterrupt):
        benchmark_explainers(colour_classifier(), records, masks, tmp_path / "run", **settings)
    monkeypatch.undo()
    assert len({row["image"] for row in read_rows(tmp_path / "run")}) == 4
    assert re.search(r"`smoothgrad` \| \d+ \| 4 \|", (tmp_path / "run/table.md").read_text())
    with (tmp_path / "run/rows.jsonl").open("a") as torn:
        torn.write('[{"image": "red-upper-l')
    benchmark_explainers(colour_classifier(), records, masks, tmp_path / "run", **settings)
    both = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(tmp_path / name)]
        for name in ("whole", "run")
    ]
    assert both[0] == both[1]
    with pytest.raises(ResumeMismatchError, match="another 'plan'"):
        benchmark_explainers(
            colour_classifier(), records, masks, tmp_path / "run", **settings | {"steps": 5}
        )


@pytest.mark.parametrize(
    ("stage", "error"), [("peak_memory", KeyboardInterrupt), ("compare", SystemExit)]
)
def test_tables_are_written_whenever_it_is_interrupted(
    data, tmp_path, monkeypatch, stage, error
) -> None:
    """Also after the last image, while memory is measured and the sheets are drawn."""

    def interrupted(*arguments):
        raise error

    monkeypatch.setattr(running, stage, interrupted)
    settings = SMALL | {"methods": ["gradcam"]}
    with pytest.raises(error):
        benchmark_explainers(colour_classifier(), *data, tmp_path / "out", **settings)
    assert "| `gradcam` | 1 | 9 |" in (tmp_path / "out/table.md").read_text()


class ScoresAlone(Explainer):
    """Gives no map."""

    def attribute(self, images: torch.Tensor, target: torch.Tensor, **_: object) -> Attribution:
        """One number for each image."""
        return Attribution(scores={"brightness": images.mean(dim=(1, 2, 3))})


def test_methods_without_maps_are_refused_and_the_rest_is_measured(data, tmp_path) -> None:
    def page(*methods: str) -> str:
        settings = SMALL | {"methods": methods}
        out = tmp_path / methods[0]
        return benchmark_explainers(colour_classifier(), *data, out, **settings).read_text()

    explainers.register("brightness")(ScoresAlone)
    try:
        some = page("brightness", "gradcam")
    finally:
        plugins.explainers.remove(["brightness"])
    assert "`brightness` was refused: brightness gives scores alone, and no map" in some
    assert "| `gradcam` | 1 | 9 |" in some
    none = page("attention_rollout")  # a network without attention
    assert "`attention_rollout` was refused" in none and "| *centre* | 0 | 9 |" in none


def test_classes_come_in_turn_whatever_the_order_of_rows(data) -> None:
    records, masks = data
    plan = Plan(lesions=9, stratified=6)
    found = plan.images(records, masks)
    assert [item.label for item in found[:6]] == [*COLOURS, *COLOURS]
    backwards = replace(records, items=records.items[::-1])
    assert [i.image_id for i in plan.images(backwards, masks)] == [i.image_id for i in found]
    assert len({item.image_id for item in found}) == 9


def test_scrambled_networks_keep_their_values_and_lose_their_order(data) -> None:
    before = colour_classifier()
    after = scrambled(before, 0)
    one, two = before.network.state_dict(), after.network.state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor.flatten().sort().values, two[name].flatten().sort().values)
    assert not torch.equal(one["network.colours.weight"], two["network.colours.weight"])


def test_the_summary_by_hand() -> None:
    shared = {"label": "red", "target": "red", "constant": False}
    rows = [
        {**shared, "image": f"{n}", "lesion": f"{n}", "number": n, "method": method,
         "mass inside": mass, "pointing": 1.0}
        for method, masses in (("gradcam", (0.5, 0.7, None)), ("centre", (0.2, 0.3, 0.4)))
        for n, mass in enumerate(masses)
    ]  # fmt: skip
    table = summarise(rows, Plan(stratified=2), {"gradcam": {}}, {"gradcam": 12.0})
    assert table["all"]["gradcam"]["mass inside"][0] == pytest.approx(0.6)  # one has no mass
    assert table["all"]["gradcam"]["above centre"][0] == pytest.approx((0.3 + 0.4) / 2)
    assert table["stratified"]["centre"]["mass inside"][0] == pytest.approx(0.25)
    low, high = table["all"]["gradcam"]["mass inside"][1:]
    assert 0.5 <= low <= 0.6 <= high <= 0.7
    assert "0.60 (" in to_markdown(table) and "| 12 |" in to_markdown(table)
    timed = [{**row, "seconds": (1.0, 2.0, 60.0)[row["number"]]} for row in rows]
    table = summarise(timed, Plan(stratified=2), {"gradcam": {}})
    assert table["all"]["gradcam"]["seconds"][0] == 2  # the median
    table = summarise(
        [{**row, "lesion": "one"} for row in rows], Plan(stratified=2), {"gradcam": {}}
    )
    assert table["all"]["gradcam"]["mass inside"] == [pytest.approx(0.6), None, None]
    assert "0.60 (–)" in to_markdown(table)


def test_memory_is_that_of_the_child_alone(monkeypatch, tmp_path) -> None:
    """A parent that once held much hides nothing: a child that takes 64 MiB more says so."""
    held = np.ones(2**26)  # 512 MiB
    code = (
        "import numpy, skinxai.benchmarking.peak_memory as m; before = m.peak(); "
        "kept = numpy.ones(2**23); print(m.peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held.nbytes and 60 < float(done.stdout) < 80


def test_the_command(tmp_path, monkeypatch) -> None:
    """On two shipped samples, from class folders, with a network that any process can build.

    What else the processes print is no figure.
    """
    (tmp_path / "site").mkdir()
    words = "import atexit; print('begun'); atexit.register(print, 'done')"
    (tmp_path / "site/sitecustomize.py").write_text(words)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for path, label in zip(samples.paths()[:2], ("nv", "mel"), strict=True):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True)
        (folder / path.name).write_bytes(path.read_bytes())
        mask = np.zeros((240, 320), np.uint8)
        mask[80:160, 100:220] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{path.stem}_segmentation.png")
    config = ModelConfig(
        "tiny", "timm/test_convnext", LabelSet(("nv", "mel")), PreprocessConfig((64, 64))
    )
    network = backbones.build(config.backbone, 2)
    checkpoints.save(str(tmp_path / "model"), network, config, "A card.", TrainedOn())
    found = CliRunner().invoke(
        app,
        ["benchmark", "explainers", str(tmp_path / "data"), "--model", str(tmp_path / "model"),
         "--masks", str(tmp_path / "masks"),
         "--out", str(tmp_path / "out"), "--methods", "gradcam,layercam", "--steps", "2",
         "--checked", "1"],
    )  # fmt: skip
    assert found.exit_code == 0, found.exception
    assert "| `layercam` | 1 | 2 |" in found.output
    memory = json.loads((tmp_path / "out/memory.json").read_text())
    assert set(memory) == {"gradcam", "layercam"}
