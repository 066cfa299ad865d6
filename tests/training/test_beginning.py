"""What a run asks of its weights, its images and its folder before the first step."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import BASE, build_small, coloured, model_folder
from typer.testing import CliRunner

from skinxai import Classifier, Trainer, backbones, checkpoints, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Records, Splits, TrainedOn, load_folder, pixel_hash, prepare
from skinxai.errors import (
    CheckpointCorruptError,
    DatasetImageError,
    LeakageError,
    OptionError,
    ResumeMismatchError,
    TrainingError,
)
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.training.beginning import resumed_run
from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.initial_weights import load_initial_weights
from skinxai.training.run_folder import RunFolder
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")

LABELS = LabelSet(("red", "green", "blue"))
ONE = BASE | {"epochs": 1}


@pytest.fixture
def data(tmp_path: Path) -> tuple[Records, Records]:
    return coloured(tmp_path / "train", 8, 0), coloured(tmp_path / "val", 3, 1)


def hashes(records: Records) -> list[str]:
    return [pixel_hash(read_image(item.path).pixels) for item in records]


class Stop(Callback):
    """Ends the program's run after some steps, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if step == self.after:
            signal.raise_signal(signal.SIGINT)


# Starting weights


def test_a_models_weights_file_alone_is_refused(data, tmp_path) -> None:
    weights = model_folder(tmp_path / "start") / "model.safetensors"
    with pytest.raises(TrainingError, match=r"must be the model's folder, '.*start', got"):
        Trainer(**ONE | {"init_weights": weights}, output_dir=tmp_path / "run").fit(*data)


@pytest.mark.parametrize("codes", [("blue", "green", "red"), ("a", "b", "c")])
def test_rows_of_the_classifier_keep_their_labels(tmp_path, codes) -> None:
    """Rows under other names, or in another order, would mean other classes."""
    start = model_folder(tmp_path / "start", LabelSet(codes))
    for labels, taken in ((LabelSet(codes), True), (LABELS, False)):
        model = build_small("small", 3)
        before = model.network.fc.weight.clone()
        found = load_initial_weights(model, "small", str(start), labels)
        assert bool((model.network.body[0].weight == 0.25).all())
        assert torch.equal(model.network.fc.weight, before) is not taken
        assert bool((model.network.fc.weight == 0.25).all()) is taken
        assert ("is taken over" if taken else "begins at random") in found.note


@pytest.mark.parametrize("same", [True, False])
def test_weights_of_another_network_with_the_same_tensors_are_refused(same, tmp_path) -> None:
    """No tensor says how a convolution fills its borders; a network may also have two names."""

    def build(name: str, classes: int, drop_rate: float = 0.0) -> SkinClassifier:
        model = build_small("small", classes, drop_rate)
        if not same:
            model.network.body[0].padding_mode = "reflect"
        return model

    start = str(model_folder(tmp_path / "start", seed=1))
    backbones.register("other")(build)
    try:
        model = backbones.build("other", 3)
        if same:
            load_initial_weights(model, "other", start, LABELS)
        else:
            with pytest.raises(TrainingError, match="'other', but they are of 'small', which comp"):
                load_initial_weights(model, "other", start, LABELS)
    finally:
        plugins.backbones.remove(["other"])


def test_imagenet_weights_are_known_to_have_seen_no_skin(tmp_path) -> None:
    """A file with another number of classes may have been trained on anything."""
    for classes, known in ((1000, TrainedOn()), (7, None)):
        path = tmp_path / f"{classes}.safetensors"
        state = backbones.build("resnet18", classes).network.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        model = backbones.build("resnet18", 3)
        found = load_initial_weights(model, "resnet18", str(path), LABELS)
        assert found.trained_on == known
        assert torch.equal(model.network.conv1.weight, load_file(path)["conv1.weight"])


def test_what_is_not_known_is_not_claimed(data, tmp_path) -> None:
    path = tmp_path / "seven.safetensors"
    save_file(build_small("small", 7).network.state_dict(), path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "training_pixels.safetensors").write_bytes(b"")  # of a try that ended before train.json
    tuned = Trainer(**ONE | {"init_weights": path}, output_dir=run).fit(*data)
    assert tuned.trained_on is None and not (run / "training_pixels.safetensors").exists()
    assert "is not known" in tuned.card and "training_pixels.safetensors" not in tuned.card


def test_a_leaked_ancestor_marks_its_children(data, tmp_path) -> None:
    start = model_folder(tmp_path / "start", training_data={"leaked": "torn lesions"})
    tuned = Trainer(**ONE | {"init_weights": start}, output_dir=tmp_path / "run").fit(*data)
    assert tuned.config.training_data["leaked"] == "of what it learnt from: torn lesions"
    assert "LEAKED" in tuned.card and tuned.evaluate(data[1], resamples=5).leaked


