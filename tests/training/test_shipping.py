"""The folders that ship, made of small runs on a HAM10000 of seven colours."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from small_runs import BASE

from skinxai import Classifier, Trainer
from skinxai.artefacts import named
from skinxai.data import Splits, load_ham10000
from skinxai.labels import HAM10000_LABELS
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.parts import GRAPH, NEIGHBOURS, PROBE

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60), (60, 200, 200),
           (200, 60, 200), (130, 130, 130))  # fmt: skip
NAMES = ("ship", "ship_ensemble", "material", "settings", "build_calibration", "build_graph",
         "build_neighbours", "frozen_split", "robustness", "resolutions")  # fmt: skip
EACH, TRAINED = 9, 5  # lesions of a class, and those that are learnt
pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(ROOT / "training/recipe"))
    yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in NAMES:
            del sys.modules[name]


def write_images(root: Path) -> dict[str, str]:
    """Pictures in the layout of HAM10000; every fifth has another class's colour."""
    draws, rows, parts = np.random.default_rng(0), [], {}
    (folder := root / "HAM10000_images").mkdir(parents=True)
    for n in range(len(COLOURS) * EACH):
        code, number = n % len(COLOURS), n // len(COLOURS)
        shown = code + 1 if n % 5 == 0 else code
        pixels = np.array(COLOURS[shown % len(COLOURS)]) + draws.integers(-50, 50, (40, 56, 3))
        name = f"ISIC_{24306 + n:07d}"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.jpg")
        rows.append({"lesion_id": f"HAM_{n:07d}", "image_id": name,
                     "dx": HAM10000_LABELS.codes[code], "dx_type": "histo", "age": "50.0",
                     "sex": "male", "localization": "back"})  # fmt: skip
        parts[name] = "train" if number < TRAINED else "val"
    with (root / "HAM10000_metadata.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return parts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder of images, the parts of the split, and a student's run."""
    root = tmp_path_factory.mktemp("ham")
    parts = write_images(root / "images")
    records = load_ham10000(root / "images")
    ids = {part: [n for n in parts if parts[n] == part] for part in ("train", "val")}
    run = root / "skinxai-ham10000"
    Trainer(**BASE | {"epochs": 12, "learning_rate": 0.03}, output_dir=run).fit(
        Splits.of(records, ids)
    )
    return SimpleNamespace(root=root, images=root / "images", parts=parts, run=run)


@pytest.fixture
def frozen(scripts, place, monkeypatch) -> None:
    monkeypatch.setattr(scripts.material, "frozen_parts", lambda table: place.parts)


@pytest.fixture(scope="module")
def shipped(scripts, place, tmp_path_factory) -> Path:
    """The folder that ships, by all steps."""
    output = tmp_path_factory.mktemp("shipped") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts.material, "frozen_parts", lambda table: place.parts)
        (samples := place.root / "samples").mkdir()
        for path in sorted((place.images / "HAM10000_images").iterdir())[:6]:
            Image.open(path).resize((112, 80), Image.Resampling.NEAREST).save(samples / path.name)
        own = map(str, (place.images, place.run, output))
        scripts.ship.main([*own, "--size", "40x56", "--samples", str(samples)])
    return output


def test_the_folder_that_ships_has_every_part(shipped: Path, place) -> None:
    files = read_model_folder(shipped).files
    assert {GRAPH, NEIGHBOURS, PROBE} <= set(files)
    model = Classifier.from_pretrained(shipped)
    assert model.config.preprocessing.image_size == (40, 56)
    assert model.calibration.images == len(COLOURS) * (EACH - TRAINED)
    assert set(model.calibration.one_view.operating_points) >= {"screening", "balanced"}
    assert len(model.trained_on) == len(COLOURS) * TRAINED
    path = next((place.images / "HAM10000_images").iterdir())
    found = model.predict(path)
    assert found.decision in ("refer", "routine", "abstain") and found.novelty is not None
    assert len(model.nearest(path)) == 5
    graph = Classifier.from_pretrained(shipped, backend="onnx").predict(path)
    assert graph.probabilities == pytest.approx(found.probabilities, abs=1e-4)


def test_its_card_says_what_was_done(shipped: Path, scripts) -> None:
    model = Classifier.from_pretrained(shipped)
    card = model.card
    temperature = model.calibration.one_view.scaling.temperature
    assert f"| calibration | temperature {temperature:.3f}," in card
    assert f"embeddings of {len(COLOURS) * TRAINED} in" in card
    assert "not calibrated" not in card and "then 12 epochs at 32 × 48" in card
    assert "It answers at 40 × 56." in card and "of the loss is the distance" not in card
    table = card[card.index("## Robustness") : card.index("## Limits")]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(named(scripts.robustness.SHIFTS))
    assert "6 of 6 labels stay" in table


