"""Everything of one subject goes: rows, labels, images, and their bytes in the database's files."""

import threading
from pathlib import Path

import pytest
from review_cases import case

from skinxai.errors import OptionError, UnknownCaseError
from skinxai.review import deleting


def anywhere(folder: Path, needle: bytes) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and "pg_wal" not in path.parts and needle in path.read_bytes():
            found.append(path.name)
    return found


def fill(store) -> None:
    for number in range(60):  # pages enough for some to be free afterwards
        subject = ("SUBJECT-4711", "SUBJECT-0815", None)[number % 3]
        store.record(
            case(
                f"{subject}:{number}", mel=number / 200, subject=subject,
                lesion=f"lesion of {subject}", image=f"pixels of {subject} {number // 6}".encode(),
            )
        )  # fmt: skip
        for who in ("ann", "bob"):
            store.label(f"{subject}:{number}", "nv", who, f"seen by me: {subject}")


def test_nothing_of_a_subject_is_left(
    opened, url: str, tmp_path: Path, request, monkeypatch
) -> None:
    monkeypatch.setattr(deleting, "AT_ONCE", 7)
    images = tmp_path / "images"
    store = opened(images=images)
    fill(store)
    if url.startswith("sqlite"):
        place = tmp_path
    else:
        place = request.getfixturevalue("postgres").folder
        tell(url, "ANALYZE")  # as the server does by itself, at some time
        tell(url, "CHECKPOINT")
    assert anywhere(place, b"SUBJECT-4711") and anywhere(images, b"SUBJECT-4711")
    before = {each.case.id: each for each in store.cases()}
    digests = {each.case.image_sha256 for each in before.values() if "4711" in each.case.id}
    assert len(digests) == 10
    found = store.delete_subject("SUBJECT-4711")
    assert (found.cases, found.labels, found.images) == (20, 40, 10) and found.overwritten
    if not url.startswith("sqlite"):
        tell(url, "CHECKPOINT")
    assert anywhere(place, b"SUBJECT-4711") == []  # while the store is open
    assert [anywhere(place, digest.encode()) for digest in digests] == [[]] * 10
    assert anywhere(images, b"SUBJECT-4711") == []
    with pytest.raises(UnknownCaseError):
        store.case("SUBJECT-4711:0")
    after = {each.case.id: each for each in store.cases()}
    assert len(after) == 40
    assert all(after[name] == before[name] for name in after)  # the others stay as they were
    assert store.image("SUBJECT-0815:1") == b"pixels of SUBJECT-0815 0"
    again = store.delete_subject("SUBJECT-4711")
    assert (again.cases, again.labels, again.images) == (0, 0, 0)
    with pytest.raises(OptionError, match="subject must not be empty"):
        store.delete_subject("")


def tell(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def test_an_image_of_two_subjects_stays_for_the_other(opened, tmp_path: Path) -> None:
    store = opened(images=tmp_path / "images")
    store.record(case("a", image=b"1", subject="A"))
    store.record(case("b", image=b"1", subject="B"))
    assert store.delete_subject("A").images == 0 and store.image("b") == b"1"
    assert store.delete_subject("B").images == 1
    assert [p for p in (tmp_path / "images").rglob("*") if len(p.name) == 64] == []


def test_a_subject_is_the_same_with_blanks_around_it_and_in_any_unicode_form(opened) -> None:
    store = opened()
    composed, apart = "Jos\u00e9", "Jose\u0301"
    for number, subject in enumerate(("P-1", " P-1", "P-1 ", composed, apart)):
        store.record(case(f"{number}", subject=subject, lesion=f" {subject} "))
    said = [(each.case.subject, each.case.lesion) for each in store.cases()]
    assert said == [("P-1", "P-1")] * 3 + [(composed, composed)] * 2
    assert store.delete_subject("P-1 ").cases == 3
    assert store.delete_subject(apart).cases == 2
    assert store.cases() == ()


def test_a_busy_database_says_that_its_file_was_not_rewritten(tmp_path: Path) -> None:
    import sqlite3

    from skinxai.review import ReviewStore

    path = tmp_path / "a.db"
    with ReviewStore.open(f"sqlite:///{path}", patience=0.1) as store:
        fill(store)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM review_cases").fetchone()
        found = store.delete_subject("SUBJECT-4711")
        assert found.cases == 20 and not found.overwritten
        reader.close()
        assert store.delete_subject("SUBJECT-4711").overwritten
        assert anywhere(tmp_path, b"SUBJECT-4711") == []


def test_deleting_while_cases_come_leaves_no_image_behind(opened, tmp_path: Path) -> None:
    store = opened(images=tmp_path / "images", patience=600)
    stop = threading.Event()

    def deletes() -> None:
        while not stop.is_set():
            store.delete_subject("S")

    thread = threading.Thread(target=deletes)
    thread.start()
    for number in range(10):
        store.record(case(f"{number}", image=b"same", subject="S"))
        store.record(case(f"other {number}", image=b"same", subject="T"))
        assert store.image(f"other {number}") == b"same"
        store.delete_subject("T")
    stop.set()
    thread.join()
    store.delete_subject("S")
    assert store.cases() == ()
    assert [p for p in (tmp_path / "images").rglob("*") if len(p.name) == 64] == []
