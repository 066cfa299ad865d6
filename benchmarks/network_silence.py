"""Runs every command under strace and counts the addresses outside this machine that it tries.

Usage: python benchmarks/network_silence.py [--only predict,train]     (needs strace, on Linux)

Each case of tests/every_command.py is a process of its own in an empty home, with no switch of a
dependency set and nothing cached; push and pull speak to a Hub on the loopback interface, and the
demo is asked for its page. Every system call of the network, of every thread and child, is read:
``connect``, ``sendto``, ``sendmsg`` and ``sendmmsg`` with an address outside this machine, or of a
name server. Writes results/network_silence.json: calls, addresses, and files left in the home.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import every_command  # noqa: E402
from demo_server import address_of  # noqa: E402
from hub_server import TOKEN, Hub  # noqa: E402

MAIN = (sys.executable, "-c", "from skinxai.cli import main; main()")
DEMO = ["demo", "--no-browser", "--port", "0", "--address", "127.0.0.1"]
CALL = re.compile(r"^\d+ +(connect|sendto|sendmsg|sendmmsg)\(", re.MULTILINE)
ADDRESS = re.compile(
    r"htons\((?P<port>\d+)\).*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")(?P<host>[^\"]+)"
)
WITHIN = re.compile(r"127\.|0\.0\.0\.0$|::1?$|::ffff:127\.")


def outside(trace: str) -> tuple[int, list[str]]:
    """How many calls there were, and the addresses outside, each once."""
    lines = [line for line in trace.splitlines() if CALL.match(line)]
    found = [match for line in lines for match in ADDRESS.finditer(line)]
    places = {
        f"{each['host']} port {each['port']}"
        for each in found
        if each["port"] == "53" or not WITHIN.match(each["host"])
    }
    return len(lines), sorted(places)


def traced(words: list[str], place: Path, more: dict[str, str]) -> dict[str, object]:
    """What a command did, in an empty home."""
    home, trace = place / "home", place / "trace"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path),
        **more,
    }  # fmt: skip
    with subprocess.Popen(
        ["strace", "-f", "-e", "trace=network", "-o", str(trace), *MAIN, *words],
        cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        if words[0] == "demo":
            with urllib.request.urlopen(address_of(process, place / "log.txt")) as answer:
                answer.read()
            os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate()
    if words[0] != "demo" and process.returncode not in (0, 1):
        raise SystemExit(f"skinxai {' '.join(words)}: {said}")
    calls, places = outside(trace.read_text(errors="replace"))
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    kept = sorted({"/".join(Path(name).parts[:3]) for name in files})
    return {"command": " ".join(words), "calls": calls, "outside": places, "left in the home": kept}


def main(only: list[str]) -> None:
    if shutil.which("strace") is None:
        raise SystemExit("strace must be installed.")
    hub, rows = Hub(), []
    more = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        every_command.prepare(place)
        for name, words in [*every_command.lines(), ("demo", DEMO)]:
            if not only or name in only:
                row = traced(words, place, more if name in every_command.HUB else {})
                rows.append(row)
                print(f"{row['calls']:6} {len(row['outside']):3}  {row['command']}", flush=True)
    hub.close()
    found = {
        "commands": len(rows),
        "network calls": sum(row["calls"] for row in rows),
        "addresses outside": sum(len(row["outside"]) for row in rows),
        "rows": rows,
    }
    if not only:
        (HERE / "results/network_silence.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({key: found[key] for key in list(found)[:3]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of commands, with commas")
    main([name for name in parser.parse_args().only.split(",") if name])
