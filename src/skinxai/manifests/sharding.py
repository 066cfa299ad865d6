"""Which chunks of a manifest a process takes: asked for, or found in its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from skinxai.errors import OptionError
from skinxai.numeric import plain


class Shard(NamedTuple):
    """One of several processes that share a manifest.

    Args:
        number: of this process, from 0.
        of: how many there are.
    """

    number: int
    of: int

    @classmethod
    def checked(cls, number: int, count: int) -> Self:
        """The shard.

        Raises:
            OptionError: a number that is not below the count, or a count below 1.
        """
        number, count = plain(number), plain(count)
        if type(number) is not int or type(count) is not int or not 0 <= number < count:
            last = f" to {count - 1}" if type(count) is int and count > 0 else ""
            raise OptionError(
                f"shard must be a number and how many there are, numbered from 0{last}, got "
                f"{number}/{count}."
            )
        return cls(number, count)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``"3/16"``.

        Raises:
            OptionError: another text, or a number that is not below the count.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if found is None:
            raise OptionError(f"shard must look like 3/16, numbered from 0 to 15, got {text!r}.")
        return cls.checked(int(found[1]), int(found[2]))

    def has(self, chunk: int) -> bool:
        """Whether a chunk is this shard's: one of each ``of`` is."""
        return chunk % self.of == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_from_environment(
    environment: Mapping[str, str], count: int | None = None
) -> tuple[Shard, str] | None:
    """The shard that a launcher gave this process, and which variables say so.

    They are ``RANK`` and ``WORLD_SIZE`` (torchrun), ``SLURM_ARRAY_TASK_ID`` with ``…_COUNT``,
    ``…_MIN`` and ``…_STEP`` (Slurm's job arrays), ``SLURM_PROCID`` with ``SLURM_STEP_NUM_TASKS``
    (the tasks of Slurm's ``srun``), and ``JOB_COMPLETION_INDEX`` (Kubernetes' indexed jobs, which
    do not tell how many there are). The share of an array's job is divided among the tasks that
    ``srun`` starts in it. Tasks in which torchrun starts its ranks do not divide these again. A
    launcher of a single process is no contradiction to another one of several.

    Args:
        environment: such as `os.environ`.
        count: how many shards there are, where it is known.

    Returns:
        ``None`` where no launcher has set anything.

    Raises:
        OptionError: variables that are incomplete, no numbers, or contradict each other or
            ``count``.
    """
    launchers = (_torchrun, _array, _srun, _kubernetes)
    found = {
        each.names[0]: each.shard(environment, count)
        for each in launchers
        if each.names[0] in environment
    }
    shards = [(shard, name) for name, shard in _joined(found).items()]
    several = [each for each in shards if each[0].of > 1] or shards
    for shard, name in several:
        if shard != several[0][0]:
            raise OptionError(
                f"{several[0][1]} says that this is shard {several[0][0]}, but {name} says {shard}",
                python="pass shard=(number, count)",
                command="give --shard NUMBER/COUNT",
            )
        if count is not None and shard.of != count:
            raise OptionError(
                f"shards must be as many as the {shard.of} of {name}, got {count}; leave it out."
            )
    return several[0] if several else None


def _joined(found: dict[str, Shard]) -> dict[str, Shard]:
    """The shards by variable, where those of ``srun`` are part of another launcher's, or whole."""
    (ranks, _), (array, _), (task, _) = _torchrun.names, _array.names, _srun.names
    own = found.get(task, _WHOLE)
    rest = {name: shard for name, shard in found.items() if name != task}
    if rest.get(ranks, _WHOLE).of >= own.of:
        return rest
    if array not in rest:
        return rest | {task: own}
    outer = rest.pop(array)
    inner = Shard(outer.number * own.of + own.number, outer.of * own.of)
    return rest | {f"{array} and {task}": inner}


class _Launcher:
    """The variables of one launcher, the number's first."""

    names: tuple[str, ...] = ()

    def shard(self, environment: Mapping[str, str], count: int | None) -> Shard:
        """What they say."""
        raise NotImplementedError

    def number(self, environment: Mapping[str, str], name: str, default: int | None = None) -> int:
        """One variable.

        Raises:
            OptionError: it is missing, or no number.
        """
        text = environment.get(name)
        if text is None and default is not None:
            return default
        if text is None or not re.fullmatch(r"\d{1,9}", text.strip()):
            given = "is not set" if text is None else f"is {text!r:.40}, which is no number"
            raise OptionError(
                f"{self.names[0]} is set, but {name} {given}",
                python="pass shard=(number, count)",
                command="give --shard NUMBER/COUNT",
            )
        return int(text)


class _Torchrun(_Launcher):
    names = ("RANK", "WORLD_SIZE")

    def shard(self, environment: Mapping[str, str], count: int | None) -> Shard:
        number, size = (self.number(environment, name) for name in self.names)
        return _within(number, size, " and ".join(self.names))


class _Array(_Launcher):
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")

    def shard(self, environment: Mapping[str, str], count: int | None) -> Shard:
        task = self.number(environment, self.names[0])
        size = self.number(environment, self.names[1], count)
        least = self.number(environment, "SLURM_ARRAY_TASK_MIN", 0)
        step = max(1, self.number(environment, "SLURM_ARRAY_TASK_STEP", 1))
        number, rest = divmod(task - least, step)
        return _within(-1 if rest else number, size, "SLURM_ARRAY_TASK_ID, _MIN and _COUNT")


class _Srun(_Launcher):
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")

    def shard(self, environment: Mapping[str, str], count: int | None) -> Shard:
        if self.names[1] in environment:
            size = self.number(environment, self.names[1])
        elif environment.get("ENVIRONMENT") == "BATCH":
            return _WHOLE  # the script itself is one process, for however many tasks it has asked
        else:
            size = self.number(environment, "SLURM_NTASKS", 1)
        return _within(self.number(environment, self.names[0]), size, " and ".join(self.names))


class _Kubernetes(_Launcher):
    names = ("JOB_COMPLETION_INDEX",)

    def shard(self, environment: Mapping[str, str], count: int | None) -> Shard:
        if count is None:
            raise OptionError(
                "JOB_COMPLETION_INDEX is set, but does not say how many shards there are",
                python="pass count, the Job's completions",
                command="give --shards with the Job's completions",
            )
        return _within(self.number(environment, self.names[0]), count, self.names[0])


def _within(number: int, count: int, names: str) -> Shard:
    if not 0 <= number < count:
        raise OptionError(
            f"{names} must give a shard numbered from 0 to {count - 1}, but they give {number}, as "
            f"arrays with gaps do",
            python="pass shard=(number, count)",
            command="give --shard NUMBER/COUNT",
        )
    return Shard(number, count)


_torchrun, _array, _srun, _kubernetes = _Torchrun(), _Array(), _Srun(), _Kubernetes()
_WHOLE = Shard(0, 1)
