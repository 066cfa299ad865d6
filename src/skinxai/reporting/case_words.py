"""What a case report says, as plain text: the same sentences on HTML and PDF."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skinxai import plugins
from skinxai.errors import UnknownNameError
from skinxai.plain_text import agreeing, counted, printable
from skinxai.reporting.case_report import CaseReport
from skinxai.results import Explanation
from skinxai.results.sheets import CELLS
from skinxai.trust.deciding import LIMIT
from skinxai.trust.operating_points import Rate, told_apart

TOOL = "Research tool, not a medical device."
NOT_FOR = "Do not use it for diagnosis, triage or treatment."
SHOWN = 10
"""Classes that are listed one by one on a sheet."""
TITLES = {"refer": "Refer", "routine": "Routine", "abstain": "Abstain"}
AGREEMENT = (
    f"Rank correlation (Spearman) of two maps: 1 where both order the regions of the image alike, "
    f"0 where they are unrelated, −1 where one reverses the other. The maps are drawn and compared "
    f"as means over cells, {CELLS} along the longer side. Agreement does not show that they are "
    f"right; where they disagree, rely on none of them."
)
IMAGE = "Image quality and uncertainty"
METHODS = "Do several methods agree?"
LESIONS = "Most similar training lesions"
NEAREST = (
    "Their own labels, not predictions. Cosine distance of the network's features: 0 is the most "
    "similar, 2 the least."
)


@dataclass(frozen=True)
class ClassRow:
    """One class of the list.

    Args:
        name: long name.
        code: short code; empty where it is the name.
        value: probability, 0–1.
        malignant: whether it is declared malignant.
        in_set: whether it is in the prediction set.
    """

    name: str
    code: str
    value: float
    malignant: bool
    in_set: bool


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop."""
    words = printable(text.strip())
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def said(note: str) -> str:
    """A note from reading an image, ``"code: what happened"``, as a sentence."""
    return sentence(note.partition(": ")[2] or note)


def full_name(report: CaseReport, code: str) -> str:
    """Long name of a class."""
    return printable(report.prediction.labels.long_name(code))


def method_name(method: str) -> str:
    """How people call a method; its own name where it is not installed here."""
    try:
        return plugins.explainers.entry(method).title or printable(method)
    except UnknownNameError:
        return printable(method)


def shows(method: str) -> str:
    """What a method shows, a sentence; empty where it is not known."""
    try:
        return printable(plugins.explainers.entry(method).shows)
    except UnknownNameError:
        return ""


def about_first(report: CaseReport) -> str:
    """Name of the first map's method, and the class that it explains."""
    first = report.maps[0]
    of = f": {full_name(report, first.target)}" if first.score != "none" else ""
    return f"{method_name(first.method)}{of}.{constant(first)}"


def most_probable(report: CaseReport) -> str:
    """The first class with its probability."""
    first = class_rows(report)[0]
    return f"Most probable: {first.name}, {100 * first.value:.1f} %"


def about_method(explanation: Explanation) -> str:
    """Name of an explanation's method, and what it shows."""
    name, what = method_name(explanation.method), shows(explanation.method)
    return f"{name}. {what}{constant(explanation)}"


def heading(report: CaseReport) -> str:
    """The page's title."""
    return f"Case report: {printable(report.title)}" if report.title else "Case report"


def verdict(report: CaseReport) -> tuple[str, str]:
    """The decision in a word, and what it rests on."""
    prediction = report.prediction
    if prediction.decision is not None:
        title = TITLES.get(prediction.decision, sentence(prediction.decision).rstrip("."))
        point = printable(prediction.operating_point or "")
        return title, f"Decision at the operating point '{point}'"
    if prediction.calibrated_on is None:
        return "No decision", "This model was not calibrated."
    return "No decision", "The labels of this model declare no class malignant."


def reasons(report: CaseReport) -> list[str]:
    """Why that decision, and how good the operating point was."""
    found = [sentence(each) for each in report.prediction.reasons]
    point = report.operating_point
    if point is not None:
        found.append(
            f"On the calibration lesions, it has a sensitivity of {_rate(point.sensitivity)} and a "
            f"specificity of {_rate(point.specificity)}."
        )
    if report.trained_on_it:
        found.insert(0, "The model was trained on this image: its answer proves nothing.")
    elif report.trained_on_copy:
        found.insert(
            0,
            "The model was trained on an image that looks like a copy of this one: if it is one, "
            "the answer proves nothing.",
        )
    return found


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f} (95 % interval {rate.low:.3f}–{rate.high:.3f})"


def class_rows(report: CaseReport) -> list[ClassRow]:
    """All classes, the most probable first."""
    prediction, inside = report.prediction, report.prediction_set or ()
    malignant = prediction.labels.malignant or ()
    rows = []
    for code, value in prediction.top(len(prediction.labels)):
        name = full_name(report, code)
        own = "" if name == printable(code) else printable(code)
        rows.append(ClassRow(name, own, value, code in malignant, code in inside))
    return rows


def rest_of_classes(report: CaseReport) -> str:
    """How many classes are not listed on a sheet, and their probability together."""
    rest = class_rows(report)[SHOWN:]
    if not rest:
        return ""
    total = 100 * sum(row.value for row in rest)
    have, together = agreeing(len(rest), "has", "have"), agreeing(len(rest), "", " together")
    return f"{counted(len(rest), 'more class')} {have} {total:.1f} %{together}."


