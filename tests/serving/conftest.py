"""The service that bad requests are sent to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from waiting import wait_for

if TYPE_CHECKING:
    from running_service import Running


@pytest.fixture(scope="module")
def service() -> "Iterator[Running]":
    """One for all tests of a module; it still answers after them, and holds nothing."""
    from running_service import png, running

    with running(max_body_mb=1, max_images=32) as found:
        yield found
        assert found.predict(png()).status == 200  # whatever came before
        wait_for(lambda: found.app.service.images == found.app.service.held == 0)
