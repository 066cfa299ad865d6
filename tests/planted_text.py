"""Where foreign text comes in: each entry plants it, and gives the calls that may show it."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from foreign_text import Call, Shown, shown
from hub_server import TOKEN, Answer, Repo
from loopback_hub import on_loopback
from planted_data import (
    of_cell,
    of_class_folder,
    of_file,
    of_header,
    of_prepared,
    of_prepared_cells,
    of_splits,
    of_training,
)
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
