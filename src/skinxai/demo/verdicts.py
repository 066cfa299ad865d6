"""What a calibrated model says beside its probabilities, as HTML: no streamlit."""

import html

from skinxai.demo.showing import full_name
from skinxai.reporting.case_words import sentence
from skinxai.results import Prediction

WORDS = {"refer": "Refer", "routine": "Routine", "abstain": "No decision"}
COVERAGE = 0.9


def decision(prediction: Prediction) -> str:
    """Decision, reasons and prediction set; doubts where nothing is decided; else an empty text."""
    if prediction.calibrated_on is None:
        return ""
    lines = []
    if prediction.decision is not None:
        point = html.escape(str(prediction.operating_point))
        lines.append(
            f"<p class='verdict'>{WORDS[prediction.decision]} "
            f"<span class='under'>at the operating point “{point}”</span></p>"
        )
    lines += [f"<p>{html.escape(sentence(each))}</p>" for each in prediction.reasons]
    if prediction.novelty is None or not prediction.novelty.refused:  # else it promises nothing
        named = [full_name(prediction.labels, code) for code in prediction.prediction_set(COVERAGE)]
        lines.append(
            f"<p>Not ruled out, for {100 * COVERAGE:.0f} of 100 lesions: "
            f"{html.escape(', '.join(named))}.</p>"
        )
    kind = prediction.decision or "none"
    return f"<div class='decision {kind}' role='status'>{''.join(lines)}</div>"
