"""`Router`: which of several models answers a request, in shares, and always the same for a key."""

import hashlib
import math
from collections.abc import Mapping

from skinxai.data.cleaning import clean
from skinxai.errors import OptionError


class Router:
    """Weighted rendezvous hashing (Mosharaf Kamal & Thaler, 1998; Resch, 2014, for the weights).

    Each model draws a number for the key, and the model with the best one answers. Where a model is
    added, or gets a larger weight, only keys that go to it change their model; where one is taken
    away, only its own keys do.

    Args:
        weights: of the models by name, > 0, in any unit.

    Raises:
        OptionError: no model, or a weight that is no number > 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not weights:
            raise OptionError("weights must name at least one model, got none.")
        for name, weight in weights.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise OptionError(f"the weight of {name!r} must be a number > 0, got {weight!r}.")
        self._weights = dict(weights)

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of all keys that each model answers; sum 1."""
        total = math.fsum(self._weights.values())
        return {name: weight / total for name, weight in self._weights.items()}

    def choose(self, key: str) -> str:
        """The model that answers the requests of a key.

        Args:
            key: any text, such as a subject's number or the digest of an upload. As in the review
                store, blanks around it do not count, nor how its letters are composed.
        """
        key = clean(key)
        # -ln(u) / w is exponential with rate w; the smallest is i's with probability w_i / sum(w).
        return min(
            self._weights, key=lambda name: -math.log(_uniform(key, name)) / self._weights[name]
        )


def _uniform(key: str, name: str) -> float:
    """A number in (0, 1] that is the same each time, and unrelated for other keys and names."""
    drawn = hashlib.sha256(f"{len(name)}:{name}{key}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(drawn[:8]) + 1) / 2**64
