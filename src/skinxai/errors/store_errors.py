"""Errors of the database that keeps cases and labels for review."""

from skinxai.errors.root import SkinxaiError


class StoreError(SkinxaiError):
    """Cases and labels that cannot be kept or read."""

    code = "store"


class StoreUnavailableError(StoreError):
    """A database that does not answer, or is locked; what was asked may be asked again."""

    code = "store_unavailable"


class StoreFullError(StoreError):
    """No room on the disk of the database or of the images."""

    code = "store_full"


class StoreVersionError(StoreError):
    """A database that a newer version of skinxai wrote."""

    code = "store_version"


class StoreConflictError(StoreError):
    """Another case has this id already."""

    code = "store_conflict"


class UnknownCaseError(StoreError, LookupError):
    """No case has this id."""

    code = "unknown_case"
