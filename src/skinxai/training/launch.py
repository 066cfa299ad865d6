"""What torchrun, or another launcher of several ranks, says in the environment. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from skinxai.errors import OptionError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_REMEDY = "start all ranks with torchrun, which sets it, or unset RANK and WORLD_SIZE for one rank"


@dataclass(frozen=True)
class Launch:
    """What the launcher says about this process.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        local: number of this process among those of its machine, from 0.
        beside: number of processes on its machine.
        restarts: how often the launcher has started all of them again.
        address: host name of the machine on which the ranks find each other.
        port: the port there.
        hosted: whether the launcher keeps the store there, in place of the first rank.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    beside: int = 1
    restarts: int = 0
    address: str = ""
    port: int = 0
    hosted: bool = False

    @classmethod
    def now(cls, environment: Mapping[str, str] = os.environ) -> "Launch":
        """Read it; a process that no launcher started is one rank.

        Raises:
            OptionError: if variables are missing, are no numbers or contradict each other.
        """
        given = {name: environment[name] for name in _NAMES if environment.get(name)}
        if "RANK" not in given and "WORLD_SIZE" not in given:
            return cls()
        for name in ("RANK", "WORLD_SIZE"):
            if name not in given:
                raise OptionError(f"{name} must be set where ranks are started; {_REMEDY}.")
        for name, value in given.items():
            if not value.isascii() or not value.isdigit():
                raise OptionError(f"{name} must be an integer >= 0, got {value!r}; {_REMEDY}.")
        numbers = {name: int(value) for name, value in given.items()}
        rank, count = numbers["RANK"], numbers["WORLD_SIZE"]
        for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):  # a guess would be wrong on two machines
            if count > 1 and name not in numbers:
                raise OptionError(f"{name} must be set where {count} ranks are started; {_REMEDY}.")
        local, beside = numbers.get("LOCAL_RANK", 0), numbers.get("LOCAL_WORLD_SIZE", 1)
        for name, one, of, most in (
            ("RANK", rank, "WORLD_SIZE", count), ("LOCAL_RANK", local, "LOCAL_WORLD_SIZE", beside)
        ):  # fmt: skip
            if one >= most:
                raise OptionError(f"{name} must be below {of} {most}, got {one}; {_REMEDY}.")
        restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "")
        address, port = environment.get("MASTER_ADDR", ""), numbers.get("MASTER_PORT", 0)
        if count > 1 and not (address and 0 < port < 2**16):
            wrong = "MASTER_PORT" if address else "MASTER_ADDR"
            raise OptionError(
                f"{wrong} must say where {count} ranks find each other, got "
                f"{environment.get(wrong)!r}; {_REMEDY}."
            )
        return cls(
            rank, count, local, beside, int(restarts) if restarts.isdigit() else 0, address, port,
            environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )  # fmt: skip
