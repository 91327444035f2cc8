"""Keys that the chart makes: where there is a cluster to keep them, once, and only if nothing else lets callers in."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from tests.chart.api_server import ApiServer
from tests.chart.charts import CHART, NAMESPACE, Object, container_of, helm, objects, one, pod_of, read
from tests.rows import rows

MONITORED: dict[str, Any] = {"metrics": {"serviceMonitor": {"enabled": True}}}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(NAMESPACE) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(server: ApiServer) -> None:
    server.secrets.clear()


def installed(server: ApiServer, values: dict[str, Any]) -> list[Object]:
    """Render as ``helm install`` and ``helm upgrade`` do, which ask the cluster."""
    with (
        helm.Config(kube_apiserver=server.url, namespace=NAMESPACE, storage_driver="memory") as config,
        helm.Chart.load(str(CHART)) as chart,
    ):
        rendered = config.render(chart, values, name="chukei", namespace=NAMESPACE)
    return read({name.removeprefix("chukei/templates/"): text for name, text in rendered.items()})


def test_the_first_installation_makes_a_key_and_the_pod_reads_it(server: ApiServer) -> None:
    found = installed(server, {})
    secret = one("Secret", found)
    key = base64.b64decode(secret["data"]["api-key"])
    assert len(key) == 43
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    variables = {each["name"]: each.get("value") for each in container_of(found)["env"]}
    assert variables["CHUKEI_AUTH__API_KEY"] == '{ file = "/etc/chukei/secrets/chukei-keys/api-key" }'
    mounted = [volume.get("secret") for volume in pod_of(found)["volumes"]]
    assert {"secretName": "chukei-keys", "defaultMode": 0o440} in mounted
    assert one("Secret", installed(server, {}))["data"]["api-key"] != secret["data"]["api-key"], "the key is random"


def test_an_upgrade_keeps_the_keys_and_adds_what_is_missing(server: ApiServer) -> None:
    before = one("Secret", installed(server, {}))["data"]
    server.secrets["chukei-keys"] = before
    after = one("Secret", installed(server, MONITORED))["data"]
    assert after["api-key"] == before["api-key"]
    assert set(after) == {"api-key", "metrics-key"}
    server.secrets["chukei-keys"] = after
    assert one("Secret", installed(server, MONITORED))["data"] == after


def test_another_secret_of_the_namespace_is_no_key(server: ApiServer) -> None:
    server.secrets["other"] = {"api-key": "b3RoZXI="}
    assert one("Secret", installed(server, {}))["data"]["api-key"] != "b3RoZXI="


@rows(
    "values",
    [
        {"apiKey": {"secret": {"name": "mine"}}},
        {"apiKey": {"generate": False}},
        {"secretEnv": {"CHUKEI_API_KEY": {"name": "mine", "key": "key"}}},
        {"env": {"CHUKEI_AUTH__ANONYMOUS": True}},
        {"env": {"CHUKEI_AUTH__API_KEY": '{ file = "/etc/chukei/vault/key" }'}},
        {"config": "[auth]\nanonymous = true\n"},
        {"config": "[auth.entra]\ntenant = '1'\n"},
        {"config": "[callers.team]\nkey_sha256 = '00'\n"},
    ],
)
def test_no_key_is_made_where_the_values_let_callers_in(values: dict[str, Any]) -> None:
    """None of these asks a cluster."""
    assert [each for each in objects(values) if each["kind"] == "Secret"] == []


@rows(
    "values",
    [
        {"config": "[auth]\nlocal = true\n"},
        {"config": "[callers.team.limits]\nconcurrent = 1\n"},
        {"config": "[auth]\nanonymous = false\n"},
        {"env": {"CHUKEI_AUTH__ANONYMOUS": False}},
    ],
)
def test_a_rule_for_callers_lets_nobody_in(server: ApiServer, values: dict[str, Any]) -> None:
    assert one("Secret", installed(server, values))["data"].keys() == {"api-key"}


def test_the_secret_that_the_chart_made_can_be_named_where_no_cluster_is_asked() -> None:
    found = objects({"apiKey": {"secret": {"name": "chukei-keys"}}})
    assert [each for each in found if each["kind"] == "Secret"] == []
    assert {"secretName": "chukei-keys", "defaultMode": 0o440} in [
        each.get("secret") for each in pod_of(found)["volumes"]
    ]
