"""``skinxai push``, ``pull``, ``models``, ``verify``, ``import`` and ``export``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import Model, words
from skinxai.cli.saying import note, tell
from skinxai.plain_text import counted

Repo = Annotated[str, typer.Argument(help="org/name, or org/name@revision.", metavar="REPO")]


def push(
    model: Annotated[str, typer.Argument(help="Folder of the model.", metavar="FOLDER")],
    repo: Annotated[str, typer.Argument(help="org/name on the Hub.", metavar="REPO")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private; refuse a public one.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch [main].")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json, whose figures the card gets.")
    ] = None,
) -> None:
    """Upload a model folder to the Hugging Face Hub; HF_TOKEN must be allowed to write."""
    from skinxai.classifier import Classifier
    from skinxai.reporting import read_evaluation

    known = None if evaluation is None else read_evaluation(evaluation)[0]
    done = Classifier.from_pretrained(Path(model)).push_to_hub(
        repo, private=private, revision=revision, evaluation=known
    )
    tell(done)


def pull(
    repo: Repo,
    out: Annotated[
        Path | None, typer.Option(help="Copy the files into this folder [keep them in the cache].")
    ] = None,
) -> None:
    """Download a model from the Hugging Face Hub, check every file, and print its folder."""
    from skinxai.disk.staging import Staged
    from skinxai.model_folders.files import contents
    from skinxai.model_folders.opening import open_model

    folder = open_model(repo).folder
    if out is not None:
        with Staged(out) as staged:
            for name, data in contents(folder):
                staged.add(name, data)
    tell(str(out or folder))


def list_models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with folders and the sha256 of each file.")
    ] = False,
) -> None:
    """List models that can be loaded offline, as --model and from_pretrained take them."""
    import json

    from skinxai.model_folders.opening import models_at_hand

    found = models_at_hand()
    if as_json:
        rows = [asdict(each) | {"folder": str(each.folder)} for each in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    for each in found:
        tell(f"{each.model or 'bundled, the default'}  revision {each.revision}")


def verify(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a model or an ensemble.", metavar="FOLDER")
    ],
) -> None:
    """Check every file of a model and its answer; print its revision."""
    from skinxai.classifier import Classifier
    from skinxai.model_folders.files import contents
    from skinxai.model_folders.parts import PROBE

    keeps = any(name.rpartition("/")[2] == PROBE for name, _ in contents(folder))
    tell(Classifier.from_pretrained(folder, check=keeps).model)
    if not keeps:
        note(f"it has no {PROBE}, so its answer cannot be compared with the one it was saved with")


def import_network(
    source: Annotated[str, typer.Argument(help="Folder that timm saved, or hf-hub:org/name.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model.", metavar="OUT")],
    labels: Annotated[str, typer.Option(help="Labels in the order of the logits: mel,nv,…")],
    malignant: Annotated[
        str | None, typer.Option(help="The malignant labels; '' for none [not known].")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH of the input [timm's own].")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, as an SPDX name.")] = "",
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
) -> None:
    """Make a model folder of a network that timm saved, and compare its answers with timm's."""
    from skinxai.checkpoints.importing import import_timm
    from skinxai.configs import parse_size
    from skinxai.labels import LabelSet

    known = words(malignant)
    label_set = LabelSet(
        tuple(words(labels) or ()), {}, None if known is None else frozenset(known)
    )
    revision = import_timm(
        source, out, labels=label_set, licence=licence, name=name,
        image_size=None if image_size is None else parse_size(image_size),
    )  # fmt: skip
    tell(revision)


def export(
    out: Annotated[Path, typer.Argument(help="model.onnx, model.xml, or a folder.", metavar="OUT")],
    model: Model = None,
    format: Annotated[
        str | None,
        typer.Option(help="onnx or openvino, for OUT without a suffix; it is added."),
    ] = None,
) -> None:
    """Write a model as ONNX or for OpenVINO, or a folder with a graph; compare it with torch."""
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder, made_folder
    from skinxai.progress import busy

    check_folder(out.parent if out.suffix else out)
    classifier = Classifier.from_pretrained(model)
    if not out.suffix and format is None:
        with busy("writing the graph and comparing it with torch"):
            revision = classifier.with_graph().save_pretrained(out)
        tell(revision)
        return
    from skinxai.exporting.exported_files import exported_path

    with made_folder(out.parent), busy("writing the graph and comparing it with torch"):
        found = classifier.export(out, format=format)
    maps = "" if found.map is None else f", of Grad-CAM {found.map:.1g} of its largest value"
    tell(
        f"{exported_path(out, format)[0]}: {counted(found.images, 'image')} through "
        f"{found.backend}, largest difference of a probability {found.probability:.1g}{maps}"
    )
