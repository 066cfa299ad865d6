"""What is read of cases: those that wait for a reviewer, in their order, or all; with labels."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from skinxai.data.cleaning import clean
from skinxai.numeric import whole
from skinxai.review.cases import QUEUED, Case, GivenLabel, ReviewedCase, check_name
from skinxai.review.schema import AT_ONCE, CaseRow, LabelRow


def every_case(labelled: bool) -> Select[CaseRow]:
    """All cases, or those with a label, the earliest first."""
    asked = select(CaseRow).order_by(CaseRow.at, CaseRow.id)
    given = select(LabelRow).where(LabelRow.case_id == CaseRow.id)
    return asked.where(given.exists()) if labelled else asked


def queued(reviewer: str | None, opinions: int) -> Select[CaseRow]:
    """Cases that wait, in their order; see `ReviewStore.queue`."""
    opinions = whole("opinions", opinions)
    own = LabelRow.case_id == CaseRow.id
    given = select(func.count(LabelRow.reviewer.distinct())).where(own).scalar_subquery()
    found: tuple[Any, ...] = (CaseRow.decision.in_(QUEUED), given < opinions)
    if reviewer is not None:
        check_name("reviewer", reviewer)
        found += (~select(LabelRow).where(own, LabelRow.reviewer == clean(reviewer)).exists(),)
    order = (CaseRow.uncertainty.desc(), CaseRow.at, CaseRow.id)
    return select(CaseRow).where(*found).order_by(*order)


def reviewed(session: Session, asked: Select[CaseRow]) -> tuple[ReviewedCase, ...]:
    """The cases that a statement asks for, each with its labels."""
    rows = session.scalars(asked).all()
    labels = _labels(session, [row.id for row in rows])
    return tuple(
        ReviewedCase(case_of(row), labels.get(row.id, ()), row.kept_image is not None)
        for row in rows
    )


def case_of(row: CaseRow) -> Case:
    """A row as the value that was recorded."""
    return Case(
        row.id, row.at, row.image_sha256, row.model, row.prediction, row.subject, row.lesion
    )


def label_of(row: LabelRow) -> GivenLabel:
    """A row as the value that was given."""
    return GivenLabel(row.case_id, row.reviewer, row.label, row.comment, row.at)


def _labels(session: Session, ids: Sequence[str]) -> dict[str, tuple[GivenLabel, ...]]:
    found: dict[str, tuple[GivenLabel, ...]] = {}
    for start in range(0, len(ids), AT_ONCE):
        asked = select(LabelRow).where(LabelRow.case_id.in_(ids[start : start + AT_ONCE]))
        for row in session.scalars(asked.order_by(LabelRow.number)):
            found[row.case_id] = (*found.get(row.case_id, ()), label_of(row))
    return found
