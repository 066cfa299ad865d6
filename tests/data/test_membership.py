"""Who was trained on: pixel hashes that a model folder carries, and no name beside them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save
from typer.testing import CliRunner

import skinxai
from skinxai import Classifier, backbones, checkpoints, read_image
from skinxai.cli import app
from skinxai.configs import ModelConfig, PreprocessConfig, canonical_json
from skinxai.data import Record, Records, Splits, TrainedOn, audit, pixel_hash
from skinxai.errors import IntegrityError, ModelNotFoundError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.fingerprints import Fingerprints
from skinxai.model_folders.trained_on import Look

LABELS = LabelSet(("nv", "mel"))
FILE = "training_pixels.safetensors"
PLANTED = ("planted-folder", "planted-file", "planted-lesion", "planted-patient")


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_bytes_by_hand() -> None:
    low, high = "00000000000000ff" + 48 * "a", "ff00000000000001" + 48 * "b"
    found = TrainedOn.from_hashes([high, low, high])
    assert found.prefixes == bytes.fromhex("00000000000000ffff00000000000001")
    assert len(found) == 2 and low in found and high in found
    assert "00000000000000fe" + 48 * "a" not in found
    assert low[:16] + 48 * "c" in found  # 64 bits are kept
    assert repr(found) == "TrainedOn(2 images)"
    assert TrainedOn.from_bytes(found.to_bytes()) == found == TrainedOn.from_hashes([low, high])
    assert len(TrainedOn.from_hashes([])) == 0 and low not in TrainedOn(b"")


def test_images_that_are_all_among_others() -> None:
    draws = np.random.default_rng(0)
    found = [Look.at(draws.integers(0, 256, (40, 40, 3), np.uint8)) for _ in range(4)]
    whole, part = TrainedOn.of_looks(found), TrainedOn.of_looks(found[1:3])
    assert part.is_within(whole) and whole.is_within(whole) and TrainedOn().is_within(part)
    assert not whole.is_within(part)
    assert not TrainedOn.of_looks([*found[:1], Look.at(np.zeros((40, 40, 3), np.uint8))]).is_within(
        whole
    )
    assert not part.is_within(TrainedOn(whole.prefixes))  # which finds no copies


def test_as_a_set_would_answer() -> None:
    first, second = ({digest(n) for n in r} for r in (range(300), range(200, 500)))
    one, other = TrainedOn.from_hashes(first), TrainedOn.from_hashes(second)
    both = one | other
    for number in range(1000):
        assert (digest(number) in one) == (number < 300)
        assert (digest(number) in both) == (number < 500)
    assert len(both) == 500 and both == other | one


@pytest.mark.parametrize(
    "data", [b"1234567", b"123456789", 2 * b"12345678", b"\xff" + bytes(7) + b"\x01" + bytes(7)]
)
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="pixel hashes must be"):
        TrainedOn(data)


@pytest.mark.parametrize(
    "arrays",
    [
        {}, {"other": np.zeros((2, 8), np.uint8)}, {"prefixes": np.zeros((2, 8), np.int8)},
        {"prefixes": np.zeros((2, 7), np.uint8)}, {"prefixes": np.zeros(16, np.uint8)},
        {"prefixes": np.zeros((1, 8), np.uint8), "more": np.zeros((1, 8), np.uint8)}, None,
    ],
)  # fmt: skip
def test_other_arrays(arrays: dict | None) -> None:
    data = b"no safetensors" if arrays is None else save(arrays)
    with pytest.raises(IntegrityError, match=FILE):
        TrainedOn.from_bytes(data)


@pytest.mark.parametrize("value", ["ISIC_0024306", 63 * "a", 64 * "A", 64 * "a" + "\n", b"a", None])
def test_what_is_no_hash_is_never_merely_absent(value: object) -> None:
    with pytest.raises(OptionError, match="64 hexadecimal digits"):
        TrainedOn.from_hashes([value])  # type: ignore[list-item]
    with pytest.raises(OptionError, match="64 hexadecimal digits"):
        value in TrainedOn()  # noqa: B015


def tiny(folder: Path, hashes: list[str] | None, name: str = "tiny") -> Path:
    """A model folder."""
    config = ModelConfig(name, "tf_efficientnet_lite0", LABELS, PreprocessConfig((32, 48)))
    known = None if hashes is None else TrainedOn.from_hashes(hashes)
    model = backbones.build("tf_efficientnet_lite0", 2)
    checkpoints.save(str(folder), model, config, "A card.", known)
    return folder


def test_a_folder_keeps_it(tmp_path: Path) -> None:
    known = TrainedOn.from_hashes(map(digest, range(5)))
    folder = tiny(tmp_path / "model", [digest(n) for n in range(5)])
    assert (folder / FILE).read_bytes() == known.to_bytes()
    classifier = Classifier.from_pretrained(folder)
    assert classifier.trained_on == known
    revision = classifier.save_pretrained(tmp_path / "again")
    assert classifier.model == f"tiny@{revision}"
    assert Classifier.from_pretrained(tmp_path / "again").trained_on == known


def test_a_folder_without_it_says_nothing(tmp_path: Path, classifier: Classifier) -> None:
    folder = tiny(tmp_path / "model", None)
    assert not (folder / FILE).exists()
    assert Classifier.from_pretrained(folder).trained_on is None
    none_at_all = tiny(tmp_path / "none", [])  # known: no image
    assert len(Classifier.from_pretrained(none_at_all).trained_on) == 0


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tiny(tmp_path / "model", [digest(1), digest(2)]) / FILE
    hashes = path.read_bytes()
    path.write_bytes(hashes[:-8])
    with pytest.raises(IntegrityError, match=rf"{FILE} in .* must have the sha256"):
        Classifier.from_pretrained(path.parent)
    path.write_bytes(hashes[:-16] + hashes[-8:] + hashes[-16:-8])
    content = json.loads((path.parent / "manifest.json").read_text())
    content.pop("digest")
    content["files"][FILE] = hashlib.sha256(path.read_bytes()).hexdigest()
    signed = content | {"digest": hashlib.sha256(canonical_json(content)).hexdigest()}
    (path.parent / "manifest.json").write_bytes(canonical_json(signed))
    with pytest.raises(IntegrityError, match="strictly ascending"):
        Classifier.from_pretrained(path.parent)


def pictures(folder: Path, count: int, seed: int = 0) -> Records:
    """Noise of two colours, every name planted."""
    draws = np.random.default_rng(seed)
    place = folder / "planted-folder"
    place.mkdir(parents=True)
    items = []
    for number in range(count):
        red = 200 if number % 2 else 60
        noise = draws.integers(-50, 50, (40, 56, 3))
        path = place / f"planted-file-{seed}-{number}.png"
        Image.fromarray((np.array((red, 120, 60)) + noise).clip(0, 255).astype(np.uint8)).save(path)
        items.append(
            Record(
                path.stem, path, LABELS[number % 2], f"planted-lesion-{seed}-{number}",
                f"planted-patient-{seed}-{number}", {"site": "back"},
            )
        )  # fmt: skip
    return Records(tuple(items), LABELS, "noise", "CC0-1.0", "nobody")


def hashes_of(records: Records) -> list[str]:
    return [pixel_hash(read_image(item.path).pixels) for item in records]


class Anything:
    """Has ``in`` and nothing else."""

    def __init__(self, hashes: list[str]) -> None:
        self.hashes = hashes

    def __contains__(self, value: object) -> bool:
        return value in self.hashes


@pytest.mark.parametrize("kind", [TrainedOn.from_hashes, Anything, frozenset, list])
def test_only_images_outside_the_training_part_count(kind, tmp_path: Path) -> None:
    records = pictures(tmp_path, 6)
    ids = [item.image_id for item in records]
    splits = Splits.of(records, {"train": ids[:3], "val": ids[3:5], "test": ids[5:]})
    known = hashes_of(records)
    report = audit(splits, trained_on=kind([known[0], known[4], known[5]]), progress=False)
    (found,) = (f for f in report.findings if f.kind == "trained on")
    assert found.count == 2 and ids[4] in found.message and ids[5] in found.message
    report = audit(splits, trained_on=kind(known[:3]), progress=False)
    assert not [f for f in report.findings if f.kind == "trained on"]


def arguments_for(records: Records, folder: Path, *more: object) -> list[str]:
    ids = [item.image_id for item in records]
    splits = Splits.of(records, {"train": ids[:4], "val": ids[4:6], "test": ids[6:]})
    splits.to_csv(folder / "splits.csv")
    rows = [f"{item.image_id},{item.label}" for item in records]
    (folder / "table.csv").write_text("\n".join(["image,label", *rows]))
    arguments = ["audit", folder / "table.csv", "--images", records[0].path.parent,
                 "--splits", folder / "splits.csv", *more]  # fmt: skip
    return [str(a) for a in arguments]


def audit_command(records: Records, folder: Path, *more: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments_for(records, folder, *more))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command(tmp_path: Path) -> None:
    records = pictures(tmp_path, 8)
    known = hashes_of(records)
    model = tiny(tmp_path / "model", [known[0], known[7]], "first")
    silent = tiny(tmp_path / "silent", None, "second")
    write_ensemble(tmp_path / "both", [model, silent], name="both")

    code, text = audit_command(records, tmp_path, "--init-weights", model)
    assert code == 1 and "error    trained on           1" in text
    assert "planted-file-0-7" in text and "looked for 2 images" in text
    assert "does not say" not in text

    code, text = audit_command(records, tmp_path, "--init-weights", tmp_path / "both")
    assert code == 1 and "error    trained on           1" in text
    assert "first@" in text and "note: second@" in text and "does not say" in text

    code, text = audit_command(records, tmp_path, "--init-weights", silent)
    assert "trained on    " not in text and "has no training_pixels.safetensors" in text
    code, text = audit_command(records, tmp_path)
    assert "trained on" not in text
    with pytest.raises(ModelNotFoundError):
        audit_command(records, tmp_path, "--init-weights", tmp_path / "nowhere")


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    records = pictures(tmp_path, 8)
    silent = tiny(tmp_path / "silent", None)
    write_ensemble(tmp_path / "both", [silent, silent], name="both")
    for weights in ("bundled", tmp_path / "both"):
        arguments = arguments_for(records, tmp_path, "--init-weights", weights)
        code = (
            "import sys\nfrom skinxai.cli import app\n"
            "try: app()\nexcept SystemExit: print('torch' in sys.modules)"
        )
        command = [sys.executable, "-c", code, *arguments]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.stdout.splitlines()[-1] == "False", found.stderr
        assert "train 4, val 2, test 2" in found.stdout and "note: " in found.stderr


def planted_in(folder: Path) -> list[tuple[str, str]]:
    """Planted words in any file that the manifest lists, members' included, and where."""
    files = [folder / "manifest.json", *sorted(folder.glob("members/*/manifest.json"))]
    names = [m.parent / n for m in files for n in json.loads(m.read_bytes())["files"]]
    assert len(names) >= 3
    content = [(path, path.read_bytes().lower()) for path in [*files, *names]]
    return [
        (str(path), word) for path, data in content for word in PLANTED if word.encode() in data
    ]


