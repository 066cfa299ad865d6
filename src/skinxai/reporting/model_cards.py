"""Model cards from what was measured: what was not says so in its place.

The heads are those of CLEAR Derm (Daneshjou et al., JAMA Dermatology 158(1), 2022): data,
technique, technical assessment, application. Under them stand items of STARD-AI (Sounderajah et
al., Nature Medicine, 2025).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from skinxai.configs import ModelConfig
from skinxai.errors import LeakageError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import config_of, members_of, open_models
from skinxai.model_folders.files import ModelFiles, read_config
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.parts import NEIGHBOURS
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import counted, markdown, markdown_code
from skinxai.results import Evaluation
from skinxai.trust.calibration import Calibration, calibration_of
from skinxai.trust.operating_points import threshold_text

NOT_MEASURED, NOT_STATED = "Not measured.", "Not stated."
TOOL = (
    "**A research tool, not a medical device.** Do not use it for diagnosis, triage or treatment."
)


@dataclass(frozen=True)
class CardFacts:
    """What is known of a model.

    Args:
        model: ``name@revision``; the name alone before it is saved.
        labels: of its classes.
        members: config of the model, or of each member of an ensemble.
        weights: share of each member.
        trained_on: hashes of its training images, or ``None``: it does not say.
        calibration: or ``None``.
        has_neighbours: whether its folder has training lesions to compare with.
        run: settings of the run that made it → value, plain text.
        validation: sentence on the part that chose the epoch, Markdown; empty: none known.
        evaluation: on images that took no part in training, or ``None``.
    """

    model: str
    labels: LabelSet
    members: tuple[ModelConfig, ...]
    weights: tuple[float, ...] = (1.0,)
    trained_on: TrainedOn | None = None
    calibration: Calibration | None = None
    has_neighbours: bool = False
    run: Mapping[str, str] = field(default_factory=dict)
    validation: str = ""
    evaluation: Evaluation | None = None


def card_of(model: str | os.PathLike[str] | None, evaluation: Evaluation | None = None) -> str:
    """The card of a model or an ensemble, Markdown, from its folder and an evaluation.

    Args:
        model: folder or name, as in `Classifier.from_pretrained`.
        evaluation: of this model, on images that took no part in training.

    Raises:
        LeakageError: an evaluation on training images.
        OptionError: an evaluation of another model.
    """
    files = open_model(model)
    facts = _facts(files, evaluation)
    if evaluation is not None and evaluation.leaked:
        raise LeakageError("an evaluation on training images must not be published as the model's.")
    if evaluation is not None and evaluation.model != facts.model:
        raise OptionError(f"evaluation must be of {facts.model}, but it is of {evaluation.model}.")
    return card(facts)


def card_of_members(members: Sequence[str | os.PathLike[str]], name: str) -> str:
    """The card of an ensemble of models with equal weights, Markdown, before it is written.

    Args:
        members: at least two, as ``model`` of `card_of`.
        name: the ensemble's name.
    """
    return card(replace(_facts(open_models(members), None), model=name))


def _facts(files: ModelFiles, evaluation: Evaluation | None) -> CardFacts:
    config = config_of(files)
    each, weights = zip(*members_of(files), strict=True)
    known = [TrainedOn.from_files(member.files) for member in each]
    together: TrainedOn | None = TrainedOn()
    for one in known:
        together = None if one is None or together is None else together | one
    return CardFacts(
        model=f"{config.name}@{files.revision}", labels=config.labels,
        members=tuple(read_config(member, ModelConfig) for member in each), weights=weights,
        trained_on=together, calibration=calibration_of(files),
        has_neighbours=NEIGHBOURS in files.files, evaluation=evaluation,
    )  # fmt: skip


def card(facts: CardFacts) -> str:
    """The card, Markdown."""
    name = facts.model.partition("@")[0]
    kind = f"An ensemble of {len(facts.members)} models" if len(facts.members) > 1 else "A model"
    parts = [
        f"# {markdown(name)}\n",
        *(f"**LEAKED: {markdown(leak)}; no figure of it is worth anything.**\n"
          for leak in _each(facts, "leaked")),
        f"{kind} for dermatoscopic images of skin lesions, made with skinxai. {TOOL}\n",
        "## Data\n", _table(_data(facts)),
        "## Technique\n", _table(_technique(facts)),
        "## Technical assessment\n", *_assessment(facts),
        "## Application\n", _table(_application(facts)),
    ]  # fmt: skip
    return "\n".join(parts)


def _data(facts: CardFacts) -> list[tuple[str, str]]:
    names = [markdown(name) for name in _each(facts, "name")]
    splits = [markdown_code(digest) for digest in _each(facts, "splits_sha256")]
    if facts.trained_on is None:
        known = "Which images it was trained on is not known: its folder does not say."
    else:
        known = f"{counted(len(facts.trained_on), 'image')}, {_kept(facts.trained_on, 'training')}"
    return [
        ("training data", ", ".join(names) or NOT_STATED),
        ("to name", ", ".join(map(markdown, _each(facts, "attribution"))) or NOT_STATED),
        ("training images", known),
        ("partition", f"split with sha256 {', '.join(splits)}" if splits else NOT_STATED),
        ("eligibility and sampling of patients", NOT_STATED),
        ("image types, devices and artefacts", NOT_STATED),
        ("skin tone and other traits of the patients trained on", NOT_MEASURED),
        ("reference standard of the labels", NOT_STATED),
        ("consent, privacy and ethics", NOT_STATED),
    ]


def _technique(facts: CardFacts) -> list[tuple[str, str]]:
    calibration, labels = facts.calibration, facts.labels
    networks = [
        f"{markdown_code(own.backbone)} at {own.preprocessing.image_size[0]} × "
        f"{own.preprocessing.image_size[1]} (height × width)"
        + (f", weight {weight:.4g}" if len(facts.members) > 1 else "")
        for own, weight in zip(facts.members, facts.weights, strict=True)
    ]
    malignant = "not declared"
    if labels.malignant is not None:
        malignant = ", ".join(markdown_code(c) for c in labels if c in labels.malignant) or "none"
    licences = list(dict.fromkeys(own.licence or "not stated" for own in facts.members))
    rows = [
        ("version", markdown(facts.model)),
        ("network", "; ".join(networks)),
        ("input", "the whole image, RGB, resized"),
        ("output", "one probability for each class"),
        ("classes", ", ".join(_named(labels, code) for code in labels)),
        ("malignant classes", malignant),
        ("starting weights", ", ".join(map(markdown, _each(facts, "init_weights"))) or NOT_STATED),
        *((markdown(name), markdown(value)) for name, value in facts.run.items()),
        *calibration_rows(calibration),
        ("training lesions to compare with", "yes" if facts.has_neighbours else "none"),
        ("licence of the weights", markdown(", ".join(licences))),
    ]
    return rows


def calibration_rows(calibration: Calibration | None) -> list[tuple[str, str]]:
    """Names and values of the rows that a calibration changes."""
    return [
        ("calibration of probabilities", _calibrated(calibration)),
        ("when it abstains", _gates(calibration)),
    ]


def _calibrated(calibration: Calibration | None) -> str:
    if calibration is None:
        return f"{NOT_MEASURED} Its probabilities rank the classes and say no more."
    scaling = calibration.one_view.scaling
    kind = f"temperature {scaling.temperature:.3f}" if scaling.temperature else "vector scaling"
    return (
        f"{kind}, on {markdown(calibration.data)}: {counted(calibration.images, 'image')} of "
        f"{counted(calibration.lesions, 'lesion')}, {_kept(calibration.known, 'calibration')}"
    )


def _kept(images: TrainedOn, part: str) -> str:
    """What a model folder keeps of some images."""
    kept = f"known by hashes of their pixels (`{part}_pixels.safetensors`)"
    if images.fingerprints is not None:
        kept += f" and by coarse reliefs that find copies (`{part}_fingerprints.safetensors`)"
    return f"{kept}; no names"


def _gates(calibration: Calibration | None) -> str:
    if calibration is None:
        return "never: it answers for every picture"
    return (
        f"where the image's quality or novelty is beyond limits of "
        f"{counted(calibration.quality.images, 'calibration image')}"
    )


def _assessment(facts: CardFacts) -> list[str]:
    found = facts.evaluation
    parts = [f"{facts.validation}\n"] if facts.validation else []
    parts.append(operating_points(facts.calibration))
    parts.append(figures_of_test(found))
    parts.append(_table([
        subgroups_row(found),
        ("other clinics, cameras and populations", NOT_MEASURED),
        ("robustness against artefacts", NOT_MEASURED),
        ("comparison with clinicians", NOT_MEASURED),
    ]))  # fmt: skip
    return parts


def figures_of_test(found: Evaluation | None) -> str:
    """What a card says of a test; without one that nothing was measured."""
    if found is None:
        return f"Test on images that took no part in training: {NOT_MEASURED}\n"
    confusion = grid(
        ("", *map(markdown, found.labels)),
        [(markdown(code), *map(str, row))
         for code, row in zip(found.labels, found.confusion, strict=True)],
    )  # fmt: skip
    return (
        f"Test of {markdown(found.model)} on {markdown(found.data)}: "
        f"{counted(found.images, 'image')} of "
        f"{counted(found.lesions, 'lesion')}. Intervals are 95 %: from bootstraps over lesions, "
        f"and for what "
        f"operating points decide Wilson's.\n\n"
        f"{replace(found, hardest=()).to_markdown().strip()}\n\n"  # their ids are private
        f"Confusion matrix, rows true, columns predicted:\n\n{confusion}"
    )


def subgroups_row(found: Evaluation | None) -> tuple[str, str]:
    """Name and value of the row that says which groups a test tells apart."""
    groups = sorted({each.attribute for each in found.subgroups}) if found else []
    return "subgroups and fairness", f"above: {', '.join(groups)}" if groups else NOT_MEASURED


def operating_points(calibration: Calibration | None) -> str:
    """What a card says of operating points."""
    points = () if calibration is None else calibration.one_view.operating_points.values()
    if not points:
        return f"Operating points: {NOT_MEASURED}\n"
    rows = [
        (markdown(p.name), threshold_text(p.threshold), str(p.sensitivity), str(p.specificity))
        for p in points
    ]
    return (
        "Operating points, with their rates and 95 % intervals on the calibration lesions, on "
        "which their thresholds were chosen:\n\n"
        + grid(("operating point", "refers from", "sensitivity", "specificity"), rows)
    )


def _application(facts: CardFacts) -> list[tuple[str, str]]:
    return [
        ("intended use", "research on dermatoscopic images and on explanations of classifiers"),
        ("not for", "diagnosis, triage or treatment; clinical photographs"),
        ("target conditions", f"the {len(facts.labels)} classes above, and no others"),
        ("effect on clinicians and patients", NOT_MEASURED),
        ("limits", "For other skin, cameras, clinics and mixes of diagnoses its figures may not "
         "hold. A heatmap shows where a score depends on the image, not whether it is right."),
    ]  # fmt: skip


def _each(facts: CardFacts, key: str) -> list[str]:
    """What the members' training data have under a key, each once."""
    values = (own.training_data.get(key, "") for own in facts.members)
    return [value for value in dict.fromkeys(values) if value]


def _named(labels: LabelSet, code: str) -> str:
    name = labels.long_name(code)
    return markdown_code(code) if name == code else f"{markdown_code(code)} {markdown(name)}"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return grid(("", ""), rows)


def grid(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; without heads its rows alone."""
    lines = [heads, ["---"] * len(heads), *rows] if heads else rows
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