def test_the_card_of_a_student_names_its_teachers_share(scripts, place, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    told = json.loads((run / "train.json").read_text())
    told["settings"] |= {"teacher": "teacher", "teacher_share": 0.7, "teacher_temperature": 2.0}
    (run / "train.json").write_text(json.dumps(told))
    scripts.ship.write_model(run, tmp_path / "model", None, None)
    card = Classifier.from_pretrained(tmp_path / "model").card
    assert "70% of the loss is the distance from an ensemble's answers at temperature\n2;" in card


def test_a_section_of_the_card_is_replaced_in_its_place(scripts) -> None:
    card = "# x\n\n## Training\n\na\n\n## Limits\n\n* b\n"
    once = scripts.ship.with_section(card, "## Robustness", "one")
    assert once == "# x\n\n## Training\n\na\n\n## Robustness\n\none\n\n## Limits\n\n* b\n"
    assert scripts.ship.with_section(once, "## Robustness", "one") == once
    both = scripts.ship.with_section(
        scripts.ship.with_section(card, "## Other sources", "s"), "## Robustness", "one"
    )
    again = scripts.ship.with_section(both, "## Other sources", "t")
    assert again.count("## Robustness") == again.count("## Other sources") == 1
    assert "\nt\n" in again and "\ns\n" not in again and again.endswith("## Limits\n\n* b\n")


@pytest.mark.parametrize("other", ["test", "train"])
def test_a_run_that_was_judged_on_other_images_is_refused(
    scripts, place, frozen, monkeypatch, other: str
) -> None:
    name = next(name for name, part in place.parts.items() if part == "val")
    monkeypatch.setitem(place.parts, name, other)
    with pytest.raises(SystemExit, match=f"{name} of the {other} part is in its val part"):
        scripts.ship.splits_of_run(place.images, place.run)


def test_an_image_that_was_learnt_as_two_files_is_there_once(
    scripts, place, frozen, tmp_path
) -> None:
    lines = (place.run / "splits.csv").read_text().splitlines()
    copies = [line.replace(",", "-webp,") for line in lines if line.endswith(",train")]
    assert len(copies) == len(COLOURS) * TRAINED
    (tmp_path / "splits.csv").write_text("\n".join([*lines, *copies]) + "\n")
    found = scripts.ship.splits_of_run(place.images, tmp_path)
    for name in ("train", "val"):
        own = [item.image_id for item in getattr(found, name)]
        assert own == sorted(each for each, part in place.parts.items() if part == name)
    (tmp_path / "splits.csv").write_text("\n".join([*lines, copies[0].replace("train", "val")]))
    with pytest.raises(SystemExit, match="of the train part is in its val part"):
        scripts.ship.splits_of_run(place.images, tmp_path)


def test_the_runs_without_a_source_are_told(scripts, place, tmp_path) -> None:
    evaluation = Classifier.from_pretrained(place.run).evaluate(
        Splits.from_csv(place.run / "splits.csv", load_ham10000(place.images)).val, progress=False
    )
    folder = tmp_path / "runs/sources/without-rosendahl"
    folder.mkdir(parents=True)
    (folder / "left_out.json").write_text(json.dumps(evaluation.to_dict()))
    row = scripts.ship.sources_text(tmp_path).splitlines()[-1]
    assert row == (
        f"| rosendahl | {evaluation.images} | {evaluation.accuracy} | "
        f"{evaluation.balanced_accuracy} | {evaluation.malignancy.auc} |"
    )
    with pytest.raises(SystemExit, match="without-"):
        scripts.ship.sources_text(tmp_path / "runs")


@pytest.fixture(scope="module")
def members(place, tmp_path_factory) -> tuple[Path, Path]:
    """Three members, all of the student's weights, and the recipe's word on them."""
    folder = tmp_path_factory.mktemp("members")
    loaded = Classifier.from_pretrained(place.run)._loaded
    for name in ("lite1-0", "lite2-0", "lite1-1"):
        replace(loaded, config=replace(loaded.config, name=name)).save(str(folder / name))
    figures = {"accuracy": 0.9, "balanced_accuracy": 0.8, "macro_f1": 0.7}
    content = {"weights": {"lite1": 0.4, "lite2": 0.6}, "out_of_fold": figures}
    (folder / "ensemble.json").write_text(json.dumps(content))
    return folder, folder / "ensemble.json"


def test_an_ensemble_ships_with_as_many_members_as_fit(
    scripts, place, frozen, members, monkeypatch, tmp_path
) -> None:
    folder, told = members
    given = (place.images, place.run, folder, told)
    module = scripts.ship_ensemble
    module.main(*given, tmp_path / "all")
    whole = module.size_of(tmp_path / "all")
    model = Classifier.from_pretrained(tmp_path / "all")
    assert [each.weight for each in model.config.members] == pytest.approx([0.2, 0.6, 0.2])
    assert model.calibration.images == len(COLOURS) * (EACH - TRAINED)
    assert "calibrated; a set of classes" in model.card and "balanced accuracy 0.800" in model.card
    monkeypatch.setattr(module, "MOST_BYTES", whole - 1)
    module.main(*given, tmp_path / "fewer")
    fewer = Classifier.from_pretrained(tmp_path / "fewer").config.members
    assert [each.folder for each in fewer] == ["members/lite1-0", "members/lite2-0"]
    assert [each.weight for each in fewer] == pytest.approx([0.4, 0.6])
    assert module.size_of(tmp_path / "fewer") < whole
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="two members or more"):
        module.main(*given, tmp_path / "none")
    assert not (tmp_path / "none").exists()
