"""A process that was forked after a model was loaded, or used, answers as its parent does.

Each case is a program of its own: one that hangs is ended after `LIMIT` seconds.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import model_folder, registered
from waiting import LIMIT

from skinxai import Classifier
from skinxai.predicting import forking

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
THREADS = {"OMP_NUM_THREADS": "2"}  # more than one, or there is nothing that could hang

PROGRAM = """
import multiprocessing, os, sys
import numpy as np
from torch.utils.data import DataLoader, Dataset
from skinxai import Classifier, samples

paths = [str(path) for path in samples.paths()[:2]]

def answers(classifier):
    return [[p.probabilities[k] for k in classifier.labels] for p in classifier.predict(paths)]

def in_a_child(what):
    pid = os.fork()
    if pid == 0:
        try:
            what()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def compare():
    np.testing.assert_allclose(answers(classifier), expected, atol=1e-5)

class Labels(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return classifier.predict(paths[index]).label

classifier = Classifier.from_pretrained()
print("loaded", in_a_child(lambda: answers(classifier)))
expected = answers(classifier)
heatmap = classifier.explain(paths[0]).heatmap
print("predicted", in_a_child(compare))
print("explained", in_a_child(lambda: np.testing.assert_allclose(
    classifier.explain(paths[0]).heatmap, heatmap, atol=1e-4)))
with multiprocessing.get_context("fork").Pool(2) as pool:
    print("pool", [p.label for p in pool.map(classifier.predict, paths)]
          == [p.label for p in classifier.predict(paths)])
loader = DataLoader(Labels(), num_workers=1, multiprocessing_context="fork", batch_size=None)
print("loader", list(loader) == [p.label for p in classifier.predict(paths)])
"""


def run(program: str, *arguments: object, **settings: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, env=os.environ | settings, start_new_session=True, **pipes
    ) as process:
        try:
            output, problems = process.communicate(timeout=LIMIT)
        finally:  # with its children
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, problems
    return output


def test_children_of_a_process_that_loaded_predicted_and_explained() -> None:
    found = run(PROGRAM, **THREADS).splitlines()
    assert found == ["loaded 0", "predicted 0", "explained 0", "pool True", "loader True"]


GRAPH = """
import os, sys
from skinxai import Classifier, samples

path = samples.paths()[0]
classifier = Classifier.from_pretrained(sys.argv[1], backend=sys.argv[2])
for when in ("loaded", "predicted"):
    pid = os.fork()
    if pid == 0:
        try:
            classifier.predict([path] * 4), classifier.explain(path)
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(when, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    classifier.predict([path] * 4)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a graph."""
    folder = tmp_path_factory.mktemp("models")
    with registered():
        whole = Classifier.from_pretrained(model_folder(folder / "whole", seed=1))
        whole.with_graph().save_pretrained(folder / "small")
    return folder / "small"


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_children_of_a_process_that_uses_a_graph(small: Path, backend: str) -> None:
    assert run(GRAPH, small, backend, **THREADS).splitlines() == ["loaded 0", "predicted 0"]


HELD = """
import os, sys, threading
from skinxai import Classifier, samples
from skinxai.predicting.forking import LOCKS
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture

image = picture({"upper left": "red"})
classifier = colour_classifier()
classifier.explain(image), classifier.predict(image)
import skinxai.graphs.exported
held, done = threading.Event(), threading.Event()

def hold():
    for module, name in LOCKS:
        getattr(sys.modules[module], name).acquire()
    held.set(), done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if pid == 0:
    try:
        classifier.explain(image), classifier.predict(image)
        Classifier.from_pretrained().predict(samples.paths()[0])
        for module, name in LOCKS:
            with getattr(sys.modules[module], name):
                pass
    except BaseException:
        os._exit(1)
    os._exit(0)
print("forked", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
done.set()
"""


def test_what_another_thread_had_locked_is_free_in_a_child() -> None:
    """It is loading or explaining, say; nobody would unlock it there."""
    assert run(HELD, **THREADS).splitlines() == ["forked 0"]


def test_each_lock_of_the_process_is_made_anew() -> None:
    source = Path(forking.__file__).parents[1]
    found = set()
    for path in source.rglob("*.py"):
        module = ".".join(("skinxai", *path.relative_to(source).with_suffix("").parts))
        for name in re.findall(r"^(\w+) = threading\.R?Lock\(\)", path.read_text("utf-8"), re.M):
            found.add((module, name))
    assert found - set(forking.LOCKS) == {("skinxai.testing.conformance", "_registering")}
    assert set(forking.LOCKS) <= found
