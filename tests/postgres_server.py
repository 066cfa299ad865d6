"""A real PostgreSQL of one test session: Debian's, in a folder of its own, on the loopback."""

import functools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from waiting import wait_for

MISSING = "NO POSTGRESQL: the review store is tested on SQLite alone; sh scripts/debian"
USER = "skinxai"
_NUMBERS = count()


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    other = shutil.which("initdb")
    return found[-1].parent if found else Path(other).resolve().parent if other else None


def _version(path: Path) -> int:
    return int(path.parts[-3])


@dataclass
class Postgres:
    """A server that can be stopped and started again, with its data.

    Args:
        folder: of its data.
        port: at 127.0.0.1.
    """

    folder: Path
    port: int

    def url(self, database: str) -> str:
        """Of one of its databases."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """URL of a new, empty database."""
        name = f"review{next(_NUMBERS)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return self.url(name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            f"-c shared_buffers=16MB -c max_connections=60 -c fsync=off"
        )
        log = str(self.folder / "log.txt")
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "600", "-l", log, "-o", options,
                  "start")  # fmt: skip

    def stop(self, mode: str = "immediate") -> None:
        """End it; ``"immediate"``: as a crash does."""
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "600", "-m", mode, "stop")
        wait_for(lambda: not (self.folder / "postmaster.pid").exists())

    def _run(self, program: str, *arguments: str) -> None:
        found = programs()
        assert found is not None
        done = subprocess.run(
            [*as_somebody(), str(found / program), *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
            env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def as_somebody() -> list[str]:
    """What runs a program as a user without privileges: PostgreSQL refuses root."""
    if os.geteuid():
        return []
    user = _somebody()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@functools.cache  # the one whose folder it is, also where accounts change meanwhile
def _somebody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def running() -> Iterator[Postgres]:
    """A new server that runs; its data go with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="skinxai-postgres-"))
    server = Postgres(folder / "data", port)
    try:
        if not os.geteuid():
            os.chown(folder, _somebody().pw_uid, _somebody().pw_gid)
        server._run(
            "initdb", "-D", str(server.folder), "-U", USER, "--auth=trust", "--encoding=UTF8",
            "--no-sync",
        )  # fmt: skip
        server.start()
        yield server
    finally:
        if (server.folder / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
