"""API keys: random, kept as hashes, compared in constant time."""

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from starlette.datastructures import Headers

from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.errors import OptionError
from skinxai.serving.problems import Problem

PREFIX = "skinxai_"


def new_key() -> tuple[str, str]:
    """A key of 256 random bits for a client, and its hash for the service's file."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hashed(key)


def hashed(key: str) -> str:
    """SHA-256 in hexadecimal: enough for a key that is random, unlike a password."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_hashes(path: Path) -> tuple[str, ...]:
    """The hashes of a file: one a line, and a comment behind ``#`` where there is one.

    Raises:
        OptionError: a file that cannot be read, a line that is no hash, or no line.
    """
    try:
        lines = read_file(path, MAX_TEXT_BYTES).decode().splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(
            f"api_keys must be a readable text file, but {str(path)!r} is not: {reason}."
        ) from error
    found = [line.partition("#")[0].strip() for line in lines]
    for number, each in enumerate(found, 1):
        if each and not re.fullmatch(r"[0-9a-f]{64}", each):  # it is not shown: it may be a key
            raise OptionError(
                f"api_keys must hold SHA-256 hashes of 64 hexadecimal digits, but line {number} is "
                f"none; make one with 'skinxai serve --new-key'."
            )
    if not any(found):
        raise OptionError(f"api_keys must hold at least one hash, but {str(path)!r} has none.")
    return tuple(each for each in found if each)


def check_key(headers: Headers, hashes: tuple[str, ...]) -> str:
    """The hash of the key that a request brings as ``Authorization: Bearer`` or ``X-API-Key``.

    Raises:
        Problem: 401.
    """
    kind, _, given = headers.get("authorization", "").partition(" ")
    given = given.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
    own = hashed(given)
    matches = [each for each in hashes if hmac.compare_digest(each, own)]  # all are compared
    if not given or not matches:
        raise Problem(401, "key", "A valid key is needed: send 'Authorization: Bearer KEY'.")
    return matches[0]
