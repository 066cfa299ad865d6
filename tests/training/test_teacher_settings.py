"""Settings that apply to a teacher's answers, where there is no teacher."""

from pathlib import Path

import pytest
from small_runs import BASE, coloured

from skinxai import Trainer
from skinxai.data import Splits
from skinxai.errors import OptionError
from skinxai.experiments import cross_validate, tune
from skinxai.training.settings import OF_TEACHER, TrainConfig

pytestmark = pytest.mark.usefixtures("small_networks")

ASKED = {"teacher_share": 0.3, "teacher_temperature": 2.0, "teacher_answers": "unseen"}
SEARCH = {"learning_rate": (1e-3, 1e-2)}


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    train, val = coloured(tmp_path / "train", 8, 0), coloured(tmp_path / "val", 3, 1)
    return Splits(train, val, val.subset([], part="test"))


def test_all_of_them_are_known() -> None:
    assert set(ASKED) == set(OF_TEACHER)
    assert {name for name in TrainConfig.names() if name.startswith("teacher_")} == set(OF_TEACHER)


@pytest.mark.parametrize("name", ASKED)
def test_they_are_refused_before_anything_is_written(splits, tmp_path, name: str) -> None:
    run, asked = tmp_path / "run", {name: ASKED[name]}
    free = {key: value for key, value in BASE.items() if key not in SEARCH}
    for begin in (
        lambda: Trainer(**BASE, **asked, output_dir=run),
        lambda: cross_validate(splits.train, 2, **BASE, **asked, output_dir=run),
        lambda: tune(splits, 1, search=SEARCH, **free, **asked, output_dir=run),
        lambda: tune(splits, 1, search={name: [ASKED[name]]}, **BASE, output_dir=run),
    ):
        with pytest.raises(OptionError, match=rf"^{name} must be left out .*, or pass teacher\.$"):
            begin()
        assert not run.exists()
    Trainer(**BASE, **asked, teacher="bundled", output_dir=run)
    Trainer(**BASE, **{name: getattr(TrainConfig, name)}, output_dir=run)  # which says nothing


def test_a_trial_that_draws_no_teacher_goes_without_them(splits, tmp_path) -> None:
    found = tune(
        splits, 1, search={"teacher": ["none"], "teacher_share": [0.3]}, **BASE, epochs=1,
        teacher_answers="unseen", output_dir=tmp_path / "run",
    )  # fmt: skip
    assert found.best.state == "complete" and not set(found.settings) & set(OF_TEACHER)
    assert Trainer(**found.settings, output_dir=tmp_path / "again").config.teacher_share == 0.5
