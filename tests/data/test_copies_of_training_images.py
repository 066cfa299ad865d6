"""Copies of training images: named by evaluations and audits, and refused by the training."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import BASE, coloured, registered
from test_copies import CHANGES, FILE, lesion, resized
from test_membership import LABELS, audit_command
from typer.testing import CliRunner

from skinxai import Classifier, Trainer, backbones, checkpoints
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, Splits, TrainedOn, audit
from skinxai.data.hashing import looks
from skinxai.errors import IntegrityError, LeakageError, OptionError
from skinxai.model_folders import fingerprints
from skinxai.model_folders.ensembles import write_ensemble


def pictures(folder: Path, seeds: range, change=lambda pixels: pixels) -> Records:
    folder.mkdir(parents=True)
    items = []
    for seed in seeds:
        path = folder / f"picture-{seed}.png"
        Image.fromarray(np.ascontiguousarray(change(lesion(seed)))).save(path)
        items.append(Record(path.stem, path, LABELS[seed % 2], f"lesion-{folder.name}-{seed}"))
    return Records(tuple(items), LABELS, "pictures", "CC0-1.0", "nobody")


def model_of(folder: Path, known: TrainedOn | None, name: str = "tiny") -> Path:
    config = ModelConfig(name, "tf_efficientnet_lite0", LABELS, PreprocessConfig((32, 48)))
    model = backbones.build("tf_efficientnet_lite0", 2)
    checkpoints.save(str(folder), model, config, "A card.", known)
    return folder


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of a model that learnt pictures 0 to 5, and of one that keeps hashes alone."""
    folder = tmp_path_factory.mktemp("learnt")
    known = TrainedOn.of_looks(looks(pictures(folder / "train", range(6))))
    hashes = TrainedOn(known.prefixes)
    return model_of(folder / "model", known), model_of(folder / "hashes", hashes, "hashes")


def test_an_evaluation_names_copies_and_exact_images(learnt, tmp_path) -> None:
    judged = pictures(tmp_path / "copies", range(4, 8), CHANGES["quality 95"])
    for number in (0, 1):
        Image.fromarray(lesion(number)).save(judged[2 + number].path)  # exact ones
    found = Classifier.from_pretrained(learnt[0]).evaluate(judged, resamples=5, progress=False)
    assert found.leaked and found.seen.exact == ("picture-6", "picture-7")
    assert found.seen.copies == ("picture-4", "picture-5") and found.seen.notes == ()
    assert found.leak == (
        "LEAKED: of 4 images, 2 have the pixels of training images (picture-6, picture-7) and 2 "
        "look like copies of training images (picture-4, picture-5)."
    )
    assert found.leak in found.to_markdown() and type(found).from_dict(found.to_dict()) == found


def test_images_of_other_skin_leak_nothing(learnt, tmp_path) -> None:
    judged = pictures(tmp_path / "new", range(50, 56))
    found = Classifier.from_pretrained(learnt[0]).evaluate(judged, resamples=5, progress=False)
    assert not found.leaked and not found.seen and found.leak == ""


def test_whoever_watches_the_images_is_not_told_of_comparisons(
    learnt, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(fingerprints, "SHOWN", 1)
    classifier, told = Classifier.from_pretrained(learnt[0]), set[int | None]()
    judged = pictures(tmp_path / "new", range(50, 54))
    classifier.evaluate(judged, resamples=5, progress=lambda done, total: told.add(total))
    assert told == {4} and "comparison" not in capsys.readouterr().err
    classifier.evaluate(judged, resamples=5, progress=True)
    assert "/24 [" in capsys.readouterr().err  # six known ones with four
    ids = [item.image_id for item in judged]
    splits = Splits.of(judged, {"train": ids[:1], "val": ids[1:3], "test": ids[3:]})
    audit(splits, trained_on=classifier.trained_on, progress=True)
    assert "/18 [" in capsys.readouterr().err


def test_a_user_can_go_on_after_looking(learnt, tmp_path) -> None:
    judged = pictures(tmp_path / "copies", range(4, 8), CHANGES["cropped"])
    classifier = Classifier.from_pretrained(learnt[0])
    ids = ["picture-4", "picture-5"]
    found = classifier.evaluate(judged, resamples=5, not_copies=ids, progress=False)
    assert not found.leaked and not found.seen
    Image.fromarray(lesion(0)).save(judged[0].path)
    found = classifier.evaluate(judged, resamples=5, not_copies=ids, progress=False)
    assert found.leaked and found.seen.exact == ("picture-4",)  # the same pixels are never excused
    for wrong in (["picture-99"], "picture-4"):
        with pytest.raises(OptionError, match="not_copies must be"):
            classifier.evaluate(judged, not_copies=wrong)


def test_without_fingerprints_the_guard_says_what_it_cannot_find(learnt, tmp_path) -> None:
    judged = pictures(tmp_path / "copies", range(4, 8), CHANGES["quality 95"])
    found = Classifier.from_pretrained(learnt[1]).evaluate(judged, resamples=5, progress=False)
    note = (
        "the model has no fingerprints of 6 of its 6 training images, so only exact copies of "
        "these can be found"
    )
    assert not found.leaked and found.seen.notes == (note,) and note in found.to_markdown()
    silent = Classifier.from_pretrained(model_of(tmp_path / "silent", None))
    found = silent.evaluate(judged, resamples=5, progress=False)
    assert found.seen.notes[0].startswith("the model does not say which images it was trained on")


def test_an_ensemble_has_its_members_together(learnt, tmp_path) -> None:
    other = TrainedOn.of_looks(looks(pictures(tmp_path / "more", range(6, 8))))
    members = [learnt[0], model_of(tmp_path / "other", other, "other")]
    write_ensemble(tmp_path / "both", members, name="both")
    classifier = Classifier.from_pretrained(tmp_path / "both")
    assert len(classifier.trained_on) == len(classifier.trained_on.fingerprints) == 8
    judged = pictures(tmp_path / "copies", range(5, 9), CHANGES["smaller"])
    found = classifier.evaluate(judged, resamples=5, progress=False)
    assert found.seen.copies == ("picture-5", "picture-6", "picture-7")
    assert (classifier.trained_on | TrainedOn(b"12345678")).without_fingerprint == 1


def test_a_folder_keeps_them_whole(learnt, tmp_path) -> None:
    classifier = Classifier.from_pretrained(learnt[0])
    classifier.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / FILE).read_bytes() == (learnt[0] / FILE).read_bytes()
    path = tmp_path / "again" / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError, match=rf"{FILE} in .* must have the sha256"):
        Classifier.from_pretrained(path.parent)
    with pytest.raises(IntegrityError, match="must hold training_pixels"):
        TrainedOn.from_files({FILE: (learnt[0] / FILE).read_bytes()})


