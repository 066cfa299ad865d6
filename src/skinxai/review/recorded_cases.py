"""What is written of cases: predictions with their images, and labels; one transaction for each."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from skinxai.data.cleaning import clean
from skinxai.errors import OptionError, StoreConflictError, StoreError, UnknownCaseError
from skinxai.plain_text import broken_rule
from skinxai.review.cases import MAX_COMMENT, Case, GivenLabel, check_label, check_name
from skinxai.review.engines import Database
from skinxai.review.kept_images import ImageFolder
from skinxai.review.queued_cases import case_of, label_of
from skinxai.review.retention import Clock, StoreClock
from skinxai.review.schema import CaseRow, ImageRow, LabelRow

TRIES = 5
"""How often a case is recorded whose image was deleted between its file and its case."""


def record(database: Database, images: ImageFolder | None, time: StoreClock, case: Case) -> bool:
    """Keep a prediction; see `ReviewStore.record`."""
    for _ in range(TRIES):
        with database.reading() as session:
            known = session.get(CaseRow, case.id)
            if known is not None:
                _check_same(case, known)
                return False
        kept = _keep_image(database, images, time, case)
        try:
            with database.writing() as session:
                session.add(_row_of(case, kept))
        except IntegrityError:
            continue
        return True
    raise StoreError(f"case {case.id!r} could not be kept: others change the same rows.")


def give_label(
    database: Database, clock: Clock, case_id: str, label: str, reviewer: str, comment: str
) -> GivenLabel:
    """Keep what a reviewer says of a case; see `ReviewStore.label`."""
    check_name("case_id", case_id)
    check_name("reviewer", reviewer)
    if not isinstance(comment, str):
        raise OptionError(f"comment must be text, got {type(comment).__name__}.")
    said = (label, " ".join(comment.split()))
    if broken := broken_rule("comment", said[1], MAX_COMMENT):
        raise OptionError(broken)
    reviewer = clean(reviewer)
    with database.writing() as session:
        # Locked, so that nobody deletes it, or says the same of it, meanwhile.
        found = session.get(CaseRow, case_id, with_for_update=True)
        if found is None:
            raise unknown(case_id)
        check_label(case_of(found), label)
        last = session.scalars(
            select(LabelRow)
            .where(LabelRow.case_id == case_id, LabelRow.reviewer == reviewer)
            .order_by(LabelRow.number.desc())
            .limit(1)
        ).first()
        if last is not None and (last.label, last.comment) == said:
            return label_of(last)
        row = LabelRow(case_id=case_id, reviewer=reviewer, label=label, comment=said[1], at=clock())
        session.add(row)
        session.flush()
        return label_of(row)


def unknown(case_id: str) -> UnknownCaseError:
    """Of an id that no case has."""
    return UnknownCaseError(f"no case has the id {case_id!r:.220} in this review store.")


def _keep_image(
    database: Database, images: ImageFolder | None, time: StoreClock, case: Case
) -> str | None:
    """The name of the image's row, once its file is written; the row comes first."""
    if case.image is None or images is None:
        return None
    with database.writing() as session:
        now = time.now()
        row = session.get(ImageRow, case.image_sha256, with_for_update=True)
        if row is None:
            session.add(ImageRow(sha256=case.image_sha256, since=now))
        else:
            row.since = max(row.since, now)
    images.write(case.image_sha256, case.image)
    return case.image_sha256


def _check_same(case: Case, known: CaseRow) -> None:
    one, other = (
        (each.image_sha256, each.model, dict(each.prediction), each.subject, each.lesion)
        for each in (case, known)
    )
    if one != other:
        raise StoreConflictError(
            f"id of a case must be unique, but another case has the id {case.id!r} already."
        )


def _row_of(case: Case, kept: str | None) -> CaseRow:
    return CaseRow(
        id=case.id, at=case.at, image_sha256=case.image_sha256, model=case.model,
        label=case.prediction["label"], decision=case.decision, uncertainty=case.uncertainty,
        prediction=dict(case.prediction), subject=case.subject, lesion=case.lesion,
        kept_image=kept,
    )  # fmt: skip
