"""Attributes of one record that are no mapping."""

from pathlib import Path

import pytest

from skinxai.data.records import Record
from skinxai.errors import OptionError


@pytest.mark.parametrize("given", [None, "sex", ["sex"], [("sex", "female")], 3])
def test_attributes_that_are_no_mapping_are_named(given: object) -> None:
    with pytest.raises(OptionError, match=r"attributes of 'a' must be a mapping .* leave"):
        Record("a", Path("a.png"), "nv", attributes=given)  # type: ignore[arg-type]
