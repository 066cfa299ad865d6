"""The human in the loop: predictions kept, a queue of cases, labels by reviewers."""

from skinxai.errors import OptionError
from skinxai.review.agreement import Agreement, ModelAgreement, PairAgreement
from skinxai.review.cases import UNSURE, Case, Deletion, GivenLabel, ReviewedCase

try:
    from skinxai.review.store import ReviewStore
except ModuleNotFoundError as error:
    if error.name not in ("alembic", "sqlalchemy"):
        raise
    raise OptionError(
        "the review store needs the packages sqlalchemy and alembic: pip install 'skinxai[serve]'."
    ) from error

__all__ = [
    "UNSURE",
    "Agreement",
    "Case",
    "Deletion",
    "GivenLabel",
    "ModelAgreement",
    "PairAgreement",
    "ReviewStore",
    "ReviewedCase",
]
