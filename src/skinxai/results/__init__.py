"""What skinxai returns: frozen dataclasses that know where they came from."""

from skinxai.results.audit import AuditedPair, AuditReport, Finding
from skinxai.results.evaluation import Evaluation, Figure
from skinxai.results.explanation import Explanation
from skinxai.results.prediction import ItemError, Prediction

__all__ = [
    "AuditReport",
    "AuditedPair",
    "Evaluation",
    "Explanation",
    "Figure",
    "Finding",
    "ItemError",
    "Prediction",
]
