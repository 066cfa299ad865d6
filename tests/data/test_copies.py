"""Copies of training images: fingerprints that survive what is usually done to a picture."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save
from small_runs import BASE, coloured, registered
from test_membership import LABELS, audit_command
from typer.testing import CliRunner

from skinxai import Classifier, Trainer, backbones, checkpoints
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, Splits, TrainedOn, audit, prepare
from skinxai.data.hashing import looks
from skinxai.errors import IntegrityError, LeakageError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders import fingerprints
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.fingerprints import BYTES, Fingerprints, image_fingerprint

FILE = "training_fingerprints.safetensors"
HEIGHT, WIDTH = 150, 200
EARLIER = (  # of lesion(3), as written into model folders
    "07993988d4b87a778a8a888a54853b1ca578678a985d88d93434767937848787972596bb6b6988ab"
    "878da30d82c2a294888b67b30998d40351b57b6d6aae9aabbb87bd464ca64f3a6b968aa9844976b9"
    "5a79a58ca75877eca603a925e748ccb977dda6488ba7697b54796a7725b889898767985cb799568d"
    "5877a5a39375670ed9e625660999747da82998e8162967a784f583a9a55e679558736779333999c7"
    "77489857b49756b86b8a84c9988a7a9baacaa4619698b8667549ac566775a989c8974a7597d9d579"
)


def lesion(seed: int) -> np.ndarray:
    """A dark spot with a network of its own on skin, RGB uint8 ``(150, 200, 3)``."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    field = sum(
        strength * cv2.resize(draws.standard_normal((n, n)), (WIDTH, HEIGHT),
                              interpolation=cv2.INTER_CUBIC)
        for n, strength in ((4, 12), (8, 12), (16, 10), (32, 6))
    )  # fmt: skip
    spot = 70 * (np.hypot(y - 0.5, x - 0.66) < 0.3 + 0.06 * np.sin(5 * np.arctan2(y - 0.5, x)))
    grey = 170 + field - spot
    return np.stack([grey, 0.8 * grey, 0.7 * grey], axis=2).clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Rotated about the middle, and the corners that are then empty cut off."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1)
    whole = cv2.warpAffine(pixels, matrix, (WIDTH, HEIGHT))
    return whole[HEIGHT // 8 : -HEIGHT // 8, WIDTH // 10 : -WIDTH // 10]


CHANGES = {
    "quality 95": lambda p: encoded(p, 95),
    "quality 60": lambda p: encoded(p, 60),
    "smaller": lambda p: encoded(resized(p, 96, 72), 85),
    "larger": lambda p: encoded(resized(p, 375, 281), 85),
    "squeezed": lambda p: encoded(resized(p, 224, 224), 85),
    "brighter": lambda p: (255 * (p / 255) ** 0.75).astype(np.uint8),
    "less contrast": lambda p: (0.7 * p + 40).astype(np.uint8),
    "other colours": lambda p: (p * (1, 0.9, 0.85)).astype(np.uint8),
    "grey": lambda p: np.repeat(p[..., 1:2], 3, axis=2),
    "cropped": lambda p: p[:126, :167],
    "cropped to a square": lambda p: p[:, 25:175],
    "rotated by 5 degrees": lambda p: turned(p, 5),
    "all of it": lambda p: encoded(resized(np.rot90(p[10:140, 20:190])[:, ::-1], 260, 340), 70),
}
ORIENTATIONS = [(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)]


@pytest.fixture(scope="module")
def known() -> Fingerprints:
    return Fingerprints.of(image_fingerprint(lesion(seed)) for seed in range(60))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change, known) -> None:
    asked = [image_fingerprint(np.ascontiguousarray(CHANGES[change](lesion(s)))) for s in range(8)]
    assert known.copies(asked) == [True] * 8


@pytest.mark.parametrize(("mirrored", "quarters"), ORIENTATIONS)
def test_in_each_of_the_eight_orientations(mirrored, quarters, known) -> None:
    pixels = lesion(3)[:, ::-1] if mirrored else lesion(3)
    asked = image_fingerprint(encoded(np.rot90(pixels, quarters), 80))
    assert known.similarities([asked])[0] > 0.95


