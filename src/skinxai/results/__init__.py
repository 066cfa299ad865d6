"""What skinxai returns: frozen dataclasses that know where they came from."""

from skinxai.results.audit_report import AuditedPair, AuditReport, Finding
from skinxai.results.comparison import Comparison, McNemar, PairedFigure
from skinxai.results.cross_validation import FoldResult, OutOfFold
from skinxai.results.doubts import Novelty, Uncertainty
from skinxai.results.evaluation import Evaluation
from skinxai.results.explanation import Explanation, compare
from skinxai.results.figures import CalibrationBin, Figure, Gap, RocPoint, Subgroup
from skinxai.results.hard_case import HardCase
from skinxai.results.malignancy import Decisions, Malignancy, NetBenefit, Tally
from skinxai.results.neighbour import Neighbour
from skinxai.results.observation import Observation
from skinxai.results.prediction import DISCLAIMER, ItemError, Prediction
from skinxai.results.seen import SeenImages
from skinxai.results.selective_answers import ScoreComparison, SelectiveAnswers
from skinxai.results.stress_test import Stressed, StressTest

__all__ = [
    "DISCLAIMER",
    "AuditReport",
    "AuditedPair",
    "CalibrationBin",
    "Comparison",
    "Decisions",
    "Evaluation",
    "Explanation",
    "Figure",
    "Finding",
    "FoldResult",
    "Gap",
    "HardCase",
    "ItemError",
    "Malignancy",
    "McNemar",
    "Neighbour",
    "NetBenefit",
    "Novelty",
    "Observation",
    "OutOfFold",
    "PairedFigure",
    "Prediction",
    "RocPoint",
    "ScoreComparison",
    "SeenImages",
    "SelectiveAnswers",
    "StressTest",
    "Stressed",
    "Subgroup",
    "Tally",
    "Uncertainty",
    "compare",
]
