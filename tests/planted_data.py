"""Foreign text in data: in tables, splits, names of classes and images, and prepared folders."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from foreign_text import COLOURS, SAMPLES, Call
from text_workshop import Workshop

from skinxai.configs import canonical_json


def of_cell(column: str) -> Callable[[Workshop, str], Iterator[Call]]:
    def plant(shop: Workshop, text: str) -> Iterator[Call]:
        folder = shop.new()
        table = list(csv.reader(shop.rows))
        place = table[0].index(column)
        for row in table[1 : 1 + SAMPLES]:
            row[place] += text
        path = folder / "table.csv"
        with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            csv.writer(file).writerows(table)
        rest = ("--images", shop.pictures)
        yield Call(("audit", path, *rest, "--out", folder / "a"), folder / "a")
        yield Call(("audit", path, *rest, "--json"), None, ".json")
        yield Call(("prepare", path, folder / "prepared", *rest), folder / "prepared")

    return plant


def of_header(shop: Workshop, text: str) -> Iterator[Call]:
    folder = shop.new()
    table = list(csv.reader(shop.rows))
    table[0][-1] += text
    for number, row in enumerate(table[1:]):
        row[-1] = str(number // SAMPLES)  # gives the label away, so that it is named
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows(table)
    yield Call(("audit", path, "--images", shop.pictures, "--out", folder / "a"), folder / "a")
    yield Call(("audit", path, "--images", shop.pictures, "--label-column", "dx"))


def class_folders(shop: Workshop, text: str) -> Path:
    """A new folder whose ``data`` has a class folder for each colour, with the text in its name."""
    folder = shop.new()
    for code in COLOURS:
        target = folder / "data" / (code + text.replace("/", "∕"))
        target.mkdir(parents=True)
        for path in shop.pictures.glob(f"{code}*"):
            shutil.copy(path, target)
    return folder


def of_class_folder(shop: Workshop, text: str) -> Iterator[Call]:
    folder = class_folders(shop, text)
    yield Call(("audit", folder / "data", "--out", folder / "a"), folder / "a")
    yield Call(("prepare", folder / "data", folder / "prepared"), folder / "prepared")
    yield Call(("evaluate", folder / "data", "--model", shop.model, "--out", folder / "v"))


def of_training(shop: Workshop, text: str) -> Iterator[Call]:
    folder = class_folders(shop, text)
    out = folder / "run"
    yield Call(("train", "--data", folder / "data", "--out", out, "--backbone", "small",
                "--init-weights", "none", "--image-size", "32x48", "--epochs", "1", "--workers",
                "0", "--device", "cpu"), out)  # fmt: skip


def of_file(shop: Workshop, text: str) -> Iterator[Call]:
    folder = shop.new()
    data = folder / "data"
    for code in COLOURS:
        (data / code).mkdir(parents=True)
        for path in shop.pictures.glob(f"{code}*"):
            shutil.copy(path, data / code / f"{text.replace('/', '∕')}{path.name}")
    image = next(iter(sorted((data / "red").iterdir())))
    model = ("--model", shop.model)
    yield Call(("predict", data / "red", *model))
    yield Call(("predict", data / "red", *model, "--format", "csv", "--out", folder / "p",
                "--explain", "gradcam"), folder / "p", ".csv")  # fmt: skip
    yield Call(("predict", data / "red", *model, "--json"), None, ".json")
    yield Call(("explain", image, *model, "--compare", "gradcam,saliency", "--out", folder / "e"),
               folder / "e")  # fmt: skip
    yield Call(("report", image, *model, "--methods", "gradcam", "--file-names", "--out",
                folder / "c"), folder / "c")  # fmt: skip
    yield Call(("nearest", image, *model, "--data", data))
    yield Call(("nearest", image, *model, "--data", data, "--json"), None, ".json")
    yield Call(("audit", data, "--out", folder / "a"), folder / "a")
    yield Call(("evaluate", data, *model, "--out", folder / "v"), folder / "v", ".md")
    yield Call(("prepare", data, folder / "prepared"))
    image.write_bytes(image.read_bytes()[:200])
    yield Call(("predict", data / "red", *model))


def with_prepared(shop: Workshop, folder: Path) -> Iterator[Call]:
    """What opens a prepared folder."""
    out = folder.parent
    yield Call(("audit", folder, "--out", out / "a"), out / "a")
    if shop.refused:
        return  # by the one function that opens a prepared folder for all commands
    yield Call(("evaluate", folder, "--model", shop.model, "--out", out / "v"), out / "v",
               ".md")  # fmt: skip
    yield Call(("prepare", folder, out / "again"), out / "again")


def of_prepared(key: str) -> Callable[[Workshop, str], Iterator[Call]]:
    def plant(shop: Workshop, text: str) -> Iterator[Call]:
        folder = Path(shutil.copytree(shop.prepared, shop.new() / "prepared"))
        content = json.loads((folder / "manifest.json").read_text())
        del content["digest"]
        if key == "notes":
            content[key] = [f"a note{text}"]
        elif key == "names":
            content["labels"]["names"] = {"red": f"rubor{text}"}
        else:
            content[key] = f"private data{text}"
        digest = hashlib.sha256(canonical_json(content)).hexdigest()
        (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))
        yield from with_prepared(shop, folder)

    return plant


def of_prepared_cells(column: str) -> Callable[[Workshop, str], Iterator[Call]]:
    def plant(shop: Workshop, text: str) -> Iterator[Call]:
        folder = Path(shutil.copytree(shop.prepared, shop.new() / "prepared"))
        path = folder / "records.csv"
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        place = head.index(column)
        for number, row in enumerate(rows[: 2 * SAMPLES]):
            row[place] += text
            if column == "attributes":  # the second gives the label away, so that it is named
                label = row[head.index("label")]
                row[place] = json.dumps({"site": f"back{text}", f"by{text}": label})
            elif number == SAMPLES:
                break
        made = io.StringIO(newline="")
        csv.writer(made, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows([head, *rows])
        data = made.getvalue().encode("utf-8", "surrogatepass")
        path.write_bytes(data)
        content = json.loads((folder / "manifest.json").read_text())
        del content["digest"]
        listed = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        content["files"]["records.csv"] = listed
        digest = hashlib.sha256(canonical_json(content)).hexdigest()
        (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))
        yield from with_prepared(shop, folder)

    return plant


def of_splits(shop: Workshop, text: str) -> Iterator[Call]:
    path = shop.new() / "splits.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows(
            [("image_id", "part"), *((r.split(",")[0] + text, "train") for r in shop.rows[1:])]
        )
    table = ("audit", shop.table, "--images", shop.pictures, "--splits")
    yield Call((*table, path))
    path.write_text(path.read_text("utf-8", "surrogatepass").replace("train", "tr"), "utf-8",
                    "surrogatepass")  # fmt: skip
    yield Call((*table, path))
