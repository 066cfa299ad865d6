"""Nothing leaves this machine, and no file is left in the user's home."""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import every_command
import network_guard
import pytest
from demo_server import address_of
from every_command import CASES, ENDED, HUB
from hub_server import TOKEN, Hub
from waiting import wait_for

from skinxai import samples, telemetry
from skinxai.cli.commands import SERVERS

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytest.importorskip("streamlit")

watching = pytest.mark.skipif(
    not network_guard.available(), reason="needs Linux 5.5, and seccomp for ordinary users"
)
FAR = "192.0.2.1"  # for documentation; no machine has it
FONTS = r"\.cache/matplotlib/fontlist-v[\d.]+\.json"
ALLOWED = ("org/mine", "/api/repos/create", "/api/validate-yaml", "/_lfs/")
ALL = """
import skinxai
import albumentations, captum.attr, cv2, huggingface_hub, onnx, onnxruntime, openvino, pandas
import sklearn, streamlit, timm, torch, torchvision
from onnx import helper as h
one, other = (h.make_tensor_value_info(name, 1, [1]) for name in "xy")
graph = h.make_graph([h.make_node("Identity", ["x"], ["y"])], "graph", [one], [other])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString())
openvino.Core().read_model(model.SerializeToString())
print("imported")
"""


@dataclass
class Watched:
    """What a program did in an empty home."""

    folder: Path
    notes: list[str]

    def __post_init__(self) -> None:
        for name in ("home", "temporary"):
            (self.folder / name).mkdir()

    def environment(self, **more: str) -> dict[str, str]:
        """Of somebody who set nothing: neither CI nor a switch of a dependency."""
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.folder / "temporary"), "PYTHONPATH": os.pathsep.join(sys.path),
            **more,
        }  # fmt: skip

    def start(self, *words: str, **more: str):
        """A program of this interpreter, watched."""
        return network_guard.watched(
            [sys.executable, *words], env=self.environment(**more), cwd=self.folder,
            notes=self.notes,
        )  # fmt: skip

    def run(self, code: str) -> str:
        """What a program says."""
        with self.start("-c", code) as process:
            said, _ = process.communicate()
        return said

    def files(self) -> list[str]:
        """What lies in the home, but for the list of fonts that matplotlib keeps for captum."""
        home = self.folder / "home"
        found = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
        return [name for name in found if not re.fullmatch(FONTS, name)]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, [])


@dataclass
class Ran:
    """All cases, run in one process."""

    codes: dict[str, list[int]]
    notes: dict[str, list[str]]
    watched: Watched
    asked: list[str]
    said: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    watched, hub = Watched(tmp_path_factory.mktemp("silent"), []), Hub()
    every_command.prepare(watched.folder)
    codes: dict[str, list[int]] = {}
    notes: dict[str, list[str]] = {}
    said: list[str] = []
    more = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    program = ("-X", "warn_default_encoding", every_command.__file__)
    with watched.start(*program, **more) as process:
        names, before = [name for name, _ in every_command.lines()] + ["page"], 0
        for line in process.stdout:
            said.append(line)
            if line.startswith(ENDED):
                name = names.pop(0)
                codes.setdefault(name, []).append(json.loads(line.removeprefix(ENDED))[1])
                notes.setdefault(name, []).extend(watched.notes[before:])
                before = len(watched.notes)
    asked = [path for _, path in hub.requests]
    hub.close()
    yield Ran(codes, notes, watched, asked, "".join(said))


def test_every_command_has_a_case() -> None:
    assert every_command.names() == {*CASES, *HUB, *SERVERS}


@watching
@pytest.mark.parametrize("name", [*CASES, *HUB, "page"])
def test_no_command_reaches_another_machine(ran: Ran, name: str) -> None:
    assert name in ran.codes, ran.said
    known = {"audit": {0, 1}}  # leaks
    assert set(ran.codes[name]) <= known.get(name, {0}), ran.said
    assert ran.notes[name] == []


