"""Answering only where the model is sure: accuracy by coverage, and scores that say how sure."""

from collections.abc import Mapping
from dataclasses import dataclass

from skinxai.results.figures import Figure


@dataclass(frozen=True)
class ScoreComparison:
    """Whether a score tells wrong answers from right ones better than the top probability.

    Args:
        aurc: of the score.
        top_aurc: of the top class's probability.
        difference: ``aurc − top_aurc`` with its 95 % interval, paired, from a bootstrap over
            lesions; below 0 the score is better.
    """

    aurc: float
    top_aurc: float
    difference: Figure

    @property
    def better(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.difference.high < 0

    def note(self, name: str) -> str:
        """A warning for whoever uses the score, or an empty text where it is better.

        Args:
            name: what the score is called, at the beginning of a sentence.
        """
        if self.better:
            return ""
        shown = f"{self.difference.value:+.4f} ({self.difference.low:+.4f} to " + (
            f"{self.difference.high:+.4f})"
        )
        verdict = "worse than" if self.difference.low > 0 else "not shown to be better than"
        return (
            f"{name} is {verdict} the top probability at telling wrong answers from right ones: "
            f"AURC {self.aurc:.4f} against {self.top_aurc:.4f}, difference {shown}."
        )


@dataclass(frozen=True)
class SelectiveAnswers:
    """How often the model is right where it answers only its surest images.

    Args:
        curve: points (coverage, share of wrong answers) of the top probability, at most 200, for
            drawing.
        aurc: area under that curve, 0–1, lower is better.
        accuracy_at: accuracy among the surest images, by coverage: ``"0.90"`` and so on.
        scores: other scores of how sure an answer is, compared with the top probability: the
            uncertainties and the novelty, where every prediction has them.
    """

    curve: tuple[tuple[float, float], ...]
    aurc: Figure
    accuracy_at: Mapping[str, Figure]
    scores: Mapping[str, ScoreComparison]

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning for each score that is no better than the top probability."""
        found = (each.note(f"{name[:1].upper()}{name[1:]}") for name, each in self.scores.items())
        return tuple(text.rstrip(".") for text in found if text)
