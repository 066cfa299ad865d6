"""What `Classifier.explain` can be asked, besides the method and its own options. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Self

from skinxai.errors import OptionError
from skinxai.explaining.targets import Targets
from skinxai.flags import check_flags
from skinxai.labels import LabelSet


@dataclass(frozen=True)
class ExplainOptions:
    """The keywords of every call that explains; `Classifier.explain` says what they mean."""

    target: str | Sequence[str] | None = None
    against: str | None = None
    score: str = "logit"
    all_classes: bool = False
    tta: bool = False
    timeout: float | None = None
    isolate: str | None = None

    def __post_init__(self) -> None:
        check_flags(all_classes=self.all_classes, tta=self.tta)
        number = isinstance(self.timeout, Real) and not isinstance(self.timeout, bool)
        if self.timeout is not None and not (number and self.timeout > 0):
            raise OptionError(f"timeout must be seconds > 0, or None, got {self.timeout!r}.")

    @classmethod
    def names(cls) -> frozenset[str]:
        """Of the keywords."""
        return frozenset(each.name for each in fields(cls))

    @classmethod
    def take(cls, values: Mapping[str, Any], *left_out: str) -> tuple[Self, dict[str, Any]]:
        """Split keywords into these options and the rest, which keeps those ``left_out``."""
        own = cls.names().difference(left_out)
        rest = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}), rest

    def targets(self, labels: LabelSet) -> Targets:
        """Which class of each image is explained."""
        one_each = isinstance(self.target, list | tuple)
        codes: Any = tuple(self.target or ()) if one_each else self.target
        return Targets(labels, codes, self.all_classes, self.against)
