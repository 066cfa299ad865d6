"""`Classifier.evaluate` of a calibrated model: its decisions, another model, hard images, JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import BASE, LABELS, coloured, model_folder, rows
from typer.testing import CliRunner

from skinxai import Classifier, Evaluation, Trainer
from skinxai.assessment.skin_tone import VALIDITY, typology_angle
from skinxai.assessment.subgroups import subgroups
from skinxai.cli import app
from skinxai.data import Records
from skinxai.errors import OptionError, SkinxaiError
from skinxai.labels import LabelSet
from skinxai.predicting import judging
from skinxai.reporting import read_evaluation, write_evaluation
from skinxai.results import HardCase, Uncertainty

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, malignant=frozenset({"red"}))


def mixed(found: Records, step: int) -> Records:
    """The records, of which one in ``step`` has another benign or malignant label."""
    codes, items = LABELS.codes, []
    for k, item in enumerate(found):
        label = codes[(codes.index(item.label) + 1) % 3] if k % step == 0 else item.label
        sex = {"sex": ("male", "female")[k % 2]}
        items.append(replace(item, label=label, lesion_id=f"lesion-{k // 2}", attributes=sex))
    return replace(found, items=tuple(items), labels=MALIGNANT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated model that has learnt the colours."""
    place = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(place / name, 8, 7 + k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    settings = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 3}
    made = Trainer(**settings, output_dir=place / "run").fit(*parts)
    own = mixed(coloured(place / "own", 12, 0), 3)
    made.calibrate(own, sensitivity=0.5).save_pretrained(place / "calibrated")
    return place / "calibrated"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Other pictures, of which one is black and one white: nothing is decided about them."""
    found = mixed(coloured(tmp_path_factory.mktemp("judged") / "new", 8, 40), 4)
    Image.new("RGB", (56, 40), (4, 3, 3)).save(found[5].path)
    Image.new("RGB", (56, 40), (250, 255, 250)).save(found[20].path)
    return found


@pytest.fixture(scope="module")
def evaluation(folder, records) -> Evaluation:
    return Classifier.from_pretrained(folder).evaluate(records, hardest=2, resamples=30)


@pytest.mark.parametrize("tta", [False, True])
def test_the_table_counts_what_predict_decides_at_each_point(folder, records, tta) -> None:
    """`evaluate` looks at each image once; `predict` is asked anew for every point."""
    classifier = Classifier.from_pretrained(folder)
    found = classifier.evaluate(records, resamples=5, tta=tta)
    assert list(found.decisions) == ["screening", "balanced", "sensitivity 0.50"]
    assert [name for name, each in found.decisions.items() if each.default] == ["screening"]
    paths = [item.path for item in records]
    kinds = np.array([item.label == "red" for item in records])
    seen = set()
    for name, each in found.decisions.items():
        decided = [p.decision for p in classifier.predict(paths, operating_point=name, tta=tta)]
        own = np.array(decided)
        seen |= set(decided)
        assert each.referred.count == (own == "refer").sum()
        assert each.missed.count == (kinds & (own == "routine")).sum()
        assert each.spared.count == (~kinds & (own == "routine")).sum()
        assert each.abstained.count == (own == "abstain").sum() >= 2
        point = classifier.calibration.fitted(tta=tta).operating_points[name]
        assert each.threshold == point.threshold
        assert each.calibrated_sensitivity.value == point.sensitivity.value
    assert seen == {"refer", "routine", "abstain"}
    assert found.calibrated_on == "colours"


def test_a_model_without_a_calibration_decides_nothing(records, tmp_path) -> None:
    plain = Classifier.from_pretrained(model_folder(tmp_path / "plain", MALIGNANT, seed=1))
    found = plain.evaluate(records, resamples=5)
    assert found.decisions == {} and found.calibrated_on is None
    assert "operating point" not in found.to_markdown()
    assert found.malignancy is not None and found.hardest == ()


def test_what_is_malignant_is_the_models_word(folder, records) -> None:
    silent = replace(records, labels=LABELS)
    found = Classifier.from_pretrained(folder).evaluate(silent, resamples=5)
    assert found.malignancy is not None
    assert found.malignancy.images == sum(item.label == "red" for item in records)


def test_the_hardest_images_are_those_of_the_largest_loss(folder, records, evaluation) -> None:
    probabilities = rows(Classifier.from_pretrained(folder).predict([i.path for i in records]))
    own = probabilities[np.arange(len(records)), records.targets()]
    expected = []
    for k, code in enumerate(MALIGNANT.codes):
        of_class = [n for n, item in enumerate(records) if item.label == code]
        for n in sorted(of_class, key=lambda n: own[n])[:2]:
            top = int(probabilities[n].argmax())
            answered = MALIGNANT.codes[top]
            expected.append(
                HardCase(records[n].image_id, code, answered, probabilities[n, top], own[n])
            )
        assert k == MALIGNANT.position(code)
    assert evaluation.hardest == tuple(expected)


def test_another_model_on_the_same_images(folder, records, tmp_path) -> None:
    classifier = Classifier.from_pretrained(folder)
    other = Classifier.from_pretrained(model_folder(tmp_path / "plain", MALIGNANT, seed=1))
    found = classifier.evaluate(records, against=other, resamples=30).comparison
    assert found is not None and found.against == other.model and not found.leaked
    alone = other.evaluate(records, resamples=5)
    assert found.figures["accuracy"].against == alone.accuracy.value
    assert found.figures["Brier score"].against == pytest.approx(alone.brier_score.value)
    wrong = Classifier.from_pretrained(model_folder(tmp_path / "w", LabelSet(("a", "b")), seed=1))
    with pytest.raises(OptionError, match="records must have the model's labels"):
        classifier.evaluate(records, against=wrong)


def test_another_model_that_was_trained_on_the_images_is_marked(folder, tmp_path) -> None:
    train, val = (coloured(tmp_path / name, 8, 7 + k) for k, name in enumerate(("train", "val")))
    settings = BASE | {"epochs": 1}
    other = Trainer(**settings, output_dir=tmp_path / "run").fit(train, val)
    plain = Classifier.from_pretrained(model_folder(tmp_path / "plain", LABELS, seed=1))
    found = plain.evaluate(train, against=other, resamples=5)
    assert not found.leaked and found.comparison is not None and found.comparison.leaked
    assert len(found.comparison.seen.exact) == 24
    assert "LEAKED: the other model was trained on these images" in found.to_markdown()
    page = write_evaluation(found, tmp_path / "out")[0].read_text()
    assert "LEAKED: the other model was trained on these images" in page


def test_skin_tone_is_measured_only_where_it_is_asked_for(folder, records, monkeypatch) -> None:
    classifier = Classifier.from_pretrained(folder)
    found = classifier.evaluate(records, skin_tone=True, resamples=5)
    assert VALIDITY in found.notes and any("skin tone (ITA)" in text for text in found.notes)
    monkeypatch.setattr(judging, "typology_angle", None)  # a call would raise
    without = classifier.evaluate(records, resamples=5)
    assert not [text for text in without.notes if "ITA" in text]
    angles = [typology_angle(np.asarray(Image.open(item.path))) for item in records]
    attributes = [{"ita": "" if math.isnan(angle) else str(angle)} for angle in angles]
    truth, guesses = np.array(records.targets()), np.zeros(len(records), np.int64)
    expected = subgroups(truth, guesses, [i.lesion_id for i in records], attributes, 3, resamples=5)
    assert [(g.value, g.images) for g in found.subgroups if "ITA" in g.attribute] == [
        (g.value, g.images) for g in expected
    ]


def test_an_angle_is_not_rounded_into_the_next_group(folder, tmp_path) -> None:
    records = coloured(tmp_path / "new", 7, 3)
    for item in records:
        Image.new("RGB", (56, 40), (124, 107, 101)).save(item.path)
    angle = typology_angle(np.asarray(Image.open(records[0].path)))
    assert -30.005 < angle < -30  # below -30 is dark
    found = Classifier.from_pretrained(folder).evaluate(records, skin_tone=True, resamples=5)
    assert [(g.value, g.images) for g in found.subgroups] == [("dark", 21)]


def test_uncertainty_that_is_no_better_than_the_top_probability_is_said(
    folder, records, monkeypatch
) -> None:
    def uncertain(*arguments, **options):
        for n, each in enumerate(plain(*arguments, **options)):
            yield replace(each, uncertainty=Uncertainty(0.1 + n % 3, 0.1, 0.0, 0.0, 4, "views"))

    plain = judging.predictions
    monkeypatch.setattr(judging, "predictions", uncertain)
    found = Classifier.from_pretrained(folder).evaluate(records, resamples=30)
    assert {"total uncertainty", "epistemic uncertainty", "variation ratio"} <= set(
        found.selective.scores
    )
    said = [text for text in found.selective.notes if "Variation ratio is" in text]
    assert len(said) == 1 and f"Note: {said[0]}." in found.to_markdown()
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_uncertainty_of_some_images_alone_is_not_compared(folder, records, monkeypatch) -> None:
    def uncertain(*arguments, **options):
        for n, each in enumerate(plain(*arguments, **options)):
            doubt = Uncertainty(0.3, 0.1, 0.2, 0.0, 4, "views") if n % 2 else None
            yield replace(each, uncertainty=doubt)

    plain = judging.predictions
    monkeypatch.setattr(judging, "predictions", uncertain)
    found = Classifier.from_pretrained(folder).evaluate(records, resamples=5)
    assert "novelty" in found.selective.scores
    assert "total uncertainty" not in found.selective.scores


def test_the_verdict_comes_first_and_says_what_is_not_known(evaluation, records, folder) -> None:
    patients = "no patient is named, so that other lesions of a training patient are not recognised"
    expected = (
        f"No leak is known: none of the 24 images was recognised as a training image or a copy of "
        f"one. Not known: {patients}."
    )
    assert evaluation.verdict == expected
    assert next(iter(evaluation.to_dict().items())) == ("verdict", expected)
    assert evaluation.to_markdown().startswith(expected)
    known = [replace(item, patient_id=f"p{k}") for k, item in enumerate(records)]
    found = Classifier.from_pretrained(folder).evaluate(
        replace(records, items=tuple(known)), resamples=5
    )
    assert found.not_known == () and "Not known" not in found.verdict
    alone = [replace(item, lesion_id=item.image_id) for item in records]
    found = Classifier.from_pretrained(folder).evaluate(
        replace(records, items=tuple(alone)), resamples=5
    )
    assert found.not_known[0].startswith("no lesion is named")
    leaked = replace(evaluation, leaked=True)
    assert leaked.verdict.startswith("LEAKED: these lesions") and patients in leaked.verdict


def test_json_and_back(evaluation, records, folder, tmp_path) -> None:
    classifier = Classifier.from_pretrained(folder)
    whole = classifier.evaluate(records, against=classifier, hardest=1, skin_tone=True, resamples=5)
    one = [item for item in records if item.label == "green"]
    single = classifier.evaluate(
        replace(records, items=tuple(one)), against=classifier, resamples=5
    )
    assert math.isnan(single.recall["red"].value) and single.malignancy.decision_curve == ()
    for found in (evaluation, whole, single):
        path = write_evaluation(found, tmp_path / "out")[1]
        again = read_evaluation(path)[0]
        assert again.to_dict() == found.to_dict()
        assert "NaN" not in path.read_text()
    values = evaluation.to_dict()
    for change, words in (
        ({"verdict": "No leak at all."}, "verdict must be 'No leak is known"),
        ({"decisions": {"own": {}}}, "decisions.own must have the keys"),
        ({"hardest": [{}]}, r"hardest\[0\] must have the keys"),
    ):
        with pytest.raises(OptionError, match=words):
            Evaluation.from_dict(values | change)


@pytest.mark.parametrize("count", [-1, 1.5, True, "two"])
def test_a_number_of_hardest_images_that_is_none(folder, records, count) -> None:
    with pytest.raises(OptionError, match="hardest must be a whole number >= 0"):
        Classifier.from_pretrained(folder).evaluate(records, hardest=count)


def test_the_command_shows_maps_only_where_they_are_asked_for(folder, tmp_path) -> None:
    data = tmp_path / "data"
    for item in coloured(tmp_path / "flat", 3, 5):
        place = data / item.label
        place.mkdir(parents=True, exist_ok=True)
        item.path.rename(place / item.path.name)
    arguments = ["evaluate", str(data), "--model", str(folder), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.exception
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "What would be decided" in page and "<img" not in page and "Hardest" not in page
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["hardest"] == []
    more = ["--hardest", "1", "--against", str(folder), "--skin-tone"]
    found = CliRunner().invoke(app, arguments + more)
    assert found.exit_code == 0, found.exception
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert page.count("<img alt='Maps of ") == 3 and "src='http" not in page
    assert "whoever has the page has them" in found.stderr and "McNemar test" in found.stdout


def test_an_unknown_other_model_is_refused_before_any_image_is_read(folder, tmp_path) -> None:
    data, nowhere = tmp_path / "data", str(tmp_path / "nowhere")
    data.mkdir()
    arguments = ["evaluate", str(data), "--model", str(folder), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, [*arguments, "--against", nowhere])
    assert isinstance(found.exception, SkinxaiError) and nowhere in str(found.exception)
