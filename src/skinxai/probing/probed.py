"""`Probed`: what a probe of frozen features found."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from skinxai.classifier import Classifier
from skinxai.plain_text import markdown
from skinxai.results import Evaluation

LINEAR, NEIGHBOURS = "linear probe", "nearest neighbours"


@dataclass(frozen=True)
class Candidate:
    """A setting that was tried.

    Args:
        value: C of the linear probe, or k of the neighbours.
        macro_f1: on the images that the choice was made on.
    """

    value: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe of frozen features found.

    Args:
        classifier: the backbone with the fitted linear head: a model like any other.
        linear: how well the linear probe did.
        neighbours: how well the vote of the nearest neighbours did, on the same images.
        strength: C of the linear probe, the inverse of the regularisation's strength.
        k: number of neighbours.
        chosen_on: which images ``strength`` and ``k`` were chosen on.
        judged_on: which images the figures are of.
        independent: whether the judged images took no part in the choice. Where they did, the
            figures are a little too good.
        note: what the figures are of, and what was chosen on what, in one sentence.
        tried_strengths: every C, with its macro-F1 on the images of the choice.
        tried_k: every k, in the same way.
        converged: whether the head's optimiser came to its end.
        computed: images whose features were computed now.
        cached: images whose features were there already.
    """

    classifier: Classifier
    linear: Evaluation
    neighbours: Evaluation
    strength: float
    k: int
    chosen_on: str
    judged_on: str
    independent: bool
    note: str
    tried_strengths: tuple[Candidate, ...]
    tried_k: tuple[Candidate, ...]
    converged: bool
    computed: int
    cached: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the classifier by its name."""
        names = ("strength", "k", "chosen_on", "judged_on", "independent", "note", "converged",
                 "computed", "cached")  # fmt: skip
        return {"model": self.classifier.model} | {n: getattr(self, n) for n in names} | {
            "tried_strengths": [asdict(each) for each in self.tried_strengths],
            "tried_k": [asdict(each) for each in self.tried_k],
            "linear": self.linear.to_dict(),
            "neighbours": self.neighbours.to_dict(),
        }  # fmt: skip

    def to_markdown(self) -> str:
        """Both methods side by side, macro-F1 first, every class, each with its interval."""
        heads = f"| figure | {LINEAR}, C = {self.strength:g} | {NEIGHBOURS}, k = {self.k} |"
        lines = [heads, "| --- | --- | --- |"]
        lines += [f"| {markdown(name)} | {one} | {other} |" for name, one, other in self._figures()]
        return "\n".join(lines) + "\n"

    def _figures(self) -> Iterator[tuple[str, object, object]]:
        one, other = self.linear, self.neighbours
        for name in ("macro_f1", "balanced_accuracy", "accuracy"):
            shown = {"macro_f1": "macro-F1"}.get(name, name.replace("_", " "))
            yield shown, getattr(one, name), getattr(other, name)
        for name, shown in (("f1", "F1"), ("recall", "recall")):
            for code in one.labels:
                yield f"{shown} of {code}", getattr(one, name)[code], getattr(other, name)[code]

    def __repr__(self) -> str:
        return (
            f"Probed(linear macro-F1={self.linear.macro_f1}, k={self.k} neighbours "
            f"macro-F1={self.neighbours.macro_f1}; {self.note})"
        )
