"""Which tests run which statement, and what they say of a changed one; `mutants.py` asks.

All test files are collected once. Each change then has a fork of that process: where it is within
functions their code is exchanged, else the modules are imported anew, and its tests follow.
"""

import builtins
import contextlib
import gc
import importlib
import importlib.machinery
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutations import Mutation, instrumented

PLUGINS = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
SECONDS = 6.0  # of processor time, of the tests that are run for one change
Tests = dict[str, dict[str, Any]]
"""Name of a test → its ``seconds`` and the ``places`` that it reaches."""


class Recording:
    """A plugin of pytest: which places each test reaches, and the seconds it takes."""

    def __init__(self) -> None:
        self.hits: set[str] = set()
        self.fixtures: dict[str, set[str]] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        before, self.hits = self.hits, set()
        _reach_into(self.hits)
        result = yield
        self.fixtures.setdefault(fixturedef.argname, set()).update(self.hits)
        self.hits = before | self.hits
        _reach_into(self.hits)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Any:
        self.hits = set()
        _reach_into(self.hits)
        begun = sum(os.times()[:4])
        result = yield
        shared = [self.fixtures.get(name, set()) for name in item.fixturenames]
        if item.nodeid not in self.failed:
            self.tests[item.nodeid] = {"seconds": round(sum(os.times()[:4]) - begun, 3),
                                       "places": sorted(self.hits.union(*shared))}  # fmt: skip
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)


class Failures:
    """A plugin of pytest: the first test that failed."""

    first = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.first = self.first or report.nodeid


def _reach_into(hits: set[str]) -> None:
    builtins.mutants_reach = hits.add  # type: ignore[attr-defined]


class Selected:
    """A plugin of pytest: the chosen tests alone, in their order."""

    def __init__(self, tests: list[str]) -> None:
        self.order = {test: i for i, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.order),
                          key=lambda item: self.order[item.nodeid])  # fmt: skip


