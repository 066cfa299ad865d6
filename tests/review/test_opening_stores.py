"""Stores that are opened: URLs, new and old databases, several processes at once."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from places import TESTS
from review_cases import case
from sqlalchemy import create_engine, text

from skinxai.errors import OptionError, StoreError, StoreUnavailableError, StoreVersionError
from skinxai.review import ReviewStore, migrating, migrations, schema
from skinxai.review.migrating import VERSION_TABLE

WRITER = str(TESTS / "review_writer.py")


def engine_of(url: str):
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


@pytest.mark.parametrize(
    "url",
    [
        "", "review.db", "mysql://root:secret@host/db", "sqlite://", "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro", "sqlite://host/a.db", "postgresql+psycopg2://u:secret@h/d",
        "postgres://u:secret@h/d", "http://u:secret@h", "postgresql://u:secret@h:port/d", None, 3,
    ],
)  # fmt: skip
def test_other_urls_are_refused_without_their_password(url) -> None:
    with pytest.raises(OptionError, match="the URL of a review store must") as caught:
        ReviewStore.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_wrong_days(tmp_path: Path, days: float) -> None:
    with pytest.raises(OptionError, match="keep_days must be > 0"):
        ReviewStore.open(f"sqlite:///{tmp_path}/a.db", tmp_path / "images", days)
    with pytest.raises(OptionError, match="keep_days needs a folder of images"):
        ReviewStore.open(f"sqlite:///{tmp_path}/a.db", keep_days=3)


def test_the_migrations_make_what_the_models_say(opened, url: str) -> None:
    opened()
    engine = engine_of(url)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, schema.Base.metadata) == []
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_as_it_is(opened, url: str) -> None:
    opened().close()
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StoreVersionError, match="newer version of skinxai: its schema is '9999'"):
        opened()
    with engine.begin() as connection:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()
    engine.dispose()
    assert found == [("9999",)]


def test_processes_that_open_and_write_at_once(opened, url: str, tmp_path: Path) -> None:
    """Four make the same new database; all that each confirmed is there."""
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, url, name, "15", str(tmp_path / "images")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("ann", "bob", "cem")
    ]  # fmt: skip
    for each in writers:
        assert each.stdout.readline() == "ready\n"
    for each in writers:  # now all open it
        each.stdin.write("go\n")
        each.stdin.flush()
    store = opened(patience=600, images=tmp_path / "images")
    for each in writers:
        out, _ = each.communicate()
        assert each.returncode == 0
        for name in out.split()[1:]:
            assert store.case(name).agreed == "mel"
            assert store.image(name) == name.encode()
    assert len(store.cases()) == 46
    given = [(each.reviewer, each.label) for each in store.case("shared").labels]
    assert len(given) == 45
    for name in ("ann", "bob", "cem"):
        assert [label for who, label in given if who == name] == [*["mel", "nv"] * 7, "mel"]


def test_only_its_owner_reads_a_new_store(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path, images = tmp_path / "a.db", tmp_path / "kept" / "images"
        with ReviewStore.open(f"sqlite:///{path}", images) as store:
            store.record(case("c", image=b"pixels"))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob("a.db*")}
        assert set(modes) == {"a.db", "a.db-wal", "a.db-shm"} and set(modes.values()) == {0o600}
        folders = [images, *(path for path in images.iterdir() if path.is_dir())]
        assert len(folders) == 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    finally:
        os.umask(old)


def test_what_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("dear diary\n" * 100)
    with pytest.raises(StoreError, match="no database of SQLite, or is damaged"):
        ReviewStore.open(f"sqlite:///{path}")
    assert path.read_text() == "dear diary\n" * 100
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("none/a.db", "No such file"), ("pipe", "a pipe"), ("", "a folder")):
        with pytest.raises(StoreUnavailableError, match=words):
            ReviewStore.open(f"sqlite:///{tmp_path}/{name}")


def test_a_folder_of_images_belongs_to_one_store(opened, url: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    opened(images=images).close()
    opened(images=images).close()
    with pytest.raises(StoreError, match="must be the folder of this review store"):
        ReviewStore.open(f"sqlite:///{tmp_path}/other.db", images)
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "beach.jpg").write_bytes(b"sand")
    with pytest.raises(StoreError, match="no store, but other files"):
        opened(images=other)
    assert [path.name for path in other.iterdir()] == ["beach.jpg"]
    for name in ("beach.jpg", "beach.jpg/images"):
        with pytest.raises(StoreError, match="must be a folder that can be written"):
            opened(images=other / name)


def test_the_package_may_lie_in_a_folder_with_a_percent_sign(
    opened, monkeypatch, tmp_path: Path
) -> None:
    place = tmp_path / "50% %(here)s"
    shutil.copytree(Path(migrations.__file__).parent, place / "migrations")
    monkeypatch.setattr(migrating, "__file__", str(place / "migrating.py"))
    assert opened().record(case("c"))


def test_a_store_that_keeps_images_needs_their_folder(opened, tmp_path: Path) -> None:
    store = opened(images=tmp_path / "images")
    store.record(case("c", image=b"pixels", subject="S"))
    assert store.image("c") == b"pixels"
    other = opened()
    for call in (
        lambda: other.image("c"), other.expire, lambda: other.delete_subject("S"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="opened without their folder"):
            call()
    assert store.image("c") == b"pixels"


def test_without_a_folder_no_image_is_kept(opened) -> None:
    store = opened()
    store.record(case("c", image=b"pixels"))
    assert not store.case("c").image_kept and store.image("c") is None
    assert store.case("c").case == case("c", content=b"pixels")


def test_a_store_is_made_only_where_it_may_be(url: str, opened) -> None:
    with pytest.raises(StoreError, match="there is no review store at"):
        opened(create=False)
    assert opened().queue() == ()
    assert opened(create=False).queue() == ()
