"""Each file of a model folder: written, loaded, checked, sent, fetched, left out, too large.

One case for each row of the table, so that a row that is added is tested as well.
"""

import json
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, Answer
from loopback_hub import NAME
from places import ROOT
from small_runs import model_folder

from skinxai import checkpoints
from skinxai.checkpoints.optional_parts import ENTRIES
from skinxai.errors import IntegrityError, ModelConfigError, ModelNotFoundError, SkinxaiWarning
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import ModelFiles, contents, read_model_folder, write_model_folder
from skinxai.model_folders.fingerprints import image_fingerprint
from skinxai.model_folders.neighbours import Neighbours
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.part_bytes import read_part
from skinxai.model_folders.parts import (
    CALIBRATION,
    CARD,
    CONFIG,
    MANIFEST,
    PARTS,
    REFERENCE,
    WEIGHTS,
    Part,
    size_limit,
)
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.model_folders.uploading import upload
from skinxai.results import Observation
from skinxai.trust.calibration import Calibration, Fitted
from skinxai.trust.colours import colours
from skinxai.trust.conformal import Conformal
from skinxai.trust.novelty_gate import NoveltyGate
from skinxai.trust.quality import QualityLimits, measure
from skinxai.trust.reference_sample import ReferenceSample
from skinxai.trust.scaling import Scaling

pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:Use 'content="),  # the Hub's client's own
]
PAGE = ROOT / "docs/reference/model-folder.md"
LISTED = [part for part in PARTS if part.name != MANIFEST]
each = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
BESIDE = ENTRIES["calibration"].names[1:]
each_listed = pytest.mark.parametrize("part", LISTED, ids=lambda part: part.name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with every part."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 255, (6, 40, 48, 3), dtype=np.uint8)
    hashes = [f"{number:064x}" for number in range(6)]
    looks = [Look(h, image_fingerprint(i)) for h, i in zip(hashes, images, strict=True)]
    folder = model_folder(
        tmp_path_factory.mktemp("parts") / "whole", seed=1, trained_on=TrainedOn.of_looks(looks)
    )
    embeddings = draws.normal(size=(6, 8)).astype(np.float32)
    neighbours = Neighbours.build(embeddings, [0, 1, 2] * 2, hashes, dimensions=4)
    loaded = checkpoints.unpack(read_model_folder(folder))
    scaling = Scaling((2.0,) * 3, (0.0,) * 3)
    conformal = Conformal.fit(np.eye(3)[[0, 1, 2] * 2], [0, 1, 2] * 2)
    fitted, limits = Fitted(scaling, {}, conformal), QualityLimits.fit([measure(i) for i in images])
    names, looked = [str(number) for number in range(6)], np.stack([colours(i) for i in images])
    novelty = NoveltyGate.fit([embeddings], looked, [0, 1, 2] * 2, names, [1.0])
    calibration = Calibration(
        "drawn pictures", 6, 6, fitted, fitted, limits, novelty, None, TrainedOn.of_looks(looks)
    )
    seen = [
        Observation("drawn", np.full(3, 1 / 3), own, measure(image), look, 0.4, None)
        for own, image, look in zip(embeddings, images, looked, strict=True)
    ]
    parts = {"neighbours": neighbours, "calibration": calibration, "graph": b"a graph",
             "reference": ReferenceSample.fit(seen, [0, 1, 2] * 2, names)}  # fmt: skip
    replace(loaded, **parts).save(str(folder))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def without(folder: Path, name: str) -> ModelFiles:
    """The folder written again with a manifest that does not list a file."""
    files = dict(read_model_folder(folder).files)
    del files[name]
    (folder / name).unlink()
    write_model_folder(folder, files)
    return read_model_folder(folder)


def test_a_folder_is_written_in_the_tables_order(whole: Path) -> None:
    names = [part.name for part in PARTS]
    assert sorted(path.name for path in whole.iterdir()) == sorted(names)
    assert [name for name, _ in contents(whole)] == names
    loaded = checkpoints.unpack(read_model_folder(whole))
    assert [*loaded.files(), MANIFEST] == names
    assert sorted(json.loads((whole / MANIFEST).read_bytes())["files"]) == sorted(names[:-1])


@each_listed
def test_what_is_loaded_is_written_again_to_the_byte(whole: Path, part: Part) -> None:
    read = read_model_folder(whole)
    assert len(read.files[part.name]) > 0
    assert checkpoints.unpack(read).files()[part.name] == read.files[part.name]


def test_each_optional_part_has_an_entry_and_a_field() -> None:
    names = [name for entry in ENTRIES.values() for name in entry.names]
    own = [part.name for part in PARTS if part.optional and part.name != CARD]
    assert sorted(names) == sorted(own)
    held = {field.name for field in fields(checkpoints.LoadedModel) if field.default is None}
    assert set(ENTRIES) == held


@each
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_byte_is_refused_or_warns(folder: Path, part: Part, place: int) -> None:
    data = bytearray((folder / part.name).read_bytes())
    data[place] ^= 1
    (folder / part.name).write_bytes(data)
    if part.warns:
        with pytest.warns(SkinxaiWarning, match=re.escape(part.name)) as warned:
            found = read_model_folder(folder)
        assert len(warned) == 1 and found.files[part.name] == data
        return
    with pytest.raises(IntegrityError, match=re.escape(part.name)):
        read_model_folder(folder)


@each
def test_one_file_that_is_gone_is_refused(folder: Path, part: Part) -> None:
    (folder / part.name).unlink()
    refused = ModelNotFoundError if part.name == MANIFEST else IntegrityError
    with pytest.raises(refused, match=re.escape(part.name)):
        read_model_folder(folder)


@each_listed
def test_a_part_is_absent_where_it_may_be(folder: Path, part: Part) -> None:
    before = checkpoints.unpack(read_model_folder(folder)).files()
    if part.name == "training_pixels.safetensors":  # the fingerprints are of the same images
        without(folder, "training_fingerprints.safetensors")
        del before["training_fingerprints.safetensors"]
    if part.name == CALIBRATION:  # these are written with it
        for name in BESIDE:
            del before[name]
    if part.name in BESIDE:
        with pytest.raises(IntegrityError, match=rf"{re.escape(part.name)} must be.* is missing"):
            checkpoints.unpack(without(folder, part.name))
        return
    if part.optional:
        after = checkpoints.unpack(without(folder, part.name)).files()
        del before[part.name]
        if part.warns:
            assert after.pop(part.name) == b""
        assert after == before
        return
    refused = {WEIGHTS: ModelConfigError, CONFIG: IntegrityError}
    with pytest.raises(refused[part.name]):
        checkpoints.load(without(folder, part.name))


@each
def test_a_file_above_its_size_is_refused_before_it_is_read(folder: Path, part: Part) -> None:
    assert size_limit(part.name) == part.most_bytes
    with (folder / part.name).open("r+b") as file:
        file.truncate(part.most_bytes + 1)  # a sparse file
    most = part.most_bytes
    with pytest.raises(IntegrityError, match=f"{re.escape(part.name)}.* may have at most {most}"):
        read_part(folder / part.name)
    with pytest.raises(IntegrityError):
        read_model_folder(folder)


def test_uploaded_and_downloaded_to_the_byte(hub, whole: Path) -> None:
    pushed = upload(whole, NAME, token=TOKEN)
    (commit,) = hub.repos[NAME].branches.values()
    sent = hub.repos[NAME].commits[commit]
    assert sent == {part.name: (whole / part.name).read_bytes() for part in PARTS}
    fetched = open_model(pushed)
    assert fetched.files == read_model_folder(whole).files
    assert (fetched.folder / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()


@each
def test_a_download_above_its_size_is_not_begun(hub, whole: Path, part: Part) -> None:
    pushed = upload(whole, NAME, token=TOKEN)

    def larger(method: str, path: str, answer: Answer) -> Answer | None:
        if not path.endswith(f"/{part.name}") or method != "HEAD":
            return None
        size = str(part.most_bytes + 1)
        if "X-Linked-Size" in answer.headers:
            return replace(answer, headers=answer.headers | {"X-Linked-Size": size})
        return replace(answer, length=part.most_bytes + 1)

    hub.faults.append(larger)
    with pytest.raises(IntegrityError, match=f"at most {part.most_bytes} bytes, got"):
        open_model(pushed)
    assert not [path for path in hub.paths() if path.endswith(f"/{part.name}")]


@each
def test_an_ensembles_own_folder_has_the_parts_that_the_table_says(
    whole: Path, tmp_path: Path, part: Part
) -> None:
    write_ensemble(tmp_path / "both", [whole, whole], name="both")
    own = (CALIBRATION, *BESIDE, REFERENCE)  # nobody has calibrated the ensemble yet
    there = part.in_ensembles and part.name not in own
    assert (tmp_path / "both" / part.name).exists() == there
    for member in (tmp_path / "both" / "members").iterdir():
        assert (member / part.name).read_bytes() == (whole / part.name).read_bytes()


@pytest.mark.parametrize("name", ["notes.txt", "later.json", "more.safetensors"])
def test_a_listed_file_that_is_in_no_row_is_checked_and_not_used(folder: Path, name: str) -> None:
    files = dict(read_model_folder(folder).files)
    write_model_folder(folder, files | {name: b"{}"})
    read = read_model_folder(folder)
    assert read.files[name] == b"{}"
    assert checkpoints.unpack(read).files() == files
    (folder / name).write_bytes(b"[]")
    with pytest.raises(IntegrityError, match=re.escape(name)):
        read_model_folder(folder)


def test_the_page_shows_the_table() -> None:
    tables = PAGE.read_text().split("\n| ---")
    rows = [line for line in tables[1].splitlines() if line.startswith("| `")]
    assert rows == [row(part) for part in PARTS]


def row(part: Part) -> str:
    """A row of the page."""
    power = part.most_bytes.bit_length() - 1
    assert part.most_bytes == 2**power
    size = f"{2 ** (power - 30)} GiB" if power >= 30 else f"{2 ** (power - 20)} MiB"
    cells = (
        f"`{part.name}`", part.holds, "no" if part.optional else "yes", size,
        "yes" if part.in_ensembles else "no", "a warning" if part.warns else "refused",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