def test_licences_add_up(data, tmp_path) -> None:
    start = model_folder(tmp_path / "start", licence="CC-BY-NC-4.0")
    tuned = Trainer(**ONE | {"init_weights": start}, output_dir=tmp_path / "run").fit(*data)
    assert tuned.config.licence == "CC0-1.0 AND CC-BY-NC-4.0"


# Images


def copied(records: Records, other: Records) -> Records:
    """``other`` with its first file replaced by a copy of the first of ``records``."""
    shutil.copyfile(records[0].path, other[0].path)
    return other


def test_one_image_in_both_parts_under_two_names(data, tmp_path) -> None:
    train, val = data[0], copied(*data)
    with pytest.raises(LeakageError, match="the training part: of 9, 1 has the pixels") as caught:
        Trainer(**ONE, output_dir=tmp_path / "run").fit(train, val)
    said = caught.value.on_command_line
    assert "audit()" in str(caught.value) and "audit()" not in said
    assert "remove one of both images, or give both one lesion in the table" in said
    train, val = replace(train, leaked=True), replace(val, leaked=True)
    assert (
        Trainer(**ONE, output_dir=tmp_path / "run").fit(train, val).config.training_data["leaked"]
    )


def test_validation_images_that_the_weights_have_seen(data, tmp_path) -> None:
    first = tmp_path / "first"
    Trainer(**ONE, output_dir=first).fit(*data)
    other = coloured(tmp_path / "other", 3, 2)
    with pytest.raises(
        LeakageError,
        match="weights or the teacher were trained on: of 9, 1 has the pixels",
    ):
        Trainer(**ONE | {"init_weights": first}, output_dir=tmp_path / "run").fit(
            coloured(tmp_path / "more", 3, 5), copied(data[0], other)
        )


def test_figures_of_training_images_are_marked(data, tmp_path) -> None:
    tuned = Trainer(**ONE, output_dir=tmp_path / "run").fit(*data)
    assert not tuned.evaluate(data[1], resamples=5).leaked
    found = tuned.evaluate(copied(*data), resamples=5)
    assert found.leaked and "LEAKED" in repr(found)
    with pytest.raises(OptionError, match="no image may be left out"):
        tuned.evaluate(data[1], on_error="return")


def test_one_member_that_knows_is_enough(data, tmp_path) -> None:
    from skinxai.model_folders.ensembles import write_ensemble

    known, silent = tmp_path / "known", tmp_path / "silent"
    Trainer(**ONE, output_dir=known).fit(*data)
    config = ModelConfig("silent", "small", data[0].labels, PreprocessConfig((32, 48)))
    checkpoints.save(str(silent), build_small("small", 3), config, "A card.")
    write_ensemble(tmp_path / "both", [known, silent], name="both")
    both = Classifier.from_pretrained(tmp_path / "both")
    assert both.trained_on is None and both.evaluate(data[0], resamples=5).leaked
    assert not both.evaluate(data[1], resamples=5).leaked


def test_images_prepared_too_small(data, tmp_path) -> None:
    train, val = (
        prepare(part, tmp_path / name, image_size=(32, 40), progress=False)
        for part, name in zip(data, "ab", strict=True)
    )
    with pytest.raises(OptionError, match=r"prepared at, \(32, 40\), got \(32, 48\)"):
        Trainer(**ONE, output_dir=tmp_path / "run").fit(train, val)


def test_originals_that_validation_will_read_are_checked(data, tmp_path) -> None:
    """Pixels prepared at another size serve training, not the evaluation transform."""
    train, val = (
        prepare(part, tmp_path / name, image_size=(40, 56), progress=False)
        for part, name in zip(data, "ab", strict=True)
    )
    for part in (train, val):
        part[0].path.unlink()
    with pytest.raises(DatasetImageError, match="1 of 9 validation images cannot be read:"):
        Trainer(**ONE, output_dir=tmp_path / "run").fit(train, val)
    fitting = BASE | {"image_size": (40, 56), "epochs": 1}
    Trainer(**fitting, output_dir=tmp_path / "other").fit(train, val)  # needs no original


def test_each_part_has_its_own_allowance(data, tmp_path) -> None:
    """One in a thousand, at least one, of each part; and the last page leaves them out."""
    for part in data:
        part[0].path.write_bytes(b"no image")
    run = tmp_path / "run"
    Trainer(**ONE | {"unreadable": "skip"}, output_dir=run).fit(*data)
    assert json.loads((run / "evaluation.json").read_text())["images"] == 8
    data[1][1].path.write_bytes(b"no image")
    with pytest.raises(DatasetImageError, match="2 of 9 validation images cannot be read:"):
        Trainer(**ONE | {"unreadable": "skip"}, output_dir=tmp_path / "again").fit(*data)


