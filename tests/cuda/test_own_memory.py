"""The same bodies on a device whose memory is its own, which needs no GPU: see `own_memory`."""

import os
import sys
from pathlib import Path

import pytest
import torch
import warm
from on_a_device import OWN


def test_no_answer_mixes_the_tensors_of_two_devices() -> None:
    """In a process of its own, since torch keeps a device until the process ends."""
    if OWN:
        pytest.skip("This process is that one.")
    here = Path(__file__)
    files = sorted(str(each) for each in here.parent.glob("test_*_on_a_device.py"))
    command = [sys.executable, "-m", "pytest", "-p", "own_memory", "-p", "no:cacheprovider"]
    done = warm.run(
        [*command, *files], cwd=here.parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_what_a_gpu_refuses_is_refused() -> None:
    if not OWN:
        pytest.skip("Its plugin is not active in this process.")
    there, here = torch.ones(3, device="own"), torch.ones(3)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        there + here
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="Expected a 'own' device type for generator"):
        torch.rand(3, device="own", generator=torch.Generator())
    there[torch.tensor([0, 2])] = 0  # indices may lie on the processor
    assert there.tolist() == [0, 1, 0] and (there + 1).device.type == "own"
