"""Which chunks of a manifest a process takes: asked for, or found in its environment."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from skinxai.errors import OptionError
from skinxai.numeric import plain

_RANK, _ARRAY, _TASK, _INDEX = (
    "RANK", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX",
)  # fmt: skip
"""The variable of each launcher that numbers its processes."""
_REMEDY = {"python": "pass shard=(number, count)", "command": "give --shard NUMBER/COUNT"}
_Environment = Mapping[str, str]


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
        """The shard; an `OptionError` of a number not below the count, or of a count below 1."""
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
        """From ``"3/16"``; an `OptionError` of other texts."""
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
    found = {
        name: read(environment, count) for name, read in _LAUNCHERS.items() if name in environment
    }
    shards = [(shard, name) for name, shard in _joined(found).items()]
    several = [each for each in shards if each[0].of > 1] or shards
    for shard, name in several:
        if shard != several[0][0]:
            raise OptionError(
                f"{several[0][1]} says that this is shard {several[0][0]}, but {name} says {shard}",
                **_REMEDY,
            )
        if count is not None and shard.of != count:
            raise OptionError(
                f"shards must be as many as the {shard.of} of {name}, got {count}; leave it out."
            )
    return several[0] if several else None


def _joined(found: dict[str, Shard]) -> dict[str, Shard]:
    """The shards by variable, where those of ``srun`` are part of another launcher's, or whole."""
    own = found.get(_TASK, _WHOLE)
    rest = {name: shard for name, shard in found.items() if name != _TASK}
    if rest.get(_RANK, _WHOLE).of >= own.of:
        return rest
    if _ARRAY not in rest:
        return rest | {_TASK: own}
    outer = rest.pop(_ARRAY)
    inner = Shard(outer.number * own.of + own.number, outer.of * own.of)
    return rest | {f"{_ARRAY} and {_TASK}": inner}


def _torchrun(environment: _Environment, count: int | None) -> Shard:
    number, size = (_number(environment, name, _RANK) for name in (_RANK, "WORLD_SIZE"))
    return _within(number, size, "RANK and WORLD_SIZE")


def _array(environment: _Environment, count: int | None) -> Shard:
    task = _number(environment, _ARRAY, _ARRAY)
    size = _number(environment, "SLURM_ARRAY_TASK_COUNT", _ARRAY, count)
    least = _number(environment, "SLURM_ARRAY_TASK_MIN", _ARRAY, 0)
    step = max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", _ARRAY, 1))
    number, rest = divmod(task - least, step)
    return _within(-1 if rest else number, size, "SLURM_ARRAY_TASK_ID, _MIN and _COUNT")


def _srun(environment: _Environment, count: int | None) -> Shard:
    tasks = "SLURM_STEP_NUM_TASKS"
    if tasks in environment:
        size = _number(environment, tasks, _TASK)
    elif environment.get("ENVIRONMENT") == "BATCH":
        return _WHOLE  # the script itself is one process, for however many tasks it has asked
    else:
        size = _number(environment, "SLURM_NTASKS", _TASK, 1)
    return _within(_number(environment, _TASK, _TASK), size, f"{_TASK} and {tasks}")


def _kubernetes(environment: _Environment, count: int | None) -> Shard:
    if count is None:
        raise OptionError(
            f"{_INDEX} is set, but does not say how many shards there are",
            python="pass count, the Job's completions",
            command="give --shards with the Job's completions",
        )
    return _within(_number(environment, _INDEX, _INDEX), count, _INDEX)


def _number(environment: _Environment, name: str, first: str, default: int | None = None) -> int:
    """One variable of a launcher, whose ``first`` is set."""
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"\d{1,9}", text.strip()):
        given = "is not set" if text is None else f"is {text!r:.40}, which is no number"
        raise OptionError(f"{first} is set, but {name} {given}", **_REMEDY)
    return int(text)


def _within(number: int, count: int, names: str) -> Shard:
    if not 0 <= number < count:
        raise OptionError(
            f"{names} must give a shard numbered from 0 to {count - 1}, but they give {number}, as "
            f"arrays with gaps do",
            **_REMEDY,
        )
    return Shard(number, count)


_WHOLE = Shard(0, 1)
_LAUNCHERS = {_RANK: _torchrun, _ARRAY: _array, _TASK: _srun, _INDEX: _kubernetes}