def test_measuring_the_precision_takes_no_more_than_a_step(data, tmp_path, monkeypatch) -> None:
    counts: list[int] = []

    def scarce(network: torch.nn.Module, images: torch.Tensor, *rest: object) -> float:
        counts.append(len(images))
        if len(images) > 2:
            raise MemoryError
        return 1.0

    monkeypatch.setattr("skinxai.training.precision._seconds", scarce)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    settings = ONE | {"amp": True, "batch_size": 16, "accumulate": 2}
    Trainer(**settings, output_dir=tmp_path / "run").fit(*data)
    assert counts[0] == 8 and counts[-1] == 2  # halved until it fits
    counts.clear()
    Trainer(**ONE, output_dir=tmp_path / "fixed").fit(*data)  # amp=False
    assert counts == []


# Resuming


def stopped(data: tuple[Records, Records], folder: Path, **changes: object) -> Path:
    with pytest.raises(KeyboardInterrupt):
        Trainer(**BASE | changes, epochs=2, output_dir=folder, callbacks=[Stop(2)]).fit(*data)
    return folder


def test_the_same_settings_again_are_no_change(data, tmp_path) -> None:
    run = stopped(data, tmp_path / "run")
    assert Trainer.resume(run, **BASE, epochs=2).config.batch_size == 8
    with pytest.raises(ResumeMismatchError, match=r"'batch_size': 8 became 4; start a new run"):
        Trainer.resume(run, **BASE | {"batch_size": 4})


def test_the_same_command_with_resume_goes_on(tmp_path) -> None:
    coloured(tmp_path / "all", 10, 0)
    for code in ("red", "blue"):
        (tmp_path / "data" / code).mkdir(parents=True)
        for path in (tmp_path / "all").glob(f"{code}-*.png"):
            shutil.copyfile(path, tmp_path / "data" / code / path.name)
    command = [
        "train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--backbone",
        "small", "--init-weights", "none", "--image-size", "32x48", "--batch-size", "4", "--amp",
        "false", "--workers", "0", "--epochs", "2", "--loss-options", "label_smoothing=0.1",
    ]  # fmt: skip
    assert len(load_folder(tmp_path / "data")) == 20
    started = CliRunner().invoke(app, command)
    assert started.exit_code == 0, started.output
    assert CliRunner().invoke(app, command).exception is not None  # the folder is in use
    weights = (tmp_path / "run/model.safetensors").read_bytes()
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 0, again.exception
    assert (tmp_path / "run/model.safetensors").read_bytes() == weights


def test_wrong_settings_cost_no_reading(tmp_path) -> None:
    wrong = CliRunner().invoke(
        app, ["train", "--data", "nowhere", "--out", str(tmp_path / "run"), "--epochs", "x"]
    )
    assert isinstance(wrong.exception, OptionError) and "epochs" in str(wrong.exception)


def test_starting_weights_that_became_others(data, tmp_path) -> None:
    start = model_folder(tmp_path / "start")
    run = stopped(data, tmp_path / "run", init_weights=str(start))
    model_folder(start, licence="MIT")
    with pytest.raises(ResumeMismatchError, match="init_weights must be what the run began with"):
        Trainer.resume(run).fit(*data)


def test_other_prepared_pixels(data, tmp_path) -> None:
    run = stopped(data, tmp_path / "run")
    train, val = (prepare(part, tmp_path / name, image_size=(40, 56), progress=False)
                  for part, name in zip(data, "ab", strict=True))  # fmt: skip
    with pytest.raises(ResumeMismatchError, match="'prepared pixels'"):
        Trainer.resume(run).fit(train, val)


def test_a_checkpoint_of_another_split(data, tmp_path) -> None:
    train, val = data
    run = stopped(data, tmp_path / "run")
    other = stopped((train, val.subset([item.image_id for item in val][:6])), tmp_path / "other")
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(other / "checkpoints", run / "checkpoints")
    with pytest.raises(CheckpointCorruptError, match="of a run with another split"):
        Trainer.resume(run).fit(*data)


def test_a_checkpoint_that_cannot_be_read_is_not_passed_over(tmp_path) -> None:
    """Passed over, it would be deleted by the next write though it may be whole."""
    folder = CheckpointFolder(tmp_path)
    folder.write(1, b"old")
    (tmp_path / f"{2:09d}-{'0' * 32}.safetensors").mkdir()  # reading a folder is an OSError
    with pytest.raises(CheckpointCorruptError, match="must be readable: it is a folder"):
        folder.newest()


def test_a_changed_accumulation_is_on_disk_before_the_settings_say_so(data, tmp_path) -> None:
    run = stopped(data, tmp_path / "run")
    config = TrainConfig.of(BASE | {"epochs": 2, "accumulate": 2})
    splits = Splits(*data, data[0].subset([]))
    resumed_run(config, RunFolder(run), splits)  # and then a kill
    again = resumed_run(config, RunFolder(run), splits)
    assert again.state.progress.accumulate == 2
