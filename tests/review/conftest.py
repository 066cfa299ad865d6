from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import MISSING, Postgres, programs, running

from skinxai.review import ReviewStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip(MISSING)
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/review.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., ReviewStore]]:
    """Opens the database; all are closed after the test."""
    stores: list[ReviewStore] = []

    def opens(**options) -> ReviewStore:
        stores.append(ReviewStore.open(url, **options))
        return stores[-1]

    yield opens
    for store in stores:
        store.close()
