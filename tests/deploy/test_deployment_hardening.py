"""What keeps an intruder, a leak or a flood small in the files of deploy/, guard by guard."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def parsed(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def pod() -> Any:
    return parsed("kubernetes/deployment.yaml")["spec"]["template"]["spec"]


def last_stage() -> str:
    """The part of the Dockerfile that becomes the image."""
    return DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_the_image_is_a_user_without_root_and_without_a_compiler() -> None:
    stage = last_stage()
    assert re.findall(r"^FROM (\S+)", stage, re.MULTILINE) == ["${PYTHON}"]
    assert re.findall(r"^USER (\S+)", stage, re.MULTILINE) == ["10001:10001"]
    assert re.search(r"useradd --uid 10001 .*--shell /usr/sbin/nologin", stage)
    assert "pip install" not in stage
    for after in ("COPY", "RUN"):  # what runs as the user writes nothing into the image
        assert stage.rindex(f"\n{after} ") < stage.index("\nUSER ")


def test_the_image_says_whether_it_is_well_and_ends_when_told() -> None:
    stage = last_stage()
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", stage, re.MULTILINE)
    (_, _, program) = json.loads(check)
    assert "'http://127.0.0.1:'" in program and "'/healthz'" in program
    assert "os.environ.get('SKINXAI_SERVE_PORT', '8000')" in program
    timeout, own = (
        float(re.search(words, stage)[1]) for words in (r"--timeout=(\d+)s", r"timeout=(\d+)\)")
    )
    assert own < timeout  # the program says why, before Docker kills it
    assert "\nSTOPSIGNAL SIGTERM\n" in stage
    assert '\nENTRYPOINT ["skinxai"]\nCMD ["serve"]\n' in stage
    assert "HF_HUB_OFFLINE=1" in stage


def test_the_build_takes_only_what_it_was_told_to() -> None:
    installs = re.findall(r"pip install ([^&\n]*)", DOCKERFILE)
    assert all("--no-deps" in each for each in installs)
    assert installs[0].startswith('--require-hashes --no-deps -r "requirements/${VARIANT}.txt"')
    assert "PIP_ONLY_BINARY=:all:" in DOCKERFILE  # no setup.py of others runs
    assert "&& pip check\n" in DOCKERFILE
    assert re.search(r"^RUN HOME=/tmp skinxai predict --model /opt/model ", DOCKERFILE, re.M)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*" and not any(re.search("secret|data|runs", rule) for rule in rules)


def test_torch_of_the_processor_variant_has_a_hash() -> None:
    rows = parsed_requirements("torch-processor")
    assert [row.split()[0] for row in rows] == ["torch", "torchvision"]
    assert re.search(r"#sha256=[0-9a-f]{64}$", rows[0])
    assert all(row.split(" @ ")[1].startswith("https://download.pytorch.org/") for row in rows)


def parsed_requirements(name: str) -> list[str]:
    text = (DEPLOY / f"requirements/{name}.txt").read_text()
    return [row for row in text.splitlines() if row and not row.startswith("#")]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_container_of_compose_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])  # logs fill no disk
    assert "privileged" not in service and "network_mode" not in service
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "a proxy with TLS stands in front"
    for variable, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
            assert value.startswith(("${", "/run/secrets/")), variable
    for mounted in service.get("volumes", ()):
        if mounted.startswith("./"):
            source, _, mode = mounted.split(":")
            assert (DEPLOY / source).exists() and mode == "ro"


def test_compose_bounds_memory_and_keeps_data_behind_the_service() -> None:
    networks = parsed("compose.yaml")["networks"]
    assert networks["back"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert SERVICES[name]["networks"] == ["back"] and "ports" not in SERVICES[name]
        assert SERVICES["skinxai"]["depends_on"][name] == {"condition": "service_healthy"}
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    for name in ("skinxai", "redis", "postgres"):
        assert SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert SERVICES["skinxai"]["deploy"]["resources"]["limits"]["pids"]
    redis = SERVICES["redis"]["command"]
    assert redis[redis.index("--maxmemory") + 1] == "256mb"
    own = SERVICES["skinxai"]["environment"]
    assert own["SKINXAI_SERVE_API_KEYS"] == "/run/secrets/api_keys"
    grace = int(SERVICES["skinxai"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(own["SKINXAI_SERVE_GRACE"]) + 5


def test_compose_mounts_what_its_programs_open() -> None:
    for name in ("prometheus", "alertmanager"):
        mounted = [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]
        (config,) = (w[len("--config.file=") :] for w in SERVICES[name]["command"]
                     if w.startswith("--config.file="))  # fmt: skip
        assert config in mounted
    prometheus = parsed("prometheus/prometheus.yml")
    folder = "/etc/prometheus"
    mounted = [volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]]
    assert prometheus["rule_files"] == ["alerts.yml"] and f"{folder}/alerts.yml" in mounted
    (found,) = prometheus["alerting"]["alertmanagers"]
    (target,) = found["static_configs"][0]["targets"]
    assert target == "alertmanager:9093" and target.split(":")[0] in SERVICES
    assert "credentials_file" in prometheus["scrape_configs"][0]["authorization"]
    (source,) = parsed("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["editable"] is False
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    (board,) = parsed("grafana/provisioning/dashboards/skinxai.yml")["providers"]
    assert board["options"]["path"] in mounted and "/etc/grafana/provisioning" in mounted


def test_the_pod_may_do_nothing_but_answer() -> None:
    own = pod()
    assert own["automountServiceAccountToken"] is False
    assert own["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(own)
    (container,) = own["containers"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    for volume in own["volumes"]:
        assert "hostPath" not in volume
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]
    for variable in container["env"]:
        if variable["name"] == "SKINXAI_SERVE_REVIEW":  # it has a password
            assert set(variable["valueFrom"]) == {"secretKeyRef"}


def test_the_pod_is_restarted_only_when_it_hangs_and_asked_only_when_it_is_ready() -> None:
    (container,) = pod()["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"]
             for name in ("startup", "readiness", "liveness")}  # fmt: skip
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    strategy = parsed("kubernetes/deployment.yaml")["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


def test_the_network_policy_names_who_may_ask_and_be_asked() -> None:
    policy = parsed("kubernetes/network-policy.yaml")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    name = "kubernetes.io/metadata.name"
    (rule,) = policy["ingress"]
    assert [each["namespaceSelector"]["matchLabels"][name] for each in rule["from"]] == [
        "ingress-nginx", "monitoring"
    ]  # fmt: skip
    asked = {}
    for rule in policy["egress"]:
        (to,) = rule["to"]
        assert to["podSelector"]["matchLabels"]
        asked[next(iter(to["podSelector"]["matchLabels"].values()))] = [
            (each["protocol"], each["port"]) for each in rule["ports"]
        ]
    assert asked == {
        "redis": [("TCP", 6379)], "postgres": [("TCP", 5432)],
        "kube-dns": [("UDP", 53), ("TCP", 53)],
    }  # fmt: skip


def test_alertmanager_hides_only_what_another_alert_explains() -> None:
    groups = parsed("prometheus/alerts.yml")["groups"]
    known = {rule["alert"] for group in groups for rule in group["rules"]}
    rules = parsed("alertmanager/alertmanager.yml")["inhibit_rules"]
    for rule in rules:
        named = re.findall(r"Skinxai\w+", json.dumps(rule))
        assert named and set(named) <= known
        assert rule["equal"] == ["job"]
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    for name in re.findall(r"^ *-? *(\w*(?:key|password|token|credentials)\w*):", text, re.M):
        assert name.endswith("_file"), name


def test_no_file_of_deploy_holds_a_secret() -> None:
    for path in sorted(Path(DEPLOY).rglob("*")):
        if path.is_file() and path.suffix in (".yaml", ".yml", ".json", ""):
            text = path.read_text()
            assert "PRIVATE KEY" not in text and "skinxai_" + 20 * "x" not in text
            assert not re.search(r"://\w+:(?!\$)[^@\s{$]+@", text), path.name
