"""The audit finds what was planted, in real photographs, and nothing else."""

import html
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from skinxai import read_image, samples
from skinxai.cli import app
from skinxai.data import Record, Records, Splits, audit, pixel_hash
from skinxai.data.auditing import _classes, _lesions, _pair_findings, _some
from skinxai.errors import OptionError
from skinxai.labels import LabelSet
from skinxai.results import AuditedPair

LABELS = LabelSet(("nv", "mel"))


def jpeg(pixels: np.ndarray, quality: int = 80) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.asarray(image)


def cropped(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """A window of 70 % of the area, anywhere."""
    height, width = pixels.shape[:2]
    tall, wide = round(0.7**0.5 * height), round(0.7**0.5 * width)
    top, left = draws.integers(0, height - tall + 1), draws.integers(0, width - wide + 1)
    return pixels[top : top + tall, left : left + wide]


def shrunk(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((width // 2, height // 2)))


CHANGES = {
    "exact": lambda pixels, draws: pixels,
    "flipped": lambda pixels, draws: jpeg(pixels[:, ::-1]),
    "rotated": lambda pixels, draws: jpeg(np.rot90(pixels)),
    "resized": lambda pixels, draws: jpeg(shrunk(pixels)),
    "re-encoded": lambda pixels, draws: jpeg(pixels, 50),
    "cropped": lambda pixels, draws: jpeg(cropped(pixels, draws)),
}


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [read_image(path).pixels for path in samples.paths()]


def planted(folder: Path, photographs: list[np.ndarray], change: str) -> Splits:
    """The photographs in the training part and their changed copies in the test part."""
    draws = np.random.default_rng(0)
    items, ids = [], {"train": [], "val": [], "test": []}
    for number, pixels in enumerate(photographs):
        for part, picture in (("train", pixels), ("test", CHANGES[change](pixels, draws))):
            name = f"{part}{number}"
            image = Image.fromarray(np.ascontiguousarray(picture))
            image.save(folder / f"{name}.png", compress_level=1)
            items.append(Record(name, folder / f"{name}.png", LABELS[number % 2]))
            ids[part].append(name)
    return Splits.of(Records(tuple(items), LABELS), ids)


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found(change: str, photographs, tmp_path: Path) -> None:
    report = audit(planted(tmp_path, photographs, change), progress=False)
    found = {(pair.image_id, pair.other_id) for pair in report.pairs}
    assert found == {(f"train{n}", f"test{n}") for n in range(len(photographs))}
    kind = "identical" if change == "exact" else "near"
    (across,) = (f for f in report.findings if f.kind == kind and "in two parts" in f.message)
    assert across.severity == ("error" if change == "exact" else "warning") and across.count == 4
    assert report.ok == (change != "exact") == ("NOT OK" not in repr(report))
    assert report.linked() == tuple(sorted(found, key=report.linked().index))


def test_pixel_hashes_survive_turns_and_nothing_else(photographs) -> None:
    pixels = photographs[0]
    turned = [np.rot90(pixels, 3), pixels[::-1], pixels.swapaxes(0, 1)]
    assert {pixel_hash(np.ascontiguousarray(t)) for t in turned} == {pixel_hash(pixels)}
    changed = pixels.copy()
    changed[5, 7, 1] ^= 1
    assert pixel_hash(changed) != pixel_hash(pixels)
    assert len({pixel_hash(p) for p in photographs}) == len(photographs)


def test_copies_within_a_lesion_are_expected(photographs, tmp_path: Path) -> None:
    splits = planted(tmp_path, photographs, "exact")
    items = [*splits.train, *splits.test]
    same = Records(
        tuple(
            replace(i, lesion_id=i.image_id.removeprefix("train").removeprefix("test"))
            for i in items
        ),
        LABELS,
    )
    report = audit(Splits.of(same, {"train": [i.image_id for i in same]}), progress=False)
    assert report.pairs == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("bundled", "trained_on must be a model's TrainedOn or a set of pixel hashes, got 'bund"),
        (None, "got None; a Classifier has it as its attribute trained_on"),
        ((digest for digest in ["0" * 64]), "pixel hashes, got <generator"),
        (["lesion.jpg"], "a pixel hash must be the 64 hexadecimal digits .* got 'lesion.jpg'"),
    ],
)
def test_what_no_training_image_would_be_found_in_is_refused(given, words) -> None:
    """Each of them would say that no image was seen in training."""
    records = Records((Record("a", Path("a.png"), "nv"),), ["nv", "mel"])
    with pytest.raises(OptionError, match=words):
        audit(Splits.of(records, {"test": ["a"]}), trained_on=given, progress=False)


def test_everything_else_that_makes_figures_wrong(photographs, tmp_path: Path) -> None:
    splits = planted(tmp_path, photographs[:2], "flipped")
    (tmp_path / "test1.png").write_bytes(b"")
    marked = [
        replace(item, lesion_id="one", patient_id="p", attributes={"sex": "male"})
        for item in [*splits.train, *splits.test]
    ]
    records = Records(tuple(marked), LABELS)
    ids = {part: [i.image_id for i in getattr(splits, part)] for part in ("train", "test")}
    ids["train"].remove("train1")
    leaky = Splits.of(records, ids, allow_leakage=True)
    hashes = {pixel_hash(np.ascontiguousarray(read_image(tmp_path / "test0.png").pixels))}
    report = audit(leaky, trained_on=hashes, progress=False)
    found = {finding.kind: finding for finding in report.findings if finding.severity == "error"}
    assert set(found) == {
        "shared lesion", "shared patient", "unreadable", "trained on", "class",
    }  # fmt: skip
    assert found["shared lesion"].message == "in more than one part: one"
    assert "test1 (image_decode)" in found["unreadable"].message
    assert found["trained on"].count == 1 and "test0" in found["trained on"].message
    assert found["class"].message == "without an image in the train part: mel"
    assert not report.ok and "figures from this split would be wrong" in report.to_text()
    assert report.to_dict()["counts"] == {"train": 1, "val": 0, "test": 2}


def test_columns_of_a_table_that_give_the_label_away(photographs, tmp_path: Path) -> None:
    """The command line reads the table; patients have both labels, and one age and sex."""
    rows = ["image,patient_id,sex,age_approx,label,benign_malignant,target"]
    for number in range(24):
        pixels = cropped(photographs[number % 4][::4, ::4], np.random.default_rng(number))
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        label = LABELS[number * 7 // 4 % 2]
        word, target = ("malignant", 1) if label == "mel" else ("benign", 0)
        rows.append(f"{number},p{number // 2},male,45,{label},{word},{target}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    result = CliRunner().invoke(
        app, ["audit", str(tmp_path / "table.csv"), "--json", "--out", str(tmp_path / "out")]
    )
    findings = json.loads(result.stdout)["findings"]
    (leak,) = [found for found in findings if found["kind"] == "leak column"]
    assert (leak["severity"], leak["count"], result.exit_code) == ("error", 2, 1)
    words = "removes 96% of the label's uncertainty"
    assert leak["message"].startswith(
        f"columns that give the label away: benign_malignant ({words}); target ({words}). Leave"
    )
    assert f"benign_malignant ({words})" in html.unescape((tmp_path / "out/audit.html").read_text())


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_pairs_have_their_own_ids_beside_a_file_that_cannot_be_read(
    broken: int, tmp_path: Path
) -> None:
    draws = np.random.default_rng(0)
    pictures = [draws.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(4)]
    pictures.append(pictures[3])  # image 4 is image 3 again
    items = [Record(f"i{n}", tmp_path / f"i{n}.png", LABELS[n % 2]) for n in range(5)]
    for item, pixels in zip(items, pictures, strict=True):
        Image.fromarray(pixels).save(item.path)
    items[broken].path.write_bytes(b"")
    ids = {"train": ["i0", "i1"], "val": ["i2", "i3"], "test": ["i4"]}
    report = audit(Splits.of(Records(tuple(items), LABELS), ids), progress=False)
    (pair,) = report.pairs
    assert (pair.image_id, pair.other_id) == ("i3", "i4")
    assert (pair.parts, pair.labels, pair.kind) == (("val", "test"), ("mel", "nv"), "identical")


def test_few_lesions_are_fewer_than_ten() -> None:
    """Ten of nv and nine of mel, each of two images."""
    items = [
        Record(f"{code}{n}", Path("x"), code, f"{code}{n // 2}")
        for code, lesions in (("nv", 10), ("mel", 9))
        for n in range(2 * lesions)
    ]
    (found,) = _classes({"test": Records(tuple(items), LABELS)})
    assert (found.severity, found.count) == ("warning", 1)
    assert found.message == "of fewer than 10 lesions in the test part: mel (9)"


def test_lesion_ids_that_begin_anew_for_each_patient() -> None:
    """Of lesion 1 there are two patients, of 2 two labels, of 3 both; 4 is in two images."""
    rows = (
        ("1", "p", "nv"), ("1", "q", "nv"), ("2", "p", "nv"), ("2", "p", "mel"),
        ("3", "p", "nv"), ("3", "q", "mel"), ("4", "p", "nv"), ("4", None, "nv"),
    )  # fmt: skip
    items = [
        Record(str(n), Path("x"), label, lesion, patient)
        for n, (lesion, patient, label) in enumerate(rows)
    ]
    patients, labels = _lesions(items)
    assert {(each.kind, each.severity, each.count) for each in (patients, labels)} == {
        ("lesion", "warning", 2)
    }
    assert patients.message.startswith("lesions whose images are of several patients: 1 (2), 3 (2)")
    assert "name each lesion by patient and number" in patients.message
    assert labels.message == "lesions whose images are of several labels: 2 (2), 3 (2)"
    assert not list(_lesions([items[0], items[2], items[6], items[7]]))


def test_an_audit_looks_for_such_ids(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "x.png")
    items = tuple(Record(p, tmp_path / "x.png", "nv", "1", p) for p in "pq")
    report = audit(Splits.of(Records(items, LABELS), {"train": "pq"}), progress=False)
    assert [each.count for each in report.findings if each.kind == "lesion"] == [1]


def test_images_in_no_part_are_found(photographs, tmp_path: Path) -> None:
    splits = planted(tmp_path, photographs, "flipped")
    records = Records((*splits.train, *splits.test), LABELS)
    ids = {"train": ["train0", "train1"], "test": ["test0", "test1", "test3"]}
    report = audit(Splits.of(records, ids), progress=False)
    (found,) = [finding for finding in report.findings if finding.kind == "left out"]
    assert (found.severity, found.count) == ("warning", 3)


def test_the_command_and_its_page(photographs, tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    splits = planted(pictures, photographs, "exact")
    parts = (splits.train, splits.test)
    rows = [f"{i.image_id};{'Mole' if i.label == 'nv' else 'MM'}" for part in parts for i in part]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file;finding", *rows]))
    splits.to_csv(tmp_path / "splits.csv")
    arguments = [
        "audit", table, "--images", pictures, "--column", "image=file", "--column", "label=finding",
        "--label", "Mole=nv", "--label", "MM=mel", "--delimiter", ";",
        "--splits", tmp_path / "splits.csv", "--out", out,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 1, result.output
    assert "error    identical" in result.output
    assert "8 rows without a lesion id" in result.output
    page = (out / "audit.html").read_text()
    assert page.count("<img") == 8 and page.count("://") == 0
    assert "train0: nv, train" in page and "test0: nv, test" in page
    assert json.loads((out / "audit.json").read_text())["ok"] is False
    wrong = CliRunner().invoke(app, ["audit", str(table), "--column", "image"])
    assert wrong.exit_code == 2 and "NAME=VALUE" in wrong.output


def test_the_command_on_class_folders(photographs, tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / LABELS[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = cropped(photographs[number % 4], np.random.default_rng(number))
        Image.fromarray(pixels).save(folder / f"{number}.png")
    result = CliRunner().invoke(app, ["audit", str(tmp_path), "--json"])
    assert json.loads(result.stdout)["counts"] == {"train": 8, "val": 2, "test": 2}
    unfit = CliRunner().invoke(app, ["audit", str(tmp_path), "--column", "image=x"])
    assert isinstance(unfit.exception, OptionError)


def test_pairs_are_counted_by_what_makes_figures_wrong() -> None:
    def pair(number: int, kind: str, parts: tuple[str, str], labels: tuple[str, str]) -> Any:
        return AuditedPair(f"a{number}", f"b{number}", parts, labels, kind, 0.9, 8)

    pairs = (
        pair(0, "identical", ("train", "test"), ("nv", "nv")),
        pair(1, "identical", ("train", "train"), ("nv", "mel")),
        pair(2, "near", ("val", "val"), ("nv", "nv")),
        pair(3, "near", ("train", "val"), ("nv", "mel")),
        pair(4, "near", ("val", "val"), ("mel", "mel")),
    )
    same, like = "the same pixels", "what looks like the same skin"
    between = "pair of different lesions with"
    assert [(f.kind, f.severity, f.count, f.message) for f in _pair_findings(pairs)] == [
        ("identical", "error", 1, f"{between} {same} in two parts: a0 and b0"),
        ("identical", "warning", 1, f"{between} {same} within one part"),
        ("identical", "warning", 1, f"pair with {same} and different labels: a1 and b1"),
        ("near", "warning", 1, f"{between} {like} in two parts: a3 and b3"),
        ("near", "warning", 2, f"pairs of different lesions with {like} within one part"),
        ("near", "warning", 1, f"pair with {like} and different labels: a3 and b3"),
    ]
    assert _pair_findings(pairs[4:]) == _pair_findings(pairs[2:3])


def test_of_many_names_five_are_said() -> None:
    names = list("abcdefg")
    assert [_some(names[:count]) for count in (1, 5, 6, 7)] == [
        "a", "a, b, c, d, e", "a, b, c, d, e and 1 more", "a, b, c, d, e and 2 more",
    ]  # fmt: skip
