"""Explanation methods compared, and models put under stress, on labelled images."""

from skinxai.benchmarking.running import benchmark_explainers
from skinxai.benchmarking.stress_sheet import stress_sheet
from skinxai.benchmarking.stressing import stress_test
from skinxai.benchmarking.summary import read_rows, summarise, to_markdown

__all__ = [
    "benchmark_explainers",
    "read_rows",
    "stress_sheet",
    "stress_test",
    "summarise",
    "to_markdown",
]
