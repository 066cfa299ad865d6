"""A name that nothing has is refused when the trainer is made, before any image is read."""

import pytest
from small_runs import BASE

from skinxai.errors import OptionError, SkinxaiError, UnknownNameError
from skinxai.training.trainer import Trainer


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"loss": "dice"}, UnknownNameError, "Unknown loss 'dice'."),
        ({"loss": "focl"}, UnknownNameError, "Unknown loss 'focl'. Did you mean 'focal'?"),
        ({"loss_options": {"smoothing": 0.1}}, OptionError,
         "loss 'cross_entropy' has the options ['label_smoothing'], got 'smoothing'. Did you mean "
         "'label_smoothing'?"),
        ({"loss_options": {"label_smoothing": 2}}, OptionError, "label_smoothing must be"),
        ({"backbone": "resnet19"}, UnknownNameError,
         "Unknown backbone 'resnet19'. Did you mean 'resnet18'?"),
        ({"backbone": "resnet26d"}, UnknownNameError,
         "Unknown backbone 'resnet26d'; timm has a network of that name: timm/resnet26d."),
        ({"backbone": "timm/resnet26x"}, UnknownNameError,
         "Unknown network 'resnet26x' of timm. Did you mean 'resnet26"),
        ({"sampler": "balance"}, OptionError,
         "sampler must be one of [None, 'square_root', 'balanced'], got 'balance'. Did you mean "
         "'balanced'?"),
        ({"augmentation": "strong"}, OptionError, "augmentation must be one of"),
        ({"augmentation": "standart"}, OptionError,
         "got 'standart'; pass 'standard', or a pipeline"),
        ({"init_weights": "imagnet"}, OptionError,
         "init_weights must be None, 'imagenet', 'bundled', a model folder or 'org/name', found no "
         "folder 'imagnet'. Did you mean 'imagenet'?"),
        ({"teacher": "bundeld"}, OptionError,
         "teacher must be None, 'bundled', a model folder or 'org/name', found no folder "
         "'bundeld'. Did you mean 'bundled'?"),
        ({"init_weights": "no_such_folder"}, OptionError, "found no folder 'no_such_folder'."),
        ({"image_size": "224"}, OptionError, "image_size must be (height, width), or one number"),
        ({"device": "tpu"}, OptionError, "device must be 'auto' or one that this machine has"),
        ({"epoch": 3}, OptionError, "Unknown setting 'epoch'. Did you mean 'epochs'?"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_has(tmp_path, settings, error, words) -> None:
    with pytest.raises(error) as info:
        Trainer(**BASE | {"backbone": "resnet18"} | settings | {"output_dir": tmp_path / "run"})
    assert words in str(info.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "timm/resnet26d"},
        {"loss": "focal", "loss_options": {"gamma": 1.0}},
        {"loss": "class_balanced"},
        {"init_weights": "imagenet"},
        {"init_weights": "org/name@main", "teacher": "bundled"},
        {"init_weights": "later.safetensors"},
        {"augmentation": lambda pixels: pixels},
        {"image_size": 224},
    ],
)
def test_names_that_there_are(tmp_path, settings) -> None:
    made = Trainer(**BASE | {"backbone": "resnet18"} | settings | {"output_dir": tmp_path / "run"})
    assert not list(tmp_path.iterdir())
    assert isinstance(made.config.image_size, tuple)


def test_a_folder_and_a_path(tmp_path) -> None:
    made = Trainer(**BASE | {"backbone": "resnet18", "init_weights": tmp_path})
    assert made.config.init_weights == str(tmp_path)
    with pytest.raises(SkinxaiError, match="found no folder"):
        Trainer(**BASE | {"backbone": "resnet18", "teacher": tmp_path / "no folder"})
