"""What the files of deploy/ name exists: metrics, labels, variables, paths, ports, pages."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from places import ROOT
from starlette.datastructures import Headers

from skinxai.cli import app
from skinxai.serving.app import create_app
from skinxai.serving.guards import guard
from skinxai.serving.problems import Problem
from skinxai.serving.service_metrics import REASONS, Metrics
from skinxai.serving.service_settings import ServiceSettings

DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
RUNBOOK = ROOT / "docs/how-to/answer-an-alert.md"
PAGES = [
    ROOT / "docs/how-to" / name
    for name in ("deploy.md", "cloud.md", "production.md", "answer-an-alert.md")
]
OF_PROMETHEUS = {"job", "instance", "namespace", "pod", "le", "alertname", "alertstate"}
"""Labels that Prometheus and Kubernetes add."""


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def alerts() -> list[dict[str, Any]]:
    groups = parsed(DEPLOY / "prometheus/alerts.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    board = json.loads((DEPLOY / "grafana/dashboards/skinxai.json").read_text())
    targets = [t["expr"] for panel in board["panels"] for t in panel.get("targets", ())]
    variables = [variable["query"]["query"] for variable in board["templating"]["list"]]
    return targets + variables


def queries() -> list[str]:
    adapter = parsed(DEPLOY / "kubernetes/prometheus-adapter-values.yaml")["rules"]["custom"]
    scaled = parsed(DEPLOY / "kubernetes/autoscaler.yaml")["spec"]["metrics"]
    return [
        *(rule["expr"] for rule in alerts()),
        *dashboard_queries(),
        *(rule["seriesQuery"] for rule in adapter),
        *(metric["pods"]["metric"]["name"] for metric in scaled),
    ]


def measured() -> dict[str, set[str]]:
    """The series that a service gives, and the labels of each."""
    found: dict[str, set[str]] = {}
    for name, metric in vars(Metrics()).items():
        if name == "registry":
            continue
        labels = set(metric._labelnames)
        kind = metric._type
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        for suffix in suffixes.get(kind, ("",)):
            found[metric._name + suffix] = labels
    return found


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_metrics_and_their_labels_exist(query: str) -> None:
    known = measured()
    named = re.findall(r"\b(skinxai_\w+)(?:\{([^}]*)\})?", query)
    grouped = re.findall(r"\b(?:by|ignoring) \(([^)]*)\)", query)
    labels = {label.strip() for group in grouped for label in group.split(",")}
    everything: set[str] = set(OF_PROMETHEUS)
    for name, selectors in named:
        assert name in known, f"no metric {name}"
        everything |= known[name]
        selected = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        assert selected <= known[name] | OF_PROMETHEUS, name
    assert labels <= everything


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_labels_in_an_alerts_text_are_left_by_its_query(rule: dict[str, Any]) -> None:
    said = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    grouped = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
    kept = {label.strip() for label in grouped[0].split(",")} if grouped else OF_PROMETHEUS
    assert said <= kept


def test_every_value_that_a_query_asks_for_is_given() -> None:
    """A reason, result or role that nothing sets would make an alert that never fires."""
    source = (ROOT / "src/skinxai").rglob("*.py")
    text = "\n".join(path.read_text() for path in source)
    for query in queries():
        for label, values in re.findall(r'(\w+)=~?"([^"$]+)"', query):
            if label in ("job", "alertname", "alertstate", "status", "route"):
                continue  # routes are looked for in `test_paths_and_ports_exist`
            for value in values.replace(".*", "").split("|"):
                assert f'"{value}' in text, f"{label} is never {value}"


def options() -> dict[str, set[str]]:
    """The variables of `skinxai serve`, and the option of each."""
    command = typer.main.get_command(app).commands["serve"]
    found = {}
    for parameter in command.params:
        for name in (
            [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
        ):
            found[name] = set(parameter.opts)
    return found


def deploy_files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]


def test_variables_exist() -> None:
    known = set(options())
    assert known
    for path in [*deploy_files(), *PAGES]:
        named = set(re.findall(r"\bSKINXAI_SERVE_[A-Z_]+\b", path.read_text()))
        assert named <= known, path.name


def test_commands_of_the_pages_have_their_options() -> None:
    known = {name for names in options().values() for name in names}
    known |= {o for p in typer.main.get_command(app).commands["serve"].params for o in p.opts}
    for page in PAGES:
        for line in re.findall(r"skinxai serve[^\n`]*", page.read_text()):
            assert set(re.findall(r"--[a-z-]+", line)) <= known, line


def routes() -> set[str]:
    text = "\n".join(path.read_text() for path in (ROOT / "src/skinxai/serving").glob("*.py"))
    return set(re.findall(r'"(/[a-z0-9/{}_]+)"', text))


def test_paths_and_ports_exist() -> None:
    known = routes()
    (pod,) = parsed(DEPLOY / "kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in pod["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod[probe]["httpGet"]["path"] in known
        assert pod[probe]["httpGet"]["port"] in ports
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    assert ServiceSettings().port == int(exposed) and ports == {"http": int(exposed)}
    assert "SKINXAI_SERVE_PORT=" not in dockerfile  # it would hide AIP_HTTP_PORT
    (service,) = parsed(DEPLOY / "kubernetes/service.yaml")["spec"]["ports"]
    assert service["targetPort"] in ports
    policy = parsed(DEPLOY / "kubernetes/network-policy.yaml")["spec"]
    assert [p["port"] for rule in policy["ingress"] for p in rule["ports"]] == [int(exposed)]
    scraped = parsed(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"][0]
    assert scraped["metrics_path"] in known
    assert scraped["static_configs"][0]["targets"] == [f"skinxai:{exposed}"]
    metrics = create_app().service.observing.metrics.text().decode()
    served = set(re.findall(r'route="([^"]+)",status="500"', metrics))
    for pattern in {
        each for some in re.findall(r'route=~?"([^"]+)"', "\n".join(queries()))
        for each in some.split("|")
    }:  # fmt: skip
        assert any(re.fullmatch(pattern, name) for name in served), pattern
    for name in re.findall(r"'(/[a-z]+)'", dockerfile):
        assert name in known


def test_the_parts_of_the_cluster_belong_together() -> None:
    files = {path.name: parsed(path) for path in KUBERNETES}
    listed = files.pop("kustomization.yaml")
    files.pop("prometheus-adapter-values.yaml")
    assert set(listed["resources"]) == set(files)
    deployment = files["deployment.yaml"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert files["service.yaml"]["spec"]["selector"] == labels
    assert files["disruption-budget.yaml"]["spec"]["selector"]["matchLabels"] == labels
    assert files["network-policy.yaml"]["spec"]["podSelector"]["matchLabels"] == labels
    assert files["autoscaler.yaml"]["spec"]["scaleTargetRef"]["name"] == "skinxai"
    assert "replicas" not in deployment["spec"]  # kubectl apply would undo the autoscaler's
    assert files["autoscaler.yaml"]["spec"]["minReplicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    settings = files["configuration.yaml"]["data"]
    assert pod["terminationGracePeriodSeconds"] > int(settings["SKINXAI_SERVE_GRACE"]) + 5
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in routes()


@pytest.mark.parametrize("host", ["skin.example.org", "10.0.0.7:8000", "skinxai"])
def test_a_pod_answers_to_the_names_that_it_is_called_by(host: str) -> None:
    """An ingress hands on the name that its client called; Prometheus asks by the pod's address."""
    pod = parsed(DEPLOY / "kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    variables = {each["name"]: each for each in pod["containers"][0]["env"]}
    names = variables["SKINXAI_SERVE_ALLOW_HOST"]["value"].replace("$(POD_IP)", "10.0.0.7")
    check = guard(ServiceSettings(host="0.0.0.0", allow_hosts=tuple(names.split())))
    scope = {"path": "/v1/predict", "client": ("10.0.0.9", 1)}
    check(scope, Headers({"host": host}))
    with pytest.raises(Problem):
        check(scope, Headers({"host": "other.example.org"}))
    assert "`skin.example.org`" in (ROOT / "docs/how-to/deploy.md").read_text()


def test_nothing_runs_as_root_or_writes_to_its_root() -> None:
    pod = parsed(DEPLOY / "kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+):", dockerfile, re.MULTILINE)
    assert pod["securityContext"]["runAsUser"] == int(user) and f"--uid {user}" in dockerfile
    for name, service in parsed(DEPLOY / "compose.yaml")["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name


def test_images_are_pinned_by_digest() -> None:
    services = parsed(DEPLOY / "compose.yaml")["services"]
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    images = [service["image"] for service in services.values() if "build" not in service]
    for image in [base, *images]:
        assert re.fullmatch(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image


@pytest.mark.parametrize("variant", ["cuda", "processor"])
def test_packages_are_pinned_by_hash(variant: str) -> None:
    """In the versions that CI installs; nothing of an extra is left out."""
    rows = [
        row
        for row in (DEPLOY / f"requirements/{variant}.txt").read_text().splitlines()
        if not row.startswith("#")
    ]
    pinned = {}
    for row in rows:
        found = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", row)
        assert found, row
        pinned[found[1]] = found[2]
    if variant == "processor":
        direct = (DEPLOY / "requirements/torch-processor.txt").read_text()
        pinned |= dict(re.findall(r"^(\w+) @ \S+/\w+-([\d.]+)%2Bcpu-", direct, re.MULTILINE))
    installed = {}
    for row in (ROOT / "constraints.txt").read_text().splitlines():
        if "==" in row:
            name, version = row.split("==")
            installed[re.sub(r"[-_.]+", "-", name).lower()] = version
    assert {n: v for n, v in pinned.items() if installed.get(n, v) != v} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ["serve", "postgresql", "monitor", "tracing", "pdf", "parquet"]
    wanted = [*project["dependencies"]]
    for extra in [*extras, *(["openvino"] if variant == "processor" else [])]:
        wanted += project["optional-dependencies"][extra]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", w)[0]).lower() for w in wanted}
    assert names <= set(pinned)
    assert not (variant == "processor" and any(name.startswith("nvidia-") for name in pinned))


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do_and_is_tested(rule: dict[str, Any]) -> None:
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert ROOT / page == RUNBOOK and anchor == rule["alert"].lower()
    section = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.M | re.S)
    assert section and len(section[1]) > 200
    assert rule["annotations"]["summary"] and rule["annotations"]["action"]
    cases = parsed(DEPLOY / "prometheus/alerts_test.yml")["tests"]
    checks = [
        c for case in cases for c in case["alert_rule_test"] if c["alertname"] == rule["alert"]
    ]
    assert any(check["exp_alerts"] for check in checks)
    if rule["alert"] != "Watchdog":
        assert any(not check["exp_alerts"] for check in checks)


def test_the_runbook_says_which_alerts_ring_the_pager() -> None:
    text = RUNBOOK.read_text()
    said = dict(re.findall(r"(?m)^## (\w+)\n\n(?:\*\*(\w+)\.\*\*)?", text))
    words = {"page": "Page", "ticket": "Ticket", "heartbeat": ""}
    assert said == {rule["alert"]: words[rule["labels"]["severity"]] for rule in alerts()}
    assert "has sixteen alerts" in text and len(said) == 16


def test_the_table_of_metrics_has_each_with_its_labels() -> None:
    page = (ROOT / "docs/how-to/serve-several-models.md").read_text()
    rows = re.findall(r"(?m)^\| (`skinxai_.+?`) \| (.+) \|$", page)
    named = [each for cell, _ in rows for each in re.findall(r"`(\w+)(?:\{(.+?)\})?`", cell)]
    said = {name: set(filter(None, labels.split(","))) for name, labels in named}
    series = {
        name: labels for name, labels in measured().items() if not name.endswith(("_sum", "_count"))
    }
    assert said == {name.removesuffix("_bucket"): labels for name, labels in series.items()}
    (reasons,) = (what for cell, what in rows if "skinxai_refusals" in cell)
    assert set(re.findall(r"`(\w+)`", reasons)) == set(REASONS.values())


def test_every_severity_has_a_receiver() -> None:
    route = parsed(DEPLOY / "alertmanager/alertmanager.yml")["route"]
    own = {m for r in route["routes"] for m in r["matchers"]}
    for severity in {rule["labels"]["severity"] for rule in alerts()} - {"ticket"}:
        assert f'severity = "{severity}"' in own
    assert route["receiver"] == "tickets"


def test_secrets_are_files_that_the_pages_say_how_to_write() -> None:
    page = (ROOT / "docs/how-to/deploy.md").read_text()
    for name, secret in parsed(DEPLOY / "compose.yaml")["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
        assert f"secrets/{name}" in page
    for name in ("alertmanager", "prometheus"):
        used = (DEPLOY / f"{name}/{name}.yml").read_text()
        mounted = parsed(DEPLOY / "compose.yaml")["services"][name]["secrets"]
        assert set(re.findall(r"/run/secrets/(\w+)", used)) == set(mounted)
