"""What the demo says of decisions: in words, with reasons, escaped, and nothing where none is."""

from dataclasses import replace

import pytest

from skinxai import LabelSet
from skinxai.demo.verdicts import decision
from skinxai.results import Novelty, Prediction

LABELS = LabelSet(("mel", "nv"), {"mel": "melanoma", "nv": "<b>nevus</b>"}, frozenset({"mel"}))


@pytest.fixture
def made() -> Prediction:
    plain = Prediction.from_probabilities(
        [0.7, 0.3], LABELS, source="x.png", model="m@1", backend="torch"
    )
    return replace(
        plain, calibrated_on="val", operating_point="<screening>", decision="refer",
        reasons=("the malignant probability 0.700 is at least 0.100",),
        sets=lambda coverage: ("mel", "nv") if coverage == 0.9 else (),
    )  # fmt: skip


def test_a_decision_its_reason_and_its_set(made: Prediction) -> None:
    shown = decision(made)
    assert ">Refer <span class='under'>at the operating point “&lt;screening&gt;”" in shown
    assert "<p>The malignant probability 0.700 is at least 0.100.</p>" in shown
    assert "Not ruled out, for 90 of 100 lesions: Melanoma, &lt;b&gt;nevus&lt;/b&gt;." in shown
    assert "class='decision refer'" in shown


def test_no_decision_says_why(made: Prediction) -> None:
    doubts = ("blurred: sharpness 0.8, below the limit of 3", "unlike the images: novelty 0.7")
    shown = decision(replace(made, decision="abstain", reasons=doubts))
    assert "No decision" in shown and "Refer" not in shown
    assert "<p>Blurred: sharpness 0.8, below the limit of 3.</p>" in shown
    assert "<p>Unlike the images: novelty 0.7.</p>" in shown and "Not ruled out" in shown
    for refused in (False, True):  # the set of an image of another kind promises nothing
        own = replace(made, decision="abstain", novelty=Novelty(0.6, refused))
        assert own.flags == (("novel",) if refused else ())
        assert ("Not ruled out" in decision(own)) == ("90 % set" in repr(own)) == (not refused)


def test_nothing_of_a_model_that_was_not_calibrated(made: Prediction) -> None:
    assert decision(replace(made, calibrated_on=None)) == ""
    shown = decision(replace(made, decision=None, operating_point=None, reasons=()))
    assert "operating point" not in shown and "Not ruled out" in shown


def test_a_batch_names_decisions_and_doubts(made: Prediction) -> None:
    from skinxai.demo.batch import Row, frame

    doubtful = replace(
        made, decision="abstain", reasons=("blurred: sharpness 0.8",), warnings=("mpo: two images",)
    )
    table = frame(LABELS, [Row("data:,", made), Row("data:,", doubtful)])
    assert list(table["decision"]) == ["refer", "abstain"]
    assert list(table["notes"]) == ["", "Blurred: sharpness 0.8. Two images."]
    plain = replace(made, decision=None)
    assert "decision" not in frame(LABELS, [Row("data:,", plain)])
