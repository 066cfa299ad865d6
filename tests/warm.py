"""Programs of this interpreter that begin where torch is imported already.

`Popen` and `run` take what those of `subprocess` take. The process is forked from one that imported
torch and others when the first of them was asked for, then does what ``python -c``, ``python -m``
or ``python file`` would do, and ends by Python's own end, at which what was imported before stays
as it is. The import and the end of torch take longer than most programs of the tests.

Where a fork would not be the same, they start an ordinary program: where Python's options, its
environment or the libraries' number of threads differ from those of this process, and on another
system than Linux. A test of importing, of memory or of child processes takes `subprocess` itself.
"""

import atexit
import functools
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__)
STARTING = ("PYTHON", "LANG", "LC_", "OMP_", "MKL_", "TORCH", "LD_", "CUDA_")
"""How the names of variables begin that are read before a program's first line, or by torch."""
LATER = ("PYTHONPATH", "TORCHINDUCTOR_CACHE_DIR")
"""Those that are read later: of the places of modules, and one that torch itself sets."""
ENVIRONMENT = dict(os.environ)
"""That of the process that forks: what a single test sets is not in it."""
IMPORTED = ("torchvision", "pandas", "sklearn.metrics", "cv2", "pydantic")
"""What takes long to import, torch with it, and looks for no files in the user's home."""
LONGEST = 2**17
"""Bytes of what a forked program can be told."""

STREAMS = (
    ("stdin", "r", -1, None), ("stdout", "w", -1, None), ("stderr", "w", 1, "backslashreplace")
)  # fmt: skip
"""Python's own, as `open` makes them: name, mode, size of the buffer, what happens to characters
that cannot be encoded."""


class Popen(subprocess.Popen):
    """`subprocess.Popen`, forked from a process that has imported torch where that is the same."""

    _link: socket.socket | None = None

    def _execute_child(self, *arguments: Any) -> None:
        named = inspect.signature(super()._execute_child).bind(*arguments).arguments
        environment = dict(os.environ if named["env"] is None else named["env"])
        words = [os.fspath(word) for word in named["args"]]
        more = ("preexec_fn", "pass_fds", "shell", "executable", "start_new_session")
        if any(named[name] for name in more) or not _same(words, environment):
            super()._execute_child(*arguments)
            return
        folder = os.fspath(named["cwd"] or Path.cwd())
        told = json.dumps([words[1:], folder, environment]).encode()
        assert len(told) <= LONGEST
        self._link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = [named[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [own if pipe == -1 else pipe for own, pipe in enumerate(pipes)]
        with far:
            socket.send_fds(_forking(), [told], [*streams, far.fileno()])
        self.pid = int(self._link.recv(64))
        self._child_created = True
        self._close_pipe_fds(*(named[name] for name in (
            "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite",
        )))  # fmt: skip

    def _internal_poll(self, *arguments: Any, **more: Any) -> int | None:
        if self._link is None:
            return super()._internal_poll(*arguments, **more)
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None and (found := self._try_wait(os.WNOHANG))[0]:
                    self._handle_exitstatus(found[1])
            finally:
                self._waitpid_lock.release()
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._link is None:
            return super()._try_wait(wait_flags)
        try:
            status = int(self._link.recv(64, socket.MSG_DONTWAIT if wait_flags else 0))
        except BlockingIOError:
            return 0, 0
        self._link.close()  # from here on its number may be another's
        return self.pid, status


def run(
    words: Sequence[str | os.PathLike[str]], *, input: Any = None, timeout: float | None = None,
    check: bool = False, capture_output: bool = False, **more: Any,
) -> subprocess.CompletedProcess[Any]:  # fmt: skip
    """`subprocess.run` of such a program."""
    if input is not None:
        more["stdin"] = subprocess.PIPE
    if capture_output:
        more["stdout"] = more["stderr"] = subprocess.PIPE
    with Popen(words, **more) as process:
        try:
            said = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, *said)
    if check:
        done.check_returncode()
    return done


def _same(words: Sequence[str | bytes], environment: Mapping[str, str]) -> bool:
    """Whether a fork would do what the command does."""
    if sys.platform != "linux" or words[0] != sys.executable or bytes in map(type, words):
        return False
    options = words[1] in ("-c", "-m") or not words[1].startswith("-")
    return options and _starting(environment) == _starting(ENVIRONMENT)


def _starting(environment: Mapping[str, str]) -> dict[str, str]:
    """What is read before a program's first line."""
    return {
        name: value for name, value in environment.items()
        if name.startswith(STARTING) and name not in LATER
    }  # fmt: skip


@functools.cache
def _forking() -> socket.socket:
    """To the process that forks, a child of nobody, which ends with this one."""
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    with other:
        subprocess.run([sys.executable, HERE], stdin=other, env=environment, check=True)
    atexit.register(own.close)
    return own


def serve() -> tuple[list[str], str]:
    """Fork for each request; return in its process the words after Python's, and its folder."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the tests decide
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            told, descriptors, *_ = socket.recv_fds(requests, LONGEST, 4)
            if not told:
                os._exit(0)
            if not os.fork():
                break
            for descriptor in descriptors:
                os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    *streams, link = descriptors
    if child := os.fork():
        _keep(child, link, streams)
    os.close(link)
    words, folder, environment = json.loads(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, (name, mode, buffered, errors) in enumerate(STREAMS):
        stream = open(number, mode, buffered, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return words, folder


def _keep(child: int, descriptor: int, streams: Sequence[int]) -> None:
    """Tell a program's number and its end; its number stays its own until that was heard."""
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    with socket.socket(fileno=descriptor) as link:
        link.send(b"%d" % child)
        end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        link.send(b"%d" % (end.si_status << 8 if end.si_code == os.CLD_EXITED else end.si_status))
        link.recv(1)
    os._exit(0)


def begin(words: Sequence[str], folder: str) -> tuple[types.CodeType, dict[str, Any]]:
    """Set Python up as for such words; return the code to execute, and its names."""
    kind, *rest = words if words[0] in ("-c", "-m") else ("", *words)
    file = Path(rest[0]).absolute()
    own = {"-m": folder, "-c": "", "": str(file.resolve().parent)}[kind]
    sys.path[:1] = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [kind, *rest[1:]] if kind else rest
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-m":
        names = {"run": runpy._run_module_as_main, "name": rest[0]}
        return compile("run(name)", "<module>", "exec"), names
    if kind == "-c":
        return compile(rest[0], "<string>", "exec"), vars(main)
    vars(main)["__file__"] = str(file)
    return compile(file.read_bytes(), str(file), "exec"), vars(main)


def _leave(modules: Mapping[str, types.ModuleType]) -> None:
    """Keep Python from taking apart at its end what was there when the program began."""
    for name in modules:
        sys.modules.pop(name, None)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    import ctypes
    import gc

    left: dict[str, Any] = {}
    atexit.register(_leave, left)  # first, thus called last
    for name in IMPORTED:
        importlib.import_module(name)
    left |= {n: m for n, m in sys.modules.items() if n.split(".")[0] not in sys.stdlib_module_names}
    left[""] = left  # which keeps them for ever, as garbage is not collected of what is frozen
    gc.freeze()
    library = ctypes.CDLL(None)  # of C: after Python's end, the libraries' own is left out too
    library.on_exit(ctypes.cast(library._exit, ctypes.c_void_p), None)
    exec(*begin(*serve()))
