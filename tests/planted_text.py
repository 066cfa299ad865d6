"""Where foreign text comes in: each entry plants it, and gives the calls that may show it."""

import contextlib
import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from foreign_text import COLOURS, SAMPLES, Call, Shown, shown
from hub_server import TOKEN, Answer, Repo
from loopback_hub import on_loopback
from signed_folders import sign
from text_workshop import Workshop

from skinxai.configs import canonical_json


def of_model(change: Callable[[dict, str], object]) -> Callable[[Workshop, str], Iterator[Call]]:
    def plant(shop: Workshop, text: str) -> Iterator[Call]:
        model = shop.forged(lambda config: change(config, text))
        out = model.parent
        yield Call(("verify", model))
        yield Call(("predict", shop.picture, "--model", model))
        if shop.refused:
            return  # by the one function that opens a model for all commands
        yield Call(("predict", shop.picture, "--model", model, "--out", out / "p", "--format",
                    "csv", "--explain", "gradcam"), out / "p", ".csv")  # fmt: skip
        yield Call(("explain", shop.picture, "--model", model, "--out", out / "e"), out / "e")
        yield Call(("report", shop.picture, "--model", model, "--methods", "gradcam", "--out",
                    out / "c"), out / "c")  # fmt: skip
        yield Call(("evaluate", shop.prepared, "--model", model, "--out", out / "v"), out / "v",
                   ".md")  # fmt: skip

    return plant


def _code(config: dict, text: str) -> None:
    config["labels"]["codes"][1] = f"red{text}"


def _long_name(config: dict, text: str) -> None:
    config["labels"]["names"]["red"] = f"rubor{text}"


def _training(key: str) -> Callable[[dict, str], None]:
    def change(config: dict, text: str) -> None:
        config["training_data"][key] = f"private data{text}"

    return change


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


def of_folders(shop: Workshop, text: str) -> Iterator[Call]:
    name = "out" + text.replace("/", "∕")
    folder = shop.new()
    model = Path(shutil.copytree(shop.model, folder / f"model{name}"))
    yield Call(("predict", shop.picture, "--model", model, "--out", folder / name), folder / name)
    yield Call(("explain", shop.picture, "--model", model, "--out", folder / name))
    yield Call(("evaluate", shop.prepared, "--model", model, "--out", folder / name))
    yield Call(("prepare", shop.prepared, folder / f"p{name}"))
    (model / "config.json").write_text("{}")
    yield Call(("verify", model))


def of_arguments(shop: Workshop, text: str) -> Iterator[Call]:
    if "\0" in text or "\ud800" in text:
        return  # no system passes such arguments
    picture, out = shop.picture, shop.new()
    model = ("--model", shop.model)
    table = ("audit", shop.table, "--images", shop.pictures)
    for words in (
        ("predict", picture, "--model", text), ("predict", text, *model),
        ("predict", picture, *model, "--backend", text), ("predict", picture, "--format", text),
        ("predict", picture, f"--{text}"), (text,), ("nearest", picture, *model, "-k", text),
        ("explain", picture, *model, "--out", out, "--target", text),
        ("explain", picture, *model, "--out", out, "--method", text),
        ("explain", picture, *model, "--out", out, "--against", text),
        (*table, "--label-column", text), (*table, "--label", text), (*table, "--column", text),
        (*table, "--label", f"red={text}"), (*table, "--delimiter", text),
        ("prepare", shop.prepared, out / "p", "--size", text),
        ("prepare", shop.table, out / "p", "--images", shop.pictures, "--labels", f"red,{text}"),
        ("train", "--data", shop.prepared, "--out", out / "r", "--backbone", text),
        ("train", "--data", shop.prepared, "--out", out / "r", "--loss", text),
        ("train", "--config", text), ("verify", text), ("pull", text), (f"--{text}",),
        ("export", out / "x", "--format", text), ("import", text, out / "i", "--labels", "a,b"),
    ):  # fmt: skip
        yield Call(words)


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


def of_manifest(shop: Workshop, text: str) -> Iterator[Call]:
    folder = Path(shutil.copytree(shop.model, shop.new() / "model"))
    content = json.loads((folder / "manifest.json").read_text())
    del content["digest"]
    content["files"][f"more{text}.json"] = "0" * 64
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))
    yield Call(("verify", folder))
    yield Call(("predict", shop.picture, "--model", folder))


def of_tensors(shop: Workshop, text: str) -> Iterator[Call]:
    folder = Path(shutil.copytree(shop.model, shop.new() / "model"))
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header[f"fc.weight{text}"] = header.pop("fc.weight")
    made = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        len(made).to_bytes(8, "little") + made + data[8 + size :]
    )
    sign(folder)
    yield Call(("verify", folder))


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


def of_run_file(shop: Workshop, text: str) -> Iterator[Call]:
    path = shop.new() / "run.json"
    for values in (
        {f"x{text}": 1}, {"data": f"x{text}"}, {"backbone": f"x{text}"}, {"loss": f"x{text}"},
        {"device": f"x{text}"}, {"labels": [f"x{text}", "y"], "data": str(shop.prepared)},
        {"teacher": f"x{text}"}, {"init_weights": f"x{text}"}, {"not_copies": [f"x{text}"]},
    ):  # fmt: skip
        known = {"out": str(path.parent / "run"), "data": str(shop.prepared), "epochs": 1,
                 "backbone": "small", "init_weights": "none", "workers": 0}  # fmt: skip
        path.write_text(json.dumps(known | values))
        yield Call(("train", "--config", path))