@watching
def test_nothing_is_written_into_the_home_but_what_the_hub_had(ran: Ran) -> None:
    assert ran.watched.notes == []
    kept = ran.watched.files()
    assert kept and all(name.startswith(".cache/huggingface/hub/") for name in kept), kept


@watching
def test_the_hub_is_asked_for_the_model_and_for_nothing_else(ran: Ran) -> None:
    assert ran.asked
    assert [path for path in ran.asked if not any(s in path for s in ALLOWED)] == []


@watching
def test_a_demo_that_is_looked_at_reaches_no_other_machine(watched: Watched) -> None:
    words = ["demo", "--no-browser", "--port", "0", "--address", "127.0.0.1"]
    with watched.start("-c", "from skinxai.cli import main; main()", *words) as process:
        place = address_of(process, watched.folder / "log.txt")
        with urllib.request.urlopen(place) as answer:
            assert answer.status == 200
        process.terminate()
        process.communicate()
    assert watched.notes == [] and watched.files() == []


@watching
def test_a_service_that_is_asked_reaches_no_other_machine(watched: Watched) -> None:
    words = ["serve", "--port", "0", "--review", "sqlite:///cases.db"]
    with watched.start("-c", "from skinxai.cli import main; main()", *words) as process:
        try:
            lines = (re.search(r"http://[\d.]+:\d+", line) for line in process.stdout)
            place = next(found[0] for found in lines if found)
            wait_for(lambda: _status(f"{place}/readyz") == 200)
            body, kind = samples.paths()[0].read_bytes(), {"Content-Type": "image/jpeg"}
            asked = urllib.request.Request(f"{place}/v1/predict", body, kind)
            with urllib.request.urlopen(asked) as answer:
                assert json.load(answer)["results"][0]["label"] == "mel"
        finally:
            process.terminate()
            process.communicate()
    assert watched.notes == [] and watched.files() == []


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@watching
def test_dependencies_stay_quiet_whoever_imports_them(watched: Watched) -> None:
    said = watched.run(ALL)
    assert said.endswith("imported\n")
    assert watched.notes == [] and watched.files() == []


@watching
@pytest.mark.parametrize(
    ("code", "noted"),
    [
        (f"import socket; socket.create_connection(('{FAR}', 443))", f"{FAR} port 443"),
        (f"import socket; socket.create_connection(('::ffff:{FAR}', 1))", f"{FAR} port 1"),
        (f"import socket as s; s.socket(type=s.SOCK_DGRAM).sendto(b'', ('{FAR}', 9))",
         f"{FAR} port 9"),
        ("import socket as s; s.socket(type=s.SOCK_DGRAM).connect(('127.0.0.1', 53))",
         "127.0.0.1 port 53"),
        (f"import os, socket; os.fork() or socket.create_connection(('{FAR}', 7))",
         f"{FAR} port 7"),
        ("import ctypes, struct, socket; libc = ctypes.CDLL(None); "
         f"a = struct.pack('HH4s8x', 2, 0x5000, socket.inet_aton('{FAR}')); "
         "libc.connect(libc.socket(2, 1, 0), a, 16)", f"{FAR} port 80"),
    ],
)  # fmt: skip
def test_the_guard_sees_processes_children_and_c(watched: Watched, code: str, noted: str) -> None:
    watched.run(code)
    assert watched.notes == [noted]


@watching
def test_the_guard_lets_this_machine_talk_to_itself(watched: Watched) -> None:
    code = (
        "import socket as s; server = s.create_server(('127.0.0.1', 0)); "
        "s.create_connection(server.getsockname()); print('talked')"
    )
    assert watched.run(code) == "talked\n" and watched.notes == []


def test_a_choice_of_the_user_stays(monkeypatch) -> None:
    for name in telemetry.SWITCHES:
        monkeypatch.setenv(name, "chosen")
    telemetry.switch_off()
    assert {os.environ[name] for name in telemetry.SWITCHES} == {"chosen"}