def in_a_fork(seconds: float, work: Any) -> tuple[str, Any]:
    """How ``work()`` ends in a forked process, "done", "crash" or "timeout", and its value."""
    with tempfile.TemporaryFile() as file:
        process = os.fork()
        if process == 0:
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
                said = os.open("said.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                for number in (0, 1, 2):
                    os.dup2(said, number)
                value = work()
                file.write(json.dumps(value).encode())
                file.flush()
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(111)
        limit = time.monotonic() + 10 * seconds
        while True:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > limit:
                os.killpg(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                return "timeout", None
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what it may have started
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            return "timeout", None
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 111:
            raise SystemExit(Path("said.txt").read_text())
        if status:
            return "crash", None
        file.seek(0)
        return "done", json.loads(file.read())


def pytest_of(files: list[str], plugins: list[object], *options: str) -> int:
    return int(pytest.main([*files, "-q", *PLUGINS, "--basetemp=temporary", *options], plugins))


def record(copy: Path, file: str, sources: dict[str, str]) -> dict[str, Any]:
    """The tests of one file: their seconds and the places they reach."""
    paths = {str(copy / "src/skinxai" / module): module for module in sources}
    get_code = importlib.machinery.SourceFileLoader.get_code

    def code(loader: Any, name: str) -> Any:
        module = paths.get(loader.path)
        if module is None:
            return get_code(loader, name)
        return compile(instrumented(module, sources[module]), loader.path, "exec")

    importlib.machinery.SourceFileLoader.get_code = code  # type: ignore[method-assign]
    recording = Recording()
    _reach_into(recording.hits)
    pytest_of([file], [recording])
    return recording.tests


def concerned(mutation: Mutation, tests: Tests) -> list[str]:
    """The tests that run the statement, or use what it defines, fastest first.

    Of too many those that reach the fewest other places are taken.
    """

    def reaching(pattern: str) -> list[str]:
        search = re.compile(pattern).search
        return [name for name, test in tests.items() if any(map(search, test["places"]))]

    chosen = [name for name, test in tests.items() if mutation.place in test["places"]]
    for defined in mutation.names:
        inside = f"{mutation.module}|{mutation.function}.{defined}".replace("|.", "|")
        chosen += reaching(f"^{re.escape(inside)}[|.]")
        chosen += reaching(rf"\|.*\|.*\b{re.escape(defined)}\b")
        said = re.compile(rf"\b{re.escape(defined)}\b").search
        files = {name.partition("::")[0] for name in tests}
        files = {file for file in files if said(Path(file).read_text())}
        chosen += [name for name in tests if name.partition("::")[0] in files]
    chosen = chosen or reaching(f"^{re.escape(mutation.module)}\\|")
    spent, kept = 0.0, []
    for name in sorted(set(chosen), key=lambda name: len(tests[name]["places"])):
        spent += tests[name]["seconds"] + 0.005
        if spent > SECONDS and kept:
            break
        kept.append(name)
    costs: dict[str, float] = {}  # what a file's tests share is made once
    for name in kept:
        file = name.partition("::")[0]
        costs[file] = costs.get(file, 0.0) + tests[name]["seconds"]
    return sorted(kept, key=lambda name: (costs[name.partition("::")[0]], tests[name]["seconds"]))


class Trying:
    """A plugin of pytest: in the place of the tests' run, each change is tried in a fork.

    Args:
        copy: of the repository; it is the current folder.
        tests: what `record` found.
        changes: is called with `tried`.
    """

    def __init__(self, copy: Path, tests: Tests, changes: Callable[..., None]) -> None:
        self.copy, self.tests, self.changes = copy, dict(tests), changes
        self.sound: set[str] = set()  # tests that pass in a fork where nothing is changed
        self.functions: dict[str, list[FunctionType]] = {}
        self.number = 0

    def pytest_runtestloop(self, session: Any) -> bool:
        self.session = session
        self.items = {item.nodeid: item for item in session.items}
        for path in sorted((self.copy / "src" / "skinxai").rglob("*.py")):
            name = ".".join(path.relative_to(self.copy / "src").with_suffix("").parts)
            if not re.search(r"\.demo|\.migrations|__", name):
                with contextlib.suppress(ImportError), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of other packages, errors under pytest
                    importlib.import_module(name)
        for found in gc.get_objects():
            if type(found) is FunctionType:
                self.functions.setdefault(found.__code__.co_filename, []).append(found)
        gc.freeze()  # so that forks share what is there
        self.changes(self.tried)
        return True

    def tried(self, mutation: Mutation, source: str) -> dict[str, Any]:
        """What becomes of one change of a module's source, which is taken back."""
        path = self.copy / "src/skinxai" / mutation.module
        result = {"module": mutation.module, "line": mutation.line, "key": mutation.key}
        changed = mutation.applied(source)
        try:
            code = compile(changed, str(path), "exec", dont_inherit=True)
        except SyntaxError:
            return result | {"outcome": "no program"}
        chosen = concerned(mutation, self.tests)
        begun, times = time.monotonic(), path.stat()
        self.number += 1
        path.write_text(changed)
        os.utime(path, (10**9 + self.number,) * 2)  # no compiled file has this time
        try:
            noticed = self._first_failure(chosen, code, mutation.at_import)
        finally:
            path.write_text(source)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if noticed in self.tests and noticed not in self.sound:
            if self._first_failure([noticed], None, False):
                print(f"fails where nothing is changed: {noticed}", flush=True)
                del self.tests[noticed]
                return self.tried(mutation, source)
            self.sound.add(noticed)
        result |= {"outcome": "noticed", "by": noticed} if noticed else {"outcome": "not noticed"}
        return result | {"tests": len(chosen), "seconds": round(time.monotonic() - begun, 1)}

    def _first_failure(self, chosen: list[str], code: CodeType | None, at_import: bool) -> str:
        """The name of a test, "timeout" or "crash"; empty where no test notices."""

        def run() -> str:
            failures = Failures()
            if code is not None and (at_import or not self._exchanged(code)):
                for name, module in list(sys.modules.items()):
                    tests = str(getattr(module, "__file__", "")).startswith(
                        str(self.copy / "tests")
                    )
                    if name.partition(".")[0] == "skinxai" or tests:
                        del sys.modules[name]
                files = sorted({name.partition("::")[0] for name in chosen})
                status = pytest_of(files, [Selected(chosen), failures], "-x")
                return failures.first or ("" if status in (0, 5) else "collection")
            self.session.config.pluginmanager.register(failures)
            items = [self.items[name] for name in chosen]
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if failures.first:
                    break
            return failures.first

        if not chosen:
            return ""
        how, first = in_a_fork(20 + 4 * sum(self.tests[name]["seconds"] for name in chosen), run)
        for left in Path("temporary").iterdir() if Path("temporary").exists() else ():
            shutil.rmtree(left, ignore_errors=True)
        return str(first) if how == "done" else how

    def _exchanged(self, code: CodeType) -> bool:
        """Give each function of the module its changed code; ``False``: it takes more."""
        codes = {(each.co_qualname, each.co_firstlineno): each for each in _within(code)}
        for function in self.functions.get(code.co_filename, []):
            own = function.__code__
            new = codes.get((own.co_qualname, own.co_firstlineno))
            if new is None or new.co_freevars != own.co_freevars:
                return False
            if new != own:
                function.__code__ = new
        return code.co_filename in self.functions


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)
