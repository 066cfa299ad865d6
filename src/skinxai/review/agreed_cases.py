"""Which cases reviewers agree on: one label for each image, and why the others have none."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from skinxai.data.cleaning import known_id
from skinxai.labels import LabelSet
from skinxai.review.cases import UNSURE, ReviewedCase


@dataclass(frozen=True)
class LeftOutCase:
    """A case that is not exported.

    Args:
        case_id: of the case.
        reason: why, a phrase.
    """

    case_id: str
    reason: str


@dataclass(frozen=True)
class AgreedImage:
    """An image with the class that all its reviewers agree on.

    Args:
        digest: sha256 of its file.
        label: the class.
        lesion: of which lesion it is; empty where no case says.
        subject: whose it is; empty where no case says.
        cases: ids of its cases, sorted.
    """

    digest: str
    label: str
    lesion: str
    subject: str
    cases: tuple[str, ...]


def agreed_images(
    cases: Iterable[ReviewedCase], labels: LabelSet, reviewers: int
) -> tuple[list[AgreedImage], list[LeftOutCase]]:
    """One label for each image, whatever the number of its cases.

    Args:
        cases: with their labels.
        labels: of the model that learns from them.
        reviewers: how many must have given the label.

    Returns:
        The images, sorted by digest, and the cases that are left out.
    """
    by_image: dict[str, list[ReviewedCase]] = defaultdict(list)
    for each in cases:
        by_image[each.case.image_sha256].append(each)
    images, left = [], []
    for digest, own in sorted(by_image.items()):
        ids = tuple(sorted(each.case.id for each in own))
        lesions = {found for each in own if (found := known_id(each.case.lesion or ""))}
        subjects = {found for each in own if (found := known_id(each.case.subject or ""))}
        said = {(name, given.label) for each in own for name, given in each.current.items()}
        reason = _why_not(said, lesions, subjects, labels, reviewers)
        if not reason and not any(each.image_kept for each in own):
            reason = "its image was not kept, or has expired"
        if reason:
            left += [LeftOutCase(case, reason) for case in ids]
        else:
            ((_, label), *_) = said
            images.append(AgreedImage(digest, label, "".join(lesions), "".join(subjects), ids))
    return images, left


def _why_not(
    said: set[tuple[str, str]], lesions: set[str], subjects: set[str], labels: LabelSet,
    reviewers: int,
) -> str:  # fmt: skip
    given = sorted({label for _, label in said})
    names = Counter(label for _, label in said)
    shown = ", ".join(f"{label} ({names[label]})" for label in given)
    if not said:
        return "no reviewer has labelled it"
    if len(given) > 1:
        return f"disputed: {shown}"
    if given == [UNSURE] and UNSURE not in labels:
        return "its reviewers are unsure"
    if given[0] not in labels:
        return f"the model has no label {given[0]!r}"
    if len(said) < reviewers:
        return f"labelled by {len(said)} of {reviewers} reviewers"
    if len(subjects) > 1:
        return f"one image of two subjects: {', '.join(sorted(subjects))}"
    if len(lesions) > 1:
        return f"one image of two lesions: {', '.join(sorted(lesions))}"
    return ""
