"""``augment_on="device"``: images stay in memory; runs learn, resume and fail as others do."""

from typing import Any

import pytest
import torch
from small_runs import ALL_ON, BASE, coloured, differences
from test_resume import Stop

from skinxai import Trainer
from skinxai.backbones.network import SkinClassifier
from skinxai.data import Records, prepare
from skinxai.errors import ResumeMismatchError
from skinxai.training import loaders
from skinxai.training.run import workers_of
from skinxai.training.settings import TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")
ON: dict[str, Any] = {"augment_on": "device", "hair": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    folder = tmp_path_factory.mktemp("colours")
    return coloured(folder / "train", 11, 0), coloured(folder / "val", 3, 1)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_resumed_run_has_the_bits_of_an_undisturbed_one(data, tmp_path, prepared) -> None:
    if prepared:
        data = tuple(prepare(part, tmp_path / f"part{n}", image_size=(36, 52), progress=False)
                     for n, part in enumerate(data))  # fmt: skip
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    Trainer(**ALL_ON | ON, output_dir=whole).fit(*data)
    with pytest.raises(KeyboardInterrupt):
        Trainer(**ALL_ON | ON, output_dir=cut, callbacks=[Stop(step=2)]).fit(*data)
    with pytest.raises(KeyboardInterrupt):
        Trainer.resume(cut, callbacks=[Stop(step=7)]).fit(*data)
    Trainer.resume(cut).fit(*data)
    assert differences(cut, whole) == []


def test_it_learns_as_well_as_on_the_cpu(data, tmp_path) -> None:
    found = {}
    for where in ("cpu", "device"):
        settings = BASE | {"epochs": 12, "learning_rate": 1e-2, "augment_on": where}
        Trainer(**settings, output_dir=tmp_path / where).fit(*data)
        rows = (tmp_path / where / "log.csv").read_text().splitlines()
        found[where] = float(rows[-1].split(",")[4])
    assert found["device"] == found["cpu"] == 1.0


def test_it_is_recorded_and_stays(data, tmp_path) -> None:
    Trainer(**BASE | ON | {"epochs": 1}, output_dir=tmp_path / "run").fit(*data)
    assert '"augment_on": "device"' in (tmp_path / "run" / "train.json").read_text()
    assert (
        "on the device, from decoded images in memory"
        in (tmp_path / "run" / "README.md").read_text()
    )
    with pytest.raises(ResumeMismatchError, match=r"may change .*, got 'augment_on'"):
        Trainer.resume(tmp_path / "run", augment_on="cpu")


def test_no_decoding_process_is_started(data, tmp_path, monkeypatch) -> None:
    def no_loader(*_: Any, **__: Any) -> None:
        raise AssertionError("a loader was started")

    monkeypatch.setattr(loaders, "DataLoader", no_loader)
    settings = BASE | ON | {"epochs": 1, "workers": 3}
    assert workers_of(TrainConfig(**settings)) == 0  # so that a script needs no main guard
    Trainer(**settings, output_dir=tmp_path / "run").fit(*data)


@pytest.mark.parametrize(
    ("benchmark", "deterministic", "within"),
    [(False, False, True), (False, True, False), (True, False, True), (True, True, True)],
)
def test_kernels_are_timed_unless_algorithms_must_be_deterministic(
    data, tmp_path, monkeypatch, benchmark, deterministic, within
) -> None:
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "benchmark", benchmark)
    monkeypatch.setattr(cudnn, "deterministic", deterministic)

    features = SkinClassifier.features

    def telling(self: SkinClassifier, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append((len(images), cudnn.benchmark))
        return features(self, images)

    monkeypatch.setattr(SkinClassifier, "features", telling)
    settings = BASE | ON | {"epochs": 1, "batch_size": 11}
    Trainer(**settings, output_dir=tmp_path / "run").fit(*data)
    assert seen == [(11, within)] * 3 and cudnn.benchmark == benchmark
