"""The table of statuses and codes on the page of errors is that of the code."""

import inspect
import re
from collections import defaultdict

from places import ROOT

from skinxai import errors
from skinxai.serving.problems import STATUSES
from skinxai.serving.server import CODES
from skinxai.serving.service_metrics import Metrics

PAGE = ROOT / "docs/reference/errors.md"
GIVEN = r"""Problem\(\s*(?:401 if \w+ else )?(\d{3}),\s*"(\w+)\""""
"""Where the service refuses by itself."""


def of_the_code() -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.SkinxaiError):
            found[next((n for base, n in STATUSES if issubclass(kind, base)), 500)].add(kind.code)
    for path in sorted((ROOT / "src/skinxai/serving").glob("*.py")):
        for number, code in re.findall(GIVEN, path.read_text()):
            found[int(number)].add(code)
    for number, code in CODES.items():
        found[number].add(code)
    found[500].add("internal")
    found[404].add("not_found")
    found[405].add("method_not_allowed")
    return dict(found)


def test_each_status_has_its_codes() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert {int(number): set(re.findall(r"`(\w+)`", codes)) for number, codes in rows} == (
        of_the_code()
    )
    assert [number for number, _ in rows] == sorted({number for number, _ in rows})


def test_each_code_begins_at_zero_so_that_its_first_error_is_an_increase() -> None:
    rows = re.findall(r'(?m)^skinxai_errors_total{code="(\w+)"} 0.0$', Metrics().text().decode())
    assert sorted(rows) == sorted(set().union(*of_the_code().values()))


def test_the_pattern_finds_the_refusals_of_the_service() -> None:
    found = of_the_code()
    assert {"queue_full", "shutdown", "loading", "worker_ended"} <= found[503]
    assert "key" in found[401] and "rate" in found[429] and "host" in found[403]
