"""The images of the recipe for one GPU: unpacking, links between them, and luggage."""

import io
import json
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from skinxai.data import Record, Records
from skinxai.data.hashing import looks
from skinxai.labels import LabelSet

TABLE = "lesion_id,image_id,dx\n"


def records(folder: Path, each: int = 10, *, copies: int = 0) -> Records:
    """Noise of two classes; the first images come again, darker, under other lesion ids."""
    draws, items = np.random.default_rng(0), []
    folder.mkdir()
    for n in range(2 * each):
        pixels = draws.integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)
        for name, factor in (("a", 1.0), ("b", 0.8))[: 2 if n < copies else 1]:
            path = folder / f"ISIC_{n:04d}{name}.png"
            picture.point([int(v * factor) for v in range(256)] * 3).save(path)
            items.append(Record(path.stem, path, "xy"[n % 2], f"lesion {n}{name}"))
    return Records(tuple(items), LabelSet(("x", "y")))


def ids(part: Records) -> set[str]:
    return {item.image_id for item in part}


def test_copies_under_other_lesion_ids_share_a_fold(recipe, tmp_path) -> None:
    some = records(tmp_path / "images", copies=8)
    parts = {i.image_id: "val" if i.image_id.endswith("b") else "train" for i in some}
    recipe.material.fold_all(some, parts, tmp_path)
    content = json.loads((tmp_path / "folds.json").read_text())
    assert set(content["fold"]) == set(parts) and set(content["fold"].values()) == set(range(5))
    for n in range(8):
        assert content["fold"][f"ISIC_{n:04d}a"] == content["fold"][f"ISIC_{n:04d}b"]
    assert content["copies"] == [f"ISIC_{n:04d}b" for n in range(8)]


def test_a_webp_copy_that_passes_for_another_image_links_both(recipe, tmp_path) -> None:
    """The JPEG files of the images n and n + 8 differ; the WebP copy of n is the image n + 8."""
    alone = records(tmp_path / "images")
    paths = [item.path for item in alone]
    for n in range(8):
        (tmp_path / f"{alone[n].image_id}.webp").write_bytes(paths[n + 8].read_bytes())
    for n in range(8, 20):
        (tmp_path / f"{alone[n].image_id}.webp").write_bytes(paths[n].read_bytes())
    both = recipe.material.with_webp(alone, tmp_path)
    recipe.material.fold_all(both, dict.fromkeys((i.image_id for i in alone), "train"), tmp_path)
    content = json.loads((tmp_path / "folds.json").read_text())
    assert set(content["fold"]) == ids(alone)  # a copy is where its image is
    for n in range(8):
        fold = content["fold"]
        assert fold[alone[n].image_id] == fold[alone[n + 8].image_id]


@pytest.fixture
def data(recipe, tmp_path, monkeypatch) -> Path:
    """Eleven lesions of each of two classes; the last of each is of the test part."""
    (folder := tmp_path / "data").mkdir()
    draws, rows, parts = np.random.default_rng(0), [], {}
    with (
        tarfile.open(folder / "part1.tar", "w") as webp,
        tarfile.open(folder / "part3.tar", "w") as jpeg,
    ):
        for n in range(22):
            name = f"ISIC_{24306 + n:07d}"
            parts[name] = "test" if n >= 20 else "val" if n >= 16 else "train"
            rows.append(f"HAM_{n:07d},{name},{'nv' if n % 2 else 'mel'}")
            small = Image.fromarray(draws.integers(0, 256, (6, 8, 3), np.uint8))
            for tar, suffix, side in ((webp, "webp", 112), (jpeg, "jpg", 80)):
                buffer = io.BytesIO()
                small.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(
                    buffer, {"jpg": "jpeg"}.get(suffix, suffix)
                )
                member = tarfile.TarInfo(f"images/{name}.{suffix}")
                member.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(member, buffer)
    (folder / "HAM10000_metadata.csv").write_text(TABLE + "\n".join(rows) + "\n")
    sources = "".join(f"{name},here\n" for name in parts)
    (folder / "HAM10000_source.csv").write_text("image_id,source\n" + sources)
    monkeypatch.setattr(recipe.material, "frozen_parts", lambda table: parts)
    return folder


