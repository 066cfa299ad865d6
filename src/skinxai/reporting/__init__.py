"""Pages for people: they show results and compute nothing."""

from skinxai.reporting.audit_page import write_audit

__all__ = ["write_audit"]
