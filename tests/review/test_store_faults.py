"""Databases that are locked, full, stopped or killed: what was confirmed is there, and is whole."""

import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from places import TESTS
from postgres_server import MISSING, programs, running
from review_cases import case
from waiting import wait_for

from skinxai.errors import StoreError, StoreFullError, StoreUnavailableError
from skinxai.review import ReviewStore

WRITER = str(TESTS / "review_writer.py")


def test_a_locked_database_is_a_sentence_and_later_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    images = tmp_path / "images"
    with ReviewStore.open(f"sqlite:///{path}", images, patience=0.05) as store:
        store.record(case("before"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another program keeps it locked; try"):
            store.record(case("c", image=b"1"))
        assert [p for p in images.rglob("*") if len(p.name) == 64] == []  # its row comes first
        with pytest.raises(StoreUnavailableError):
            store.label("before", "mel", "ann")
        assert [each.case.id for each in store.queue()] == ["before"]  # readers go on
        other.execute("COMMIT")
        other.close()
        assert store.record(case("c"))


def test_a_full_database_keeps_nothing_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with ReviewStore.open(f"sqlite:///{path}") as store:
        store.record(case("before"))
        store.label("before", "mel", "ann")
        big = case("big", subject=200 * "s", lesion=200 * "l")
        with store._database.without_transaction() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            kept = []
            with pytest.raises(StoreFullError, match="is full: nothing was kept; make room"):
                for number in range(1000):
                    # All of the pool's connections but this one have no limit: use this one.
                    _record_on(store, connection, case(f"{number}", subject=big.subject))
                    kept.append(f"{number}")
        assert kept and {each.case.id for each in store.cases()} == {"before", *kept}
        assert store.case("before").agreed == "mel"


def _record_on(store: ReviewStore, connection, one) -> None:
    from skinxai.review.recorded_cases import _row_of

    with store._database.faults():
        from sqlalchemy.orm import Session

        with Session(connection) as session:
            session.add(_row_of(one, None))
            session.flush()
            session.commit()


def test_a_full_disk_under_the_images(tmp_path: Path) -> None:
    """In a process that may write files of 200 KiB: a larger image finds no room."""
    url = f"sqlite:///{tmp_path}/a.db"
    program = f"""
import resource, signal
from pathlib import Path
from review_cases import case
from skinxai.errors import StoreFullError
from skinxai.review import ReviewStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = ReviewStore.open({url!r}, {str(tmp_path / "images")!r})
store.record(case("before", image=b"small"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.record(case("c", image=bytes(300_000)))
except StoreFullError as error:
    print(error)
assert store.image("before") == b"small"
assert store.record(case("d", image=b"small too"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=TESTS
    )
    assert done.returncode == 0, done.stderr
    assert "is full: the image and its case were not kept; make room" in done.stdout
    with ReviewStore.open(url, tmp_path / "images") as store:
        assert {each.case.id for each in store.cases()} == {"before", "d"}
        left = [p for p in (tmp_path / "images").rglob("*") if p.is_file()]
        assert len(left) == 3  # two images, and the folder's mark: no part of a file
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_killed_writers_lose_nothing_that_was_confirmed(opened, url: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    store = opened(images=images, patience=600)
    store.record(case("shared"))
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, url, name, "100000", str(images)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("ann", "bob")
    ]  # fmt: skip
    for each in writers:
        each.stdin.write("go\n")
        each.stdin.flush()
    confirmed: list[str] = []
    for each in writers:
        lines = [each.stdout.readline().strip() for _ in range(12)]
        confirmed += lines[2:]
    for each in writers:
        each.send_signal(signal.SIGKILL)
        confirmed += each.stdout.read().split()
        each.communicate()
    assert len(confirmed) >= 20
    for name in confirmed:
        assert store.case(name).agreed == "mel" and store.image(name) == name.encode()
    found = {each.case.id for each in store.cases()}
    assert len(found - {"shared", *confirmed}) <= 2  # the one that each was at


def test_a_stopped_postgresql_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    if programs() is None:
        pytest.skip(MISSING)
    with running() as server:
        url = server.new_database()
        with ReviewStore.open(url, patience=5) as store:
            store.record(case("shared"))
            confirmed: list[str] = []
            said: list[str] = []
            stop = threading.Event()

            def records(name: str) -> None:
                number = 0
                while not stop.is_set():
                    own = f"{name}-{number}"
                    try:
                        store.record(case(own))
                        store.label(own, "mel", name)
                    except StoreUnavailableError as error:
                        said.append(str(error))
                        continue  # the same once more
                    confirmed.append(own)
                    number += 1

            threads = [threading.Thread(target=records, args=(name,)) for name in ("ann", "bob")]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(confirmed) > 10)
            server.stop()
            wait_for(lambda: len(said) > 2)
            with pytest.raises(StoreUnavailableError):
                store.queue()
            server.start()
            before = len(confirmed)
            wait_for(lambda: len(confirmed) > before + 10)
            stop.set()
            for thread in threads:
                thread.join()
            for text in said:
                assert text.startswith("the review store 'postgresql+psycopg://skinxai@127.0.0.1")
                assert text.endswith("; try again.") and "\n" not in text
            assert len(set(confirmed)) == len(confirmed)
            for name in confirmed:
                found = store.case(name)
                assert found.agreed == "mel" and len(found.labels) == 1
            assert len(store.cases()) <= 1 + len(confirmed) + 2


def test_a_postgresql_that_is_not_there(postgres) -> None:
    with pytest.raises(StoreUnavailableError, match=r"does not answer: .*does not exist"):
        ReviewStore.open(postgres.url("nothing"))
    url = "postgresql://someone:top-secret@127.0.0.1:1/x"
    with pytest.raises(StoreUnavailableError, match=r"does not answer: .*; try again") as caught:
        ReviewStore.open(url, patience=2)
    assert "top-secret" not in str(caught.value) and "***" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailableError, "keeps it locked"),
        (sqlite3.SQLITE_CANTOPEN_FULLPATH, StoreUnavailableError, "does not answer: said"),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreError, "or is damaged: said"),
        (sqlite3.SQLITE_IOERR_READ, StoreError, "failed: said"),
        ("53100", StoreFullError, "is full: nothing was kept"),
        ("53300", StoreUnavailableError, "does not answer"),  # too many connections
        ("55P03", StoreUnavailableError, "keeps it locked"),
        ("57014", StoreUnavailableError, "keeps it locked"),  # the statement's time is over
        ("57P01", StoreUnavailableError, "does not answer"),  # the server is being stopped
        ("08006", StoreUnavailableError, "does not answer"),  # the connection was lost
        ("42P01", StoreError, "failed"),
    ],
)
def test_what_a_databases_error_means(tmp_path: Path, code, kind, words: str) -> None:
    if isinstance(code, int):
        error: Exception = sqlite3.OperationalError("said")
        error.sqlite_errorcode = code
    else:
        error = psycopg.errors.lookup(code)("said")
    with ReviewStore.open(f"sqlite:///{tmp_path}/a.db") as store:
        found = store._database._typed(error)
    assert type(found) is kind and words in str(found)


def test_errors_quote_nothing_that_was_to_be_written(opened, url: str, monkeypatch) -> None:
    from skinxai.review import queued_cases as module

    store = opened()
    monkeypatch.setattr(module, "QUEUED", (object(),))  # the driver refuses it
    with pytest.raises(StoreError) as caught:
        store.queue(reviewer="Mrs Miller")
    assert "Miller" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_under_postgresql(postgres) -> None:
    """A database that lies on a file system of 24 MiB, of which an empty one needs a third."""
    place = Path(tempfile.mkdtemp(prefix="skinxai-small-"))
    with mounted(place, postgres.folder):
        url = postgres.new_database()
        name = url.rpartition("/")[2]
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as server:
            server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            server.execute(f"ALTER DATABASE {name} SET TABLESPACE small")
            with ReviewStore.open(url) as store:
                store.record(case("before"))
                filler = place / "filler"
                with filler.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(4096))
                kept = []
                with pytest.raises(StoreFullError, match="is full: nothing was kept; make room"):
                    for number in range(100_000):
                        store.record(case(f"{number}", subject=f"{number}" * 10))
                        kept.append(f"{number}")
                assert {each.case.id for each in store.cases()} == {"before", *kept}
                filler.unlink()
                assert store.record(case("after")) and store.label("before", "mel", "ann")
            server.execute(f"DROP DATABASE {name}")
            server.execute("DROP TABLESPACE small")


@contextmanager
def mounted(place: Path, other: Path) -> Iterator[None]:
    """A small file system of the owner of another folder, where this user may mount one."""
    own = f"size=24m,mode=0700,uid={other.stat().st_uid},gid={other.stat().st_gid}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", own, "tmpfs", place])
    if done.returncode:
        place.rmdir()
        pytest.skip("NO MOUNT: no disk is filled under PostgreSQL; run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()
