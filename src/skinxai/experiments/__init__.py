"""Several runs: cross-validation, search for settings, and trackers that keep their figures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinxai.experiments.cross_validating import CrossValidation, cross_validate

__all__ = ["CrossValidation", "cross_validate"]


def __getattr__(name: str) -> Any:
    if name in ("CrossValidation", "cross_validate"):  # on first use: they load torch
        from skinxai.experiments import cross_validating

        return getattr(cross_validating, name)
    raise AttributeError(f"module 'skinxai.experiments' has no attribute {name!r}")
