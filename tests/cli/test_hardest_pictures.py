"""An evaluation that took hours is not lost where a model has no maps of its hardest images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skinxai.cli.evaluations import _pictures
from skinxai.data import Record, Records
from skinxai.errors import ExplainError, InputNotFoundError, ModelError
from skinxai.labels import LabelSet
from skinxai.results import HardCase

RECORDS = Records((Record("1", Path("1.jpg"), "nv"),), LabelSet(("nv", "mel")))


@dataclass
class Judged:
    hardest: tuple[HardCase, ...] = (HardCase("1", "nv", "mel", 0.9, 0.1),)


class Asked:
    """Stands for a classifier whose `compare` raises, or tells what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def compare(self, image: Path, **asked: Any) -> Any:
        if self.error is not None:
            raise self.error
        return image, asked


def test_maps_of_the_answered_and_the_true_class() -> None:
    found = _pictures(Asked(), RECORDS, Judged(), tta=True)
    assert found == {"1": (Path("1.jpg"), {"targets": ["mel", "nv"], "tta": True})}


@pytest.mark.parametrize("kind", [ExplainError, ModelError])
def test_without_maps_the_evaluation_goes_on(kind, capsys) -> None:
    assert _pictures(Asked(kind("features must be a map.")), RECORDS, Judged()) == {}
    said = capsys.readouterr().err
    assert "the page has no maps of the hardest images: features must be a map." in said


def test_an_image_that_is_gone_is_an_error() -> None:
    with pytest.raises(InputNotFoundError):
        _pictures(Asked(InputNotFoundError("gone.")), RECORDS, Judged())
