"""Records and splits, on small tables and on the frozen split of HAM10000."""

import csv
import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import Record, Records, Splits, load_folder, load_ham10000, split
from skinxai.errors import DatasetError
from skinxai.labels import LabelSet

ROOT = Path(__file__).parent.parent
HAM10000 = ROOT.parent / "shared/data/ham10000"
LABELS = LabelSet(("nv", "mel", "bcc"))


def table(lesions: int = 400, seed: int = 0) -> Records:
    """Lesions of one to four images; some patients have two lesions; nevi are the most."""
    draws = random.Random(seed)
    items = []
    for lesion in range(lesions):
        label = draws.choices(LABELS.codes, (70, 20, 10))[0]
        patient = f"p{lesion // 10}" if lesion % 5 == 0 else None
        for image in range(draws.randint(1, 4)):
            name = f"i{lesion}_{image}"
            items.append(Record(name, Path(name), label, f"l{lesion}", patient))
    return Records(tuple(items), LABELS)


def parts(splits: Splits) -> tuple[Records, Records, Records]:
    return splits.train, splits.val, splits.test


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_parts(seed: int) -> None:
    records = table()
    linked = [("i0_0", "i7_0"), ("i7_0", "i19_0")]
    splits = split(records, seed=seed, linked=linked)
    for key in (lambda r: r.lesion_id, lambda r: r.patient_id or r.lesion_id):
        sets = [{key(item) for item in part} for part in parts(splits)]
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    place = {item.image_id: n for n, part in enumerate(parts(splits)) for item in part}
    assert place["i0_0"] == place["i7_0"] == place["i19_0"]
    assert sorted(place) == sorted(item.image_id for item in records)


def test_every_class_is_split_70_15_15() -> None:
    items = tuple(replace(item, patient_id=None) for item in table(4000))  # one class a group
    records = Records(items, LABELS)
    splits = split(records)
    for k, total in enumerate(records.class_counts()):
        shares = [part.class_counts()[k] / total for part in parts(splits)]
        assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.01)


def test_the_seed_decides() -> None:
    assert split(table(), seed=1) == split(table(), seed=1)
    assert split(table(), seed=1) != split(table(), seed=2)


def test_forced_images_are_in_the_test_part() -> None:
    forced = ["i3_0", "i100_0"]
    splits = split(table(), keep_in_test=forced)
    assert set(forced) <= {item.image_id for item in splits.test}


