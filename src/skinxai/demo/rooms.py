"""`Room`: how much memory visitors' files may take, together and each."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any

from streamlit.web.server.starlette.starlette_app_utils import validate_xsrf_token
from streamlit.web.server.starlette.starlette_server_config import XSRF_COOKIE_NAME

from skinxai.demo.uploads import MAX_FILE, MAX_FILES, MAX_ZIP, MIB

FRAMING = MIB // 4
"""Bytes of a request around its file."""
OF_SESSION = MAX_ZIP + MAX_FILE
"""Bytes of one visitor's files: a batch, and the image of the other pages."""
OF_ALL = 256 * MIB
"""Bytes of all visitors' files."""
COUNT_OF_SESSION = MAX_FILES + 100
COUNT_OF_ALL = 5 * MAX_FILES
STAYS = 60.0
"""Seconds that a file stays at least; an older one is put out where its room is needed."""


class TooMuch(Exception):
    """Why a file is not taken.

    Args:
        status: of the HTTP answer.
        words: a sentence.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Room:
    """Counts what the framework keeps of visitors' files; used by the server's thread alone."""

    def __init__(self) -> None:
        self._arriving: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._since: dict[tuple[str, str], float] = {}

    def knows(self, session: str, cookies: str) -> bool:
        """Whether this browser has this session."""
        client = _runtime().get_client(session)
        if client is None:
            return False
        try:
            own = SimpleCookie(cookies).get(XSRF_COOKIE_NAME)
        except CookieError:
            return False
        theirs = client.client_context.cookies.get(XSRF_COOKIE_NAME)
        return own is not None and validate_xsrf_token(own.value, theirs)

    @contextmanager
    def arriving(self, session: str, declared: int) -> Iterator["_Arriving"]:
        """While a file comes.

        Raises:
            TooMuch: there is no room for it.
        """
        self.check(session, declared, 1)
        self._requests[session] += 1
        arriving = _Arriving(self, session)
        try:
            yield arriving
        finally:
            self.came(session, -arriving.bytes)
            self._requests[session] -= 1
            self._arriving, self._requests = +self._arriving, +self._requests

    def came(self, session: str, count: int) -> None:
        """Bytes of a request were received, or are no longer held for it."""
        self._arriving[session] += count

    def check(self, session: str, more: int, files: int) -> None:
        """Whether there is room, which is made where it can be.

        Raises:
            TooMuch: there is none.
        """
        kept = self._kept()
        own = [size for (owner, _), size in kept.items() if owner == session]
        if more > MAX_ZIP + FRAMING:
            raise TooMuch(413, f"A file must have at most {MAX_ZIP // MIB} MiB.")
        if sum(own) + self._arriving[session] + more > OF_SESSION + FRAMING:
            raise TooMuch(
                413, f"The files of one visitor must have at most {OF_SESSION // MIB} MiB together."
            )
        if len(own) + self._requests[session] + files > COUNT_OF_SESSION:
            raise TooMuch(413, f"A visitor must send at most {COUNT_OF_SESSION} files.")
        size = sum(kept.values()) + self._arriving.total() + more
        count = len(kept) + self._requests.total() + files
        for key in self._oldest():
            if size <= OF_ALL and count <= COUNT_OF_ALL:
                break
            size -= kept[key]
            if count > COUNT_OF_ALL:
                _runtime().uploaded_file_mgr.remove_file(*key)
                count -= 1
            else:
                _empty(*key)
        if size > OF_ALL + FRAMING or count > COUNT_OF_ALL:
            raise TooMuch(
                429, "Other visitors' files fill this server's memory: try again in a minute."
            )

    def _kept(self) -> dict[tuple[str, str], int]:
        found = {
            (session, file): len(record.data) + len(record.name)
            for session, files in list(_files().items())
            for file, record in list(files.items())
        }
        now = time.monotonic()
        self._since = {key: self._since.get(key, now) for key in found}
        return found

    def _oldest(self) -> list[tuple[str, str]]:
        """Files that may be put out, the oldest first."""
        latest = time.monotonic() - STAYS
        old = (key for key, since in self._since.items() if since <= latest)
        return sorted(old, key=self._since.__getitem__)


class _Arriving:
    """Bytes of one request."""

    def __init__(self, room: Room, session: str) -> None:
        self._room, self._session = room, session
        self.bytes = 0

    def add(self, count: int) -> None:
        """More came.

        Raises:
            TooMuch: there is no room for it.
        """
        before = self.bytes
        self.bytes += count
        self._room.came(self._session, count)
        if self.bytes > MAX_ZIP + FRAMING:
            raise TooMuch(413, f"A file must have at most {MAX_ZIP // MIB} MiB.")
        if before // MIB != self.bytes // MIB:
            self._room.check(self._session, 0, 0)


def _runtime() -> Any:
    from streamlit.runtime import get_instance

    return get_instance()


def _files() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _runtime().uploaded_file_mgr.file_storage
    return found


def _empty(session: str, file: str) -> None:
    """Put a file's content out; the name stays, so that its page can say what happened."""
    record = _files().get(session, {}).get(file)
    if record is not None:
        _runtime().uploaded_file_mgr.add_file(session, record._replace(data=b""))
