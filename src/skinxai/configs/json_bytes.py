"""JSON as one byte string for one value, and the strict way back."""

import json
import math
from collections import Counter
from typing import Any

MAX_JSON_BYTES = 2**20


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no spaces, ASCII, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def strict_json(data: bytes, most: int = MAX_JSON_BYTES) -> Any:
    """The value of UTF-8 JSON: no key twice, numbers that 64 bits hold, at most `MAX_JSON_BYTES`.

    Halves of surrogate pairs, which are no text, are refused as well.

    Raises:
        ValueError: anything else.
    """
    if len(data) > most:
        raise ValueError(f"it must have at most {most} bytes, but it has {len(data)}")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=unique_keys, parse_constant=_refuse,
            parse_float=_finite, parse_int=_in_64_bits,
        )  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()  # text that is none, or nested too deep
        return value
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `json.loads`; a key that it has twice is a `ValueError`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"it has a key twice: {key!r:.100}")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _in_64_bits(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError(f"the number {text[:20]} of {len(text)} digits is too large")
    return number
