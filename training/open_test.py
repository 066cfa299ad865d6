"""Open the test part: judge a finished run once, log it, and write the folder that is shipped.

The only script that reads the test part's diagnoses. Each opening appends one row to
test_openings.csv, whatever the figures are; the model card gets the same figures::

    python training/open_test.py HAM10000_FOLDER RUN_FOLDER OUTPUT_FOLDER 256x344
    python training/open_test.py HAM10000_FOLDER MODEL_FOLDER OUTPUT_FOLDER

The second form is for an ensemble (``training/build_ensemble.py``), and for a model that was
calibrated (``training/build_calibration.py``). The last argument of the first is the input size of
the model that is shipped, chosen on the validation part by ``training/choose_size.py``: networks
that learnt from crops answer better a little above their training size (Touvron et al., "Fixing the
train-test resolution discrepancy", NeurIPS 2019).
"""

import csv
import datetime
import json
import sys
from dataclasses import replace
from pathlib import Path

from frozen_split import frozen_split, split_sha256, without_copies

from skinxai import Classifier, Evaluation, checkpoints
from skinxai.configs import EnsembleConfig, parse_size
from skinxai.data import Splits
from skinxai.model_folders.ensembles import read_members
from skinxai.model_folders.files import read_config, read_model_folder, weights_digest
from skinxai.model_folders.parts import WEIGHTS

HERE = Path(__file__).parent
LOG = HERE / "test_openings.csv"
TEST = "## Test\n"
ALARMS = ("ISIC_0032459",)
"""Named as a copy, and none."""
Views = dict[str, Evaluation]


def main(root: Path, folder: Path, output: Path, size: str | None = None) -> None:
    sha256, splits = split_sha256(), frozen_split(root)
    classifier = resized(folder, size) if size else Classifier.from_pretrained(folder)
    test = without_copies(splits.test)
    views = {
        name: classifier.evaluate(test, tta=tta, not_copies=ALARMS, progress=True)
        for name, tta in (("one view", False), ("four flips", True))
    }
    if size:
        write_single(folder, classifier, splits, sha256, views, output)
    else:
        write_again(folder, views, output)
    weights = digest_of(output)
    for name, evaluation in views.items():
        append(name, weights, sha256, evaluation)
        place = HERE / f"logs/{classifier.config.name}-test-{name.replace(' ', '-')}.json"
        place.write_text(json.dumps(evaluation.to_dict()) + "\n")


def digest_of(folder: Path) -> str:
    files = read_model_folder(folder)
    if not files.is_ensemble:
        return weights_digest([files.files[WEIGHTS]])
    config = read_config(files, EnsembleConfig)
    weights = [each.files[WEIGHTS] for each in read_members(files, config)]
    return weights_digest(weights, [each.weight for each in config.members])


def write_single(
    run: Path, classifier: Classifier, splits: Splits, sha256: str, views: Views, output: Path
) -> None:
    with (run / "log.csv").open() as lines:
        rows = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)
        ]
    card = (HERE / "card.md").read_text()
    text = card.format(
        config=classifier.config,
        trained=Classifier.from_pretrained(run).config.preprocessing.image_size,
        parameters=classifier.num_parameters,
        sizes=[len(part) for part in (splits.train, splits.val, splits.test)],
        split_sha256=sha256,
        log=max(rows, key=lambda row: row["macro_f1"]),
        test=test_section(views),
    )
    checkpoints.save(
        str(output), classifier.network, classifier.config, text, trained_on=classifier.trained_on
    )


def write_again(folder: Path, views: Views, output: Path) -> None:
    """The model or ensemble as it is; its card's section on the test is new, or becomes new."""
    loaded = checkpoints.load(read_model_folder(folder))
    before, _, rest = loaded.card.partition(TEST)
    _, head, after = rest.partition("\n## ")
    section = test_section(views).strip("\n")
    card = f"{before.rstrip()}\n\n{section}\n{head}{after}"
    replace(loaded, card=card).save(str(output))


def test_section(views: Views) -> str:
    plain, flips = views.values()
    return (
        (HERE / "card_test.md")
        .read_text()
        .format(
            plain=plain, flips=flips, table=plain.to_markdown(), confusion=confusion_table(plain)
        )
    )


def resized(run: Path, size: str) -> Classifier:
    """The run's model with another input size."""
    loaded = checkpoints.load(read_model_folder(run))
    preprocessing = replace(loaded.config.preprocessing, image_size=parse_size(size))
    config = replace(loaded.config, preprocessing=preprocessing)
    return Classifier(replace(loaded, config=config))


def confusion_table(evaluation: Evaluation) -> str:
    codes = list(evaluation.labels)
    lines = [["", *codes], ["---"] * (len(codes) + 1)]
    lines += [[c, *map(str, row)] for c, row in zip(codes, evaluation.confusion, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def append(views: str, weights: str, split: str, evaluation: Evaluation) -> None:
    row = {
        "date": datetime.date.today().isoformat(),
        "weights_sha256": weights,
        "splits_sha256": split,
        "views": views,
        "images": evaluation.images,
        "lesions": evaluation.lesions,
        "accuracy": f"{evaluation.accuracy.value:.4f}",
        "balanced_accuracy": f"{evaluation.balanced_accuracy.value:.4f}",
        "macro_f1": f"{evaluation.macro_f1.value:.4f}",
    } | {f"recall_{code}": f"{figure.value:.4f}" for code, figure in evaluation.recall.items()}
    new = not LOG.exists()
    with LOG.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(views, evaluation)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:5])
