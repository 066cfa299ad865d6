"""Runs a program and notes each address outside this machine that it, or a child, tries to reach.

The kernel asks before each ``connect``, ``sendto`` and ``sendmmsg`` of any process and language
(seccomp's user notifications: Linux 5.5, no privileges). What would leave the machine is noted and
refused; what stays within it goes on. Asking a name server is leaving, also one on the loopback
interface, which asks others.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import platform
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Of seccomp, connect, sendto, sendmmsg; and the architecture's number.
CALLS = {
    "x86_64": (317, 42, 44, 307, 0xC000003E),
    "aarch64": (277, 203, 206, 269, 0xC00000B7),
}
NO_NEW_PRIVILEGES, SET_FILTER, NEW_LISTENER = 38, 1, 8
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
RECEIVE, ANSWER, CONTINUE = 0xC0502100, 0xC0182101, 1
NAME_SERVER = 53


def available() -> bool:
    """Whether this kernel lets an ordinary user do so."""
    if sys.platform != "linux" or platform.machine() not in CALLS:
        return False
    return subprocess.run([*_launcher(None), "true"], capture_output=True).returncode == 0


@contextmanager
def watched(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, notes: list[str]
) -> Iterator["subprocess.Popen[str]"]:
    """A running program whose addresses outside this machine come into the list.

    When the block ends the program must have ended, or end soon: its children are waited for.
    """
    ours, its = socket.socketpair()
    with ours, its:
        process = subprocess.Popen(
            [*_launcher(its.fileno()), *command], env=env, cwd=cwd, pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        its.close()
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
    thread = threading.Thread(target=_answer, args=(listener, notes))
    thread.start()
    try:
        with process:
            yield process
    finally:
        thread.join()
        os.close(listener)


def _launcher(descriptor: int | None) -> list[str]:
    return [sys.executable, "-S", __file__, str(-1 if descriptor is None else descriptor)]


def _listener() -> int:
    """Of this process and its children: a descriptor on which the kernel asks."""
    seccomp, *calls, architecture = CALLS[platform.machine()]
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, ALLOW), (0x20, 0, 0, 0)]
    steps += [(0x15, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    steps += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, NOTIFY)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    header = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    found: int = libc.syscall(seccomp, SET_FILTER, NEW_LISTENER, header)
    if found < 0:
        raise OSError(ctypes.get_errno(), "the kernel lets nobody watch")
    return found


def _answer(listener: int, notes: list[str]) -> None:
    """Until every process is gone."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, event),) = poll.poll()
        if not event & select.POLLIN:
            return
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, asked)
        except FileNotFoundError:  # killed meanwhile
            continue
        (
            number,
            process,
            _,
            call,
            *_,
        ) = struct.unpack_from("QIIi", asked)
        arguments = struct.unpack_from("6Q", asked, 32)
        place = _outside(process, call, arguments)
        if place is not None:
            notes.append(place)
        answer = (number, 0, 0, CONTINUE) if place is None else (number, 0, -errno.EACCES, 0)
        try:
            fcntl.ioctl(listener, ANSWER, bytearray(struct.pack("QqiI", *answer)))
        except FileNotFoundError:
            continue


def _outside(process: int, call: int, arguments: tuple[int, ...]) -> str | None:
    """Where a call wants to, if it is outside; ``None`` for within, or where connected before."""
    _, connect, _, sendmmsg, _ = CALLS[platform.machine()]
    if call == sendmmsg:  # messages that each may have an address
        where, length = struct.unpack("QI", _memory(process, arguments[1], 12))
    else:
        where, length = arguments[1:3] if call == connect else arguments[4:6]
    if not where or not length:
        return None
    address = _memory(process, where, min(length, 28))
    (family,) = struct.unpack_from("H", address)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    (port,) = struct.unpack_from("!H", address, 2)
    raw = address[4:8] if family == socket.AF_INET else address[8:24]
    host = ipaddress.ip_address(raw)
    mapped = getattr(host, "ipv4_mapped", None) or host
    within = mapped.is_loopback or mapped.is_unspecified
    return None if within and port != NAME_SERVER else f"{mapped} port {port}"


def _memory(process: int, place: int, length: int) -> bytes:
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        memory.seek(place)
        return memory.read(length)


if __name__ == "__main__":
    to, listener = int(sys.argv[1]), _listener()
    if to >= 0:
        with socket.socket(fileno=to) as parent:
            socket.send_fds(parent, [b"."], [listener])
    os.close(listener)
    os.execvp(sys.argv[2], sys.argv[2:])
