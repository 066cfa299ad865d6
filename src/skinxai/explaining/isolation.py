"""A call in a process of its own, which may end in any way without harm to this one."""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from skinxai import plugins
from skinxai.errors import OptionError, PluginError
from skinxai.plugins.registry import THIS_PROCESS

Answer = TypeVar("Answer")


def in_process(call: Callable[[], Answer], who: str) -> Answer:
    """What ``call()`` returns, or raises, in a new Python process with the installed plugins.

    Both ways are pickled; nothing that the call changes is changed here.

    Args:
        call: without arguments; what it holds, and what it returns, can be pickled.
        who: named where the process ends without an answer.

    Raises:
        OptionError: a call that cannot be pickled, or not be unpickled in the new process.
        PluginError: the process ended on its own, was killed or crashed.
    """
    with tempfile.TemporaryDirectory(prefix="skinxai-") as folder:
        asked, answered = Path(folder, "call"), Path(folder, "answer")
        try:
            asked.write_bytes(pickle.dumps(call))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise OptionError(
                f"isolate='process' needs a model and images that can be pickled: {error}; give "
                f"paths or arrays, and a network whose functions are not lambdas."
            ) from error
        command = [sys.executable, "-c", f"from {__name__} import main; main()"]
        command += [str(asked), str(answered)]
        with subprocess.Popen(command) as process:
            try:
                code = process.wait()
            except BaseException:  # Ctrl-C
                process.kill()
                raise
        if code or not answered.exists():
            raise PluginError(
                f"the process of {who} ended with exit code {code} before it answered."
            )
        answer, raised = pickle.loads(answered.read_bytes())
    if raised is not None:
        raise raised
    found: Answer = answer
    return found


def explain_in_process(
    explain: Callable[..., Any], isolate: str, images: Any, method: str, **keywords: Any
) -> Any:
    """`Classifier.explain`, in a process of its own.

    Raises:
        OptionError: another ``isolate``, or a method that only this process knows.
    """
    if isolate != "process":
        raise OptionError(f"isolate must be None or 'process', got {isolate!r}.")
    source = plugins.explainers.entry(method).source
    if source == THIS_PROCESS:
        raise OptionError(
            f"isolate='process' needs a method of an installed plugin, but {method!r} is "
            f"registered only in this process; see 'Write an explainer plugin'."
        )
    who = f"explainer {method!r} of {source}"
    return in_process(partial(explain, images, method, **keywords), who)


def main() -> None:
    """What the process does: call, and write ``(answer, error)``, whole or not at all."""
    asked, answered = sys.argv[1:3]
    answer: Any = None
    raised: Exception | None = None
    try:
        call = pickle.loads(Path(asked).read_bytes())
    except Exception as error:  # whatever a class raises
        raised = OptionError(
            f"isolate='process' needs classes and functions that a new process can import, but "
            f"it found {type(error).__name__}: {error}; define them in a module of an installed "
            f"package, not in a script or notebook."
        )
    else:
        try:
            answer = call()
        except Exception as error:
            raised = error
    whole = Path(answered).with_suffix(".part")
    whole.write_bytes(pickle.dumps((answer, raised)))
    whole.replace(answered)
