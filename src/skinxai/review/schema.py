"""The tables of a store, as SQLAlchemy maps them; `migrations` makes them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Double, ForeignKey, Index, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which keeps no time zone, has it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        moment: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return moment.astimezone(UTC)


AT_ONCE = 500
"""Cases that one statement names; databases limit how many it may."""
Name = String().with_variant(String(collation="C"), "postgresql")
"""Text that both databases order by its characters' numbers."""


class Base(DeclarativeBase):
    """What all tables are of."""


class CaseRow(Base):
    """A prediction."""

    __tablename__ = "review_cases"
    __table_args__ = (Index("review_cases_queue", "decision", "uncertainty"),)

    id: Mapped[str] = mapped_column(Name, primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    image_sha256: Mapped[str] = mapped_column(String(64), index=True)
    model: Mapped[str] = mapped_column(Name)
    label: Mapped[str] = mapped_column(Name)
    decision: Mapped[str | None] = mapped_column(String(16))
    uncertainty: Mapped[float] = mapped_column(Double)
    prediction: Mapped[dict[str, Any]] = mapped_column(JSON)
    subject: Mapped[str | None] = mapped_column(Name, index=True)
    lesion: Mapped[str | None] = mapped_column(Name)
    kept_image: Mapped[str | None] = mapped_column(ForeignKey("review_images.sha256"), index=True)


class LabelRow(Base):
    """What a reviewer said, once; rows are added and never changed."""

    __tablename__ = "review_labels"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(Name, ForeignKey("review_cases.id"), index=True)
    reviewer: Mapped[str] = mapped_column(Name)
    label: Mapped[str] = mapped_column(Name)
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Utc)


class ImageRow(Base):
    """An image file; the row is there before the file, and goes after it."""

    __tablename__ = "review_images"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[datetime] = mapped_column(Utc, index=True)


class StateRow(Base):
    """What the store knows of itself: the folder of its images, the latest time it saw."""

    __tablename__ = "review_state"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    value: Mapped[str] = mapped_column(Text)
