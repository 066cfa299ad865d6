"""Predictions and records as pandas tables."""

from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from skinxai import LabelSet
from skinxai.data.records import Record, Records
from skinxai.errors import ImageDecodeError, OptionError
from skinxai.results import ItemError, Prediction, Uncertainty
from skinxai.results.doubts import Novelty
from skinxai.results.frames import to_frame

LABELS = LabelSet(("nv", "mel"), {"nv": "naevus", "mel": "melanoma"}, frozenset({"mel"}))


def prediction(source: str, row: list[float], labels: LabelSet = LABELS) -> Prediction:
    return Prediction.from_probabilities(row, labels, source=source, model="m@1", backend="torch")


def test_a_row_for_each_image_in_order() -> None:
    bad = ItemError(1, "b.jpg", ImageDecodeError("b.jpg must be an image."))
    found = to_frame(iter([prediction("a.jpg", [0.25, 0.75]), bad]))
    assert list(found.columns) == [
        "source", "label", "probability", "p_nv", "p_mel", "malignant_probability",
        "calibrated_on", "operating_point", "decision", "reasons", "quality", "novelty_score",
        "novelty_refused", "uncertainty_total", "uncertainty_aleatoric", "uncertainty_epistemic",
        "uncertainty_variation_ratio", "uncertainty_passes", "uncertainty_by", "prediction_set",
        "model", "backend", "warnings", "error_code", "error",
    ]  # fmt: skip
    assert found.source.tolist() == ["a.jpg", "b.jpg"]
    assert found.loc[0, ["p_nv", "p_mel", "probability", "malignant_probability"]].tolist() == [
        0.25, 0.75, 0.75, 0.75,
    ]  # fmt: skip
    assert found.label[0] == "mel" and found.warnings[0] == [] and pd.isna(found.error[0])
    assert pd.isna(found.p_mel[1]) and pd.isna(found.label[1])
    assert set(bad.to_dict()) <= set(found.columns)  # what is in JSON is in the table
    assert (found.error_code[1], found.error[1]) == ("image_decode", "b.jpg must be an image.")


def test_what_speaks_against_an_answer_has_columns() -> None:
    sure = prediction("a.jpg", [0.25, 0.75])
    told = Uncertainty(0.6, 0.5, 0.1, 0.25, 20, "dropout")
    doubted = replace(sure, novelty=Novelty(0.7, True), uncertainty=told)
    found = to_frame([sure, doubted])
    assert found.loc[1, ["novelty_score", "novelty_refused"]].tolist() == [0.7, True]
    own = [f"uncertainty_{each.name}" for each in fields(Uncertainty)]
    assert found.loc[1, own].tolist() == [0.6, 0.5, 0.1, 0.25, 20, "dropout"]
    assert found.loc[0, ["novelty_score", *own]].isna().all()
    given = doubted.to_dict()
    scalars = {k for k, v in given.items() if k not in ("probabilities", "novelty", "uncertainty")}
    assert scalars <= set(found.columns)  # what is in JSON is in the table


def test_nothing_is_a_table_without_rows() -> None:
    assert len(to_frame([])) == 0 and "label" in to_frame([])


def test_two_label_sets_are_no_table() -> None:
    other = prediction("c.jpg", [0.5, 0.5], LabelSet(("nv", "bcc"), {}, None))
    with pytest.raises(OptionError, match="one label set"):
        to_frame([prediction("a.jpg", [0.25, 0.75]), other])


def test_records_with_attributes_of_some_images() -> None:
    records = Records(
        (
            Record("1", Path("1.jpg"), "nv", lesion_id="L", attributes={"sex": "female"}),
            Record("2", Path("2.jpg"), "mel", attributes={"age": 50, "label": "old"}),
        ),
        LABELS,
    )
    found = records.to_frame()
    assert list(found.columns) == [
        "image_id", "label", "lesion_id", "patient_id", "path", "sex", "age", "attribute_label",
    ]  # fmt: skip
    assert found.label.tolist() == ["nv", "mel"] and found.lesion_id.tolist() == ["L", "2"]
    assert found.sex[0] == "female" and pd.isna(found.sex[1]) and found.age[1] == 50
    assert found.attribute_label[1] == "old"
