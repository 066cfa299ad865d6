"""`Classifier.calibrate`: what is fitted, kept beside the weights, and used by every answer."""

import csv
import pickle
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import BASE, LABELS, coloured, model_folder, rows
from typer.testing import CliRunner

from skinxai import Attribution, Classifier, Explainer, Trainer, checkpoints, explainers, plugins
from skinxai.cli import app
from skinxai.data import Records, TrainedOn
from skinxai.errors import IntegrityError, ModelError, OptionError, SkinxaiWarning, UnknownNameError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_model_folder, write_model_folder
from skinxai.model_folders.parts import CALIBRATION
from skinxai.results.probabilities import from_logits
from skinxai.trust.conformal import Conformal
from skinxai.trust.deciding import decided_at
from skinxai.trust.operating_points import MalignancyScores
from skinxai.trust.quality import QualityLimits, measure
from skinxai.trust.scaling import Scaling

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, malignant=frozenset({"red"}))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Pictures of three colours; of the benign ones every third has the other's label."""
    found = coloured(tmp_path_factory.mktemp("calibration") / "val", 12, 0)
    other = {"red": "red", "green": "blue", "blue": "green"}
    items = [
        replace(item, label=other[item.label]) if k % 3 == 0 else item
        for k, item in enumerate(found)
    ]
    return replace(found, items=tuple(items), labels=MALIGNANT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt the colours."""
    place = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(place / name, 8, 7 + k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    settings = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 3}
    Trainer(**settings, output_dir=place / "run").fit(*parts)
    return place / "run"


@pytest.fixture(scope="module")
def calibrated(folder, records) -> Classifier:
    return Classifier.from_pretrained(folder).calibrate(records, sensitivity=0.5)


def with_training(folder: Path, trained_on: TrainedOn | None) -> Classifier:
    loaded = checkpoints.load(read_model_folder(folder))
    return Classifier(replace(loaded, trained_on=trained_on))


def paths(records: Records) -> list[Path]:
    return [item.path for item in records]


def test_answers_name_no_folder_that_would_answer_otherwise(
    folder, calibrated, records, tmp_path
) -> None:
    """Until it is saved, a calibrated model has no revision."""
    before, (path, *_) = Classifier.from_pretrained(folder), paths(records)
    name = before.config.name
    assert before.model == before.predict(path).model != f"{name}@unsaved"
    assert calibrated.model == calibrated.predict(path).model == f"{name}@unsaved"
    assert Classifier(calibrated._loaded).model == f"{name}@unsaved"
    revision = calibrated.with_graph().save_pretrained(tmp_path / "saved")
    for backend in ("torch", "onnx"):
        again = Classifier.from_pretrained(tmp_path / "saved", backend=backend)
        assert again.model == again.predict(path).model == f"{name}@{revision}"
        made = again.calibrate(records)
        assert made.model == made.predict(path).model == f"{name}@unsaved"


@pytest.mark.parametrize("tta", [False, True])
def test_temperature_and_points_are_those_of_the_answers(folder, calibrated, records, tta) -> None:
    plain = rows(Classifier.from_pretrained(folder).predict(paths(records), tta=tta))
    fitted = calibrated.calibration.fitted(tta=tta)
    right = Scaling.fit(plain, records.targets())
    assert fitted.scaling.temperature == pytest.approx(right.temperature, rel=1e-6)
    found = calibrated.predict(paths(records), tta=tta)
    logs = np.log(plain) / right.temperature
    np.testing.assert_allclose(rows(found), from_logits(logs), rtol=1e-6)
    scores = np.array([each.malignant_probability for each in found])
    kinds = np.array([item.label == "red" for item in records])
    own = MalignancyScores(scores, kinds, [item.lesion_id for item in records])
    for name, point in {"screening": own.screening(), "balanced": own.balanced(),
                        "sensitivity 0.50": own.holding(sensitivity=0.5)}.items():  # fmt: skip
        assert fitted.operating_points[name].threshold == pytest.approx(point.threshold)
    decisions = {each.decision for each in found}
    assert decisions == {"refer", "routine"}
    for each in found:
        assert (each.decision == "refer") == (
            each.malignant_probability >= own.screening().threshold
        )
        assert each.operating_point == "screening" and each.calibrated_on == "colours"
        assert each.to_dict()["decision"] == each.decision in repr(each)


def test_what_is_malignant_is_the_models_word(folder, calibrated, records) -> None:
    silent = replace(records, labels=LABELS)  # the same codes, none of them declared malignant
    found = Classifier.from_pretrained(folder).calibrate(silent, sensitivity=0.5)
    assert found.calibration == calibrated.calibration


def test_one_view_and_four_differ(calibrated) -> None:
    one, four = calibrated.calibration.one_view, calibrated.calibration.four_views
    assert one.scaling != four.scaling


def test_another_point_decides(calibrated, records) -> None:
    strict = calibrated.predict(paths(records), operating_point="sensitivity 0.50")
    usual = calibrated.predict(paths(records))
    assert {each.operating_point for each in strict} == {"sensitivity 0.50"}
    referred = [sum(each.decision == "refer" for each in found) for found in (strict, usual)]
    assert referred[0] < referred[1]
    point = calibrated.calibration.one_view.operating_points["sensitivity 0.50"]
    for each, right in zip(usual, strict, strict=True):  # without another pass
        assert decided_at(each, point).to_dict() == right.to_dict()
    streamed = [first for first, _ in calibrated.stream(
        paths(records), explain="gradcam", operating_point="sensitivity 0.50")]  # fmt: skip
    assert [each.decision for each in streamed] == [each.decision for each in strict]
    with pytest.raises(UnknownNameError, match="Did you mean 'screening'"):
        calibrated.predict(paths(records), operating_point="screning")


def test_an_image_that_is_no_good_is_not_decided_about(calibrated, records, tmp_path) -> None:
    black = calibrated.predict(np.zeros((200, 300, 3), np.uint8))
    assert black.decision == "abstain" and {"too_dark", "uniform"} <= set(black.quality)
    measured = measure(np.zeros((200, 300, 3), np.uint8))
    assert dict(black.quality) == {flag: measured[flag] for flag in black.quality}
    limits = calibrated.calibration.quality
    assert black.reasons == (
        *(limits.sentence(*pair) for pair in black.quality.items()),
        "unlike the images that the model knows: novelty "
        f"{black.novelty.score:.3f}, above the limit of 0.5",
    )
    measures = [measure(np.asarray(Image.open(path).convert("RGB"))) for path in paths(records)]
    assert limits == QualityLimits.fit(measures, rejected=0.005)
    balanced = decided_at(black, calibrated.calibration.one_view.operating_points["balanced"])
    assert (balanced.decision, balanced.reasons) == ("abstain", black.reasons)
    assert balanced.operating_point == "balanced"
    ((first, _),) = calibrated.stream([np.zeros((200, 300, 3), np.uint8)], explain="gradcam")
    assert first == black
    Image.new("RGB", (300, 200)).save(tmp_path / "black.png")
    calibrated.save_pretrained(tmp_path / "model")
    words = ["predict", str(tmp_path / "black.png"), "--model", str(tmp_path / "model")]
    shown = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert "abstain" in shown.stdout and "note: too dark" in shown.output
    (row,) = csv.DictReader((tmp_path / "out/results.csv").read_text().splitlines())
    assert row["decision"] == "abstain" and "too_dark" in row["quality"]


@pytest.mark.parametrize("tta", [False, True])
def test_sets_of_classes_are_those_of_the_calibrated_rows(calibrated, records, tta) -> None:
    found = calibrated.predict(paths(records), tta=tta)
    names = [item.lesion_id for item in records]
    own = Conformal.fit(rows(found), records.targets(), lesions=names)
    for coverage in (0.5, 0.8, 0.9):
        chosen = own.sets(rows(found), coverage)
        for each, inside in zip(found, chosen, strict=True):
            expected = {code for code, yes in zip(MALIGNANT, inside, strict=True) if yes}
            assert set(each.prediction_set(coverage)) == expected
            assert each.prediction_set(coverage)[0] == each.label
    assert found[0].to_dict()["prediction_set"] == list(found[0].prediction_set())
    assert pickle.loads(pickle.dumps(found[0])).prediction_set() == found[0].prediction_set()
    with pytest.raises(OptionError, match="coverage"):
        found[0].prediction_set(1.0)


def test_a_model_without_a_calibration_decides_nothing(folder, records) -> None:
    plain = Classifier.from_pretrained(folder)
    found = plain.predict(records[0].path)
    assert (found.decision, found.calibrated_on, found.operating_point) == (None, None, None)
    assert plain.calibration is None and not found.quality
    with pytest.raises(ModelError, match="needs a calibrated model"):
        found.prediction_set()
    with pytest.raises(ModelError, match="was calibrated"):
        plain.predict(records[0].path, operating_point="screening")


def test_the_folder_keeps_it_for_every_backend(calibrated, records, tmp_path) -> None:
    calibrated.with_graph().save_pretrained(tmp_path / "kept")
    expected = calibrated.predict(paths(records))
    for backend in ("torch", "onnx", "openvino"):
        again = Classifier.from_pretrained(tmp_path / "kept", backend=backend, check=True)
        assert again.calibration == calibrated.calibration
        for tta in (False, True):
            found = again.predict(paths(records), tta=tta)
            expected = calibrated.predict(paths(records), tta=tta)
            np.testing.assert_allclose(rows(found), rows(expected), atol=1e-5)
            assert [e.decision for e in found] == [e.decision for e in expected]
        for method in ("gradcam", "saliency"):  # the first by the graph, where there is one
            for tta in (False, True):
                own = {"tta": tta, "operating_point": "sensitivity 0.50"}
                found = [each for each, _ in again.stream(paths(records), explain=method, **own)]
                expected = calibrated.predict(paths(records), **own)
                np.testing.assert_allclose(rows(found), rows(expected), atol=1e-5)
                assert [e.decision for e in found] == [e.decision for e in expected]
                assert found[0].operating_point == "sensitivity 0.50"


@dataclass(frozen=True)
class NoOptions:
    pass


class ScoreItself(Explainer):
    """The explained score as a map of one value."""

    options_type = NoOptions

    def attribute(self, images, target, *, options):
        scores = self.model(images).detach()
        picked = scores[torch.arange(len(images)), target]
        return Attribution({"score": picked[:, None, None].expand(-1, 2, 2).clone()}, {})


def test_an_exported_file_is_not_calibrated_and_says_so(calibrated, records, tmp_path) -> None:
    with pytest.warns(SkinxaiWarning, match="has no calibration"):
        calibrated.export(tmp_path / "model.onnx")
    found = Classifier.from_pretrained(tmp_path / "model.onnx").predict(records[0].path)
    assert found.calibrated_on is None and found.decision is None


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_an_exported_file_is_not_taken_for_its_calibrated_folder(
    folder, calibrated, records, tmp_path, suffix
) -> None:
    calibrated.save_pretrained(tmp_path / "saved")
    saved = Classifier.from_pretrained(tmp_path / "saved")
    with pytest.warns(SkinxaiWarning, match="has no calibration"):
        saved.export(tmp_path / f"saved{suffix}")
    own = Classifier.from_pretrained(folder)
    own.export(tmp_path / f"own{suffix}")
    other, same = (Classifier.from_pretrained(tmp_path / f"{n}{suffix}") for n in ("saved", "own"))
    assert other.model != saved.model and same.model == own.model
    assert other.model.partition("@")[0] == saved.model.partition("@")[0]
    one, two = (rows([each.predict(records[0].path)]) for each in (saved, other))
    assert np.abs(one - two).max() > 1e-3  # which is why


def test_a_probability_is_explained_as_it_is_returned(folder, calibrated, records) -> None:
    image = records[0].path
    explainers.register("score_itself")(ScoreItself)
    try:
        for target in MALIGNANT:
            found = calibrated.explain(image, "score_itself", target=target, score="probability")
            value = calibrated.predict(image).probabilities[target]
            np.testing.assert_allclose(found.heatmap, value, rtol=1e-5)
            logits = [
                each.explain(image, "score_itself", target=target).heatmap
                for each in (calibrated, Classifier.from_pretrained(folder))
            ]
            np.testing.assert_array_equal(*logits)  # the logit is that of the network
    finally:
        plugins.explainers.remove(["score_itself"])


def test_an_ensemble_is_calibrated_as_a_whole(folder, records, tmp_path) -> None:
    other = model_folder(tmp_path / "other", MALIGNANT, seed=4)
    write_ensemble(tmp_path / "both", [folder, other], weights=[0.25, 0.75], name="both")
    plain = Classifier.from_pretrained(tmp_path / "both")
    made = plain.calibrate(records)
    mean = rows(plain.predict(paths(records)))
    right = Scaling.fit(mean, records.targets())
    assert made.calibration.one_view.scaling.temperature == pytest.approx(right.temperature)
    made.save_pretrained(tmp_path / "kept")
    again = Classifier.from_pretrained(tmp_path / "kept")
    assert again.calibration == made.calibration
    np.testing.assert_array_equal(
        rows(again.predict(paths(records))), rows(made.predict(paths(records)))
    )
    shutil.copy(tmp_path / "kept" / CALIBRATION, tmp_path / "both")
    write_ensemble(tmp_path / "turned", [folder, other], weights=[0.75, 0.25], name="turned")
    files = {p.name: p.read_bytes() for p in (tmp_path / "turned").glob("*.*") if p.is_file()}
    del files["manifest.json"]
    kept = (tmp_path / "kept" / CALIBRATION).read_bytes()
    write_model_folder(tmp_path / "turned", files | {CALIBRATION: kept})
    with pytest.raises(IntegrityError, match="was fitted for others"):
        Classifier.from_pretrained(tmp_path / "turned")