def test_an_audit_finds_copies_outside_the_training_part(learnt, tmp_path) -> None:
    records = pictures(tmp_path / "all", range(8), CHANGES["quality 60"])
    ids = [item.image_id for item in records]
    splits = Splits.of(records, {"train": ids[:4], "val": ids[4:7], "test": ids[7:]})
    known = Classifier.from_pretrained(learnt[0]).trained_on
    report = audit(splits, trained_on=known, progress=False)
    (found,) = (f for f in report.findings if f.kind == "copy")
    assert (found.severity, found.count) == ("error", 2)
    assert ids[4] in found.message and ids[5] in found.message
    report = audit(splits, trained_on=known, not_copies=ids[4:6], progress=False)
    assert not [f for f in report.findings if f.kind == "copy"]
    hashes = TrainedOn(known.prefixes)
    (found,) = (
        f for f in audit(splits, trained_on=hashes, progress=False).findings if f.kind == "copy"
    )
    assert found.severity == "warning" and "only exact copies of" in found.message


def test_the_audit_command(learnt, tmp_path) -> None:
    records = pictures(tmp_path / "all", range(8), CHANGES["quality 60"])
    code, text = audit_command(records, tmp_path, "--init-weights", learnt[0])
    assert code == 1 and "error    copy                 2" in text and "picture-4" in text
    more = ("--not-copies", "picture-4,picture-5")
    _, text = audit_command(records, tmp_path, "--init-weights", learnt[0], *more)
    assert "error    copy " not in text


def test_the_evaluate_command_says_how_to_go_on(learnt, tmp_path) -> None:
    records = pictures(tmp_path / "all", range(4, 8), CHANGES["quality 60"])
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["image,label", *(f"{i.image_id},{i.label}" for i in records)]))
    arguments = ["evaluate", table, "--images", records[0].path.parent, "--model", learnt[0],
                 "--out", tmp_path / "out"]  # fmt: skip
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    assert "LEAKED: of 4 images, 2 look like copies" in result.output
    assert "give --not-copies picture-4,picture-5" in " ".join(result.output.split())
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["leaked"] is True
    assert "look like copies of training images" in (tmp_path / "out/evaluation.html").read_text()


# Training


ONE = BASE | {"epochs": 1}


def changed(records: Records, source: Path) -> Records:
    """The same records; the first file shows ``source`` at quality 90 and a little larger."""
    with Image.open(source) as image:
        size = (round(1.2 * image.width), round(1.2 * image.height))
        image.convert("RGB").resize(size).save(records[0].path, "PNG")
    return records


def textured(folder: Path, count: int, seed: int) -> Records:
    """`coloured` records whose pictures have a structure of their own."""
    records = coloured(folder, count, seed)
    for place, item in enumerate(records):
        with Image.open(item.path) as image:
            flat = np.asarray(image.convert("RGB")).astype(float)
        pattern = resized(lesion(1000 * seed + place), flat.shape[1], flat.shape[0])
        Image.fromarray((0.5 * flat + 0.5 * pattern).astype(np.uint8)).save(item.path)
    return records


@pytest.fixture
def small() -> Iterator[None]:
    with registered():
        yield


def test_training_refuses_copies_in_the_validation_part(small, tmp_path) -> None:
    train, val = textured(tmp_path / "train", 4, 1), textured(tmp_path / "val", 3, 2)
    first = tmp_path / "first"
    tuned = Trainer(**ONE, output_dir=first).fit(train, val)
    assert len(tuned.trained_on.fingerprints) == len(train)
    assert tuned.trained_on.without_fingerprint == 0 and (first / FILE).exists()

    with pytest.raises(LeakageError, match="of the training part: of 9, 1 looks like a copy"):
        Trainer(**ONE, output_dir=tmp_path / "run").fit(train, changed(val, train[1].path))
    others = textured(tmp_path / "others", 4, 3)
    with pytest.raises(LeakageError, match="1 looks like a copy") as caught:
        Trainer(**ONE | {"init_weights": first}, output_dir=tmp_path / "run").fit(others, val)
    name = val[0].image_id
    assert f"pass not_copies=[{name!r}]" in str(caught.value)
    assert f"give --not-copies {name}" in caught.value.on_command_line
    settings = ONE | {"init_weights": first, "not_copies": [name]}
    child = Trainer(**settings, output_dir=tmp_path / "run").fit(others, val)
    assert len(child.trained_on.fingerprints) == len(train) + len(others)  # passed on
    assert '"leaked": false' in (tmp_path / "run/evaluation.json").read_text()