def test_csv_and_its_hash(tmp_path: Path) -> None:
    records, path = table(), tmp_path / "splits.csv"
    splits = split(records)
    digest = splits.to_csv(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert Splits.from_csv(path, records, sha256=digest) == Splits(
        *(records.subset(sorted(i.image_id for i in part)) for part in parts(splits))
    )
    path.write_text(path.read_text().replace("test", "train"))
    with pytest.raises(DatasetError, match=r"sha256 of .* must be"):
        Splits.from_csv(path, records, sha256=digest)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"fractions": (0.7, 0.3)}, "three numbers > 0 with sum 1"),
        ({"fractions": (0.7, 0.2, 0.2)}, "three numbers > 0 with sum 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "three numbers > 0 with sum 1"),
        ({"linked": [("i0_0", "nothing")]}, "linked must name images"),
        ({"keep_in_test": ["nothing"]}, "keep_in_test must name images"),
    ],
)
def test_wrong_use_of_split(keywords: dict, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        split(table(), **keywords)


def test_records_are_checked() -> None:
    one = Record("a", Path("a"), "nv")
    assert one.lesion_id == "a"
    with pytest.raises(DatasetError, match="image_id must be unique, 'a' came twice"):
        Records((one, one), LABELS)
    with pytest.raises(DatasetError, match="label of 'a' must be one of"):
        Records((Record("a", Path("a"), "naevus"),), LABELS)
    with pytest.raises(DatasetError, match="1 are missing, the first is 'b'"):
        Records((one,), LABELS).subset(["a", "b"])


def test_folders(tmp_path: Path) -> None:
    for name in ("mel/1.png", "mel/deep/2.JPG", "nv/1.png", "nv/notes.txt", ".cache/x/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(path, "PNG")
    records = load_folder(tmp_path)
    assert records.labels.codes == ("mel", "nv") and records.class_counts() == [2, 1]
    assert [item.image_id for item in records] == ["mel/1.png", "mel/deep/2.JPG", "nv/1.png"]
    with pytest.raises(DatasetError, match="at least two classes"):
        load_folder(tmp_path / "mel")
    with pytest.raises(DatasetError, match="root must be a folder"):
        load_folder(tmp_path / "nowhere")


COLUMNS = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def ham10000(root: Path, columns: str = COLUMNS) -> None:
    (root / "HAM10000_images_part_1").mkdir()
    rows = ["HAM_2,ISIC_2,mel,histo,50.0,male,back", "HAM_1,ISIC_1,nv,follow_up,,female,foot"]
    (root / "HAM10000_metadata.csv").write_text("\n".join([columns, *rows]) + "\n")
    for name in ("ISIC_1", "ISIC_2"):
        (root / f"HAM10000_images_part_1/{name}.jpg").write_bytes(b"")


def test_ham10000_as_it_comes(tmp_path: Path) -> None:
    ham10000(tmp_path)
    records = load_ham10000(tmp_path)
    assert [(r.image_id, r.label, r.lesion_id) for r in records] == [
        ("ISIC_1", "nv", "HAM_1"), ("ISIC_2", "mel", "HAM_2"),
    ]  # fmt: skip
    assert dict(records[0].attributes) == {"age": "", "sex": "female", "localization": "foot"}
    assert records.licence == "CC-BY-NC-4.0" and "ViDIR" in records.attribution
    (tmp_path / "HAM10000_images_part_1/ISIC_2.jpg").unlink()
    with pytest.raises(DatasetError, match="1 are missing, the first is 'ISIC_2'"):
        load_ham10000(tmp_path)


def test_ham10000_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"must hold HAM10000_metadata\.csv"):
        load_ham10000(tmp_path)
    ham10000(tmp_path, COLUMNS.replace("lesion_id", "lesion"))
    with pytest.raises(DatasetError, match=r"\['lesion_id'\] missing"):
        load_ham10000(tmp_path)


def test_the_frozen_split() -> None:
    path = ROOT / "training/splits.csv"
    digest = (ROOT / "training/splits.sha256").read_text().split()[0]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    rows = list(csv.DictReader(path.read_text().splitlines()))
    counts = {part: sum(row["part"] == part for row in rows) for part in ("train", "val", "test")}
    assert counts == {"train": 7015, "val": 1498, "test": 1502}
    place = {row["image_id"]: row["part"] for row in rows}
    assert len(place) == 10015
    with (ROOT / "training/near_duplicates.csv").open() as file:
        for first, second, *_ in list(csv.reader(file))[1:]:
            assert place[first] == place[second]
    from skinxai import samples

    assert {place[path.stem] for path in samples.paths()} == {"test"}


@pytest.mark.skipif(not HAM10000.exists(), reason="HAM10000 is not beside the project")
def test_the_frozen_split_has_no_lesion_twice() -> None:
    records = load_ham10000(HAM10000)
    splits = Splits.from_csv(ROOT / "training/splits.csv", records)
    lesions = [{item.lesion_id for item in part} for part in parts(splits)]
    assert not lesions[0] & lesions[1] and not lesions[0] & lesions[2]
    assert not lesions[1] & lesions[2]
    samples = {path.stem for path in (HAM10000 / "samples_600x450").glob("*.jpg")}
    assert len(samples) == 70 and samples <= {item.image_id for item in splits.test}
    for k, total in enumerate(records.class_counts()):
        assert splits.test.class_counts()[k] / total == pytest.approx(0.15, abs=0.02)
