"""`signals_raise`: which signals end a command through its ``finally`` clauses."""

import signal
import subprocess
import sys
import threading

import pytest
from waiting import LIMIT

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


IN_A_POOL = """if True:
    import os, signal, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from skinxai.data.claims import ordered
    from skinxai.interruption import mapped, signals_raise

    def raised_at(number):
        # in the main thread, where a lock of Python's own has just been taken for the n-th time
        count = 0
        def look(frame, event, _):
            nonlocal count
            if event == "return" and frame.f_code is threading.Condition.__enter__.__code__:
                count += 1
                if count == number:
                    sys.setprofile(None)
                    signal.raise_signal(signal.SIGTERM)
        sys.setprofile(look)

    def by_mapped():
        with ThreadPoolExecutor(2) as pool:
            yield from mapped(pool, str, range(6))

    def by_ordered():
        return ordered(str, range(6), workers=2)

    def end_at(number, results):
        try:
            with signals_raise():
                raised_at(number)
                found = list(results())
                sys.setprofile(None)
            os._exit(0 if found == list("012345") else 3)
        except SystemExit as end:
            for thread in threading.enumerate()[1:]:
                thread.join()
            os._exit(end.code)

    for results in (by_mapped, by_ordered):
        number, code = 0, 143
        while code == 143:
            number += 1
            child = os.fork() or end_at(number, results)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, number)
"""


def test_a_signal_while_a_thread_pool_has_a_lock_leaves_no_thread_waiting() -> None:
    said = subprocess.run(
        [sys.executable, "-c", IN_A_POOL], capture_output=True, text=True, timeout=LIMIT
    )
    assert said.returncode == 0, said.stderr
    ends = [tuple(map(int, line.split())) for line in said.stdout.splitlines()]
    assert len(ends) == 2 and all(code == 0 and number > 10 for code, number in ends), ends
