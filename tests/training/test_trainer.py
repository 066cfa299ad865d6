"""What a run does, what it leaves behind, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import BASE, build_small, coloured

from skinxai import Classifier, Trainer, backbones, losses, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.data import Record, Records, Splits
from skinxai.errors import (
    DatasetSchemaError,
    LeakageError,
    OptionError,
    TrainingError,
    UnknownNameError,
)
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.training.optimising import learning_rate
from skinxai.training.precision import choose_precision
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")

COLOURS = ("red", "green", "blue")
LEARNS: dict[str, Any] = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    folder = tmp_path_factory.mktemp("colours")
    return coloured(folder / "train", 16, 0), coloured(folder / "val", 6, 1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> tuple[Path, Classifier]:
    folder = tmp_path_factory.mktemp("run") / "colours"
    return folder, Trainer(**LEARNS, output_dir=folder).fit(*data)


def test_it_learns(run, data) -> None:
    folder, classifier = run
    evaluation = classifier.evaluate(data[1], resamples=50)
    assert evaluation.macro_f1.value > 0.9
    assert classifier.config.drop_rate == 0.1 and classifier.labels == COLOURS
    assert classifier.config.licence == "CC0-1.0" and "nobody" in classifier.card
    again = Classifier.from_pretrained(folder)
    assert again.model == classifier.model


def test_torchs_default_device_changes_nothing(data, tmp_path) -> None:
    """As where a program computes on a GPU by default; tensors on ``meta`` have no values."""
    found = []
    for name in ("cpu", "meta"):
        torch.set_default_device(None if name == "cpu" else name)
        try:
            run = Trainer(**BASE | {"epochs": 1}, output_dir=tmp_path / name / "run").fit(*data)
            assert torch.get_default_device().type == name
        finally:
            torch.set_default_device(None)
        found.append(run.model)
    assert found[0] == found[1]


def test_the_run_folder_says_what_was_done(run, data) -> None:
    folder, classifier = run
    settings = json.loads((folder / "train.json").read_text())
    assert settings["precision"] == "float32" and settings["init_weights"] == "random"
    assert settings["settings"]["learning_rate"] == 0.03
    about = settings["data"]
    assert (about["name"], about["train"], about["val"]) == ("colours", [16] * 3, [6] * 3)
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0] == (
        "epoch,loss,accuracy,balanced_accuracy,macro_f1,learning_rate,images_per_second,micro_batch"
    )
    table = [[float(value) for value in row.split(",")] for row in rows[1:]]
    assert [row[0] for row in table] == [1, 2, 3, 4] and table[-1][1] < table[0][1]
    assert all(row[6] > 0 and row[7] == 8 for row in table)
    rates = [learning_rate(TrainConfig(**LEARNS), 6 * epoch - 1, 6) for epoch in (1, 2, 3, 4)]
    assert [row[5] for row in table] == pytest.approx(rates, rel=1e-5)  # of its last step
    assert (folder / "splits.csv").read_text().count("\n") == 1 + 48 + 18
    assert "training in float32 on cpu" in (folder / "events.log").read_text()
    shown = json.loads((folder / "evaluation.json").read_text())
    best = max(table, key=lambda row: row[4])
    assert shown["model"] == classifier.model and len(shown["log"]) == 4
    assert shown["macro_f1"]["value"] == pytest.approx(best[4], abs=0.06)  # stored in half
    assert f"(epoch {best[0]:.0f} of 4" in (folder / "README.md").read_text()
    assert not list(folder.rglob("*.part"))


def test_a_folder_in_use_is_refused(run, data) -> None:
    with pytest.raises(TrainingError, match=r"holds a run; go on with Trainer\.resume"):
        Trainer(**LEARNS, output_dir=run[0]).fit(*data)


def test_nothing_to_resume(tmp_path) -> None:
    for place in (tmp_path, tmp_path / "mistyped"):
        with pytest.raises(TrainingError, match=f"found no run in '{place}'; check the path"):
            Trainer.resume(place)
    for damaged in ("{", "[]", "{}"):
        (tmp_path / "train.json").write_text(damaged)
        with pytest.raises(TrainingError, match="must hold a run's settings"):
            Trainer.resume(tmp_path)


# what is refused before anything is read


def test_shared_lesions_are_refused(data, tmp_path) -> None:
    trainer = Trainer(**BASE, output_dir=tmp_path / "run")
    with pytest.raises(LeakageError, match="must share no lesion, but 48 are in both"):
        trainer.fit(data[0], data[0])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lesions", [True, False])
def test_two_tables_that_number_their_images_alike_are_refused(data, tmp_path, lesions) -> None:
    """An image is known by its id: which of two files it is could not be told."""
    parts = []
    for part, records in zip("ab", data, strict=True):
        items = tuple(
            replace(item, image_id=f"{n}.png", lesion_id=f"{part}{n}" if lesions else "")
            for n, item in enumerate(records)
        )
        parts.append(replace(records, items=items))
    trainer = Trainer(**BASE, output_dir=tmp_path / "run")
    count = min(map(len, parts))
    with pytest.raises(
        DatasetSchemaError, match=f"one file, but {count} are .* e.g. '0.png'; read"
    ):
        trainer.fit(*parts)
    assert not (tmp_path / "run").exists()


def test_the_test_part_is_for_the_end(data, tmp_path) -> None:
    trainer = Trainer(**BASE, output_dir=tmp_path / "run")
    for parts in (
        (data[0], replace(data[1], part="test")),
        (replace(data[0], part="test"), data[1]),
    ):
        with pytest.raises(LeakageError, match="must not be the test part"):
            trainer.fit(*parts)


def test_label_sets_that_differ_are_refused(data, tmp_path) -> None:
    trainer = Trainer(**BASE, output_dir=tmp_path / "run")
    train, val = data
    turned = replace(val, labels=LabelSet(val.labels.codes[::-1]))
    with pytest.raises(TrainingError, match=r"got \['red', .* and \['blue', .*; read val with"):
        trainer.fit(train, turned)
    declared = replace(train, labels=LabelSet(train.labels.codes, malignant=frozenset({"red"})))
    with pytest.raises(TrainingError, match="twice, with other long names or malignant labels in"):
        trainer.fit(declared, val)


def test_a_class_without_training_images(data, tmp_path) -> None:
    train = data[0].subset([item.image_id for item in data[0] if item.label != "red"])
    with pytest.raises(TrainingError, match=r"it has none of \['red'\]"):
        Trainer(**BASE, output_dir=tmp_path / "run").fit(train, data[1])


def test_a_class_without_validation_images(data, tmp_path) -> None:
    """The other classes' figures count, and their positions stay."""
    val = data[1].subset([item.image_id for item in data[1] if item.label != "green"])
    classifier = Trainer(**LEARNS, output_dir=tmp_path / "run").fit(data[0], val)
    assert classifier.labels == COLOURS
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]
    assert all(np.isfinite(float(row.split(",")[4])) for row in rows)
    shown = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert [shown["recall"][code]["value"] is None for code in COLOURS] == [False, True, False]


