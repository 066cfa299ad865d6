"""Explanation methods compared on many labelled images with lesion masks, resumably."""

from skinxai.benchmarking.running import benchmark_explainers
from skinxai.benchmarking.summary import read_rows, summarise, to_markdown

__all__ = ["benchmark_explainers", "read_rows", "summarise", "to_markdown"]
