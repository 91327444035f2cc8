"""What Helm refuses before anything is installed, and that the message names the value."""

import json
from typing import Any

import pytest
import yaml
from tests.chart.charts import CHART, KEYED, NULLABLE, WHOLE, helm, objects, one, refusal
from tests.rows import rows

CLIENT = "00000000-0000-0000-0000-000000000001"
REFERENCE = {"name": "chukei", "key": "a-key"}
SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 3}, "'replicas' not allowed"),
    ({"stopping": {"graceSecond": 30}}, "at '/stopping': additional properties 'graceSecond' not allowed"),
    ({"stopping": {"graceSeconds": -1}}, "at '/stopping/graceSeconds'"),
    ({"stopping": {"drainSeconds": "5s"}}, "at '/stopping/drainSeconds'"),
    ({"replicaCount": 0}, "at '/replicaCount'"),
    ({"image": {"repository": "ghcr.io/YOUR-ACCOUNT/chukei"}}, "at '/image/repository'"),
    ({"image": {"digest": "0a0a"}}, "at '/image/digest'"),
    ({"env": {"CHUKEI-LOG": "x"}}, "at '/env': additional properties 'CHUKEI-LOG' not allowed"),
    ({"env": {"CHUKEI_AUTH__API_KEY": {"file": "x"}}}, "at '/env/CHUKEI_AUTH__API_KEY'"),
    ({"secretEnv": {"CHUKEI_API_KEY": "the key itself"}}, "at '/secretEnv/CHUKEI_API_KEY'"),
    ({"secretEnv": {"CHUKEI_API_KEY": {"name": "chukei"}}}, "at '/secretEnv/CHUKEI_API_KEY': missing property 'key'"),
    ({"secretFiles": ["Not_A_Name"]}, "at '/secretFiles/0'"),
    ({"workloadIdentity": {"enabled": True}}, "at '/workloadIdentity/clientId'"),
    ({"autoscaling": {"enabled": True, "kind": "keda"}}, "at '/autoscaling/prometheus'"),
    ({"autoscaling": {"kind": "vpa"}}, "at '/autoscaling/kind'"),
    ({"ingress": {"enabled": True}}, "at '/ingress/hosts'"),
    ({"httpRoute": {"enabled": True, "hostnames": ["a.example.com"]}}, "at '/httpRoute/parentRefs'"),
    ({"httpRoute": {"timeout": "never"}}, "at '/httpRoute/timeout'"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "additional properties 'minAvailable' not allowed"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "at '/podDisruptionBudget/maxUnavailable'"),
    ({"networkPolicy": {"callers": []}}, "at '/networkPolicy/callers'"),
    ({"networkPolicy": {"egress": [{"ports": [443]}]}}, "at '/networkPolicy/egress/0'"),
    ({"runAsUser": 0}, "at '/runAsUser'"),
    ({"env": {"A": 10**21}}, "at '/env/A': maximum"),
    ({"state": {"volume": {"name": "x"}}}, "at '/state/volume'"),
    ({"fullnameOverride": "Relay"}, "at '/fullnameOverride'"),
    ({"fullnameOverride": "2fast"}, "at '/fullnameOverride'"),
    ({"nameOverride": "my_app"}, "at '/nameOverride'"),
    ({"image": {"tag": 2024}}, "at '/image/tag': got number, want string"),
]