def about_classes(report: CaseReport) -> list[str]:
    """What the probabilities mean, and the prediction set."""
    prediction = report.prediction
    if prediction.calibrated_on is None:
        found = [
            "Not calibrated: the numbers rank the classes and do not say how often the model is "
            "right."
        ]
    else:
        found = [f"Calibrated on {printable(prediction.calibrated_on)}."]
    if prediction.malignant_probability is not None:
        found.append(f"Malignant classes together: {100 * prediction.malignant_probability:.1f} %.")
    if report.prediction_set is not None:
        size, all_of = len(report.prediction_set), len(prediction.labels)
        names = ", ".join(full_name(report, code) for code in report.prediction_set[:SHOWN])
        more = f" and {size - SHOWN} more" if size > SHOWN else ""
        found.append(
            f"Prediction set (•), {size} of {all_of} classes: {names}{more}. Of new lesions like "
            f"those of the calibration, at least {100 * report.coverage:g} % have their true class "
            f"in such a set."
        )
    return found


def against_title(report: CaseReport) -> str:
    """Which question the map of the difference answers; empty where there is none."""
    made = report.against
    if made is None or made.against is None:
        return ""
    return f"Why {full_name(report, made.target)} rather than {full_name(report, made.against)}?"


def about_against(report: CaseReport) -> str:
    """What the map of the difference shows."""
    made = report.against
    if made is None or made.against is None:
        return ""
    ours, theirs = (report.prediction.probabilities[c] for c in (made.target, made.against))
    return (
        f"{method_name(made.method)} of the difference between the two scores: where the image "
        f"speaks for the first class rather than the second ({100 * ours:.1f} % against "
        f"{100 * theirs:.1f} %).{constant(made)}"
    )


def constant(explanation: Explanation) -> str:
    """A sentence for a map that shows no region; empty otherwise."""
    return " The map is constant: it shows no region." if explanation.degenerate else ""


def agreement(report: CaseReport) -> list[tuple[str, str]]:
    """Pairs of methods with the rank correlation of their maps."""
    return [
        (
            f"{method_name(one)} and {method_name(two)}",
            "–, one is constant" if math.isnan(value) else f"{value:.2f}".replace("-", "−"),
        )
        for (one, two), value in report.agreement.items()
    ]


def nearest(report: CaseReport) -> list[tuple[str, str, str]]:
    """Name, distance and id of each training lesion."""
    return [
        (full_name(report, each.label), f"{each.distance:.2f}", printable(each.id, 20))
        for each in report.nearest
    ]


def about_nearest(report: CaseReport) -> str:
    """How many of them have the predicted label, and what the distance is."""
    label = report.prediction.label
    same = sum(each.label == label for each in report.nearest)
    have = agreeing(same, "has", "have")
    return f"{same} of {len(report.nearest)} {have} the label {full_name(report, label)}. {NEAREST}"


def about_image(report: CaseReport) -> list[str]:
    """Quality, novelty, uncertainty, and notes from reading the image."""
    prediction = report.prediction
    if report.quality is None:
        found = ["Quality: not judged, as the model was not calibrated."]
    elif report.quality:
        found = [f"Quality: {sentence(each)}" for each in report.quality]
    else:
        found = ["Quality: no flag; all measures are within the limits of the calibration images."]
    if (novelty := prediction.novelty) is not None:
        side = "above" if novelty.refused else "within"
        kind = "hardly of" if novelty.refused else "of"
        found.append(
            f"Novelty: {told_apart(novelty.score, LIMIT, 2)[0]}, {side} the limit of {LIMIT:g}: "
            f"the image is {kind} the kind that the model knows. This is no probability."
        )
    if (doubt := prediction.uncertainty) is not None:
        found.append(
            f"Uncertainty of {counted(doubt.passes, 'answer')} ({doubt.by}), in nats: total "
            f"{doubt.total:.2f}, aleatoric {doubt.aleatoric:.2f}, epistemic {doubt.epistemic:.2f}; "
            f"{100 * doubt.variation_ratio:.0f} % of the answers, by weight, have another top "
            f"class."
        )
    return found + [said(note) for note in prediction.warnings]


def limits(report: CaseReport) -> list[str]:
    """What the report cannot say."""
    data = ", ".join(printable(name) for name in report.training_data)
    trained = f" It was trained on {data}." if data else ""
    return [
        f"{TOOL} {NOT_FOR}",
        f"The model knows {len(report.prediction.labels)} classes and gives every image one of "
        f"them.{trained} For other skin, cameras and clinics its numbers may not hold.",
        "A heatmap shows where a score depends on the image, not whether the answer is right.",
    ]


def provenance(report: CaseReport) -> list[tuple[str, str]]:
    """Where everything comes from: name → value."""
    height, width = report.pixels.shape[:2]
    prediction = report.prediction
    facts = [
        ("Model", prediction.model),
        ("Computed by", prediction.backend),
        ("Image", f"{width} × {height} pixels, SHA-256 of the pixels {report.pixels_sha256}"),
        ("Heatmaps", "; ".join(_settings(each) for each in report.maps)),
        ("Versions", ", ".join(f"{name} {value}" for name, value in report.versions.items())),
        ("Date", report.date.isoformat()),
    ]
    return [(name, printable(value)) for name, value in facts if value]


def missing(report: CaseReport, part: str) -> str:
    """Why the model cannot give a part of the page, a sentence; empty where it can."""
    return sentence(report.absent.get(part, ""))


def _settings(explanation: Explanation) -> str:
    plain = {k: v for k, v in explanation.options.items() if isinstance(v, int | float | str)}
    return " ".join([explanation.method, *(f"{name}={value}" for name, value in plain.items())])


def joined(sentences: Sequence[str]) -> str:
    """Sentences one after another."""
    return " ".join(filter(None, sentences))
