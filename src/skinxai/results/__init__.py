"""What skinxai returns: frozen dataclasses that know where they came from."""

from skinxai.results.audit_report import AuditedPair, AuditReport, Finding
from skinxai.results.doubts import Novelty, Uncertainty
from skinxai.results.evaluation import Evaluation
from skinxai.results.explanation import Explanation, compare
from skinxai.results.figures import CalibrationBin, Figure, OperatingPoint, Subgroup
from skinxai.results.neighbour import Neighbour
from skinxai.results.prediction import DISCLAIMER, ItemError, Prediction
from skinxai.results.seen import SeenImages
from skinxai.results.stress_test import Stressed, StressTest

__all__ = [
    "DISCLAIMER",
    "AuditReport",
    "AuditedPair",
    "CalibrationBin",
    "Evaluation",
    "Explanation",
    "Figure",
    "Finding",
    "ItemError",
    "Neighbour",
    "Novelty",
    "OperatingPoint",
    "Prediction",
    "SeenImages",
    "StressTest",
    "Stressed",
    "Subgroup",
    "Uncertainty",
    "compare",
]