HUB_NAME = "tester/lesions"


def of_hub(shop: Workshop, text: str) -> Iterator[Call]:
    """What a Hub answers, on the loopback interface: errors, names, cards, files and commits."""
    repo, folder = HUB_NAME, shop.new()
    with pytest.MonkeyPatch.context() as patch, on_loopback(patch, folder / "cache") as hub:
        patch.setenv("HF_TOKEN", TOKEN)
        said = json.dumps({"error": text, "errors": [text]}).encode()
        header = text.encode("utf-8", "surrogatepass").decode("latin-1")
        headers = {"Content-Type": "application/json"}
        if not set(header) & set("\r\n\0") and len(header) < 10_000:  # no server could send it
            headers |= {"X-Error-Message": header, "X-Request-Id": header}
        for status in (400, 403, 404):
            hub.faults[:] = [lambda *_, status=status: Answer(status, said, headers)]
            yield Call(("pull", repo))
            yield Call(("predict", shop.picture, "--model", repo))
            yield Call(("push", shop.model, repo))
            yield Call(("import", f"hf-hub:{repo}", folder / "i", "--labels", "a,b"))
        hub.faults[:] = [
            lambda verb, path, answer: Answer(
                answer.status, answer.body, answer.headers | {"X-Repo-Commit": header}
            )
        ]
        if "X-Request-Id" in headers:
            yield Call(("pull", repo))
        hub.faults.clear()
        whole = {path.name: path.read_bytes() for path in shop.model.iterdir() if path.is_file()}
        card = f"# A card\n\n{text}\n".encode("utf-8", "surrogatepass")
        forged = shop.forged(lambda config: config.update(name=f"m{text}"))
        (listing,) = [c.words[1] for c in of_manifest(shop, text) if c.words[0] == "verify"]
        for name, files in (
            ("tester/card", whole | {"README.md": card}),
            ("tester/config", {p.name: p.read_bytes() for p in forged.iterdir() if p.is_file()}),
            ("tester/listing", {p.name: p.read_bytes() for p in listing.iterdir() if p.is_file()}),
            ("tester/more", whole | {f"x{text}.json": b"{}"}),
        ):
            hub.repos[name] = Repo()
            hub.repos[name].commit(files)
            yield Call(("pull", name, "--out", folder / name[7:]))  # a copy, byte for byte
            yield Call(("predict", shop.picture, "--model", name))
        yield Call(("models",))
        if "\0" not in text and "\ud800" not in text:  # no system passes such arguments
            yield Call(("pull", f"{repo}{text}"))
            yield Call(("pull", f"{repo}@{text}"))
            yield Call(("predict", shop.picture, "--model", f"tester{text}/lesions"))
            yield Call(("push", shop.model, f"{repo}{text}"))
            yield Call(("import", f"hf-hub:{repo}{text}", folder / "i", "--labels", "a,b"))


ENTRIES: dict[str, Callable[[Workshop, str], Iterator[Call]]] = {
    "model: label": of_model(_code),
    "model: label's name": of_model(_long_name),
    "model: name": of_model(lambda config, text: config.update(name=f"m{text}")),
    "model: licence": of_model(lambda config, text: config.update(licence=f"MIT{text}")),
    "model: backbone": of_model(lambda config, text: config.update(backbone=f"small{text}")),
    "model: key": of_model(lambda config, text: config.update({f"key{text}": 1})),
    "model: data's name": of_model(_training("name")),
    "model: attribution": of_model(_training("attribution")),
    "model: leaked": of_model(_training("leaked")),
    "model: manifest": of_manifest,
    "model: tensor": of_tensors,
    "table: label": of_cell("label"),
    "table: image": of_cell("image"),
    "table: lesion": of_cell("lesion_id"),
    "table: patient": of_cell("patient_id"),
    "table: attribute": of_cell("site"),
    "table: column": of_header,
    "prepared: name": of_prepared("name"),
    "prepared: licence": of_prepared("licence"),
    "prepared: attribution": of_prepared("attribution"),
    "prepared: note": of_prepared("notes"),
    "prepared: label's name": of_prepared("names"),
    "prepared: part": of_prepared("part"),
    "prepared: attributes": of_prepared_cells("attributes"),
    "prepared: image": of_prepared_cells("image_id"),
    "prepared: label": of_prepared_cells("label"),
    "prepared: lesion": of_prepared_cells("lesion_id"),
    "splits": of_splits,
    "run file": of_run_file,
    "class folder": of_class_folder,
    "image file": of_file,
    "folders": of_folders,
    "argument": of_arguments,
    "Hub": of_hub,
    "trained on": of_training,
}


def shows(shop: Workshop, entry: str, text: str) -> Iterator[tuple[Call, Shown]]:
    """Plant text and look at each call that may show it; names that no file can have are left."""
    with contextlib.suppress(OSError, ValueError):
        for call in ENTRIES[entry](shop, text):
            found = shown(call)
            shop.refused = found.ended == "refused"
            yield call, found
