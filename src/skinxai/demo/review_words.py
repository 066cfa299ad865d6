"""What the page of reviewers shows of cases, as HTML: no streamlit."""

import html
import math
from collections.abc import Sequence

from skinxai.labels import LabelSet
from skinxai.plain_text import counted
from skinxai.readonly import ReadOnly
from skinxai.results import Novelty, Prediction
from skinxai.review import Agreement, Case, ModelAgreement, PairAgreement, ReviewedCase

ANSWER = ("decision", "model says")
"""Columns of the queue that tell the model's answer."""


def prediction_of(case: Case, labels: LabelSet) -> Prediction:
    """The prediction that a case keeps; its prediction set is the one that was given then."""
    kept = case.prediction
    doubtful, known = kept["novelty"], kept["prediction_set"]
    return Prediction(
        label=kept["label"],
        probability=kept["probability"],
        probabilities=ReadOnly(kept["probabilities"]),
        malignant_probability=kept["malignant_probability"],
        source=f"case {case.id}",
        model=case.model,
        backend=kept["backend"],
        labels=labels,
        calibrated_on=kept["calibrated_on"] if known is not None else None,
        operating_point=kept["operating_point"],
        decision=kept["decision"],
        reasons=tuple(kept["reasons"]),
        novelty=None if doubtful is None else Novelty(doubtful["score"], doubtful["refused"]),
        sets=None if known is None else lambda _: tuple(known),
    )


def queue_table(rows: Sequence[ReviewedCase], *, hidden: bool = False) -> str:
    """The first cases that wait; ``hidden`` leaves out what the model said of them."""
    if not rows:
        return "<p class='under'>No case waits.</p>"
    titles = ["case", "decision", "entropy, nats", "model says", "reviewers"]
    cells = [
        [
            each.case.id, str(each.case.decision), f"{each.case.uncertainty:.3f}",
            each.case.prediction["label"], str(len(each.current)),
        ]
        for each in rows
    ]  # fmt: skip
    shown = [place for place, title in enumerate(titles) if not hidden or title not in ANSWER]
    head = "".join(f"<th>{titles[place]}</th>" for place in shown)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(row[place])}</td>' for place in shown)}</tr>"
        for row in cells
    )
    return (
        "<table class='review' aria-label='Cases that wait, the most uncertain first'><thead>"
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def agreement_table(found: Agreement) -> str:
    """How far reviewers agree with each other and with the model."""
    shown: list[tuple[str, PairAgreement | ModelAgreement]] = []
    shown += [(f"{each.first} and {each.second}", each) for each in found.pairs]
    shown += [(f"{each.reviewer} and {each.model}", each) for each in found.models]
    said = (
        f"<p class='under'>{counted(found.labelled, 'case')} labelled, {found.disputed} disputed. "
        "These are the cases that the model was least sure of: agreement on them says nothing "
        "about all others.</p>"
    )
    if not shown:
        return said
    cells = "".join(
        f"<tr><td>{html.escape(who)}</td><td>{each.agreed} of {each.cases}</td>"
        f"<td>{'–' if math.isnan(each.kappa) else f'{each.kappa:.2f}'}</td></tr>"
        for who, each in shown
    )
    return (
        f"{said}<table class='review' aria-label='Agreement'><thead><tr><th></th><th>agree</th>"
        f"<th>Cohen's kappa</th></tr></thead><tbody>{cells}</tbody></table>"
    )
