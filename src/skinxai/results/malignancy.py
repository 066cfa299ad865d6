"""Malignant lesions against all others: areas, decision curves, and what each point decides."""

from dataclasses import dataclass

from skinxai.results.figures import Figure


@dataclass(frozen=True)
class NetBenefit:
    """One point of a decision curve (Vickers & Elkin, Med. Decis. Making 26, 2006).

    The net benefit is the share of images that are rightly referred, less the share wrongly
    referred times ``threshold / (1 − threshold)``. Referring nobody has the net benefit 0.

    Args:
        threshold: the malignant probability from which on images are referred, in (0, 1): who
            chooses 0.1 refers up to 9 benign lesions for 1 malignant one.
        model: of referring by the model.
        refer_all: of referring all images.
    """

    threshold: float
    model: Figure
    refer_all: float


@dataclass(frozen=True)
class Malignancy:
    """How well the malignant probability tells malignant images from all others.

    Args:
        images: malignant images.
        lesions: malignant lesions.
        auc: area under the ROC curve, 0–1.
        partial_auc: area between that curve and a sensitivity of 0.8, 0–0.2, as in the ISIC 2024
            challenge; 0.02 by chance.
        decision_curve: in the order of the thresholds; empty without malignant or other images.
            The thresholds are probabilities only of a calibrated model.
    """

    images: int
    lesions: int
    auc: Figure
    partial_auc: Figure
    decision_curve: tuple[NetBenefit, ...]


@dataclass(frozen=True)
class Tally:
    """How many of some images or lesions.

    Args:
        count: how many, 0 to ``of``.
        of: how many there are.
        share: ``count / of`` with a Wilson interval, see
            `skinxai.assessment.intervals.clustered_share`; NaN where there are none.
    """

    count: int
    of: int
    share: Figure

    def __str__(self) -> str:
        return f"{self.count} of {self.of}: {self.share}"


@dataclass(frozen=True)
class Decisions:
    """What a calibrated model decides about the judged images at one operating point.

    Sensitivity and specificity count as the calibration did: each lesion once, however many images
    it has; and lesions of which no image was decided about not at all. The tallies leave none out.

    Args:
        rule: how the calibration chose the threshold, in words.
        threshold: the malignant probability from which on an image is referred.
        default: whether `Classifier.predict` decides by this point where none is named.
        referred: images that are referred, of all.
        missed: malignant images whose decision is ``"routine"``, of all malignant ones.
        missed_lesions: malignant lesions of whose images every one is ``"routine"``.
        spared: other images whose decision is ``"routine"``, of all others.
        abstained: images that nothing is decided about, of all.
        sensitivity: share of the malignant lesions that are referred.
        specificity: share of the other lesions that are not.
        calibrated_sensitivity: the same on the lesions that the threshold was chosen on.
        calibrated_specificity: the same on these.
    """

    rule: str
    threshold: float
    default: bool
    referred: Tally
    missed: Tally
    missed_lesions: Tally
    spared: Tally
    abstained: Tally
    sensitivity: Figure
    specificity: Figure
    calibrated_sensitivity: Figure
    calibrated_specificity: Figure
