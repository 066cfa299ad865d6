"""Several runs: cross-validation and search for settings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinxai.experiments.cross_validating import CrossValidation, cross_validate
    from skinxai.experiments.tuning import Search, tune

__all__ = ["CrossValidation", "Search", "cross_validate", "tune"]


def __getattr__(name: str) -> Any:
    if name in ("CrossValidation", "cross_validate"):  # on first use: they load torch
        from skinxai.experiments import cross_validating

        return getattr(cross_validating, name)
    if name in ("Search", "tune"):
        from skinxai.experiments import tuning

        return getattr(tuning, name)
    raise AttributeError(f"module 'skinxai.experiments' has no attribute {name!r}")
