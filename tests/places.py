"""Where things lie, wherever in this folder a test stands."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
"""The repository, or the unpacked source distribution."""
