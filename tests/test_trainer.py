"""The training loop on pictures that a small network can learn in seconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from skinxai import Classifier, Trainer, losses, plugins
from skinxai.configs import PreprocessConfig, TrainConfig
from skinxai.data import Record, Records
from skinxai.errors import LeakageError, OptionError, TrainingError, UnknownNameError
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.models import SkinClassifier
from skinxai.training import trainer as trainer_module
from skinxai.training.augmentation import Augmentation
from skinxai.training.loaders import TrainingImages, batches, epoch_order
from skinxai.training.precision import choose_precision
from skinxai.training.schedule import decay_groups, learning_rate, update_average

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
SMALL = dict(
    backbone="resnet18", init_weights=None, amp=False, image_size=(32, 48), batch_size=8,
    learning_rate=3e-3, average_decay=0.8, drop_rate=0.1, workers=0, device="cpu",
)  # fmt: skip


def coloured(folder: Path, each: int, seed: int) -> Records:
    draws = np.random.default_rng(seed)
    folder.mkdir()
    items = []
    for code, colour in COLOURS.items():
        for number in range(each):
            noise = draws.integers(-50, 50, (40, 56, 3))
            path = folder / f"{code}{number}.png"
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
            items.append(Record(f"{seed}-{path.name}", path, code))
    return Records(tuple(items), LabelSet(tuple(COLOURS)), "colours", "CC0-1.0", "nobody")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    folder = tmp_path_factory.mktemp("colours")
    return coloured(folder / "train", 16, 0), coloured(folder / "val", 6, 1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> tuple[Path, Classifier]:
    folder = tmp_path_factory.mktemp("run") / "colours"
    return folder, Trainer(**SMALL, epochs=4, output_dir=folder).fit(*data)


def test_it_learns(run, data) -> None:
    folder, classifier = run
    evaluation = classifier.evaluate(data[1], resamples=50)
    assert evaluation.macro_f1.value > 0.9
    assert classifier.config.drop_rate == 0.1 and classifier.labels == tuple(COLOURS)
    assert classifier.config.licence == "CC0-1.0" and "nobody" in classifier.card
    again = Classifier.from_pretrained(folder)
    assert again.model == classifier.model


def test_the_run_folder_says_what_was_done(run, data) -> None:
    folder, _ = run
    settings = json.loads((folder / "train.json").read_text())
    assert settings["precision"] == "float32" and settings["init_weights"] == "random"
    assert settings["data"] == {"name": "colours", "train": [16, 16, 16], "val": [6, 6, 6]}
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,loss,accuracy,balanced_accuracy,macro_f1") and len(rows) == 5
    first, last = (float(row.split(",")[1]) for row in (rows[1], rows[-1]))
    assert last < first
    assert (folder / "splits.csv").read_text().count("\n") == 1 + 48 + 18


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_resumed_run_has_the_same_bits(run, data, tmp_path, monkeypatch, stopped_after) -> None:
    written = trainer_module.write_log

    def stop(path: Path, rows: tuple) -> None:
        written(path, rows)
        if len(rows) == stopped_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer_module, "write_log", stop)
    folder = tmp_path / "colours"
    with pytest.raises(KeyboardInterrupt):
        Trainer(**SMALL, epochs=4, output_dir=folder).fit(*data)
    monkeypatch.undo()
    torch.manual_seed(99)
    Trainer.resume(folder).fit(*data)
    model = "model.safetensors"
    assert (folder / model).read_bytes() == (run[0] / model).read_bytes()
    own, other = (load_file(place / "checkpoints/last.safetensors") for place in (folder, run[0]))
    assert set(own) == set(other) and any(name.startswith("optimizer.") for name in own)
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_a_folder_in_use_is_refused(run, data) -> None:
    with pytest.raises(TrainingError, match=r"holds a run; go on with Trainer\.resume"):
        Trainer(**SMALL, epochs=1, output_dir=run[0]).fit(*data)


def test_nothing_to_resume(tmp_path) -> None:
    with pytest.raises(TrainingError, match="must hold a run's settings"):
        Trainer.resume(tmp_path)


def test_shared_lesions_are_refused(data, tmp_path) -> None:
    trainer = Trainer(**SMALL, epochs=1, output_dir=tmp_path / "run")
    with pytest.raises(LeakageError, match="must share no lesion, 48 are in both"):
        trainer.fit(data[0], data[0])


def test_the_test_part_is_for_the_end_DAT27(data, tmp_path) -> None:
    trainer = Trainer(**SMALL, epochs=1, output_dir=tmp_path / "run")
    for parts in (
        (data[0], replace(data[1], part="test")),
        (replace(data[0], part="test"), data[1]),
    ):
        with pytest.raises(LeakageError, match="must not be the test part"):
            trainer.fit(*parts)


def test_a_class_without_images_DAT16(data, tmp_path) -> None:
    train = data[0].subset([item.image_id for item in data[0] if item.label != "red"])
    with pytest.raises(TrainingError, match=r"it has none of \['red'\]"):
        Trainer(**SMALL, epochs=1, output_dir=tmp_path / "run").fit(train, data[1])


def test_leaked_figures_say_so_DAT08(data, tmp_path) -> None:
    train, val = (replace(part, leaked=True) for part in (data[0], data[1]))
    tuned = Trainer(**SMALL, epochs=1, output_dir=tmp_path / "run").fit(train, val)
    assert "leaked" in tuned.config.training_data
    found = tuned.evaluate(data[1], resamples=10)
    assert found.leaked and "LEAKED" in repr(found) and "LEAKED" in found.to_markdown()
    assert found.to_dict()["leaked"] is True


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path) -> None:
    @losses.register("not_a_number")
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.sum() * float("nan")

    try:
        with pytest.raises(TrainingError, match="got nan in epoch 1, step 1"):
            Trainer(**SMALL | {"loss": "not_a_number"}, output_dir=tmp_path / "run").fit(*data)
    finally:
        plugins.losses.remove(["not_a_number"])


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"learning_rate": 0}, OptionError, "learning_rate must be > 0, got 0"),
        ({"epochs": 0}, OptionError, "epochs must be >= 1, got 0"),
        ({"drop_rate": 1}, OptionError, r"drop_rate must be in \[0, 1\), got 1"),
        ({"backbone": "resnet19"}, UnknownNameError, "Did you mean 'resnet18'"),
        ({"loss": "focsl"}, UnknownNameError, "Did you mean 'focal'"),
        ({"sampler": "fair"}, OptionError, "sampler must be None or one of"),
        ({"amp": "bf16"}, OptionError, "amp must be True, False, 'bfloat16'"),
        ({"init_weights": "bundled"}, TrainingError, "must fit the backbone"),
        ({"init_weights": "nothing.safetensors"}, TrainingError, "must be readable"),
    ],
)
def test_wrong_use_is_one_clear_sentence(data, tmp_path, keywords, error, words) -> None:
    with pytest.raises(error, match=words):
        Trainer(**SMALL | keywords | {"output_dir": tmp_path / "run"}).fit(*data)


def test_efficientnet_b0_with_seven_classes(tmp_path, photos) -> None:
    items = [Record(str(n), photos[n], HAM10000_LABELS[n % 7]) for n in range(10)]
    train, val = (Records(tuple(part), HAM10000_LABELS) for part in (items[:7], items[7:]))
    settings = SMALL | {"backbone": "efficientnet_b0", "image_size": (64, 64)}
    classifier = Trainer(**settings, epochs=1, output_dir=tmp_path / "b0").fit(train, val)
    assert classifier.num_parameters == 4_016_515
    explanation = classifier.explain(photos[0], target="mel")
    assert explanation.heatmap.shape == (240, 320) and np.isfinite(explanation.heatmap).all()


def test_the_bundled_model_can_be_fine_tuned(data, tmp_path) -> None:
    settings = SMALL | {"backbone": "tf_efficientnet_lite0", "init_weights": "bundled"}
    settings |= {"learning_rate": 1e-9, "average_decay": 0.0}
    tuned = Trainer(**settings, epochs=1, output_dir=tmp_path / "run").fit(*data)
    bundled = Classifier.from_pretrained()
    assert tuned.config.preprocessing.mean == bundled.config.preprocessing.mean
    name = "conv_stem.weight"
    weights = [c.network.network.state_dict()[name] for c in (tuned, bundled)]
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-3)


def test_samplers(data) -> None:
    labels = LabelSet(("many", "few"))
    items = [Record(str(n), Path("x"), "many" if n < 900 else "few") for n in range(1000)]
    records = Records(tuple(items), labels)
    assert sorted(epoch_order(records, None, 0, 0)) == list(range(1000))
    for sampler, share in (("balanced", 0.5), ("square_root", 0.25)):  # 30 : 10
        drawn = [i for epoch in range(10) for i in epoch_order(records, sampler, 0, epoch)]
        assert np.mean(np.array(drawn) >= 900) == pytest.approx(share, abs=0.02)
    assert epoch_order(records, None, 0, 1) != epoch_order(records, None, 0, 2)
    assert epoch_order(records, None, 0, 1) == epoch_order(records, None, 0, 1)


def test_workers_change_nothing(data) -> None:
    images = TrainingImages(data[0], PreprocessConfig((32, 48)))
    order = epoch_order(data[0], "balanced", 3, 1)
    alone, shared = (
        list(batches(images, order, 8, workers, augment_seed=(3, 1))) for workers in (0, 2)
    )
    for (first, own), (second, other) in zip(alone, shared, strict=True):
        assert torch.equal(first, second) and torch.equal(own, other)


def test_augmentation_is_a_function_of_its_seed(photos) -> None:
    pixels = np.asarray(Image.open(photos[0]).convert("RGB"))
    augment = Augmentation((48, 64))
    first, again, other = (augment(pixels, seed) for seed in (5, 5, 6))
    assert first.shape == (48, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def config(**changes: object) -> TrainConfig:
    values = dict(
        backbone="resnet18", loss="cross_entropy", sampler=None, amp=False, epochs=10,
        batch_size=8, learning_rate=1.0, weight_decay=0.1, drop_rate=0.0, average_decay=0.9,
        image_size=(32, 32), init_weights=None, device="cpu", seed=0, workers=0,
    )  # fmt: skip
    return TrainConfig(**values | changes)


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate(config(), step, 20) for step in range(200)]  # warm-up of 10 steps
    assert rates[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert rates[105] == pytest.approx(0.5)  # half of the cosine
    assert min(rates) == rates[-1] == 0.01 and max(rates) == 1.0


def test_average_by_hand() -> None:
    network, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 3.0)
    torch.nn.init.constant_(average.weight, 1.0)
    update_average(average, network, 10_000, config())
    assert average.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 3)
    update_average(average, network, 0, config())  # (1 + 0) / (10 + 0) at the start
    assert average.weight.item() == pytest.approx(0.1 * 1.2 + 0.9 * 3)


def test_vectors_do_not_decay() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    kernels, vectors = decay_groups(network, 0.1)
    assert [tuple(p.shape) for p in kernels["params"]] == [(3, 2)]
    assert kernels["weight_decay"] == 0.1 and vectors["weight_decay"] == 0.0
    assert len(vectors["params"]) == 3


def test_measuring_the_precision_changes_nothing() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    network.train()
    model = SkinClassifier(network, lambda n, x: n(x), lambda n, f: f.mean(dim=(2, 3)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.randn(4, 3, 16, 16)
    random = torch.get_rng_state()
    chosen = choose_precision(True, model, images, torch.device("cpu"))
    assert chosen in (None, torch.bfloat16)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    device = torch.device("cpu")
    for amp, dtype in ((False, None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        assert choose_precision(amp, model, images, device) is dtype
