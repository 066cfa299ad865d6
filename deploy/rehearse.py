"""Run the steps of the Dockerfile without Docker, up to an image that a started service answers.

Usage: python deploy/rehearse.py [--variant cuda] [--until build] [--python PATH]

PATH is a Python 3.11.3 or later that every user can read: before that, redis needs another package,
which the image has no use for.

Linux only. The steps run as a user without privileges (as root: as the Dockerfile's own), in an
empty /opt and /tmp of a mount namespace of their own, with the files that the build may see and
nothing of this environment but where packages come from. Then /opt is made read-only, the service
is started, asked by the Dockerfile's health check until it is well, given a sample image, and
ended by SIGTERM. The variant for processors needs PyTorch's index; the one for CUDA, PyPI alone.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT = (
    "LD_LIBRARY_PATH",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
ASK = """
import json, os, sys, time, urllib.error, urllib.request
place = "http://127.0.0.1:" + os.environ["SKINXAI_SERVE_PORT"]
for _ in range(300):
    try:
        urllib.request.urlopen(place + "/readyz")
        break
    except urllib.error.HTTPError:
        time.sleep(1)
body = open(sys.argv[1], "rb").read()
request = urllib.request.Request(place + "/v1/predict", body, {"Content-Type": "image/jpeg"})
with urllib.request.urlopen(request, timeout=60) as answer:
    found = json.load(answer)
print(json.dumps({"status": answer.status, "disclaimer": found["disclaimer"],
                  "label": found["results"][0]["label"],
                  "probability": found["results"][0]["probability"]}))
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and argument of each instruction, comments left out and lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = lines.replace("\\\n", " ")
    rows = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), argument.strip()) for name, argument in rows]


def assigned(argument: str) -> list[str]:
    """Assignments of ENV, for a shell in which earlier ones hold."""
    return [f"export {pair}" for pair in re.findall(r'\w+=(?:"[^"]*"|\S+)', argument)]


def copied(argument: str, seen: list[str]) -> list[str]:
    """COPY from the context, of what .dockerignore lets through."""
    *sources, target = argument.split()
    found = []
    for source in sources:
        inside = source.rstrip("/")
        if not any(inside == s or inside.startswith(f"{s}/") or "$" in s for s in seen):
            raise SystemExit(f"COPY {source}: .dockerignore leaves it out")
        slash = "/." if source.endswith("/") else ""
        found.append(f'mkdir -p "{target}" && cp -r "$CONTEXT/{inside}{slash}" "{target}"')
    return found


def script(variant: str, port: int, until: str) -> list[str]:
    """The Dockerfile as lines of a shell."""
    context = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    seen = [*(line[1:] for line in context if line.startswith("!")), "$"]
    lines, stage, check, entry, command = [], 0, "", "", ""
    for name, argument in instructions((ROOT / "deploy/Dockerfile").read_text()):
        if name == "FROM":
            stage += 1
            if stage == 2:
                if until == "build":
                    break
                lines += ["rm -rf /opt/build", "mount -o remount,bind,ro /opt",
                          "mount -t tmpfs tmpfs /tmp"]  # fmt: skip
        elif name == "ARG" and stage == 1:
            given = f"VARIANT={variant}" if argument.startswith("VARIANT=") else argument
            lines.append(f"export {given}")
        elif name == "ENV":
            lines += assigned(argument)
        elif name == "WORKDIR":
            lines.append(f"mkdir -p {argument} && cd {argument}")
        elif name == "COPY" and not argument.startswith("--from"):
            lines += copied(argument, seen)
        elif name == "RUN" and not argument.startswith("useradd"):
            lines += [f"echo {shlex.quote('RUN ' + argument)}", argument]
        elif name == "HEALTHCHECK":
            check = shlex.join(json.loads(argument[argument.index("CMD") + 3 :]))
        elif name == "ENTRYPOINT":
            entry = shlex.join(json.loads(argument))
        elif name == "CMD":
            command = shlex.join(json.loads(argument))
    if until == "build":
        return lines
    return [
        *lines, f"export SKINXAI_SERVE_PORT={port} SKINXAI_SERVE_HOST=127.0.0.1",
        f"{entry} {command} & service=$!", "for n in $(seq 120); do",
        f"kill -0 $service || exit 3; {check} 2>/dev/null && break; sleep 1; done",
        f"echo HEALTHCHECK; {check}", 'python "$ASK" "$SAMPLE"', "find /tmp -type f",
        'kill -TERM $service; code=0; wait $service || code=$?; echo "ended with $code"',
        "[ $code = 0 ] || [ $code = 143 ]",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="cuda", choices=["cuda", "processor"])
    parser.add_argument("--python", default=shutil.which("python3.11"))
    parser.add_argument("--until", default="service", choices=["build", "service"])
    given = parser.parse_args()
    version = "import sys; print(sys.version_info[:2] == (3, 11) and sys.version_info[2] >= 3)"
    asked = [given.python or "python3.11", "-c", version]
    try:
        known = subprocess.run(asked, capture_output=True, text=True).stdout == "True\n"
    except OSError:
        known = False
    if not known:
        raise SystemExit(f"--python must be a Python 3.11.3 or later, got {given.python!r}.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="skinxai-rehearsal-"))
    try:
        for name in ("opt", "tmp", "bin", "context"):
            (folder / name).mkdir()
        (folder / "bin/python").write_text(f'#!/bin/sh\nexec {given.python} "$@"\n')
        (folder / "bin/python").chmod(0o755)
        (folder / "ask.py").write_text(ASK)
        tracked = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
        names = subprocess.run(tracked, check=True, capture_output=True).stdout.decode()
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / "context" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / "context" / name)
        sample = next((folder / "context/src/skinxai/samples").glob("*.jpg"))
        begin = [f"mount --bind {folder}/opt /opt", f"mount --bind {folder}/tmp /tmp"]
        (folder / "steps").write_text(
            "\n".join([*begin, *script(given.variant, port, given.until)])
        )
        environment = {
            "PATH": f"{folder}/bin:/usr/bin:/bin", "CONTEXT": f"{folder}/context",
            "ASK": f"{folder}/ask.py", "SAMPLE": str(sample), "PIP_CONFIG_FILE": "/dev/null",
        } | {name: os.environ[name] for name in KEPT if name in os.environ}  # fmt: skip
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-eu",
            f"{folder}/steps",
        ]
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "10001:10001", str(folder)], check=True)
            command = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", *command]
        done = subprocess.run(command, cwd="/", env=environment)
        print("The steps ran." if done.returncode == 0 else "A step failed.")
        sys.exit(done.returncode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
