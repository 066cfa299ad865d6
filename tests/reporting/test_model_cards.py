"""The generated model card: every number on it is in its source, and what is missing is said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from foreign_text import wrong_markdown
from small_runs import BASE, LABELS, coloured, model_folder
from typer.testing import CliRunner

from skinxai import Classifier, Trainer
from skinxai.cli import app
from skinxai.demo.showing import around_confusion
from skinxai.errors import LeakageError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.reporting import card_of, write_evaluation
from skinxai.reporting.card_changes import with_calibration, with_evaluation
from skinxai.reporting.model_cards import operating_points
from skinxai.results import Evaluation
from skinxai.results.figures import Figure, Subgroup

pytestmark = pytest.mark.usefixtures("small_networks")
MALIGNANT = LabelSet(LABELS.codes, {"red": "rubor"}, frozenset({"red"}))
HEADS = ["## Data", "## Technique", "## Technical assessment", "## Application"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the same model calibrated."""
    root = tmp_path_factory.mktemp("models")
    parts = [replace(coloured(root / name, 8, k), labels=MALIGNANT)
             for k, name in enumerate(("train", "val"))]  # fmt: skip
    settings = BASE | {"learning_rate": 0.03, "average_decay": 0.5, "epochs": 2}
    Trainer(**settings, output_dir=root / "run").fit(*parts)
    odd = {"red": "red", "green": "blue", "blue": "green"}
    mixed = coloured(root / "calibration", 12, 5)
    items = [replace(i, label=odd[i.label]) if k % 3 == 0 else i for k, i in enumerate(mixed)]
    records = replace(mixed, items=tuple(items), labels=MALIGNANT)
    made = Classifier.from_pretrained(root / "run").calibrate(records)
    made.save_pretrained(root / "calibrated")
    return root


@pytest.fixture(scope="module")
def evaluation(place: Path) -> Evaluation:
    records = replace(coloured(place / "test", 6, 11), labels=MALIGNANT)
    return Classifier.from_pretrained(place / "calibrated").evaluate(records, hardest=1)


def rows(card: str) -> dict[str, str]:
    """The two-column tables of a card."""
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]*) \|$", card, flags=re.MULTILINE))


def heads(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("## ")]


def test_a_run_writes_what_it_knows_and_says_what_it_does_not(place) -> None:
    found = Classifier.from_pretrained(place / "run")
    card, log = found.card, (place / "run" / "log.csv").read_text().splitlines()
    assert heads(card) == HEADS and wrong_markdown(card) == []
    best = int(re.search(r"Validation \(epoch (\d) of 2", card)[1])
    row = dict(zip(log[0].split(","), log[best].split(","), strict=True))
    for name, shown in (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy"),
                        ("macro_f1", "macro-F1")):  # fmt: skip
        assert f"{shown} {float(row[name]):.3f}" in card
    known, data = rows(card), found.config.training_data
    assert known["training data"] == "colours" and known["to name"] == "nobody"
    assert known["training images"].startswith(f"{len(found.trained_on)} images")
    assert data["splits_sha256"] in known["partition"]
    assert known["loss"] == "cross_entropy"
    assert known["malignant classes"] == "`red`" and "`red` rubor" in known["classes"]
    for name in (
        "skin tone and other traits of the patients trained on", "subgroups and fairness",
        "other clinics, cameras and populations", "comparison with clinicians",
    ):  # fmt: skip
        assert known[name] == "Not measured."
    for name in ("reference standard of the labels", "image types, devices and artefacts"):
        assert known[name] == "Not stated."
    assert known["calibration of probabilities"].startswith("Not measured.")
    assert "Operating points: Not measured." in card
    assert "Test on images that took no part in training: Not measured." in card