def test_a_saved_model_holds_no_names(tmp_path: Path) -> None:
    train, val = pictures(tmp_path / "train", 8), pictures(tmp_path / "val", 4, seed=1)
    run = tmp_path / "run"
    tuned = skinxai.Trainer(
        "timm/test_resnet", init_weights=None, amp=False, image_size=(32, 48), batch_size=4,
        epochs=1, workers=0, device="cpu", output_dir=run,
    ).fit(train, val)  # fmt: skip
    assert planted_in(run) == []
    assert b"planted-file" in (run / "splits.csv").read_bytes()  # which stays on the machine

    known = TrainedOn.from_hashes(hashes_of(train))
    checkpoints.save(str(tmp_path / "saved"), tuned.network, tuned.config, tuned.card, known)
    again = Classifier.from_pretrained(tmp_path / "saved")
    again.save_pretrained(tmp_path / "copy")
    write_ensemble(tmp_path / "both", [tmp_path / "saved", tmp_path / "copy"], name="both")
    for name in ("saved", "copy", "both"):
        assert planted_in(tmp_path / name) == []
    for name in ("saved", "copy"):
        data = (tmp_path / name / FILE).read_bytes()
        assert len(TrainedOn.from_bytes(data).prefixes) == 8 * len(train)
        assert all(bytes.fromhex(value)[:8] in data for value in hashes_of(train))

    leaky = replace(tuned.config, training_data={"name": "planted-lesion-0-1"})
    checkpoints.save(str(tmp_path / "leaky"), tuned.network, leaky, "", known)
    assert [word for _, word in planted_in(tmp_path / "leaky")] == ["planted-lesion"]


def test_a_folders_files_are_all_or_none() -> None:
    assert TrainedOn.from_files({}) is None and TrainedOn.from_files({"config.json": b"{}"}) is None
    hashes = TrainedOn.from_hashes([digest(0), digest(1)])
    whole = replace(hashes, fingerprints=Fingerprints())
    assert list(hashes.files()) == [FILE] and len(whole.files()) == 2
    for known in (hashes, whole):
        assert TrainedOn.from_files(known.files() | {"config.json": b"{}"}) == known
    only = {name: data for name, data in whole.files().items() if name != FILE}
    with pytest.raises(IntegrityError, match=f"must hold {FILE} too"):
        TrainedOn.from_files(only)
    assert (hashes.without_fingerprint, whole.without_fingerprint) == (2, 2)
