"""Make the folder that ships of the student's run, on any machine; the test part is not read.

    python training/recipe/ship.py IMAGES RUN OUTPUT [--size 320x432] [--records RECORDS]
        [--samples SAMPLES_600x450] [--lesions 140] [--from STEP] [--until STEP]

IMAGES is a folder that ``load_ham10000`` reads, with at least the images of RUN as JPEG files, as
published or ``ham10000`` in the recipe's work folder: the model is calibrated and judged on these,
and the WebP copies that RUN also learnt are not needed. RECORDS is what ``records.tar.gz`` unpacks
to; the runs without a source are told from there.

The steps, in order: ``model`` (weights, config, card), ``neighbours``, ``graph`` (and the probe),
``calibration`` (operating points and limits of quality and novelty, on the validation part, which
neither the student nor its teachers learnt; it also draws the graph anew), ``robustness`` (a
section of the card). ``--from`` goes on after one that was done. A person then opens the test with
``training/open_test.py HAM10000_FOLDER OUTPUT OUTPUT``, once.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skinxai import Classifier, Evaluation, checkpoints
from skinxai.configs import parse_size
from skinxai.data import Records, Splits, load_ham10000
from skinxai.model_folders.files import read_model_folder

HERE = Path(__file__).parent
TRAINING = HERE.parent
STEPS = ("model", "neighbours", "graph", "calibration", "robustness")
COMPARED = 64
"""Images on which a graph's answers are compared with torch's in each backend."""
DISTILLED = """\
{teacher_share:.0%} of the loss is the distance from an ensemble's answers at temperature
{teacher_temperature:g}; each image is answered by the members that did not learn it, on the crop
that the student sees. The members learnt folds of the same training part, so the validation part
was learnt by none: the epoch and the calibration rest on it."""
ALONE = "The validation part was not learnt: the epoch and the calibration rest on it."
SOURCES, ROBUST, LIMITS = "## Other sources", "## Robustness", "## Limits"


def splits_of_run(images: Path, run: Path) -> Splits:
    """What the run learnt and was judged on, which must be of these parts of the frozen split.

    An image is there once, however many of its copies the run learnt.
    """
    from material import frozen_parts, image_of, rows_of

    parts = frozen_parts(rows_of(images / "HAM10000_metadata.csv"))
    ids: dict[str, set[str]] = {"train": set(), "val": set()}
    for row in rows_of(run / "splits.csv"):
        own, name = image_of(row["image_id"]), row["part"]
        if name == "test" or parts.get(own) != name:
            raise SystemExit(
                f"{run} must learn the frozen training part and be judged on the validation part, "
                f"but {own} of the {parts.get(own)} part is in its {name} part"
            )
        ids[name].add(own)
    return Splits.of(load_ham10000(images), ids)


def write_model(run: Path, output: Path, size: str | None, records: Path | None) -> None:
    """The run's weights with the card of the model that ships."""
    loaded = checkpoints.load(read_model_folder(run))
    config = loaded.config
    trained = config.preprocessing.image_size
    if size:
        preprocessing = replace(config.preprocessing, image_size=parse_size(size))
        config = replace(config, preprocessing=preprocessing)
    settings = json.loads((run / "train.json").read_text())["settings"]
    with (run / "log.csv").open(newline="") as lines:
        rows = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)
        ]
    names = ("batch_size", "learning_rate", "sampler", "augmentation", "drop_path_rate",
             "weight_decay", "average_decay", "loss", "loss_options")  # fmt: skip
    card = (HERE / "card.md").read_text().format(
        config=config,
        parameters=Classifier(loaded).num_parameters,
        trained=trained,
        epochs=len(rows),
        options=", ".join(f"{name} {settings[name]}" for name in names if settings[name]),
        distilled=(DISTILLED if settings["teacher"] else ALONE).format(**settings),
        split_sha256=(TRAINING / "splits.sha256").read_text().strip(),
        log=max(rows, key=lambda row: row["macro_f1"]),
    )  # fmt: skip
    if records:
        card = with_section(card, SOURCES, sources_text(records))
    print(replace(loaded, config=config, card=card).save(str(output)))


def sources_text(records: Path) -> str:
    """What the student's network, trained without a source, answers to that source."""
    rows = ["| left out | images | accuracy | balanced accuracy | malignant AUC |"]
    rows.append("| --- " * 5 + "|")
    for path in sorted(records.glob("runs/sources/without-*/left_out.json")):
        found = Evaluation.from_dict(json.loads(path.read_text()))
        name = path.parent.name.removeprefix("without-")
        rows.append(
            f"| {name} | {found.images} | {found.accuracy} | {found.balanced_accuracy} | "
            f"{found.malignancy.auc if found.malignancy else '–'} |"
        )
    if len(rows) == 2:
        raise SystemExit(f"{records} must hold runs/sources/without-*/left_out.json, and has none")
    return (
        "The same network, trained anew without one of the four acquisition sources of HAM10000 "
        "and without a teacher, answers to that source, one view, 95 % intervals. This is an "
        "estimate of what another clinic sees.\n\n" + "\n".join(rows)
    )


def with_section(card: str, title: str, text: str) -> str:
    """The card with a section before its limits, in place of one of that title."""
    before, _, limits = card.partition(LIMITS)
    before, _, own = before.partition(f"{title}\n")
    after = own[own.find("\n## ") + 1 :] if "\n## " in own else ""
    return f"{before}{after}{title}\n\n{text.strip()}\n\n{LIMITS}{limits}"


def add_robustness(
    val: Records, output: Path, pair: tuple[Path, Path] | None, lesions: int
) -> None:
    """Write the table of `benchmarks/robustness.py` into the card."""
    from robustness import measure

    classifier = Classifier.from_pretrained(output, backend="onnx")
    found = measure(classifier, val, pair=pair, lesions=lesions)
    loaded = checkpoints.load(read_model_folder(output))
    card = with_section(loaded.card, ROBUST, found.to_markdown())
    print(found.to_markdown(), replace(loaded, card=card).save(str(output)))


def do(step: str, given: argparse.Namespace, splits: Splits) -> None:
    """One step."""
    from build_calibration import calibrate
    from build_graph import add_graph
    from build_neighbours import add_neighbours

    if step == "model":
        write_model(given.run, given.output, given.size, given.records)
    elif step == "neighbours":
        add_neighbours(splits, given.output)
    elif step == "graph":
        each = max(1, len(splits.val) // COMPARED)
        add_graph(given.output, [item.path for item in splits.val][::each])
    elif step == "calibration":
        calibrate(splits.val, given.output)
    else:
        pair = (given.samples, given.images) if given.samples else None
        add_robustness(splits.val, given.output, pair, given.lesions)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("images", "run", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--size", help="HEIGHTxWIDTH at which it answers; else that of the run")
    parser.add_argument("--records", type=Path, help="what records.tar.gz unpacks to")
    parser.add_argument("--samples", type=Path, help="some of IMAGES at another size")
    parser.add_argument("--lesions", type=int, default=140, help="of the table of robustness")
    parser.add_argument("--from", dest="first", choices=STEPS, default=STEPS[0])
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1])
    given = parser.parse_args(argv)
    splits = splits_of_run(given.images, given.run)
    for step in STEPS[STEPS.index(given.first) : STEPS.index(given.until) + 1]:
        print(f"== {step}", flush=True)
        do(step, given, splits)


sys.path += [str(HERE), str(TRAINING), str(TRAINING.parent / "benchmarks")]
if __name__ == "__main__":
    main()
