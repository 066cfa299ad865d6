"""The settings of a run: every rule, every name, and the way to JSON and back."""

import json
import math
from dataclasses import fields
from typing import Any

import pytest

from skinxai.errors import OptionError
from skinxai.training.settings import CHANGEABLE, TrainConfig

NAMES = [field.name for field in fields(TrainConfig)]
NUMBERS: dict[str, tuple[list[Any], list[Any], str]] = {  # right, wrong, the rule
    "epochs": ([1, 10**6], [0, -1, 2.5, "3", True, None], "an integer >= 1"),
    "batch_size": ([2, 4096], [1, 0, 2.0, None], "an integer >= 2"),
    "accumulate": ([1, 16], [0, 1.5, None], "an integer >= 1"),
    "learning_rate": ([1e-9, 1, 10.0], [0, -1, math.inf, math.nan, "1e-3", None], "> 0"),
    "warm_up": ([0, 0.5, 0.99], [1, -0.1, math.nan, None], r"in \[0, 1\)"),
    "weight_decay": ([0, 0.3], [-0.1, math.inf, math.nan, None], ">= 0"),
    "layer_decay": ([1, 0.5], [0, 1.1, -1, math.nan], r"in \(0, 1\]"),
    "frozen_groups": ([0, 9], [-1, 0.5, None], "an integer >= 0"),
    "clip_norm": ([None, 0.1], [0, -1, math.inf, math.nan, "1"], "> 0, or None"),
    "hair": ([0, 1, 0.5], [-0.1, 1.1, math.nan, None], r"in \[0, 1\]"),
    "colour_constancy": ([0, 1, 0.5], [-0.1, 1.1, math.nan, True], r"in \[0, 1\]"),
    "teacher_share": ([1, 0.01], [0, 1.1, math.nan, None], r"in \(0, 1\]"),
    "teacher_temperature": ([0.5, 4], [0, -1, math.inf, None], "> 0"),
    "max_pixels": ([1, 40_000_000], [0, -1, 2.5, "1", True, None], "an integer >= 1"),
    "mixup": ([0, 0.4, 8], [-1, math.inf, math.nan, None], ">= 0"),
    "cutmix": ([0, 1.0], [-1, math.inf, math.nan, None], ">= 0"),
    "drop_rate": ([0, 0.9], [1, -0.1, None], r"in \[0, 1\)"),
    "drop_path_rate": ([0, 0.9], [1, -0.1, None], r"in \[0, 1\)"),
    "average_decay": ([0, 0.9999], [1, -0.1, math.nan, None], r"in \[0, 1\)"),
    "patience": ([None, 1], [0, 1.5, "2"], "an integer >= 1"),
    "seed": ([0, 2**40, 2**63 - 1], [-1, 0.5, None, 2**63], "an integer from 0 to 2\\^63 - 1"),
    "checkpoint_minutes": ([1e-9, 60], [0, -1, math.inf, math.nan, None], "> 0"),
    "keep_checkpoints": ([1, 50], [0, 1.0, None], "an integer >= 1"),
}
CHOICES: dict[str, tuple[list[Any], list[Any]]] = {
    "augment_on": (["cpu", "device"], ["gpu", None, True]),
    "teacher_answers": (["all", "unseen"], ["seen", None, False]),
    "amp": ([True, False, "bfloat16", "float16"], [None, 1, 0, "bf16", "true"]),
    "sampler": ([None, "square_root", "balanced"], ["fair", "none", False, 0]),
    "strategy": (["ddp", "fsdp"], ["zero", "FSDP", None, True]),
    "sync_batch_norm": ([True, False], [None, 1, "true"]),
    "unreadable": (["raise", "skip"], ["ignore", None, True]),
    "image_size": ([(32, 48), [4096, 32]], [(31, 48), (32, 4097), (32,), 31, 4097, 224.0, True, -1,
                                            None, "32x48", "224", (32.0, 48), (True, 48),
                                            (32, 48, 3)]),
    "backbone": (["x"], [None, 3]),
    "loss": (["x"], [None, len]),
    "device": (["cuda:3"], [None, 0]),
    "init_weights": ([None, "x"], [3, True]),
    "teacher": ([None, "x"], [3, False]),
    "not_copies": ([(), ["a", "b"]], ["a", [1]]),
    "loss_options": ([{}, {"gamma": 1.0}], [None, "gamma=1", [("gamma", 1.0)]]),
    "workers": (["auto", 0, 7], [-1, 1.5, "many", None, True, "2"]),
}  # fmt: skip
FREE = {  # what a registry, torch or the disk knows is asked there: see test_names_of_a_run
    "backbone": "x", "init_weights": None, "loss": "x", "loss_options": {"gamma": 1.0},
    "teacher": None, "augmentation": "heavy", "device": "cuda:3", "not_copies": ("a", "b"),
}  # fmt: skip