CHECKS: list[tuple[dict[str, Any], str]] = [
    ({"config": "[server\n"}, "config: is not valid TOML"),
    ({"config": "\ufeff[log]\nlevel = 'info'\n"}, "config: begins with a byte order mark"),
    ({"config": "[server]\nport = 80\n"}, "config: server.port: the chart sets it"),
    ({"config": "server.drain_seconds = 9\n"}, "server.drain_seconds: the chart sets it; set stopping.drainSeconds"),
    ({"config": "[server]\ngrace_seconds = 9\n"}, "set stopping.graceSeconds"),
    ({"config": "[server]\nallowed_hosts = ['a']\n"}, "set allowedHosts"),
    ({"config": "[stores]\nreplicas = 3\n"}, "set replicaCount"),
    ({"env": {"CHUKEI_SERVER__GRACE_SECONDS": 5}}, "env.CHUKEI_SERVER__GRACE_SECONDS: the chart sets it"),
    ({"env": {"CHUKEI_CONFIG": "/x"}}, "env.CHUKEI_CONFIG: the chart sets it; set config"),
    ({"env": {"AZURE_OPENAI_API_KEY": "k"}}, "env.AZURE_OPENAI_API_KEY: a secret does not belong in values"),
    ({"env": {"CHUKEI_AUTH__PEPPERS__2": "k"}}, "env.CHUKEI_AUTH__PEPPERS__2: a secret does not belong in values"),
    ({"env": {"CHUKEI_STORES__QUOTA": "redis://:pw@h"}}, "env.CHUKEI_STORES__QUOTA: a secret does not belong"),
    (
        {"env": {"A": "1"}, "secretEnv": {"A": {"name": "a", "key": "a"}}},
        "env.A: is in secretEnv too; keep one of the two",
    ),
    ({"env": {"CHUKEI_server__port": 80}}, "env.CHUKEI_server__port: the chart sets it"),
    ({"env": {"CHUKEI_Log__Level": "info"}}, "env.CHUKEI_Log__Level: write it in capital letters"),
    ({"env": {"CHUKEI_STORES__QUOTA": "redis://:p/w@h"}}, "env.CHUKEI_STORES__QUOTA: a secret does not belong"),
    ({"env": {"CHUKEI_STORES__QUOTA": "redis://:k$(A)@h"}}, "env.CHUKEI_STORES__QUOTA: a secret does not belong"),
    ({"env": {"CHUKEI_STORES__LEDGER": "postgresql://h/d?PASSWORD=k"}}, "env.CHUKEI_STORES__LEDGER: a secret does"),
    ({"env": {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=k"}}, "env.OTEL_EXPORTER_OTLP_HEADERS: a secret does not belong"),
    ({"config": "[auth]\napi_key = 'k'\n"}, "config: auth.api_key: a secret does not belong in values"),
    ({"config": "[deployments.'a.b']\napi_key = 'k'\n"}, "config: deployments.a.b.api_key: a secret does not belong"),
    ({"config": "[auth.peppers]\n2 = 'k'\n"}, "config: auth.peppers.2: a secret does not belong in values"),
    ({"config": "[stores]\nquota = 'redis://:k@h'\n"}, "config: stores.quota: a secret does not belong in values"),
    ({"config": "server = 3"}, "config: server: must be a table"),
    ({"config": "[[callers]]\nname = 'a'\n"}, "config: callers: must be a table"),
    ({"secretEnv": {"POD_IP": REFERENCE}, "allowedHosts": ["a"]}, "secretEnv.POD_IP: the chart sets it"),
    ({"secretEnv": {"CHUKEI_SERVER__HOST": REFERENCE}}, "secretEnv.CHUKEI_SERVER__HOST: the chart sets it"),
    ({"secretEnv": {"CHUKEI_AUTH__LOCAL": REFERENCE}}, "secretEnv.CHUKEI_AUTH__LOCAL: the chart sets it"),
    ({"secretEnv": {"CHUKEI_API_KEY": REFERENCE}}, "CHUKEI_API_KEY: is set, and apiKey.secret too"),
    ({"config": "[auth]\napi_key = { env = 'K' }\n"}, "config: auth.api_key: is set, and apiKey.secret too"),
    (
        {"secretEnv": {"CHUKEI_METRICS__API_KEY": REFERENCE}, "metrics": {"secret": {"name": "chukei-metrics"}}},
        "CHUKEI_METRICS__API_KEY: is set, and metrics.secret too",
    ),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels: app.kubernetes.io/name: the chart sets it"),
    ({"podAnnotations": {"chukei/read-at-start": "x"}}, "podAnnotations: chukei/read-at-start: the chart sets it"),
    ({"service": {"labels": {"helm.sh/chart": "x"}}}, "service.labels: helm.sh/chart: the chart sets it"),
    ({"extraVolumes": [{"name": "state", "emptyDir": {}}]}, "extraVolumes: state: the chart has a volume of this name"),
    (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/var/lib/chukei/"}]},
        "extraVolumeMounts: /var/lib/chukei/: the chart mounts a volume there",
    ),
    (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        "autoscaling.cpuPercent: is per cent of resources.requests.cpu",
    ),
    (
        {"state": {"volume": {"persistentVolumeClaim": {"claimName": "a"}}}},
        "state.volume: pods must not share a claim",
    ),
    (
        {"workloadIdentity": {"enabled": True, "clientId": CLIENT}, "serviceAccount": {"create": False}},
        "serviceAccount.name: with workloadIdentity and without create, name an account",
    ),
    (
        {"allowedHosts": ["a.example"], "ingress": {"enabled": True, "hosts": ["b.example"]}},
        "allowedHosts: b.example of ingress.hosts is not among them",
    ),
    (
        {"allowedHosts": ["a.example"]}
        | {"httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["*.example", "b.example"]}},
        "allowedHosts: b.example of httpRoute.hostnames is not among them",
    ),
    ({"autoscaling": {"enabled": True, "minReplicas": 11}}, "autoscaling.minReplicas: is above maxReplicas"),
    ({"apiKey": {}}, "apiKey.secret.name: without a cluster to keep it, the key would be a new one"),
    (
        {"metrics": {"serviceMonitor": {"enabled": True}}},
        "metrics.secret.name: without a cluster to keep it",
    ),
]


@rows(("values", "message"), SCHEMA)
def test_a_mistake_in_a_value_is_named(values: dict[str, Any], message: str) -> None:
    assert message in refusal(KEYED | values)


@rows(("values", "message"), CHECKS)
def test_values_that_could_not_work_together_are_refused_with_what_to_do(values: dict[str, Any], message: str) -> None:
    assert message in refusal(KEYED | values)


@rows(
    "values",
    [
        {"env": {"CHUKEI_STORES__QUOTA": "redis://:hunter2@redis.example.com"}},
        {"config": "[auth]\napi_key = 'hunter2'\n"},
        {"config": "[stores]\nledger = 'postgresql://h/d?password=hunter2'\n"},
    ],
)
def test_a_refusal_does_not_show_the_secret(values: dict[str, Any]) -> None:
    assert "hunter2" not in refusal(KEYED | values)


def test_a_text_that_mentions_an_address_is_no_secret() -> None:
    prompt = "[models.chat]\nsystem = 'Answers are at https://example.com/a; write to help@example.com.'\n"
    assert one("ConfigMap", objects(KEYED | {"config": prompt}))["data"] == {"relay.toml": prompt}


@rows(("version", "refused"), [("1.27.3", True), ("1.29.9-gke.1", True), ("1.30.0-eks-1", False)])
def test_a_pause_before_the_signal_is_refused_where_kubernetes_has_none(
    version: str, refused: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such a cluster drops the unknown field, and refuses the hook that is left. Helm's linter only logs a refusal."""
    capfd.readouterr()
    helm.lint(str(CHART), KEYED | {"stopping": {"preStopSeconds": 5}}, kube_version=version)
    assert ("stopping.preStopSeconds: needs Kubernetes 1.30" in capfd.readouterr().err) == refused


@rows("release", ["2fast", "123"])
def test_a_release_whose_name_no_service_can_have_is_refused_with_the_remedy(release: str) -> None:
    assert f"fullnameOverride: set one, since {release}-chukei cannot be" in refusal(KEYED, release=release)


def test_a_value_that_is_null_is_refused_unless_it_may_be_missing() -> None:
    """Helm takes a null for "remove the default", and a template would make 0 or nothing of what is missing."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def places(part: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        found = [(*path, name) for name in part]
        below = [(name, value) for name, value in part.items() if isinstance(value, dict)]
        inner = [each for name, value in below for each in places(value, (*path, name))]
        return found + ([] if ".".join(path) in WHOLE else inner)

    for place in places(values):
        given: Any = None
        for name in reversed(place):
            given = {name: given}
        named = ".".join(place)
        if named in NULLABLE or ".".join(place[:-1]) in WHOLE:
            assert objects(given | ({} if "apiKey" in given else KEYED)), named
        else:
            message = refusal(given if "apiKey" in given else given | KEYED)
            assert f"missing property '{place[-1]}'" in message, named


def test_no_object_of_the_schema_lets_an_unknown_name_through() -> None:
    """Except where Kubernetes' own objects go, and maps whose names are free."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    open_ones: set[str] = set()

    def walk(path: str, part: dict[str, Any]) -> None:
        properties = part.get("properties")
        if properties is None and part.get("type") == "object" and "additionalProperties" not in part:
            open_ones.add(path)
        if properties is not None:
            assert part["additionalProperties"] is False, path
        for name, below in (properties or {}).items():
            walk(f"{path}.{name}".lstrip("."), below)

    walk("", schema)
    assert open_ones == {"global", "state.volume", "resources.requests", "resources.limits", "affinity"}


def test_every_value_is_in_the_schema_and_every_property_has_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def names(part: dict[str, Any], path: str = "") -> set[str]:
        found = set()
        for name, below in part.get("properties", {}).items():
            found |= {f"{path}{name}"} | names(below, f"{path}{name}.")
        return found

    def given(part: object, path: str = "") -> set[str]:
        if not isinstance(part, dict) or path.rstrip(".") in WHOLE:
            return set()
        return {f"{path}{name}" for name in part}.union(
            *(given(value, f"{path}{name}.") for name, value in part.items())
        )

    assert given(values) == names(schema) - {"global", "enabled"}, "the two that Helm sets for a subchart"