@pytest.mark.parametrize("kept", [1, 2])
def test_a_class_of_one_image(data, tmp_path, kept) -> None:
    ids = [item.image_id for item in data[0]]
    reds = [name for name in ids if "red" in name]
    train = data[0].subset([name for name in ids if name not in reds[kept:]])
    settings = BASE | {"epochs": 1, "sampler": "balanced", "loss": "class_balanced"}
    assert settings["loss"] in losses.names()
    Trainer(**settings, output_dir=tmp_path / "run").fit(train, data[1])


def test_leaked_figures_say_so(data, tmp_path) -> None:
    train, val = (replace(part, leaked=True) for part in (data[0], data[1]))
    tuned = Trainer(**BASE | {"epochs": 1}, output_dir=tmp_path / "run").fit(train, val)
    assert "leaked" in tuned.config.training_data and "LEAKED" in tuned.card
    found = tuned.evaluate(data[1], resamples=10)
    assert found.leaked and "LEAKED" in repr(found) and "LEAKED" in found.to_markdown()
    assert found.to_dict()["leaked"] is True


def test_splits_bring_both_parts(data, tmp_path) -> None:
    splits = Splits(data[0], data[1], data[1].subset([]))
    trainer = Trainer(**BASE | {"epochs": 1}, output_dir=tmp_path / "run")
    with pytest.raises(OptionError, match="val must be left out"):
        trainer.fit(splits, data[1])
    with pytest.raises(OptionError, match="val must be passed"):
        trainer.fit(data[0])
    assert trainer.fit(splits).labels == COLOURS


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"learning_rate": 0}, OptionError, "learning_rate must be > 0, got 0"),
        ({"learning_rat": 1}, OptionError, "Did you mean 'learning_rate'"),
        ({"backbone": "resnet19"}, UnknownNameError, "Did you mean 'resnet18'"),
        ({"loss": "focsl"}, UnknownNameError, "Did you mean 'focal'"),
        ({"loss_options": {"gama": 1.0}}, OptionError, "got 'gama'"),
        ({"sampler": "fair"}, OptionError, "sampler must be one of"),
        ({"amp": "bf16"}, OptionError, r"amp must be one of \[True, False, 'bfloat16'"),
        ({"augmentation": "strong"}, OptionError, "augmentation must be one of"),
        ({"device": "gpu"}, OptionError, "device must be 'auto' or one that this machine has"),
        ({"drop_path_rate": 0.1}, OptionError, "drop_path_rate must be 0 for the backbone"),
        ({"frozen_groups": 2}, OptionError, "frozen_groups must be below the 2 groups"),
        ({"init_weights": "bundled"}, TrainingError, "must fit the backbone"),
        ({"init_weights": "nothing.safetensors"}, TrainingError, "must be readable"),
    ],
)
def test_wrong_use_is_one_clear_sentence(data, tmp_path, keywords, error, words) -> None:
    with pytest.raises(error, match=words):
        Trainer(**BASE | keywords | {"output_dir": tmp_path / "run"}).fit(*data)
    assert not (tmp_path / "run" / "train.json").exists()


