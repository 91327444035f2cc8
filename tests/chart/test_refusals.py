"""What Helm refuses before anything is installed, and that the message names the value."""

import json
from typing import Any

import yaml
from tests.chart.charts import CHART, KEYED, WHOLE, refusal
from tests.rows import rows

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
]

CHECKS: list[tuple[dict[str, Any], str]] = [
    ({"config": "[server\n"}, "config: is not valid TOML"),
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


def test_a_refusal_does_not_show_the_secret() -> None:
    assert "hunter2" not in refusal(KEYED | {"env": {"CHUKEI_STORES__QUOTA": "redis://:hunter2@redis.example.com"}})


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

    assert given(values) == names(schema) - {"global"}