def test_every_setting_has_a_rule_here_and_a_line_of_help() -> None:
    assert sorted(NAMES) == sorted({*NUMBERS, *CHOICES, "augmentation"})
    for field in fields(TrainConfig):
        help = field.metadata["help"]
        assert help.endswith((".", "…")) and len(help) < 100, field.name


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name) -> None:
    right, wrong, rule = NUMBERS[name]
    for value in right:
        config = TrainConfig(**{"batch_size": 4096} | {name: value})
        assert getattr(config, name) == value
    for value in wrong:
        with pytest.raises(OptionError, match=f"^{name} must be {rule}, got ") as info:
            TrainConfig(**{name: value})
        assert str(info.value).endswith(f"got {value!r}.")


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name) -> None:
    right, wrong = CHOICES[name]
    for value in right:
        kept = getattr(TrainConfig(**{name: value}), name)
        assert kept == (tuple(value) if isinstance(value, list) else value)
        assert type(kept) is not list
    for value in wrong:
        with pytest.raises(OptionError, match=f"^{name} must be ") as info:
            TrainConfig(**{name: value})
        assert f"got {value!r}." in str(info.value)


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [("sampler", "balance", "balanced"), ("sampler", "squareroot", "square_root"),
     ("amp", "bf16", "bfloat16"), ("amp", "fp16", "float16"), ("unreadable", "skipp", "skip"),
     ("strategy", "fsdp2", "fsdp"),
     ("sampler", "uniform", None)],
)  # fmt: skip
def test_what_may_have_been_meant(name, value, near) -> None:
    with pytest.raises(OptionError) as info:
        TrainConfig(**{name: value})
    hint = "" if near is None else f" Did you mean {near!r}?"
    assert str(info.value).endswith(f"got {value!r}.{hint}")


def test_one_number_is_a_square() -> None:
    assert TrainConfig(image_size=224) == TrainConfig(image_size=(224, 224))
    assert TrainConfig(image_size=224).to_dict()["image_size"] == (224, 224)


def test_a_micro_batch_has_two_images_or_more() -> None:
    assert TrainConfig(batch_size=8, accumulate=4).accumulate == 4
    with pytest.raises(OptionError, match=r"accumulate must leave at least 2 .* 8, got 5"):
        TrainConfig(batch_size=8, accumulate=5)


@pytest.mark.parametrize(
    ("name", "near"),
    [("learning_rat", "learning_rate"), ("mix_up", "mixup"), ("epoch", "epochs"), ("zzz", "")],
)
def test_unknown_names(name, near) -> None:
    with pytest.raises(OptionError, match=f"Unknown setting '{name}'") as info:
        TrainConfig.of({"backbone": "resnet18", name: 1})
    said = str(info.value)
    assert (f"Did you mean '{near}'?" in said) if near else ("Did you mean" not in said)
    assert "'weight_decay'" in said  # all are listed


def test_an_option_of_a_loss_that_is_there_twice_is_refused() -> None:
    assert TrainConfig.parse({"loss_options": "a=1,b=2"}) == {"loss_options": {"a": 1, "b": 2}}
    with pytest.raises(OptionError, match="must name each option once, got 'a=1,a=2'"):
        TrainConfig.parse({"loss_options": "a=1,a=2"})


def test_to_json_and_back() -> None:
    config = TrainConfig(**FREE, image_size=(64, 96), clip_norm=0.5, patience=3, amp="float16")
    values = json.loads(json.dumps(config.to_dict()))
    assert list(values) == NAMES and TrainConfig.of(values) == config
    assert TrainConfig.of(TrainConfig().to_dict()) == TrainConfig()


def test_an_own_pipeline_is_its_name_in_json() -> None:
    def mine(pixels: Any) -> Any:
        return pixels

    assert TrainConfig(augmentation=mine).to_dict()["augmentation"] == {
        "own": "test_an_own_pipeline_is_its_name_in_json.<locals>.mine"
    }
    json.dumps(TrainConfig(augmentation=object()).to_dict())


def test_a_config_cannot_be_changed() -> None:
    options = {"gamma": 1.0}
    config = TrainConfig(loss_options=options)
    options["gamma"] = 2.0
    assert config.loss_options["gamma"] == 1.0
    with pytest.raises(AttributeError):
        config.epochs = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.loss_options["gamma"] = 3.0  # type: ignore[index]
    assert TrainConfig().loss_options == {}


def test_what_a_resumed_run_may_change_are_settings() -> None:
    assert set(NAMES) >= CHANGEABLE
    assert not CHANGEABLE & {"seed", "batch_size", "backbone", "image_size", "loss", "amp", "mixup"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("image_size", "192x256", (192, 256)),
        ("image_size", "192X256", (192, 256)),
        ("image_size", "224", (224, 224)),
        ("learning_rate", "1e-3", 1e-3),
        ("epochs", "12", 12),
        ("amp", "true", True),
        ("amp", "False", False),
        ("amp", "bfloat16", "bfloat16"),
        ("clip_norm", "none", None),
        ("init_weights", "None", None),
        ("workers", "auto", "auto"),
        ("loss_options", "gamma=2,label_smoothing=0.1", {"gamma": 2, "label_smoothing": 0.1}),
        ("backbone", "resnet18", "resnet18"),
    ],
)
def test_values_from_text(name, text, value) -> None:
    found = TrainConfig.parse({name: text})
    assert found == {name: value} and type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("image_size", "192x"), ("image_size", "1x2x3"), ("image_size", "-1x5"),
     ("image_size", "1.5x3"), ("image_size", ""),
     ("loss_options", "gamma"), ("loss_options", "=2"), ("loss_options", "")],
)  # fmt: skip
def test_text_that_is_no_value(name, text) -> None:
    words = f"{name.removeprefix('image_')} must look like .*got '{text}'"
    with pytest.raises(OptionError, match=words):
        TrainConfig.parse({name: text})


@pytest.mark.parametrize("value", ["gpu", "GPU", "cuda", "cuda:0"])
def test_who_asks_for_the_gpu_to_augment_is_told_its_name(value: str) -> None:
    with pytest.raises(OptionError, match=rf"got '{value}'\. Did you mean 'device'\?$"):
        TrainConfig(augment_on=value)
