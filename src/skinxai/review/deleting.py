"""Deleting: images whose time has passed, and everything of one subject."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from skinxai.data.cleaning import clean
from skinxai.errors import StoreError, StoreUnavailableError
from skinxai.review.cases import Deletion
from skinxai.review.engines import SQLITE, Database
from skinxai.review.kept_images import ImageFolder
from skinxai.review.retention import StoreClock
from skinxai.review.schema import AT_ONCE, CaseRow, ImageRow, LabelRow, StateRow

LATEST = "latest"
"""Name of the row with the latest time that retention has reached."""
UNUSED = timedelta(hours=1)
"""After which an image that no case names is deleted: its recording was interrupted."""
TABLES = ("review_cases", "review_labels", "review_images")


def whose(subject: str) -> ColumnElement[bool]:
    """Tells the cases of a subject, which are kept under its name as `Case` cleans it."""
    return CaseRow.subject == clean(subject)


def time_reached(session: Session, clock: StoreClock) -> datetime:
    """The time for retention, which no process of this store has seen run back."""
    latest = datetime.fromisoformat(session.get_one(StateRow, LATEST).value)
    recorded = session.scalar(select(func.max(ImageRow.since)))
    return clock.now(latest if recorded is None else max(latest, recorded))


def delete_expired(
    database: Database, folder: ImageFolder, keep: timedelta | None, clock: StoreClock
) -> int:
    """Delete images that were kept long enough, and those that no case names.

    Returns:
        Number of files.

    Raises:
        StoreError: a file cannot be deleted; the others are deleted all the same.
    """
    with database.writing() as session:
        now = time_reached(session, clock)
        session.get_one(StateRow, LATEST).value = now.isoformat()
        used = select(CaseRow.kept_image).where(CaseRow.kept_image == ImageRow.sha256).exists()
        over: list[ColumnElement[bool]] = [and_(ImageRow.since <= now - UNUSED, ~used)]
        if keep is not None:
            over.append(ImageRow.since <= now - keep)
        digests = session.scalars(select(ImageRow.sha256).where(or_(*over))).all()
    count, failed = 0, None
    for digest in digests:  # each for itself: an interruption leaves the rest for the next time
        try:
            count += _deleted(database, folder, digest, over)
        except StoreUnavailableError:
            raise
        except StoreError as error:  # of one image: the others are deleted
            failed = failed or error
    if failed is not None:
        raise failed
    return count


def _deleted(
    database: Database, folder: ImageFolder, digest: str, over: Sequence[ColumnElement[bool]]
) -> bool:
    """Delete an image that is over, and return whether there was a file."""
    with database.writing() as session:
        session.get(ImageRow, digest, with_for_update=True)  # waits for who is recording it
        image = session.scalar(select(ImageRow).where(ImageRow.sha256 == digest, or_(*over)))
        if image is None:
            return False  # another process deleted it, or it was recorded again
        named = update(CaseRow).where(CaseRow.kept_image == digest).values(kept_image=None)
        session.execute(named)
        session.delete(image)
        session.flush()
        return folder.delete(digest)  # before the commit: no file is left without its row


def delete_subject(database: Database, folder: ImageFolder | None, subject: str) -> Deletion:
    """Delete a subject's predictions, labels and images, and what their bytes left behind."""
    with database.writing() as session:
        # Locked, images first as `delete_expired` does, so that neither waits for the other for
        # ever: a label that is being given was given before, or finds no case.
        named = select(CaseRow.kept_image).where(whose(subject))
        theirs = select(ImageRow.sha256).where(ImageRow.sha256.in_(named)).order_by(ImageRow.sha256)
        session.execute(theirs.with_for_update()).all()
        own = select(CaseRow.id, CaseRow.kept_image).where(whose(subject))
        found = session.execute(own.with_for_update()).all()
        ids, images = [row.id for row in found], {row.kept_image for row in found}
        labels = 0
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            given = session.execute(delete(LabelRow).where(LabelRow.case_id.in_(some)))
            labels += given.rowcount  # type: ignore[attr-defined]
            session.execute(delete(CaseRow).where(CaseRow.id.in_(some)))
        files = 0
        for digest in sorted(filter(None, images)):
            image = session.get_one(ImageRow, digest, with_for_update=True)
            other = select(CaseRow.id).where(CaseRow.kept_image == digest).limit(1)
            if session.scalar(other) is not None:
                continue  # the same image belongs to another subject too
            session.delete(image)
            session.flush()
            if folder is not None:
                files += folder.delete(digest)
    return Deletion(len(ids), labels, files, _overwritten(database))


def _overwritten(database: Database) -> bool:
    """Rewrite the files of the tables without what was deleted; ``False`` where it is locked."""
    try:
        with database.without_transaction() as connection:
            if database.kind == SQLITE:
                connection.exec_driver_sql("VACUUM")
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                return bool(row[0] == 0)
            for table in TABLES:
                connection.exec_driver_sql(f"VACUUM FULL {table}")
            return True
    except StoreUnavailableError:
        return False
