"""An original that is no longer what was prepared is not read in the place of its pixels."""

import shutil
from pathlib import Path

import pytest
from small_runs import BASE, coloured, model_folder

from skinxai import Classifier
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, Splits, audit, prepare
from skinxai.errors import DatasetError, DatasetImageError
from skinxai.probing import probe
from skinxai.reporting import read_log
from skinxai.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("small_networks")
CHANGED = r"1 of 6 original files, which are read because .* 'val-red-01\.png' first; delete the"
SIZE = (40, 56)


@pytest.fixture
def data(tmp_path) -> tuple[Records, Records]:
    """Two parts, prepared at `SIZE`, which is not that of the network's input."""
    train, val = (
        prepare(coloured(tmp_path / name, each, each), tmp_path / f"at {name}", image_size=SIZE,
                progress=False)
        for name, each in (("train", 3), ("val", 2))
    )  # fmt: skip
    return train, val


def exchange(val: Records) -> Path:
    """Put a green picture in the place of a red one, whose label stays."""
    named = {item.image_id: item.path for item in val}
    shutil.copyfile(named["val-green-00.png"], named["val-red-01.png"])
    return named["val-red-01.png"]


def test_training_does_not_choose_on_other_pictures(data, tmp_path) -> None:
    run, settings = tmp_path / "run", BASE | {"epochs": 1}
    Trainer(**settings, output_dir=run).fit(*data)
    path = exchange(data[1])
    for trainer in (
        Trainer(**settings, output_dir=tmp_path / "new"),
        Trainer.resume(run, epochs=2),
    ):
        with pytest.raises(DatasetError, match=CHANGED):
            trainer.fit(*data)
    assert not (tmp_path / "new").exists() and len(read_log(run)) == 1  # before any epoch
    Trainer(**settings | {"image_size": SIZE}, output_dir=tmp_path / "at size").fit(*data)
    path.unlink()  # whoever reads it names all that are gone
    with pytest.raises(DatasetImageError, match="1 of 6 validation images cannot be read:"):
        Trainer(**settings, output_dir=tmp_path / "gone").fit(*data)


def test_no_model_is_judged_on_other_pictures(data, tmp_path) -> None:
    fits = Classifier.from_pretrained(
        model_folder(tmp_path / "fits", seed=1, preprocessing=PreprocessConfig(SIZE))
    )
    other = Classifier.from_pretrained(model_folder(tmp_path / "other", seed=1))
    before = fits.evaluate(data[1]).to_dict()
    other.evaluate(data[1])
    exchange(data[1])
    assert fits.evaluate(data[1]).to_dict() == before  # of the prepared pixels
    for judge in (other.evaluate, other.calibrate):
        with pytest.raises(DatasetError, match=CHANGED):
            judge(data[1])


def test_no_features_are_those_of_other_pictures(data, tmp_path) -> None:
    start = model_folder(tmp_path / "start", seed=1)
    exchange(data[1])
    with pytest.raises(DatasetError, match=CHANGED):
        probe(*data, init_weights=start, resamples=5, device="cpu")
    probe(*data, init_weights=start, image_size=SIZE, resamples=5, device="cpu")


def test_the_audit_names_what_it_sees_in_the_place_of_what_is_learnt(data) -> None:
    splits = Splits(*data, data[1].subset([], part="test"))
    assert "changed" not in {finding.kind for finding in audit(splits, progress=False).findings}
    exchange(data[1])
    found = [each for each in audit(splits, progress=False).findings if each.kind == "changed"]
    assert [(each.severity, each.count) for each in found] == [("error", 1)]
    assert "val-red-01.png; delete the folder and prepare the data again" in found[0].message
