"""Pages for people: they show results and compute nothing."""

from skinxai.reporting.audit_page import write_audit
from skinxai.reporting.case_report import CaseReport
from skinxai.reporting.evaluation_page import read_evaluation, write_evaluation
from skinxai.reporting.model_cards import card_of, card_of_members
from skinxai.reporting.training_log import read_log

__all__ = [
    "CaseReport",
    "card_of",
    "card_of_members",
    "read_evaluation",
    "read_log",
    "write_audit",
    "write_evaluation",
]