def test_calibrating_updates_the_card_of_a_run_and_no_other(place, tmp_path) -> None:
    calibrated = Classifier.from_pretrained(place / "calibrated")
    card, fitted = calibrated.card, calibrated.calibration
    known, scaling = rows(card), fitted.one_view.scaling
    assert known["calibration of probabilities"].startswith(
        f"temperature {scaling.temperature:.3f}, on colours: 36 images of 36 lesions, known by"
    )
    assert known["when it abstains"].startswith("where the image's quality or novelty")
    for point in fitted.one_view.operating_points.values():
        row = f"| {point.threshold:.3f} | {point.sensitivity} | {point.specificity} |"
        assert row in card
    assert "Operating points: Not measured" not in card and "Validation (epoch" in card
    records = replace(coloured(tmp_path / "own", 12, 5), labels=MALIGNANT)
    items = [replace(i, label="blue") if k % 5 == 0 else i for k, i in enumerate(records)]
    records = replace(records, items=tuple(items))
    again = calibrated.calibrate(records)
    assert again.card.count("Operating points, with their rates") == 1
    assert f"temperature {again.calibration.one_view.scaling.temperature:.3f}" in again.card
    assert f"temperature {scaling.temperature:.3f}" not in again.card
    assert with_calibration("A card of one's own.\n", fitted) == "A card of one's own.\n"


def test_a_low_threshold_is_not_that_of_referring_all(place) -> None:
    fitted = Classifier.from_pretrained(place / "calibrated").calibration
    points = {
        name: replace(point, threshold=0.0003)
        for name, point in fitted.one_view.operating_points.items()
    }
    low = replace(fitted, one_view=replace(fitted.one_view, operating_points=points))
    assert operating_points(low).count("| 0.0003 |") == len(points)


def test_the_figures_are_those_of_the_evaluation(place, evaluation) -> None:
    card = card_of(place / "calibrated", evaluation)
    assert heads(card) == HEADS and wrong_markdown(card) == []
    assert replace(evaluation, hardest=()).to_markdown() in card.replace("\n\n\n", "\n\n")
    assert evaluation.hardest[0].image_id not in card  # an id is private
    assert f"{evaluation.images} images of {evaluation.lesions} lesions" in card
    assert "from bootstraps over lesions, and for what operating points decide Wilson's." in card
    _, counts, _ = around_confusion(card, evaluation.labels)
    assert counts == [list(row) for row in evaluation.confusion]
    assert rows(card)["version"].replace("\\", "") == evaluation.model


def test_a_card_gets_the_figures_of_a_test_in_the_place_of_earlier_ones(place, evaluation) -> None:
    """As if it had been written with them; what a run has said of itself stays."""
    plain, written = (card_of(place / "calibrated", each) for each in (None, evaluation))
    earlier = replace(evaluation, confusion=tuple(row[::-1] for row in evaluation.confusion))
    assert with_evaluation(plain, evaluation) == written != plain
    assert with_evaluation(card_of(place / "calibrated", earlier), evaluation) == written
    own = Classifier.from_pretrained(place / "calibrated").card
    found = with_evaluation(own, evaluation)
    assert "Validation (epoch" in found and "took no part in training: Not measured" not in found
    assert rows(found)["subgroups and fairness"] == rows(written)["subgroups and fairness"]
    other = with_evaluation("# A card of one's own\n", evaluation)
    assert other.startswith("# A card of one's own\n\n## Evaluation\n\nTest of run@")
    _, counts, _ = around_confusion(other, evaluation.labels)
    assert counts == [list(row) for row in evaluation.confusion] and wrong_markdown(other) == []
    assert evaluation.hardest[0].image_id not in other + found  # an id is private


