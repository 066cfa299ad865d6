"""The data of all runs: images unpacked and prepared, folds, and the parts that runs learn from.

Each image is there twice, as JPEG and as WebP file. Both are records of one lesion and are learnt;
images are judged as JPEG files, which is what users send. The frozen test part is never unpacked.
Everything lies in the work folder: ``ham10000`` (JPEG files and their table), ``webp``,
``prepared`` (decoded pixels of both), ``fingerprints.json`` and ``folds.json``.
"""

import csv
import json
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skinxai.data import Records, Splits, folds, load_ham10000, load_prepared, prepare
from skinxai.data.hashing import looks
from skinxai.data.linking import alike_pairs
from skinxai.data.shards import PreparedPixels
from skinxai.data.splits import PARTS
from skinxai.data.stratifying import group
from skinxai.disk.writing import write_atomic
from skinxai.model_folders.trained_on import Look, TrainedOn

TRAINING = Path(__file__).parent.parent
TABLE, SOURCES = "HAM10000_metadata.csv", "HAM10000_source.csv"
PRINTS = "fingerprints.json"
KINDS = ("jpg", "webp")
WEBP = "-webp"
"""What the id of an image's WebP copy has behind that of the JPEG copy."""
FOLDS = 5
TINY = 4  # lesions of each class and part


def webp_of(image_id: str) -> str:
    """Id of the WebP copy."""
    return image_id + WEBP


