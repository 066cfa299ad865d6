"""Average the weights of a run with those that it started from, and write the model that ships::

    python training/average_weights.py WORK BEFORE RUN OUTPUT 288x384 0.5 0.7 1

Between both lies often a model that keeps what each of them knows (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). WORK is the work folder of ``training/recipe``, with
each validation image as JPEG and as WebP file; BEFORE a model folder; RUN what ``train_bundled.py``
made of it. The last words are shares of RUN to try. Taken is the one with the highest sum of
balanced accuracy on the JPEG and on the WebP files, among those that lose less than 0.005 of
accuracy on the JPEG files. The test part is not read.

``recipe/ship.py … --from neighbours`` goes on.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path

from open_test import resized

from skinxai import Classifier, Evaluation, checkpoints
from skinxai.checkpoints.packing import LoadedModel
from skinxai.data import Records
from skinxai.model_folders.files import read_model_folder

HERE = Path(__file__).parent
LOST = 0.005
LEFT_OUT = ("| calibration |", "| operating points |", "| training lesions |")
OUTPUT = "| output | one probability for each class, not calibrated |"


def averaged(before: LoadedModel, run: LoadedModel, share: float) -> LoadedModel:
    """The run's model with ``share`` of its weights and the rest of those before.

    Matrices and kernels are rounded to half precision, in which they are stored.
    """
    network, old = copy.deepcopy(run.network), before.network.state_dict()
    for name, values in network.state_dict().items():  # of the same memory
        if values.is_floating_point():
            mean = old[name].lerp(values, share)
            values.copy_(mean.half() if mean.ndim > 1 else mean)
    return replace(run, network=network, graph=None, probe=None)


def best(
    before: LoadedModel, run: LoadedModel, shares: list[float], kinds: tuple[Records, Records]
) -> tuple[float, LoadedModel, list[Evaluation]]:
    """The share that is taken, its model, and its figures on JPEG and on WebP files."""
    found = []
    for share in shares:
        model = averaged(before, run, share)
        figures = [Classifier(model).evaluate(some, progress=True) for some in kinds]
        print(share, *(f"{e.accuracy} {e.balanced_accuracy} {e.macro_f1}" for e in figures))
        found.append((share, model, figures))
    least = Classifier(before).evaluate(kinds[0], progress=True).accuracy.value - LOST
    kept = [each for each in found if each[2][0].accuracy.value >= least]
    return max(kept, key=lambda each: sum(e.balanced_accuracy.value for e in each[2]))


def card_of(before: LoadedModel, run: Path, share: float, figures: list[Evaluation]) -> str:
    """The card of the model before, without its test and calibration, with the new training."""
    head, _, rest = before.card.partition("## Training\n")
    lines = [line for line in head.split("\n") if not line.startswith(LEFT_OUT)]
    lines = [OUTPUT if line.startswith("| output |") else line for line in lines]
    training, _, rest = rest.partition("\n## ")
    said = (HERE / "card_average.md").read_text().format(
        before=before.config.name, revision=before.revision, share=share,
        rest=round(1 - share, 3), epochs=len((run / "log.csv").read_text().splitlines()) - 1,
        figures=[(e.accuracy.value, e.balanced_accuracy.value, e.macro_f1.value) for e in figures],
    )  # fmt: skip
    limits = rest[rest.index("Limits\n") :]
    return "\n".join(lines) + f"## Training\n{training.rstrip()}\n\n{said}\n## Test\n\n## {limits}"


def main(work: Path, before: Path, folder: Path, output: Path, size: str, *shares: str) -> None:
    sys.path.insert(0, str(HERE / "recipe"))
    from material import Material

    material = Material(work)
    val = material.splits("train").val
    old = checkpoints.load(read_model_folder(before))
    run = resized(folder, size)._loaded
    assert isinstance(run, LoadedModel)
    origin = {"splits_sha256": old.config.training_data["splits_sha256"]}
    config = replace(
        run.config, name=old.config.name, training_data={**run.config.training_data, **origin}
    )
    share, model, figures = best(
        replace(old, calibration=None), replace(run, config=config), list(map(float, shares)),
        (val, material.webp(val)),
    )  # fmt: skip
    card = card_of(old, folder, share, figures)
    # their WebP copies are recognised by the fingerprints of the JPEG files
    whole = replace(model, card=card, trained_on=old.trained_on)
    print(share, whole.save(str(output)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), *sys.argv[5:])
