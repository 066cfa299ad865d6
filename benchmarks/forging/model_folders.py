"""Forged folders of a model, an ensemble and a run."""

import hashlib
import json
from pathlib import Path
from random import Random

from forging.binaries import change_file, change_tensors, joined
from forging.signing import bind, sign, write_manifest
from forging.values import change_json, changed, dumped

from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS


def forge_model(folder: Path, draws: Random) -> tuple[str, bool]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    tensors = [name for name in names if name.endswith(".safetensors")]
    how = draws.randrange(10)
    if how < 4:
        what, bound = change_json(folder / CONFIG, draws), draws.random() < 0.5 and bind(folder)
        sign(folder)
        return what, bound
    if how < 6:
        name = draws.choice([*tensors, WEIGHTS])
        what = change_tensors(folder / name, draws)
        sign(folder)
        return what, name == WEIGHTS
    if how == 6:
        what = change_json(folder / draws.choice(["probe.json", CONFIG]), draws)
        sign(folder)
        return what, False
    if how == 7:
        content, what = changed(json.loads((folder / MANIFEST).read_bytes()), draws)
        write_manifest(folder / MANIFEST, content)
        return f"{MANIFEST} {what}", False
    if how == 8:
        (folder / draws.choice(["extra.json", "x.pkl", "y.safetensors"])).write_bytes(b"{}")
        content = json.loads((folder / MANIFEST).read_bytes())
        for number in range(draws.choice([0, 1, 50])):
            name = draws.choice(
                [f"extra{number}.bin", f"../x{number}", f"é{number}", f"e\0{number}", "extra.json"]
            )
            content["files"][name] = draws.choice(
                [hashlib.sha256(b"{}").hexdigest(), None, "0" * 64, 7]
            )
        write_manifest(folder / MANIFEST, content)
        return "files added", False
    return forge_file(folder, draws, names)


def forge_ensemble(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(3)
    members = sorted((folder / "members").iterdir())
    if how == 0:
        what, may = forge_model(draws.choice(members), draws)
        if draws.random() < 0.8:  # the ensemble is told of it
            config = json.loads((folder / CONFIG).read_bytes())
            for entry in config["members"]:
                try:
                    path = folder / entry["folder"] / MANIFEST
                    if not path.is_file() or path.stat().st_size > 2**24:
                        continue  # a pipe, or a file without end
                    manifest = json.loads(path.read_bytes())
                    entry["revision"] = manifest["digest"]
                except (OSError, ValueError, KeyError, TypeError):
                    continue
            (folder / CONFIG).write_text(json.dumps(config))
            sign(folder)
        return f"member {what}", may
    if how == 1:
        what = change_json(folder / CONFIG, draws)
        sign(folder)
        return what, "weight" in what
    return forge_any(folder, draws, [CONFIG, MANIFEST, "README.md"])


def forge_file(folder: Path, draws: Random, names: list[str]) -> tuple[str, bool]:
    what = change_file(folder / draws.choice(names), draws)
    if not what.startswith(MANIFEST):
        sign(folder)
    return what, False


def forge_any(folder: Path, draws: Random, names: list[str]) -> tuple[str, bool]:
    if draws.random() < 0.5:
        content, what = changed(json.loads((folder / MANIFEST).read_bytes()), draws)
        write_manifest(folder / MANIFEST, content)
        return f"{MANIFEST} {what}", False
    return forge_file(folder, draws, names)


def forge_run(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(5)
    (checkpoint,) = (folder / "checkpoints").iterdir()
    if how <= 1 and draws.random() < 0.1:
        settings = json.loads((folder / "train.json").read_bytes())
        name = draws.choice(
            ["timm/vit_giant_patch14_224", "timm/resnet18", "timm/resnetv2_152x4_bit"]
        )
        settings["settings"]["backbone"] = name
        (folder / "train.json").write_text(json.dumps(settings))
        return f"train.json names {name}", False
    if how <= 1:
        return change_json(folder / "train.json", draws), True
    if how == 2:
        names = [
            "train.json",
            "events.log",
            ".lock",
            "log.csv",
            "splits.csv",
            "training_pixels.safetensors",
            f"checkpoints/{checkpoint.name}",
            "evaluation.json",
            MANIFEST,
            WEIGHTS,
        ]
        return change_file(folder / draws.choice(names), draws), True
    if how == 3:
        what = change_tensors(checkpoint, draws)
    else:
        data = checkpoint.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        state, what = changed(json.loads(header["__metadata__"]["state"]), draws)
        header["__metadata__"]["state"] = dumped(state).decode("utf-8", "surrogateescape")
        checkpoint.write_bytes(joined(json.dumps(header).encode(), data[8 + length :]))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:32]
    checkpoint.rename(checkpoint.with_name(f"{checkpoint.name[:9]}-{digest}.safetensors"))
    return f"checkpoint {what}", True
