"""`EnsembleConfig`: models that are used as one."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from skinxai.configs.checked_fields import (
    SCHEMA_VERSION,
    check_keys,
    check_line,
    check_lists,
    check_schema,
    labels_of,
)
from skinxai.errors import ModelConfigError
from skinxai.labels import LabelSet
from skinxai.plain_text import MAX_NAME

MAX_MEMBERS = 64
_MEMBER = re.compile(r"members/\w[\w.-]{0,79}", re.ASCII)


@dataclass(frozen=True)
class MemberConfig:
    """One member of an ensemble.

    Args:
        folder: below the ensemble's, ``members/NAME``.
        revision: the whole digest of the member's manifest, 64 hexadecimal digits.
        weight: its share of the mean, > 0.
    """

    folder: str
    revision: str
    weight: float

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not _MEMBER.fullmatch(self.folder):
            raise ModelConfigError(
                f"a member's folder must be members/NAME, with a NAME of letters, digits and "
                f"'_-.', got {self.folder!r}."
            )
        if not isinstance(self.revision, str) or not re.fullmatch("[0-9a-f]{64}", self.revision):
            raise ModelConfigError(
                f"revision of {self.folder!r} must be 64 hexadecimal digits, got {self.revision!r}."
            )
        if type(self.weight) not in (int, float) or not 0 < self.weight < math.inf:
            raise ModelConfigError(
                f"weight of {self.folder!r} must be a number > 0, got {self.weight!r}."
            )
        object.__setattr__(self, "weight", float(self.weight))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        check_keys("a member", cls, values)
        return cls(**values)


@dataclass(frozen=True)
class EnsembleConfig:
    """What is needed to use several models as one; all else is in the members' own configs.

    Args:
        name: the ensemble's name.
        labels: of each member, in logit order.
        members: folders, revisions and weights; the weights sum to 1 within 1e-9.
        kind: ``"ensemble"``.
    """

    name: str
    labels: LabelSet
    members: tuple[MemberConfig, ...]
    kind: str = "ensemble"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if self.kind != "ensemble":
            raise ModelConfigError(f"kind must be 'ensemble', got {self.kind!r}.")
        check_schema(self.schema_version, "an ensemble's config")
        check_line("name", self.name, MAX_NAME)
        folders = [member.folder.lower() for member in self.members]  # some systems see no case
        if not 1 <= len(folders) <= MAX_MEMBERS or len(set(folders)) != len(folders):
            raise ModelConfigError(
                f"members must be one to {MAX_MEMBERS} folders, each listed once, got "
                f"{len(folders)}: {folders[:8]}."
            )
        total = math.fsum(member.weight for member in self.members)
        if abs(total - 1) > 1e-9:
            raise ModelConfigError(
                f"weights of the members must sum to 1, but they sum to {total!r}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        check_keys("ensemble config", cls, values)
        check_lists("ensemble config", values, "members")
        members = tuple(MemberConfig.from_dict(member) for member in values["members"])
        return cls(**{**values, "labels": labels_of(values["labels"]), "members": members})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        members = [asdict(member) for member in self.members]
        return values | {"labels": self.labels.to_dict(), "members": members}