def test_a_card_has_the_figures_of_each_subgroup(place, evaluation) -> None:
    """Those of this test and not of an earlier one, also on a card of one's own."""

    def group(attribute: str, value: str, images: int, accuracy: float) -> Subgroup:
        figures = (Figure(accuracy - k / 8, accuracy - 0.3, accuracy + 0.02) for k in range(3))
        return Subgroup(attribute, value, images, images - 1, 3, *figures)

    ours = replace(evaluation, subgroups=(
        group("sex", "female", 40, 0.875), group("sex", "male", 30, 0.75),
        group("age", "50–69", 25, 0.9),
    ))  # fmt: skip
    earlier = replace(evaluation, subgroups=(group("site", "back", 20, 0.5),))
    own = Classifier.from_pretrained(place / "calibrated").card
    for card in (own, with_evaluation(own, earlier), with_evaluation("# One's own\n", earlier)):
        found = with_evaluation(card, ours)
        assert found.count("| subgroup | images | classes |") == 1
        for row in (
            "sex female | 40 | 3 | 0.875 (0.575–0.895) | 0.750 (0.575–0.895) | 0.625 (0.575–0.895)",
            "sex male | 30 | 3 | 0.750 (0.450–0.770) | 0.625 (0.450–0.770) | 0.500 (0.450–0.770)",
            "age 50–69 | 25 | 3 | 0.900 (0.600–0.920) | 0.775 (0.600–0.920) | 0.650 (0.600–0.920)",
        ):
            assert found.count(f"\n| {row} |\n") == 1
        assert "site back" not in found
        assert rows(found).get("subgroups and fairness", "above: age, sex") == "above: age, sex"
        without = with_evaluation(found, evaluation)
        assert "sex female" not in without
        assert rows(without).get("subgroups and fairness", "Not measured.") == "Not measured."
    assert "subgroups and fairness" in rows(own)


def test_a_folder_that_says_little(tmp_path) -> None:
    folder = model_folder(tmp_path / "m", seed=1, trained_on=None)
    known = rows(card_of(folder))
    assert known["training data"] == known["to name"] == known["partition"] == "Not stated."
    assert "is not known" in known["training images"]
    assert known["malignant classes"] == "not declared"
    assert known["licence of the weights"] == "not stated"
    assert known["starting weights"] == "Not stated."


def test_it_names_the_files_that_know_images_and_no_others(place, tmp_path) -> None:
    own, calibrated = (rows(card_of(place / name)) for name in ("run", "calibrated"))
    assert "`training_fingerprints.safetensors`" in own["training images"]
    kept = calibrated["calibration of probabilities"]
    assert "`calibration_pixels.safetensors`" in kept
    assert "`calibration_fingerprints.safetensors`" in kept
    hashes = TrainedOn.from_hashes(["0" * 64])
    known = rows(card_of(model_folder(tmp_path / "m", seed=1, trained_on=hashes)))
    assert known["training images"] == (
        "1 image, known by hashes of their pixels (`training_pixels.safetensors`); no names"
    )


def test_an_ensemble_and_the_bundled_model(tmp_path) -> None:
    members = [model_folder(tmp_path / f"m{k}", seed=k, licence=f"L{k}") for k in (1, 2)]
    write_ensemble(tmp_path / "both", members, name="both", weights=[0.75, 0.25])
    card = card_of(tmp_path / "both")
    assert "An ensemble of 2 models" in card and "weight 0.75" in card
    assert rows(card)["licence of the weights"] == "L1, L2"
    bundled, found = card_of(None), Classifier.from_pretrained()
    assert f"{len(found.trained_on)} images" in bundled and "HAM10000" in bundled
    assert rows(bundled)["version"].replace("\\", "") == found.model


def test_evaluations_that_do_not_belong_on_it(place, evaluation, tmp_path) -> None:
    with pytest.raises(LeakageError, match="on training images must not be published"):
        card_of(place / "calibrated", replace(evaluation, leaked=True))
    with pytest.raises(OptionError, match="evaluation must be of run@"):
        card_of(place / "run", evaluation)
    _, path = write_evaluation(evaluation, tmp_path)
    words = ["card", "--model", str(place / "calibrated"), "--evaluation", str(path)]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0
    assert printed.stdout.strip() == card_of(place / "calibrated", evaluation).strip()
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "c.md")]).exit_code == 0
    assert (tmp_path / "c.md").read_text() == card_of(place / "calibrated", evaluation)


@pytest.mark.parametrize("foreign", ["a | b", "<img src=x>", "# head", "**x**"])
def test_foreign_text_is_text(tmp_path, foreign) -> None:
    labels = LabelSet(LABELS.codes, {"red": foreign})
    data = {"name": foreign, "attribution": foreign, "init_weights": foreign}
    folder = model_folder(tmp_path / "m", labels, seed=1, licence=foreign, training_data=data)
    card = card_of(folder)
    assert wrong_markdown(card) == [] and heads(card) == HEADS
    assert json.loads((folder / "config.json").read_text())["licence"] == foreign
