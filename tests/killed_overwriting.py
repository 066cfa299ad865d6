"""Overwrite folders again and again, killed before each call that changes the disk.

Usage: python killed_overwriting.py FOLDER CASE…        (prints the counts of each case as JSON)

Every case writes with one model over what it wrote with another one. What a kill leaves is seen
through `at_present`, as skinxai reads files, and plainly, as other programs do.
"""

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from small_runs import coloured, model_folder, registered
from typer.testing import CliRunner

from skinxai import Classifier
from skinxai.cli import app
from skinxai.configs import EnsembleConfig
from skinxai.disk.staging import UNFINISHED, at_present, write_together
from skinxai.errors import SkinxaiError
from skinxai.model_folders.ensembles import read_members
from skinxai.model_folders.files import contents, read_config, read_model_folder

CALLS = ("mkdir", "open", "fsync", "chmod", "rename", "replace", "unlink", "rmdir", "close")
FOREIGN = {"notes.txt": b"of the user", "more/notes.txt": b"of the user, too"}
_SECONDS = re.compile(rb'"seconds": [\d.e-]+')


@dataclass(frozen=True)
class Case:
    """One kind of folder.

    Args:
        write: writes the folder with the first or the second model, 0 or 1.
        check: what reads the folder must take it.
    """

    write: Callable[[Path, int], object]
    check: Callable[[Path], object] = str


def command(*arguments: object) -> None:
    """Run a command of skinxai to its end."""
    found = CliRunner().invoke(app, [str(each) for each in arguments])
    if found.exit_code:
        raise RuntimeError(found.output) from found.exception


def read_whole(folder: Path) -> None:
    """Read a model folder, or an ensemble's with its members, and verify all hashes."""
    files = read_model_folder(folder)
    list(contents(folder))
    if (folder / "members").exists():
        list(read_members(files, read_config(files, EnsembleConfig)))


def cases(folder: Path) -> dict[str, Case]:
    """The kinds that are tested; the models and images that they need are made in a folder."""
    photos = [item.path for item in coloured(folder / "images", 1, 0)][:2]
    models = [model_folder(folder / name, seed=seed) for seed, name in enumerate("ab")]
    classifiers = [Classifier.from_pretrained(path, device="cpu") for path in models]
    ensembles = [Classifier.from_pretrained([each, models[0]], device="cpu") for each in models]

    def predict(out: Path, which: int) -> None:
        arguments = ("--explain", "gradcam", "--out", out, "--model", models[which])
        command("predict", *photos, *arguments)

    def explain(out: Path, which: int) -> None:
        command("explain", *photos, "--out", out, "--model", models[which])

    return {
        "save_pretrained": Case(lambda out, n: classifiers[n].save_pretrained(out), read_whole),
        "save_pretrained of an ensemble": Case(
            lambda out, n: ensembles[n].save_pretrained(out), read_whole
        ),
        "Explanation.save": Case(
            lambda out, n: classifiers[n].explain(photos[0], progress=False).save(out)
        ),
        "explain --out": Case(explain),
        "predict --out": Case(predict),
    }


def files_of(folder: Path) -> dict[str, bytes]:
    """Name → content of all files but those that are being written."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not name.parts[0].startswith((".skinxai-", UNFINISHED)):
            found[str(name)] = _SECONDS.sub(b"", path.read_bytes())
    return found


def seen(folder: Path, names: Mapping[str, bytes]) -> dict[str, bytes]:
    """Name → content as skinxai reads them."""
    found = {}
    for name in names:
        try:
            found[name] = _SECONDS.sub(b"", at_present(folder / name, Path.read_bytes))
        except FileNotFoundError:
            continue
    return found


def killed_at(case: Case, folder: Path, moment: int) -> tuple[bool, list[str]]:
    """Write with the second model in a child that is killed before a call, counted from 0.

    Returns:
        Whether it was killed, and the calls until then.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        left = [moment]
        for name in CALLS:
            setattr(os, name, _counted(name, getattr(os, name), left, writing))
        case.write(folder, 1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as calls:
        names = calls.read().split()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0, names


def _counted(
    name: str, call: Callable[..., object], left: list[int], calls: int
) -> Callable[..., object]:
    def run(*values: object, **keywords: object) -> object:
        if name == "open" and not _writes(*values, **keywords):
            return call(*values, **keywords)
        os.write(calls, f"{name} ".encode())
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return call(*values, **keywords)

    return run


def _writes(path: object, flags: int, *_: object, **__: object) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def campaign(case: Case, folder: Path) -> dict[str, object]:
    """Counts of what is left after a kill before each call."""
    states = []
    for which in (0, 1):
        case.write(folder / str(which), which)
        states.append(files_of(folder / str(which)))
    assert states[0] != states[1]
    target, found, plain, refused, moment = folder / "target", Counter(), Counter(), 0, 0
    wrong: list[int] = []
    names: list[str] = []
    killed = True
    while killed:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / "0", target)
        write_together(target, FOREIGN)
        killed, names = killed_at(case, target, moment)
        wanted = [states[0] | FOREIGN, states[0] | states[1] | FOREIGN]
        state = _which(seen(target, wanted[1]), wanted)
        found[state] += 1
        is_marked = (target / UNFINISHED).exists()
        outside = _which(files_of(target), wanted)
        plain[f"{outside}, marked" if is_marked else outside] += 1
        try:
            case.check(target)
        except SkinxaiError:
            refused += 1
        case.write(target, 1)  # the next write puts all in order
        if files_of(target) != wanted[1] or any(".skinxai" in p.name for p in target.iterdir()):
            wrong.append(moment)
        moment += 1
    return {
        "kills": moment - 1,
        "calls": dict(Counter(names)),
        "as skinxai reads it": dict(found),
        "as other programs read it": dict(plain),
        "refused": refused,
        "not in order after the next write": wrong,
    }


def _which(state: Mapping[str, bytes], wanted: list[dict[str, bytes]]) -> str:
    return ("old", "new")[wanted.index(dict(state))] if state in wanted else "neither"


def main(folder: Path, names: list[str]) -> None:
    with registered():
        known = cases(folder)
        report = {}
        for number, name in enumerate(names or known):
            (folder / f"case-{number}").mkdir()
            report[name] = campaign(known[name], folder / f"case-{number}")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
