"""Every command of the command line with what it needs, for tests and benchmarks of all of them.

As a program, in a folder that `prepare` wrote, it runs all cases one after another in its own
process: python -X warn_default_encoding every_command.py. A file that skinxai opens as text without
an encoding, which is another on another machine, is then an error.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import typer
from PIL import Image

NETWORK = "--backbone timm/resnet10t --init-weights none --image-size 64 --drop-rate 0 --epochs 1"
LABELS = ("mel", "nv", "bkl")
MEAN_STD = ("mean", "std")
CASES: dict[str, tuple[str, ...]] = {
    "import": ("timm imported --labels mel,nv,bkl --image-size 64",),
    "predict": (
        "photos --out results --explain gradcam",
        "photos --backend onnx",
        "photos --backend openvino",
        "--manifest manifest.csv --out parts --chunk 1 --shard 0/1",
    ),
    "collect": ("parts --out answers.csv",),
    "explain": (
        "photos/0.png --compare gradcam,integrated_gradients,lime --budget 6 --out why "
        "--model imported",
        "photos/0.png --out why-onnx --backend onnx",
        "photos/0.png --out why-openvino --backend openvino",
    ),
    "nearest": ("photos/0.png",),
    "report": (
        "photos --out reports --methods gradcam --model imported",
        "photos/0.png --out report.pdf --methods gradcam --model imported",
    ),
    "audit": ("data --out audit --init-weights bundled",),
    "prepare": ("data prepared",),
    "train": (f"--data data --out run {NETWORK} --augmentation heavy --workers 1",),
    "tune": (
        f"--data data --out search {NETWORK} --trials 1 --search learning_rate=1e-4..1e-3 "
        "--workers 0",
    ),
    "probe": ("data --out probed --init-weights bundled --image-size 64x64",),
    "evaluate": ("data --out report --model imported",),
    "calibrate": ("data --out calibrated --model imported",),
    "drift": ("data --out drifted --backend onnx",),
    "stress": ("data --masks masks --out stressed --model imported --artefacts ruler,blur",),
    "export": ("model.xml --model imported",),
    "verify": ("run",),
    "card": ("--model run",),
    "plugins": ("",),
    "doctor": ("",),
    "models": ("--json",),
    "benchmark explainers": (
        "data --masks masks --out measured --methods gradcam --lesions 2 --stratified 2 "
        "--checked 1 --steps 2 --model imported",
    ),
    "benchmark prediction": ("photos --rounds 1 --model imported",),
    "feedback list": ("--review sqlite:///review.db",),
    "feedback label": ("case-1 nv --reviewer ann --review sqlite:///review.db",),
    "feedback agreement": ("--review sqlite:///review.db",),
    "feedback export": (
        "exported --review sqlite:///review.db --keep-images kept --model imported",
    ),
    "feedback expire": ("--review sqlite:///review.db --keep-images kept --keep-days 30",),
    "feedback delete-subject": ("S-1 --review sqlite:///review.db --keep-images kept",),
}
"""The words of each command that ends by itself and needs no network, in their order."""
HUB: dict[str, tuple[str, ...]] = {
    "push": ("run org/mine",),
    "pull": ("org/mine",),
}
"""Commands that are there to reach the Hugging Face Hub, and no other host."""


ENDED = "ended: "
"""Before what `run_all` prints of a case."""


def names() -> set[str]:
    """What the command line offers, groups as ``group command``."""
    from skinxai.cli import app

    return set(_names(typer.main.get_command(app), ""))


def _names(command: click.Command, name: str) -> Iterator[str]:
    commands = getattr(command, "commands", None)
    if commands is None:
        yield name.strip()
    else:
        for each, inner in commands.items():
            yield from _names(inner, f"{name} {each}")


def lines() -> list[tuple[str, list[str]]]:
    """Each case's command, and all of its words."""
    return [
        (name, [*name.split(), *words.split()])
        for name, each in (CASES | HUB).items()
        for words in each
    ]


def prepare(folder: Path) -> None:
    """Write what the cases read: photographs, labelled images with masks, and a network of timm."""
    import timm
    import torch

    draws = np.random.default_rng(0)
    for number in range(2):
        _picture(draws, folder / f"photos/{number}.png")
    (folder / "manifest.csv").write_text("image\nphotos/0.png\nphotos/1.png\n")
    for label in LABELS:
        for number in range(4):
            _picture(draws, folder / f"data/{label}/{label}{number}.png")
            mask = Image.fromarray(np.eye(96, 128, dtype=np.uint8) * 255)
            (folder / "masks").mkdir(exist_ok=True)
            mask.save(folder / f"masks/{label}{number}_segmentation.png")
    _record(folder)
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=len(LABELS)).eval()
    _teach(network, sorted(folder.glob("data/*/*.png")))
    timm.models.save_for_hf(network, folder / "timm", safe_serialization=True)


def _record(folder: Path) -> None:
    """A review store with one case of the labels."""
    from review_cases import START, prediction

    from skinxai.review import Case, ReviewStore
    from skinxai.review.cases import sha256

    data = (folder / "photos/1.png").read_bytes()
    answer = prediction(mel=0.5, nv=0.25, bkl=0.25) | {"model": "imported@1"}
    with ReviewStore.open(f"sqlite:///{folder}/review.db", folder / "kept") as store:
        store.record(Case("case-1", START, sha256(data), "imported@1", answer, "S-1", image=data))


def _teach(network, paths: list[Path]) -> None:
    """Fit the last layer to the pictures' labels, but for three: then answers can be calibrated.

    Where all are right, or no better than chance, no temperature is best, and it is refused.
    """
    import torch

    mean, std = (torch.tensor(network.pretrained_cfg[name])[:, None, None] for name in MEAN_STD)
    images = [torch.from_numpy(np.array(Image.open(path).resize((64, 64)))) for path in paths]
    batch = torch.stack([(image.permute(2, 0, 1) / 255 - mean) / std for image in images])
    wanted = torch.eye(len(LABELS))[[LABELS.index(path.parent.name) for path in paths]]
    wanted[::4] = wanted[::4].roll(1, dims=1)  # one of each class
    with torch.no_grad():
        pooled = network.forward_head(network.forward_features(batch), pre_logits=True)
        centre = pooled.mean(dim=0)
        network.fc.weight.copy_((torch.linalg.pinv(pooled - centre) @ (4 * wanted - 2)).T)
        network.fc.bias.copy_(-network.fc.weight @ centre)


def _picture(draws: np.random.Generator, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(draws.integers(60, 230, (6, 8, 3), dtype=np.uint8))
    coarse.resize((128, 96), Image.Resampling.BICUBIC).save(path)


def run_all() -> None:
    """Run each case here, and a page of the demo; print a JSON line of its words and exit code."""
    from streamlit.testing.v1 import AppTest

    from skinxai.cli import main
    from skinxai.demo import starting

    warnings.simplefilter("ignore", EncodingWarning)  # of others
    warnings.filterwarnings("error", category=EncodingWarning, module=r"skinxai\.")
    for _, words in lines():
        sys.argv, code = ["skinxai", *words], 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        print(f"\n{ENDED}{json.dumps([words, code])}", flush=True)
    page = AppTest.from_file(
        str(Path(starting.__file__).with_name("script.py")), default_timeout=600
    )
    failed = len(page.run().exception)
    print(f"\n{ENDED}{json.dumps([['page'], failed])}", flush=True)


if __name__ == "__main__":
    run_all()
