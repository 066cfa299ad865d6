"""`signals_raise`: which signals end a command through its ``finally`` clauses."""

import signal
import subprocess
import sys
import threading

import pytest

from skinxai.interruption import signals_raise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals")


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def number(request) -> signal.Signals:
    return getattr(signal, request.param)


def test_the_first_is_raised_and_a_second_ends_the_process(number) -> None:
    with pytest.raises(SystemExit) as end, signals_raise():
        try:
            signal.raise_signal(number)
        finally:
            assert signal.getsignal(number) == signal.SIG_DFL
    assert end.value.code == 128 + number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_what_others_decided_stays(number) -> None:
    for handler in (signal.SIG_IGN, lambda *_: None):
        before = signal.signal(number, handler)
        try:
            with signals_raise():
                signal.raise_signal(number)
            assert signal.getsignal(number) is handler
        finally:
            signal.signal(number, before)


def test_another_thread_changes_nothing(number) -> None:
    found = []

    def work() -> None:
        with signals_raise():
            found.append(signal.getsignal(number))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_a_forked_process_ends_as_usual(number) -> None:
    """In a process of its own, which has no other threads."""
    code = f"""if True:
        import os, signal
        from skinxai.interruption import signals_raise
        with signals_raise():
            if not (child := os.fork()):
                try:
                    signal.raise_signal({int(number)})
                finally:
                    os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) == -number