def image_of(image_id: str) -> str:
    """Id of the image, of the id of either copy."""
    return image_id.removesuffix(WEBP)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def frozen_parts(table: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Image id → part, from the frozen split, whose hash is checked."""
    from hashlib import sha256

    data = (TRAINING / "splits.csv").read_bytes()
    wanted = (TRAINING / "splits.sha256").read_text().strip()
    if (found := sha256(data).hexdigest()) != wanted:
        raise SystemExit(f"splits.csv must have the sha256 {wanted}, got {found}.")
    parts = {row["image_id"]: row["part"] for row in rows_of(TRAINING / "splits.csv")}
    if unknown := sorted({row["image_id"] for row in table} - set(parts)):
        raise SystemExit(f"{TABLE} must hold images of the frozen split, got {unknown[0]}.")
    return parts


def few(table: Sequence[Mapping[str, str]], parts: Mapping[str, str], each: int) -> set[str]:
    """Ids of the images of the first lesions of each class and part."""
    lesions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in sorted(table, key=lambda row: row["image_id"]):
        known = lesions[row["dx"], parts[row["image_id"]]]
        if row["lesion_id"] not in known and len(known) < each:
            known.append(row["lesion_id"])
    kept = {lesion for known in lesions.values() for lesion in known}
    return {row["image_id"] for row in table if row["lesion_id"] in kept}


def unpack(data: Path, work: Path, *, tiny: bool) -> Records:
    """Unpack, prepare and fold the images; what is there already is checked and kept.

    Args:
        data: folder with ``part*.tar``, which hold a JPEG and a WebP file of each image, the tables
            ``HAM10000_metadata.csv`` and ``HAM10000_source.csv`` and, if they were chosen
            elsewhere, ``folds.json``.
        work: the work folder.
        tiny: take a few lesions of each class only.

    Returns:
        Two records of each image.
    """
    table = rows_of(data / TABLE)
    parts = frozen_parts(table)
    learnt = [row for row in table if parts[row["image_id"]] != "test"]
    ids = few(learnt, parts, TINY) if tiny else {row["image_id"] for row in learnt}
    if (work / "folds.json").exists():  # of a call before
        records = load_prepared(work / "prepared", verify=False)
        if {item.image_id for item in records} != ids | set(map(webp_of, ids)):
            raise SystemExit(f"{work} holds other images; give another work folder")
        return records
    root = work / "ham10000"
    folders = {".jpg": root / "HAM10000_images", ".webp": work / "webp"}
    take(sorted(data.glob("part*.tar")), ids, folders)
    own = [row for row in table if row["image_id"] in ids]
    lines = [",".join(row[name] for name in table[0]) for row in own]
    write_atomic(root / TABLE, ("\n".join([",".join(table[0]), *lines]) + "\n").encode())
    write_atomic(work / SOURCES, (data / SOURCES).read_bytes())
    records = prepare(with_webp(load_ham10000(root), folders[".webp"]), work / "prepared")
    write_prints(records, work)
    records = with_prints(records, work)
    if (data / "folds.json").exists() and not tiny:  # of another machine, to save its minutes
        given = json.loads((data / "folds.json").read_text())
        wrong = [name for name, part in given["part"].items() if parts[name] != part]
        if wrong or set(given["fold"]) != ids or given.get("kinds") != list(KINDS):
            raise SystemExit(f"{data / 'folds.json'} must be of these images; delete it")
        write_atomic(work / "folds.json", (data / "folds.json").read_bytes())
    else:
        fold_all(records, {name: part for name, part in parts.items() if name in ids}, work)
    return records


def write_prints(records: Records, work: Path) -> None:
    """Compute the fingerprints of all images, which each run would compute before its first step.

    Raises:
        SystemExit: an image cannot be read.
    """
    assert records.pixels is not None
    found = dict(zip(ids_of(records), looks(records), strict=True))
    prints = {n: look.fingerprint.hex() for n, look in found.items() if isinstance(look, Look)}
    if wrong := [name for name in found if name not in prints]:
        raise SystemExit(f"{len(wrong)} images cannot be read, {wrong[0]} first")
    content = {"prepared": records.pixels.digest, "prints": prints}
    write_atomic(work / PRINTS, json.dumps(content).encode())


def with_prints(records: Records, work: Path) -> Records:
    """The prepared records with the fingerprints that `write_prints` wrote.

    Raises:
        SystemExit: these are of other images.
    """
    assert isinstance(records.pixels, PreparedPixels)
    content = json.loads((work / PRINTS).read_text())
    if content["prepared"] != records.pixels.digest:
        raise SystemExit(f"{work / PRINTS} must be of the prepared images; give a new work folder")
    prints = {name: bytes.fromhex(text) for name, text in content["prints"].items()}
    return replace(records, pixels=replace(records.pixels, fingerprints=prints))


def take(tars: Sequence[Path], ids: set[str], folders: Mapping[str, Path]) -> None:
    """Write the images with these ids out of tar files, into a folder for each suffix."""
    missing = {}
    for suffix, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        missing[suffix] = ids - {path.stem for path in folder.glob(f"*{suffix}")}
    for path in tars if any(missing.values()) else ():
        with tarfile.open(path) as tar:
            for member in tar:
                name = Path(member.name)
                if member.isfile() and name.stem in missing.get(name.suffix, ()):
                    content = tar.extractfile(member)
                    assert content is not None
                    write(folders[name.suffix] / name.name, content.read())
                    missing[name.suffix].discard(name.stem)
    for suffix, left in missing.items():
        if left:
            raise SystemExit(
                f"part*.tar must hold a {suffix} file of each image, but {len(left)} have none, "
                f"{min(left)} first"
            )


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, as long as the machine itself goes on.

    `write_atomic` would wait for the disk, which for thousands of files takes minutes.
    """
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def with_webp(records: Records, folder: Path) -> Records:
    """The records and, behind them, those of the same images' WebP copies."""
    copies = [
        replace(item, image_id=webp_of(item.image_id), path=folder / f"{item.image_id}.webp")
        for item in records
    ]
    return replace(records, items=(*records, *copies))


def fold_all(records: Records, parts: Mapping[str, str], work: Path) -> None:
    """Choose the folds over train and validation part, and write them down.

    Pairs of `near_duplicates.csv` stay together, and so do images of different lesions that look
    like copies by their fingerprints, which ``Trainer`` refuses in two parts. The WebP copy of an
    image is in the fold of the image.
    """
    images = records.subset([n for n in ids_of(records) if n == image_of(n)])
    own = set(ids_of(images))
    pairs = [(row["image_id"], row["other_image_id"])
             for row in rows_of(TRAINING / "near_duplicates.csv")]  # fmt: skip
    linked = [pair for pair in pairs if own.issuperset(pair)]
    found = {item.image_id: look for item, look in zip(records, looks(records), strict=True)}
    wrong = [name for name, look in found.items() if not isinstance(look, Look)]
    if wrong:
        raise SystemExit(f"{len(wrong)} images cannot be read, {wrong[0]} first")
    pairs = [(image_of(a), image_of(b)) for a, b in alike_pairs(group(records, linked), found)]
    linked = sorted({(min(pair), max(pair)) for pair in [*linked, *pairs]})
    made = folds(images, FOLDS, linked=linked)
    ids = {part: [n for n in own if parts[n] == part] for part in PARTS}
    frozen = Splits.of(images, ids)
    copies = shown_before(found, frozen)
    content = {
        "kinds": KINDS,
        "fold": {item.image_id: k for k, each in enumerate(made) for item in each.val},
        "part": {name: parts[name] for name in sorted(own)},
        "copies": sorted(copies),
        "linked": linked,
    }
    write_atomic(work / "folds.json", (json.dumps(content, indent=1) + "\n").encode())
    print(f"{FOLDS} folds of {len(images)} images; {len(linked)} linked pairs; "
          f"{len(copies)} validation images show lesions of the training part")  # fmt: skip


def ids_of(records: Records) -> list[str]:
    return [item.image_id for item in records]


def shown_before(found: Mapping[str, Look], splits: Splits) -> set[str]:
    """Ids of validation images that pass for a training image, of either of its two files."""
    train = [name for own in ids_of(splits.train) for name in (own, webp_of(own)) if name in found]
    known = TrainedOn.of_looks(found[name] for name in train)
    seen = known.seen({name: found[name] for name in ids_of(splits.val)})
    return {*seen.exact, *seen.copies}


class Material:
    """The prepared images, and what each run learns from."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.records = with_prints(load_prepared(work / "prepared", verify=False), work)
        content = json.loads((work / "folds.json").read_text())
        self.fold: dict[str, int] = content["fold"]
        self.part: dict[str, str] = content["part"]
        self.copies = set(content["copies"])
        self.linked: list[list[str]] = content["linked"]
        self.source = {row["image_id"]: row["source"] for row in rows_of(work / SOURCES)}

    @property
    def ids(self) -> list[str]:
        """Ids of the images; each also has a WebP copy."""
        return [name for name in ids_of(self.records) if name == image_of(name)]

    def splits(self, learns: str) -> Splits:
        """What a run learns from, both copies, and chooses its epoch on, JPEG files.

        Args:
            learns: ``"fold K"`` (all but fold K of train and validation part together, judged on
                fold K), ``"train fold K"`` (the same within the training part), ``"train"`` (the
                training part, judged on the validation part) or ``"without SOURCE"`` (the other
                sources, judged on their fold 0).
        """
        if learns == "train":
            train = [name for name in self.ids if self.part[name] == "train"]
            val = [n for n in self.ids if self.part[n] == "val" and n not in self.copies]
        else:
            kind, _, last = learns.rpartition(" ")
            held = int(last) if kind != "without" else 0
            ids = self.ids
            if kind == "train fold":
                ids = [name for name in ids if self.part[name] == "train"]
            if kind == "without":
                apart = self.touched(last)
                ids = [name for name in ids if name not in apart]
            train = [name for name in ids if self.fold[name] != held]
            val = [name for name in ids if self.fold[name] == held]
        return Splits.of(self.records, {"train": [*train, *map(webp_of, train)], "val": val})

    def webp(self, images: Records) -> Records:
        """The WebP copies of images, in the same order."""
        return self.records.subset([webp_of(name) for name in ids_of(images)])

    def touched(self, source: str) -> set[str]:
        """Ids of the images of a source, and of all that share a lesion or a link with one."""
        lesion = {item.image_id: item.lesion_id for item in self.records}
        groups = {lesion[name] for name in self.ids if self.source[name] == source}
        while (
            more := {
                lesion[other]
                for a, b in self.linked
                for name, other in ((a, b), (b, a))
                if lesion[name] in groups
            }
            - groups
        ):
            groups |= more
        return {name for name in self.ids if lesion[name] in groups}

    def of_source(self, source: str) -> Records:
        return self.records.subset([name for name in self.ids if self.source[name] == source])

    def sources(self) -> list[str]:
        return sorted({self.source[name] for name in self.ids})
