"""Which shard a process is, by launchers' variables."""

import itertools

import pytest

from skinxai.errors import OptionError
from skinxai.manifests import Shard, shard_from_environment

STEP = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}
SLURM = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "3"}


@pytest.mark.parametrize(
    ("environment", "count", "shard"),
    [
        ({}, None, None),
        ({"RANK": "2", "WORLD_SIZE": "4"}, None, (2, 4)),
        (SLURM, None, (2, 4)),
        (SLURM | {"SLURM_ARRAY_TASK_STEP": "2"}, None, (1, 4)),
        ({"SLURM_ARRAY_TASK_ID": "2"}, 4, (2, 4)),
        ({"JOB_COMPLETION_INDEX": "0"}, 3, (0, 3)),
        (SLURM | {"RANK": "0", "WORLD_SIZE": "1"}, None, (2, 4)),
        (SLURM | {"RANK": "2", "WORLD_SIZE": "4"}, 4, (2, 4)),
        (STEP, None, (2, 4)),
        (STEP | {"SLURM_STEP_NUM_TASKS": "3"}, 3, (2, 3)),  # srun -n 3 in a job of four tasks
        (STEP | {"ENVIRONMENT": "BATCH"}, None, (2, 4)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, None, (2, 4)),
        (SLURM | STEP, 16, (2 * 4 + 2, 16)),  # the third of an array's four, and its third task
        (SLURM | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, 4, (2, 4)),
        # sbatch -n 4: its script is one process, which must not leave three quarters to nobody
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "ENVIRONMENT": "BATCH"}, None, None),
        ({"SLURM_NTASKS": "4"}, None, None),  # in the shell of salloc
        ({"SLURM_PROCID": "0"}, None, None),
        # srun torchrun: its tasks are the machines of the ranks
        (STEP | {"RANK": "5", "WORLD_SIZE": "8"}, None, (5, 8)),
        (STEP | {"RANK": "1", "WORLD_SIZE": "4"}, None, (1, 4)),
        (STEP | {"RANK": "0", "WORLD_SIZE": "1"}, None, (2, 4)),
        (STEP | {"JOB_COMPLETION_INDEX": "2"}, 4, (2, 4)),
    ],
)
def test_launchers(environment, count, shard) -> None:
    found = shard_from_environment(environment, count)
    assert (found and found[0]) == shard


@pytest.mark.parametrize(
    ("environment", "count", "said"),
    [
        ({"RANK": "2"}, None, "RANK is set, but WORLD_SIZE is not set"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, None, "RANK is 'x', which is no number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, None, "numbered from 0 to 1, but they give 2"),
        ({"JOB_COMPLETION_INDEX": "1"}, None, "does not say how many"),
        ({"JOB_COMPLETION_INDEX": "3"}, 3, "from 0 to 2, but they give 3"),
        (SLURM | {"SLURM_ARRAY_TASK_ID": "9"}, None, "arrays with gaps"),
        (SLURM | {"SLURM_ARRAY_TASK_STEP": "3"}, None, "arrays with gaps"),
        (SLURM | {"RANK": "1", "WORLD_SIZE": "4"}, None, "RANK says that this is shard 1/4, but "
         "SLURM_ARRAY_TASK_ID says 2/4"),
        (STEP | {"RANK": "1", "WORLD_SIZE": "2"}, None, "RANK says that this is shard 1/2, but "
         "SLURM_PROCID says 2/4"),
        (STEP | {"SLURM_PROCID": "4"}, None, "from 0 to 3, but they give 4"),
        (STEP | {"SLURM_STEP_NUM_TASKS": "many"}, None, "SLURM_STEP_NUM_TASKS is 'many'"),
        (SLURM | STEP, 4, "shards must be as many as the 16 of SLURM_ARRAY_TASK_ID and "
         "SLURM_PROCID, got 4"),
        ({"RANK": "1", "WORLD_SIZE": "4"}, 8, "shards must be as many as the 4 of RANK, got 8"),
    ],
)  # fmt: skip
def test_launchers_that_say_too_little_or_contradict_each_other(environment, count, said) -> None:
    with pytest.raises(OptionError) as caught:
        shard_from_environment(environment, count)
    assert said in str(caught.value)


def test_every_chunk_is_of_one_shard() -> None:
    for count in (1, 3, 16):
        own = [c for n in range(count) for c in range(50) if Shard(n, count).has(c)]
        assert sorted(own) == list(range(50))


def test_every_chunk_is_of_one_task_of_an_array() -> None:
    found = []
    for job, task in itertools.product(range(3), range(4)):
        array = {"SLURM_ARRAY_TASK_ID": str(job), "SLURM_ARRAY_TASK_COUNT": "3"}
        shard, names = shard_from_environment(STEP | array | {"SLURM_PROCID": str(task)})
        assert names == "SLURM_ARRAY_TASK_ID and SLURM_PROCID"
        found += [chunk for chunk in range(50) if shard.has(chunk)]
    assert sorted(found) == list(range(50))


@pytest.mark.parametrize("text", ["3", "3/", "a/b", "-1/4", "4/4", "0/0", "1/16/2"])
def test_texts_that_are_no_shard(text) -> None:
    with pytest.raises(OptionError, match="numbered from 0"):
        Shard.parse(text)
    assert Shard.parse("3/16") == (3, 16)
