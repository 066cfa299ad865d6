"""Case reports of models that have little, of several kinds, and of images that were learnt."""

from dataclasses import replace

import pytest
from PIL import Image
from small_runs import model_folder
from test_case_report import DAY, QUICK, folder, picture, text, whole

from skinxai import Classifier
from skinxai.data import TrainedOn
from skinxai.errors import ExplainError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.reporting import case_words
from skinxai.testing import colour_classifier

__all__ = ["folder", "picture", "whole"]  # fixtures
pytestmark = pytest.mark.usefixtures("small_networks")


def test_a_model_that_has_little_says_so(tmp_path, picture) -> None:
    plain = Classifier.from_pretrained(model_folder(tmp_path / "plain", seed=1, trained_on=None))
    made = plain.report(picture, **QUICK)
    page = text(made.html())
    for sentence in (
        "No decision This model was not calibrated.",
        "Not calibrated: the numbers rank the classes and do not say how often the model is right.",
        "Quality: not judged, as the model was not calibrated.",
        "The model's folder has no training lesions to compare with.",
    ):
        assert sentence in page
    for absent in ("Prediction set", "malignant", "Novelty", "Uncertainty of", "threshold"):
        assert absent not in page
    assert made.quality is made.operating_point is made.prediction_set is made.trained_on_it is None
    assert made.trained_on_copy is None


def test_an_ensemble_an_exported_file_and_a_network_of_ones_own(tmp_path, picture) -> None:
    members = [model_folder(tmp_path / f"m{k}", seed=k) for k in (1, 2)]
    write_ensemble(tmp_path / "both", members, name="both")
    both = Classifier.from_pretrained(tmp_path / "both")
    made = both.report(picture, **QUICK)
    assert made.prediction.probabilities == both.predict(picture).probabilities
    assert "An ensemble has no training lesions of its own to compare with." in text(made.html())
    assert len(made.agreement) == 3
    own = colour_classifier()
    made = own.report(picture, methods=["gradcam", "saliency"], date=DAY)
    assert made.prediction.label == "red" and made.against.against == made.prediction.top(2)[1][0]
    Classifier.from_pretrained(members[0]).export(tmp_path / "m.onnx")
    exported = Classifier.from_pretrained(tmp_path / "m.onnx")
    made = exported.report(picture, date=DAY)
    assert [each.method for each in made.maps] == ["gradcam"] and made.against is not None
    page = text(made.html())
    assert "An exported file has no training lesions to compare with." in page
    assert made.prediction.backend == exported.backend and exported.backend in page


def test_a_default_method_that_does_not_fit_is_left_out(picture, monkeypatch) -> None:
    own, explain = colour_classifier(), Classifier.explain

    def without_gradcam(self, images, method="gradcam", **keywords):
        if method == "gradcam":
            raise ExplainError("the network has no grid.")
        return explain(self, images, method, **keywords)

    monkeypatch.setattr(Classifier, "explain", without_gradcam)
    made = own.report(picture, **QUICK)
    assert [each.method for each in made.maps] == ["smoothgrad", "occlusion"]
    assert made.against.method == "smoothgrad" and "The network has no grid." in text(made.html())
    with pytest.raises(ExplainError):
        own.report(picture, methods=["gradcam"])


def test_an_image_of_the_training_is_named_as_one(whole, picture, folder) -> None:
    trained = next((folder.parent / "train").glob("red*"))
    made = whole.report(trained, methods=["gradcam"], date=DAY)
    assert made.trained_on_it is True
    assert "The model was trained on this image: its answer proves nothing." in text(made.html())
    assert made.trained_on_copy is False
    other = whole.report(picture, methods=["gradcam"], date=DAY)
    assert other.trained_on_it is other.trained_on_copy is False


def test_a_copy_of_an_image_of_the_training_is_named_as_one(whole, folder, tmp_path) -> None:
    """As users have it: of another size, and compressed again."""
    trained = Image.open(next((folder.parent / "train").glob("red*"))).convert("RGB")
    width, height = trained.size
    trained.resize((2 * width, 2 * height), Image.Resampling.LANCZOS).save(tmp_path / "x.jpg")
    made = whole.report(tmp_path / "x.jpg", methods=["gradcam"], date=DAY)
    assert (made.trained_on_it, made.trained_on_copy) == (False, True)
    assert "trained on an image that looks like a copy of this one:" in text(made.html())
    assert made.to_dict()["image"]["trained_on_copy"] is True
    loaded = whole._loaded  # as of a model that keeps no fingerprints
    known = TrainedOn(loaded.trained_on.prefixes)
    blind = Classifier(replace(loaded, trained_on=known))
    made = blind.report(tmp_path / "x.jpg", methods=["gradcam"], date=DAY)
    assert (made.trained_on_it, made.trained_on_copy) == (False, None)


@pytest.mark.parametrize("count", [2, 30])
def test_two_classes_and_thirty(tmp_path, picture, count) -> None:
    labels = LabelSet(tuple(f"c{k}" for k in range(count)))
    made = Classifier.from_pretrained(model_folder(tmp_path / "m", labels, seed=3)).report(
        picture, methods=["gradcam"], date=DAY
    )
    rows = case_words.class_rows(made)
    assert [row.value for row in rows] == sorted(made.prediction.probabilities.values())[::-1]
    rest = case_words.rest_of_classes(made)
    if count == 2:
        assert rest == "" and "<details>" not in made.html()
    else:
        total = 100 * sum(row.value for row in rows[10:])
        assert rest == f"20 more classes have {total:.1f} % together." and rest in made.html()
        assert made.html().count("<td class='number'>") == 30
