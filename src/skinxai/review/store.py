"""`ReviewStore`: predictions, the queue of those that a person looks at, and labels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import Select, func, select

from skinxai.errors import OptionError, StoreError
from skinxai.flags import check_flags
from skinxai.images.limits import MAX_PIXELS
from skinxai.numeric import whole
from skinxai.review.agreement import Agreement
from skinxai.review.cases import Case, Deletion, GivenLabel, ReviewedCase, check_name
from skinxai.review.deleting import delete_expired, delete_subject, whose
from skinxai.review.engines import Database
from skinxai.review.kept_images import ImageFolder
from skinxai.review.queued_cases import every_case, queued, reviewed
from skinxai.review.recorded_cases import give_label, record, unknown
from skinxai.review.retention import Clock, StoreClock, utc_now
from skinxai.review.schema import CaseRow, StateRow

if TYPE_CHECKING:
    from skinxai.classifier import Classifier
    from skinxai.data import Splits
    from skinxai.review.exporting_cases import ExportedCases

DEFAULT_URL = "sqlite:///skinxai-review.db"
NUMBER = "number"
"""Name of the row with the store's own number, which its folder of images has too."""
EVERY = 3600.0
"""Seconds between two times that a store which is in use looks for expired images."""


class ReviewStore:
    """Predictions and labels in SQLite or PostgreSQL; `open` opens one. Threads may share it.

    Of an image the store keeps its hash, and its bytes only where a folder was given for them. A
    file's name is never kept. What a method has returned from is on the disk.
    """

    def __init__(
        self, database: Database, images: Path | None, keep: timedelta | None, clock: Clock,
        ticks: Callable[[], float],
    ) -> None:  # fmt: skip
        self._database, self._keep, self._clock, self._ticks = database, keep, clock, ticks
        self._time = StoreClock(clock, ticks)
        with database.reading() as session:
            number = session.get_one(StateRow, NUMBER).value
        self._images = None if images is None else ImageFolder(images, number)
        self._looked = ticks() - EVERY

    @classmethod
    def open(
        cls,
        url: str = DEFAULT_URL,
        images: str | os.PathLike[str] | None = None,
        keep_days: float | None = None,
        *,
        create: bool = True,
        clock: Clock = utc_now,
        ticks: Callable[[], float] = time.monotonic,
        patience: float = 10.0,
    ) -> Self:
        """Open a store, or make one; an older one is brought up to date.

        Args:
            url: ``sqlite:///FILE`` (four slashes before an absolute path), or
                ``postgresql://USER:PASSWORD@HOST/DATABASE``.
            images: folder for images; ``None``: none is kept.
            keep_days: days, > 0, after which an image is deleted; ``None``: never. Images that
                have expired are deleted at opening and, while cases are recorded, once an hour.
            create: make a store where there is none; ``False``: refuse a wrong URL.
            clock: tells the time.
            ticks: seconds that only increase, by which time goes on after the clock went back.
            patience: seconds to wait for a connection, or for another program's lock.

        Raises:
            OptionError: a URL or a number outside its rule, or a package that is not installed.
            StoreVersionError: a newer version's database.
            StoreError: a database or a folder that cannot be used.
        """
        check_flags(create=create)
        keep = None if keep_days is None else _days(keep_days)
        if keep_days is not None and images is None:
            raise OptionError("keep_days needs a folder of images, but images is None.")
        database = Database(url, patience, create=create)
        try:
            folder = None if images is None else Path(images)
            store = cls(database, folder, keep, clock, ticks)
            store._look_for_expired()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, case: Case) -> bool:
        """Keep a prediction; recording it again changes nothing.

        Args:
            case: with an image, this is kept too where the store has a folder for images; the
                same image in a later case is kept from then on.

        Returns:
            Whether it is new.

        Raises:
            StoreConflictError: another case has this id.
            StoreUnavailableError: the database does not answer. Record it again: if it was kept,
                nothing changes.
            StoreError: it cannot be kept for another reason, such as a full disk.
        """
        self._look_for_expired()
        return record(self._database, self._images, self._time, case)

    def label(self, case_id: str, label: str, reviewer: str, comment: str = "") -> GivenLabel:
        """Keep what a reviewer says of a case.

        It takes the place of what the same reviewer said before, which stays in the history; what
        others said stays as it is. The same label and comment once more add nothing.

        Args:
            case_id: of the case.
            label: a code of the model's, or ``"unsure"``.
            reviewer: who says it, at most 200 characters. Blanks before and behind the name do not
                count, nor how its letters are composed (Unicode NFC).
            comment: at most 2,000 characters; its lines are joined.

        Raises:
            UnknownCaseError: no such case.
            OptionError: another label, or text outside its rule.
            StoreError: it cannot be kept.
        """
        return give_label(self._database, self._clock, case_id, label, reviewer, comment)

    def case(self, case_id: str) -> ReviewedCase:
        """A case with all its labels.

        Raises:
            UnknownCaseError: no such case.
            StoreError: the database does not answer.
        """
        check_name("case_id", case_id)
        found = self._asked(select(CaseRow).where(CaseRow.id == case_id))
        if not found:
            raise unknown(case_id)
        return found[0]

    def cases(self, *, labelled: bool = False) -> tuple[ReviewedCase, ...]:
        """All cases, the earliest first.

        Args:
            labelled: only those that a reviewer has looked at.
        """
        check_flags(labelled=labelled)
        return self._asked(every_case(labelled))

    def queue(
        self, limit: int = 50, *, reviewer: str | None = None, opinions: int = 1
    ) -> tuple[ReviewedCase, ...]:
        """Cases that wait for a reviewer, the most uncertain first.

        They are those that the model abstained from or referred, with fewer than ``opinions``
        reviewers. Their order is that of `Case.uncertainty`, the entropy of the probabilities,
        highest first; of equal ones the earlier comes first, and then the id in the order of its
        characters' numbers.

        Args:
            limit: most cases, >= 1.
            reviewer: leave out what this one has labelled; ``None``: nothing.
            opinions: reviewers that each case needs, >= 1.
        """
        most = whole("limit", limit)
        return self._asked(queued(reviewer, opinions).limit(most))

    def waiting(self, *, reviewer: str | None = None, opinions: int = 1) -> int:
        """How many cases `queue` has in all."""
        asked = queued(reviewer, opinions).order_by(None).subquery()
        with self._database.reading() as session:
            return int(session.scalar(select(func.count()).select_from(asked)) or 0)

    def agreement(self) -> Agreement:
        """How far reviewers agree with each other, and with the model."""
        return Agreement.of(self.cases(labelled=True))

    def image(self, case_id: str) -> bytes | None:
        """The bytes of a case's image; ``None`` where it was not kept, or has expired.

        Raises:
            UnknownCaseError: no such case.
            StoreError: a store that was opened without its folder of images, or a damaged file.
        """
        found = self.case(case_id)
        return self._folder().read(found.case.image_sha256) if found.image_kept else None

    def export(
        self,
        folder: str | os.PathLike[str],
        classifier: Classifier,
        *,
        old: Splits | None = None,
        reviewers: int = 1,
        not_copies: Collection[str] = (),
        max_pixels: int = MAX_PIXELS,
    ) -> ExportedCases:
        """Write the labelled cases as a data set to fine-tune a model on.

        An image is exported with the class that all its reviewers agree on, once, as PNG without
        any other data. Left out, and listed in ``left_out.csv``, are disputed and unsure cases,
        those whose image is gone, and those that would leak: an image that is a copy of one that
        the model was trained or calibrated on, and, with old data, a copy, a lesion or a subject of
        their validation and test parts; and whatever shares its lesion, its subject or its skin
        with such an image. Lesions that show the same skin get one id.

        Args:
            folder: a new or empty folder. ``load_csv(folder / "records.csv", folder)`` reads it.
            classifier: the model that will be fine-tuned.
            old: the data that the model learnt from, in parts. They are copied into the folder, and
                a column ``part`` keeps their split; all new images are for training.
            reviewers: how many reviewers must have given the label, >= 1.
            not_copies: sha256 of images that look like copies but are not.
            max_pixels: most pixels of an image that is decoded; a case with more is left out.

        Raises:
            DatasetError: no case can be exported, or the old data have other labels.
            OutputError: a folder that has files, or that cannot be written.
            StoreError: the store fails.
        """
        from skinxai.review.exporting_cases import export_cases

        reviewers = whole("reviewers", reviewers)
        cases = self.cases()
        kept = any(each.image_kept for each in cases)
        images = self._folder() if kept else None
        return export_cases(
            folder, cases, images.read if images else lambda _: None, classifier, old=old,
            reviewers=reviewers, not_copies=not_copies, max_pixels=max_pixels,
        )  # fmt: skip

    def expire(self, keep_days: float | None = None) -> int:
        """Delete the images whose time has passed; cases and labels stay.

        Args:
            keep_days: days that an image is kept, > 0; ``None``: those that the store was opened
                with.

        Returns:
            Number of images.

        Raises:
            OptionError: ``keep_days`` outside its rule.
            StoreError: a store that was opened without its folder of images, or that fails.
        """
        keep = self._keep if keep_days is None else _days(keep_days)
        self._looked = self._ticks()
        return delete_expired(self._database, self._folder(), keep, self._time)

    def delete_subject(self, subject: str) -> Deletion:
        """Delete a subject's cases, labels and images for good.

        An image that belongs to another subject's case as well stays. Folders that were exported,
        copies of the database, and PostgreSQL's write-ahead log are not reached.

        Args:
            subject: as in `Case`; blanks before and behind it do not count.

        Raises:
            StoreError: a store that was opened without its folder of images, or that fails; then
                nothing is deleted.
        """
        check_name("subject", subject)
        with self._database.reading() as session:
            own = select(CaseRow.id).where(whose(subject), CaseRow.kept_image.is_not(None))
            folder = self._images if session.scalar(own.limit(1)) is None else self._folder()
        return delete_subject(self._database, folder, subject)

    def _look_for_expired(self) -> None:
        if self._images is not None and self._ticks() - self._looked >= EVERY:
            self.expire()

    def _folder(self) -> ImageFolder:
        if self._images is None:
            raise StoreError(
                "the review store keeps images, but was opened without their folder",
                python="give it as images= of ReviewStore.open()",
                command="give it as --keep-images",
            )
        return self._images

    def _asked(self, statement: Select[CaseRow]) -> tuple[ReviewedCase, ...]:
        with self._database.reading() as session:
            return reviewed(session, statement)


def _days(count: float) -> timedelta:
    if not 0 < count < 36_525:
        raise OptionError(f"keep_days must be > 0 and less than a century, got {count!r}.")
    return timedelta(days=count)
