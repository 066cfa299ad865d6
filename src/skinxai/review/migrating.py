"""`migrate`: bring a database to this version's schema, whoever else is opening it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from skinxai.errors import StoreError, StoreVersionError

VERSION_TABLE = "review_schema"
LOCK = 0x736B696E786169
"""Number of PostgreSQL's lock: a second process that opens the store waits for the first."""


def migrate(connection: Connection, shown: str, *, create: bool = True) -> None:
    """Make the tables, or change those of an older version, within the connection's transaction.

    Args:
        connection: in a transaction that may write; of SQLite, one that keeps other writers out.
        shown: the database, for messages.
        create: make the tables where there are none.

    Raises:
        StoreError: there are none, and they are not to be made.
        StoreVersionError: a newer version's database, which is left as it is.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    known = {each.revision for each in script.walk_revisions()}
    options = {"version_table": VERSION_TABLE}
    found = MigrationContext.configure(connection, opts=options).get_current_heads()
    if not found and not create:
        raise no_store(shown)
    if newer := sorted(set(found) - known):
        raise StoreVersionError(
            f"the review store {shown} was written by a newer version of skinxai: its schema is "
            f"{newer[0]!r}, and this version knows up to {max(known)!r}; update skinxai."
        )
    if set(found) != set(script.get_heads()):
        command.upgrade(config, "head")


def no_store(shown: str) -> StoreError:
    """Of a place where a store was to be, and is none."""
    return StoreError(
        f"there is no review store at {shown}",
        python="look at its URL, or let create=True make one",
        command="look at its URL; 'skinxai serve --review' makes one",
    )
