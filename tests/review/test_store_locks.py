"""What PostgreSQL keeps locked, so that two programs that write at once lose nothing.

In each test another connection has written and not yet committed; the store must wait for it, and
then see what it wrote.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from review_cases import START, Clock, case
from sqlalchemy import text
from waiting import wait_for

from skinxai.errors import StoreUnavailableError, UnknownCaseError
from skinxai.review import ReviewStore
from skinxai.review.migrating import LOCK

SAY = (
    "INSERT INTO review_labels (case_id, reviewer, label, comment, at) "
    "VALUES ('c', 'ann', 'mel', '', now())"
)


@pytest.fixture
def url(postgres) -> str:
    """Of PostgreSQL alone: of SQLite, only one connection writes at a time."""
    return postgres.new_database()


@contextmanager
def other(url: str, *statements: str) -> Iterator[psycopg.Connection]:
    """Another program, which has written and holds its locks."""
    with psycopg.connect(url) as connection:
        for each in statements:
            connection.execute(each)
        yield connection


def after(
    connection: psycopg.Connection, url: str, call: Callable[[], object], *statements: str
) -> list[object]:
    """What a call gives, or raises, that began and waited before the other program committed.

    Args:
        connection: of the other program.
        url: of the database.
        call: of the store.
        statements: that the other program still runs before.
    """
    found: list[object] = []

    def calls() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    thread = threading.Thread(target=calls)
    thread.start()
    with psycopg.connect(url, autocommit=True) as watcher:
        wait_for(lambda: found or watcher.execute(waits).fetchone() != (0,))
    waited = not found
    for each in statements:
        connection.execute(each)
    connection.commit()
    thread.join()
    assert waited, "it did not wait"
    return found


def test_the_same_label_at_once_is_kept_once(opened, url: str) -> None:
    store: ReviewStore = opened(patience=600)
    store.record(case("c"))
    with other(url, "SELECT 1 FROM review_cases FOR UPDATE", SAY) as writer:
        after(writer, url, lambda: store.label("c", "mel", "ann"))
    assert [each.label for each in store.case("c").labels] == ["mel"]


def test_a_label_that_comes_while_its_subject_is_deleted_goes_too(opened, url: str) -> None:
    store: ReviewStore = opened(patience=600)
    store.record(case("c", subject="S"))
    with other(url, "SELECT 1 FROM review_cases FOR UPDATE", SAY) as writer:
        (found,) = after(writer, url, lambda: store.delete_subject("S"))
    assert (found.cases, found.labels) == (1, 1)
    assert store.cases() == ()


def test_a_label_that_comes_after_its_subject_was_deleted_is_refused(opened, url: str) -> None:
    store: ReviewStore = opened(patience=600)
    store.record(case("c", subject="S"))
    with other(url, "DELETE FROM review_cases") as writer:
        (found,) = after(writer, url, lambda: store.label("c", "mel", "ann"))
    assert isinstance(found, UnknownCaseError)


def test_an_image_that_expires_while_its_subject_is_deleted(opened, url, tmp_path: Path) -> None:
    store: ReviewStore = opened(patience=600, images=tmp_path / "images")
    store.record(case("a", image=b"1", subject="A"))
    with other(url, "SELECT 1 FROM review_images FOR UPDATE") as writer:
        (found,) = after(
            writer, url, lambda: store.delete_subject("A"),
            "UPDATE review_cases SET kept_image = NULL", "DELETE FROM review_images",
        )  # fmt: skip
    assert (found.cases, found.images) == (1, 0)


def test_an_image_that_another_subject_gets_meanwhile_stays(opened, url, tmp_path: Path) -> None:
    store: ReviewStore = opened(patience=600, images=tmp_path / "images")
    store.record(case("a", image=b"1", subject="A"))
    second = (
        "INSERT INTO review_cases SELECT 'b', at, image_sha256, model, label, decision, "
        "uncertainty, prediction, 'B', lesion, kept_image FROM review_cases"
    )
    with other(url, second) as writer:
        (found,) = after(writer, url, lambda: store.delete_subject("A"))
    assert (found.cases, found.images) == (1, 0)
    assert store.image("b") == b"1"


def test_an_image_that_is_recorded_again_meanwhile_does_not_expire(
    opened, url: str, tmp_path: Path
) -> None:
    clock = Clock()
    store: ReviewStore = opened(
        patience=600, images=tmp_path / "images", clock=clock, ticks=clock.ticks
    )
    store.record(case("a", image=b"1"))
    clock.passes(2)
    again = f"UPDATE review_images SET since = '{START + timedelta(days=2)}'"
    with other(url, again) as writer:
        assert after(writer, url, lambda: store.expire(keep_days=1)) == [0]
    assert store.image("a") == b"1"
    clock.passes(2)
    with other(url, "UPDATE review_cases SET kept_image = NULL", "DELETE FROM review_images") as w:
        assert after(w, url, lambda: store.expire(keep_days=1)) == [0]  # it is gone already


def test_an_image_that_expires_while_it_is_recorded_is_kept(opened, url, tmp_path: Path) -> None:
    store: ReviewStore = opened(patience=600, images=tmp_path / "images")
    store.record(case("a", image=b"1"))
    gone = ("UPDATE review_cases SET kept_image = NULL", "DELETE FROM review_images")
    with other(url, *gone) as writer:
        assert after(writer, url, lambda: store.record(case("b", image=b"1"))) == [True]
    assert store.image("b") == b"1"


def test_a_database_that_stays_locked_is_a_sentence(opened, url: str) -> None:
    store: ReviewStore = opened(patience=0.2)
    store.record(case("c"))
    with (
        other(url, "SELECT 1 FROM review_cases FOR UPDATE"),
        pytest.raises(StoreUnavailableError, match="another program keeps it locked; try again"),
    ):
        store.label("c", "mel", "ann")
    assert store.label("c", "mel", "ann").label == "mel"


def test_who_opens_a_store_waits_for_who_makes_it(opened, url: str) -> None:
    with other(url, f"SELECT pg_advisory_xact_lock({LOCK})") as writer:
        (found,) = after(writer, url, lambda: opened(patience=600))
    assert found.queue() == ()


def test_one_reading_sees_one_state(opened, url: str) -> None:
    store: ReviewStore = opened()
    store.record(case("c"))
    count = text("SELECT count(*) FROM review_labels")
    with store._database.reading() as session:
        assert session.scalar(count) == 0
        store.label("c", "mel", "ann")
        assert session.scalar(count) == 0
    assert len(store.case("c").labels) == 1