def test_both_files_of_an_image_are_unpacked_and_none_of_the_test_part(
    recipe, data, tmp_path
) -> None:
    unpacked = recipe.material.unpack(data, tmp_path / "work", tiny=False)
    plain = [f"ISIC_{24306 + n:07d}" for n in range(20)]
    assert ids(unpacked) == {*plain, *(f"{name}-webp" for name in plain)}
    for item in unpacked:
        webp = item.image_id.endswith("-webp")
        assert item.path.suffix == (".webp" if webp else ".jpg")
        assert unpacked.pixels.read(item.image_id).shape == ((84, 112, 3) if webp else (60, 80, 3))
    made = recipe.material.Material(tmp_path / "work")
    assert len(made.splits("train").train) == 32 and len(made.splits("train").val) == 4
    again = recipe.material.unpack(data, tmp_path / "work", tiny=False)
    assert ids(again) == ids(unpacked)
    same_looks(made.records)
    prints = tmp_path / "work/fingerprints.json"
    prints.write_text(prints.read_text().replace(unpacked.pixels.digest, "of others"))
    with pytest.raises(SystemExit, match=r"json must be of the prepared images"):
        recipe.material.Material(tmp_path / "work")
    shutil.copy(tmp_path / "work/folds.json", data)
    recipe.material.unpack(data, tmp_path / "other", tiny=False)
    content = json.loads((data / "folds.json").read_text())
    del content["kinds"]  # as of one kind of files
    (data / "folds.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="of these images; delete it"):
        recipe.material.unpack(data, tmp_path / "third", tiny=False)


def same_looks(some: Records) -> None:
    """The records know all fingerprints, and these are those of their files."""
    assert set(some.pixels.fingerprints) == ids(some)
    assert list(looks(some)) == list(looks(some, cached=False))
    other = replace(some, pixels=replace(some.pixels, fingerprints={some[3].image_id: b"known"}))
    assert list(looks(other))[3].fingerprint == b"known"


def test_an_image_of_which_one_file_is_missing_is_named(recipe, data, tmp_path) -> None:
    (data / "part3.tar").unlink()
    with pytest.raises(SystemExit, match=r"hold a \.jpg file of each image, but 20 have none, "
                       r"ISIC_0024306 first"):  # fmt: skip
        recipe.material.unpack(data, tmp_path / "work", tiny=False)


def test_the_luggage_holds_both_files_and_no_image_of_the_test_part(
    recipe, data, tmp_path, monkeypatch
) -> None:
    (weights := tmp_path / "weights").mkdir()
    for network in recipe.settings.NETWORKS.values():
        tensors = {"classifier.weight": torch.ones(3, 2), "classifier.bias": torch.ones(3)}
        save_file(tensors, weights / f"{network}.safetensors")
    given = [str(data), str(weights), str(tmp_path), str(tmp_path / "out"), "--megabytes", "0.01"]
    monkeypatch.setattr(recipe.luggage, "frozen_parts", recipe.material.frozen_parts)
    monkeypatch.setattr(sys, "argv", ["luggage.py", *given])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/luggage-99.tgz").write_bytes(b"of another size")
    recipe.luggage.main()
    pieces = sorted((tmp_path / "out").glob("luggage-*.tgz"))
    sums = (tmp_path / "out/luggage.sha256").read_text().splitlines()
    assert [path.name for path in pieces] == [line.split()[1] for line in sums]
    assert len(pieces) > 2 and all(path.stat().st_size <= 10_000 for path in pieces)
    for path in reversed(pieces):  # each stands alone
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "in", filter="data")
    with tarfile.open(pieces[0]) as tar:
        first = set(tar.getnames())
    networks = recipe.settings.NETWORKS.values()
    assert first >= {f"weights/{name}.safetensors" for name in networks}
    assert first >= {"data/HAM10000_metadata.csv", "data/HAM10000_source.csv"}
    unpacked = recipe.material.unpack(tmp_path / "in/data", tmp_path / "work", tiny=False)
    assert len(unpacked) == 40
    packed = []
    for part in (tmp_path / "in/data").glob("part*.tar"):
        with tarfile.open(part) as tar:
            packed += tar.getnames()
    plain = [f"ISIC_{24306 + n:07d}" for n in range(20)]
    assert sorted(packed) == sorted(f"{name}.{kind}" for name in plain for kind in ("jpg", "webp"))


def test_luggage_has_no_piece_larger_than_asked(recipe) -> None:
    files = [("a", b"x" * 300), ("b", b"x" * 300), ("c", b"x" * 700)]
    found = recipe.luggage.divided(files, 1000)
    assert [[name for name, _ in piece] for piece in found] == [["a", "b"], ["c"]]
    with pytest.raises(SystemExit, match=r"--megabytes must be at least 0\.0, for c"):
        recipe.luggage.divided(files, 800)
