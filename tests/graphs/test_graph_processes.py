"""Graphs in processes of their own: without torch, and with a signal."""

import subprocess
import sys
from pathlib import Path

import pytest

from skinxai import Classifier
from skinxai.predicting.gpu_drivers import DRIVER_FILES

pytestmark = pytest.mark.usefixtures("small_networks")

ALONE = """
import sys
from skinxai import Classifier
found = Classifier.from_pretrained(sys.argv[1], backend=sys.argv[2])
print(found.predict(sys.argv[3]).label, found.explain(sys.argv[3]).heatmap.shape)
heavy = {"torch", "timm", "torchvision", "pandas", "sklearn", "albumentations"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("backend", ["onnx", "openvino", "auto"])
def test_predictions_and_grad_cam_need_no_torch(small: Path, pictures: list, backend: str) -> None:
    if backend == "auto" and any(path.exists() for path in DRIVER_FILES):
        pytest.skip("torch is asked for this machine's GPU")
    command = [sys.executable, "-c", ALONE, str(small), backend, str(pictures[0])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = Classifier.from_pretrained(small).predict(pictures[0]).label
    assert done.stdout.split() == [expected, "(40,", "56)"]


SIGNALLED = """
import gc, signal, sys
from skinxai import Classifier
first, second = (Classifier.from_pretrained(sys.argv[1], backend="openvino") for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("told", flush=True))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_ends_no_process_that_had_two_graphs(small: Path) -> None:
    """OpenVINO's cores, one for each, would leave a stack for signals that is gone."""
    command = [sys.executable, "-c", SIGNALLED, str(small)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told\n")