def test_a_turned_copy_of_a_square_picture() -> None:
    own = Fingerprints.of([image_fingerprint(resized(lesion(3), 128, 128))])
    asked = image_fingerprint(encoded(np.rot90(resized(lesion(3), 200, 128)), 80))
    assert own.similarities([asked])[0] > 0.9


@pytest.mark.parametrize(
    ("height", "width", "resized_before", "mark"),
    [(96, 128, False, 0), (128, 96, False, 0), (96, 128, True, 1), (128, 128, False, 1)],
)
def test_a_print_says_whether_its_picture_may_lie_on_another_side(
    height: int, width: int, resized_before: bool, mark: int
) -> None:
    pixels = resized(lesion(3), width, height)
    assert image_fingerprint(pixels, resized=resized_before)[0] >> 4 == mark


def test_other_pictures_are_not_copies(known) -> None:
    asked = [image_fingerprint(lesion(seed)) for seed in range(1000, 1060)]
    assert known.copies(asked) == [False] * 60
    assert float(known.similarities(asked).max()) < 0.6


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_without_any_structure_are_copies_of_nothing(value) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    assert image_fingerprint(flat) == b""
    own = Fingerprints.of([image_fingerprint(flat), image_fingerprint(lesion(0))])
    assert len(own) == 1 and own.copies([image_fingerprint(flat)]) == [False]


def test_as_a_set_would_answer_and_as_one_by_one(known) -> None:
    prints = [image_fingerprint(lesion(seed)) for seed in range(60)]
    assert Fingerprints.of([*prints[::-1], prints[0]]) == known
    assert Fingerprints.of(prints[:40]) | Fingerprints.of(prints[20:]) == known
    assert Fingerprints.from_bytes(known.to_bytes()) == known and len(known) == 60
    assert repr(known) == "Fingerprints(60 images)"
    asked = [image_fingerprint(CHANGES["cropped"](lesion(s))) for s in (1, 2, 99)] + [b""]
    together = known.similarities(asked)
    alone = [float(known.similarities([each])[0]) for each in asked]
    assert np.allclose(together, alone, atol=1e-5) and together[3] == -1
    assert Fingerprints().copies(asked) == [False] * 4


def test_many_comparisons_show_a_bar(known, monkeypatch, capsys) -> None:
    asked = [image_fingerprint(lesion(seed)) for seed in range(60, 64)]
    for progress, most, shown in ((True, 241, False), (True, 240, True), (False, 240, False)):
        monkeypatch.setattr(fingerprints, "SHOWN", most)
        known.similarities(asked, progress)
        assert ("/240 " in capsys.readouterr().err) == shown


@pytest.mark.parametrize(
    "rows", [b"a", bytes(BYTES + 1), 2 * bytes(BYTES), b"b" + bytes(BYTES * 2 - 1)]
)
def test_damaged_bytes(rows) -> None:
    with pytest.raises(IntegrityError, match="fingerprints must be"):
        Fingerprints(rows)
    with pytest.raises(IntegrityError, match=FILE):
        Fingerprints.from_bytes(save({"fingerprints": np.zeros((2, BYTES - 1), np.uint8)}))
    with pytest.raises(OptionError, match="must have 200 bytes, got 3"):
        Fingerprints.of([b"abc"])


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


def test_prints_of_earlier_versions_are_understood() -> None:
    earlier = Fingerprints.of([bytes.fromhex(EARLIER)])
    assert earlier.similarities([image_fingerprint(lesion(3))])[0] > 0.98


def test_portraits_are_found_in_a_folder_of_another_aspect(tmp_path: Path) -> None:
    items = []
    for seed in range(40):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(np.rot90(lesion(seed))).save(path)
        items.append(Record(f"{seed}", path, ("a", "b")[seed % 2], lesion_id=f"l{seed}"))
    records = Records(tuple(items), LabelSet(("a", "b")))
    kept = prepare(records, tmp_path / "kept", image_size=(96, 128), progress=False)
    known = Fingerprints.of(look.fingerprint for look in looks(kept))
    asked = [image_fingerprint(encoded(np.rot90(lesion(seed)), 85)) for seed in range(40)]
    assert min(known.similarities(asked)) > 0.7