# networks and starting weights


def test_efficientnet_b0_with_seven_classes(tmp_path, photos) -> None:
    items = [Record(str(n), photos[n], HAM10000_LABELS[n % 7]) for n in range(10)]
    train, val = (Records(tuple(part), HAM10000_LABELS) for part in (items[:7], items[7:]))
    settings = BASE | {"backbone": "efficientnet_b0", "image_size": (64, 64), "epochs": 1}
    classifier = Trainer(**settings, output_dir=tmp_path / "b0").fit(train, val)
    assert classifier.num_parameters == 4_016_515
    explanation = classifier.explain(photos[0], target="mel")
    assert explanation.heatmap.shape == (240, 320) and np.isfinite(explanation.heatmap).all()


def test_the_bundled_model_can_be_fine_tuned(data, tmp_path) -> None:
    settings = BASE | {"backbone": "tf_efficientnet_lite1", "init_weights": "bundled", "epochs": 1}
    settings |= {"learning_rate": 1e-9, "average_decay": 0.0}
    tuned = Trainer(**settings, output_dir=tmp_path / "run").fit(*data)
    bundled = Classifier.from_pretrained()
    assert tuned.config.preprocessing.mean == bundled.config.preprocessing.mean
    name = "conv_stem.weight"
    weights = [c.network.network.state_dict()[name] for c in (tuned, bundled)]
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-3)


def test_measuring_the_precision_changes_nothing(monkeypatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    model = build_small("small", 3, 0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.randn(4, 3, 32, 48)
    random = torch.get_rng_state()
    device = torch.device("cpu")
    chosen = choose_precision(True, device, model, images)
    assert chosen in (None, torch.bfloat16)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    for amp, dtype in ((False, None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        assert choose_precision(amp, device, model, images) is dtype


@pytest.mark.parametrize(("processor", "steps"), [("AVX2", 0), ("AVX512", 6), ("NO AVX", 6)])
def test_a_processor_that_has_no_bfloat16_is_not_timed(monkeypatch, processor, steps) -> None:
    """\"NO AVX\" is what torch says of Apple's processors too."""
    timed: list[torch.dtype | None] = []
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: processor)
    monkeypatch.setattr(
        "skinxai.training.precision._seconds",
        lambda network, images, device, precision: timed.append(precision) or 1.0,
    )
    found = choose_precision(
        True, torch.device("cpu"), torch.nn.Linear(1, 1), torch.ones(2, 3, 8, 8)
    )
    assert found is None and len(timed) == steps


@pytest.mark.parametrize(("native", "chosen"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_that_emulates_bfloat16_computes_in_float16(monkeypatch, native, chosen) -> None:
    """Where bfloat16 is emulated it is slower than float32; torch says yes by default."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native
        or including_emulation,
    )  # fmt: skip
    found = choose_precision(True, torch.device("cuda"))
    assert found is getattr(torch, chosen)


@pytest.mark.parametrize("amp", ["bfloat16", True])
def test_the_precision_is_said_and_kept(data, tmp_path, amp) -> None:
    folder = tmp_path / "run"
    Trainer(**BASE | {"epochs": 1, "amp": amp}, output_dir=folder).fit(*data)
    said = json.loads((folder / "train.json").read_text())["precision"]
    assert said == "bfloat16" or (amp is True and said == "float32")
    assert f"training in {said} on cpu" in (folder / "events.log").read_text()
    seen: list[torch.dtype] = []

    def features(network: Any, images: torch.Tensor) -> torch.Tensor:
        result = network.features(images)
        if network.training:
            seen.append(result.dtype)
        return result

    def build(name: str, classes: int, drop_rate: float) -> SkinClassifier:
        network = build_small(name, classes, drop_rate).network
        return SkinClassifier(network, features, lambda n, maps: n.head(maps))

    plugins.backbones.remove(["small"])
    backbones.register("small")(build)
    try:
        Trainer.resume(folder, epochs=2).fit(*data)  # not measured again
    finally:
        plugins.backbones.remove(["small"])
        backbones.register("small")(build_small)
    assert set(seen) == {getattr(torch, said)} and len(seen) == 6


# early stopping


def test_patience(data, tmp_path) -> None:
    """Nothing learns, so the first epoch is the best one."""
    folder, never = tmp_path / "run", BASE | {"learning_rate": 1e-12, "average_decay": 0.0}
    settings = never | {"epochs": 10, "patience": 2, "backbone": "plain"}
    Trainer(**settings, output_dir=folder).fit(*data)
    log = (folder / "log.csv").read_text()
    assert len(log.splitlines()) == 1 + 3
    assert "(epoch 1 of 3" in (folder / "README.md").read_text()
    Trainer.resume(folder).fit(*data)
    assert (folder / "log.csv").read_text() == log
    Trainer.resume(folder, patience=4).fit(*data)
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + 5


# what is not finite, and what cannot be written
