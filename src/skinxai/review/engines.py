"""`Database`: the engine of a store, its transactions, and what its errors mean."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
    TimeoutError,
)
from sqlalchemy.orm import Session

from skinxai.disk.regular_files import (
    check_file,
    check_path,
    is_file,
)
from skinxai.errors import OptionError, StoreError, StoreFullError, StoreUnavailableError
from skinxai.plain_text import one_line
from skinxai.review.migrating import migrate, no_store

WRITES = "skinxai_writes"
"""Execution option of a connection whose transactions write."""
SQLITE, POSTGRESQL = "sqlite", "postgresql"
URLS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Database:
    """A database that was opened and migrated; threads share it. See `ReviewStore.open`."""

    def __init__(self, url: str, patience: float = 10.0, *, create: bool = True) -> None:
        given = _url(url)
        self.shown = repr(given.render_as_string(hide_password=True))
        self.kind = given.get_backend_name()
        if self.kind == SQLITE:
            if not create and not is_file(str(given.database)):
                raise no_store(self.shown)
            self._engine = _sqlite(given, self.shown, patience)
        else:
            self._engine = _postgresql(given, patience)
        self._writer = self._engine.execution_options(**{WRITES: True})
        self._reader = self._engine
        if self.kind == POSTGRESQL:  # SQLite's readers see one state anyway
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            with self.faults():
                if self.kind == SQLITE:
                    self._write_ahead()
                with self._writer.begin() as connection:
                    migrate(connection, self.shown, create=create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Context with a session that reads one state of the database."""
        with self.faults(), Session(self._reader) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Context with a session whose changes are kept, all or none, when it ends.

        Raises:
            IntegrityError: of SQLAlchemy, what another has just written is in the way.
        """
        with self.faults(), Session(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def without_transaction(self) -> Iterator[Connection]:
        """Context with a connection on which each statement stands alone."""
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self.faults(), engine.connect() as connection:
            yield connection

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Within it, errors of the database are typed ones, with one sentence."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._typed(error.orig) from error
        except TimeoutError as error:
            raise self._unavailable("all connections are in use") from error
        except SQLAlchemyError as error:
            raise StoreError(
                f"the review store {self.shown} failed: {type(error).__name__}."
            ) from error

    def _typed(self, error: Any) -> StoreError:
        reason = _reason(error)
        state = getattr(error, "sqlstate", None) or ""
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None:
            code &= 0xFF  # the rest says more precisely where
        if state == "53100" or code == sqlite3.SQLITE_FULL:
            return StoreFullError(
                f"the disk of the review store {self.shown} is full: nothing was kept; make room."
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state in ("55P03", "57014"):
            return self._unavailable("another program keeps it locked")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreError(
                f"the review store {self.shown} is no database of SQLite, or is damaged: {reason}; "
                f"restore it from a copy."
            )
        known = state[:2] in ("08", "53", "57") or code in (sqlite3.SQLITE_CANTOPEN,)
        if known or (code is None and not state):  # a connection that was never made, or was lost
            return self._unavailable(reason)
        return StoreError(f"the review store {self.shown} failed: {reason}.")

    def _unavailable(self, reason: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the review store {self.shown} does not answer: {reason}; try again."
        )

    def _write_ahead(self) -> None:
        """Let readers and a writer of a file work side by side; it is kept in the file."""
        with self.without_transaction() as connection:
            found = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
        if found != "wal":
            raise StoreError(
                f"the review store {self.shown} must lie on a disk that several programs can lock, "
                f"but SQLite cannot keep a write-ahead log there; move it to a local disk."
            )


def absolute_url(text: str) -> str:
    """The URL of a store in any working folder; one that is SQLite's has an absolute file."""
    url = _url(text)
    if url.get_backend_name() == SQLITE:
        url = url.set(database=str(Path(str(url.database)).absolute()))
        return url.render_as_string()
    return text


def is_full(error: BaseException | None) -> bool:
    """Whether an error of a file says that its disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def _url(text: str) -> URL:
    try:
        url = make_url(text)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        kind = ""
    if kind not in (SQLITE, POSTGRESQL) or url.drivername not in (kind, "postgresql+psycopg"):
        raise OptionError(f"the URL of a review store must be {URLS}, got {_scheme(text)}.")
    if kind == SQLITE and (url.query or url.host or url.database in (None, "", ":memory:")):
        raise OptionError(
            f"the URL of a review store must name a file, as sqlite:///FILE, got {text!r:.200}."
        )
    return url.set(drivername="postgresql+psycopg") if kind == POSTGRESQL else url


def _scheme(text: object) -> str:
    """What is shown of text that is no URL: it may hold a password."""
    start, colon, _ = str(text).partition(":")
    return f"{start + colon + '…' if colon else start!r:.40}"


def _sqlite(url: URL, shown: str, patience: float) -> Any:
    path = Path(str(url.database))
    try:
        check_path(path)
        if not path.exists():  # made here, so that nobody else of this machine can read it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        check_file(path)
    except OSError as error:
        raise StoreUnavailableError(
            f"the review store {shown} must be a file that can be written: {error.strerror}."
        ) from error
    engine = create_engine(
        url, connect_args={"timeout": patience}, pool_size=8, pool_timeout=patience
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions, below
        for line in (
            "foreign_keys=ON",
            "synchronous=FULL",  # what was confirmed outlasts a power cut
            "secure_delete=ON",  # what is deleted is overwritten
        ):
            connection.execute(f"PRAGMA {line}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") != "AUTOCOMMIT":
            # A reader that became a writer would fail where another wrote meanwhile.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES) else "BEGIN")

    return engine


def _postgresql(url: URL, patience: float) -> Any:
    own = {"connect_timeout": str(max(2, round(patience)))}
    if "options" not in url.query:
        milliseconds = round(1000 * patience)
        own["options"] = f"-c lock_timeout={milliseconds} -c statement_timeout={3 * milliseconds}"
    own = {name: value for name, value in own.items() if name not in url.query}
    try:
        return create_engine(
            url, connect_args=own, pool_pre_ping=True, pool_size=8, pool_timeout=patience
        )
    except ModuleNotFoundError as error:
        raise OptionError(
            "a review store in PostgreSQL needs the package psycopg: pip install "
            "'skinxai[postgresql]'."
        ) from error


def _reason(error: Any) -> str:
    """The driver's own words, without what was to be written."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = str(primary or error).strip().splitlines() or [type(error).__name__]
    return one_line(lines[0], 200).rstrip(".")
