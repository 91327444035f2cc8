"""Every example renders, is what Kubernetes accepts, and is a configuration that the relay's own loader accepts."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests import markdown
from tests.chart.charts import (
    CHART,
    EXAMPLES,
    KEYED,
    WHOLE,
    Object,
    cases,
    container_of,
    helm,
    objects,
    one,
    pod_of,
    texts,
)
from tests.chart.kubelet import CONTENT, Pod
from tests.chart.resource_kinds import KINDS
from tests.rows import rows

from chukei import __version__
from chukei.config import NEEDS_RESTART, ConfigError, Settings, load
from chukei.request.routes import Page, find
from monitoring import rules

jsonschema = pytest.importorskip("jsonschema")
kubernetes = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed")

CASES = cases()
RENDERED = {name: objects(values) for name, values in CASES.items()}
EACH = rows(("name", "found"), RENDERED.items(), RENDERED)


def settings_of(found: list[Object], folder: Path) -> Settings:
    """Read the configuration as the relay in the pod reads it."""
    return load(None, Pod(found, folder).environment)


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a folder for each row."""
    return lambda: tmp_path_factory.mktemp("pod")


def test_the_chart_is_of_the_version_of_the_relay() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"] == __version__
    assert container_of(RENDERED["values.yaml"])["image"] == f"chukei:{__version__}"


def test_an_image_can_be_named_by_its_digest() -> None:
    digest = "sha256:" + "0a" * 32
    image = {"repository": "registry.example.com:5000/chukei", "tag": "ignored", "digest": digest}
    assert container_of(objects(KEYED | {"image": image}))["image"] == f"registry.example.com:5000/chukei@{digest}"


@rows(("name", "values"), CASES.items(), CASES)
def test_helm_finds_nothing_to_complain_about(name: str, values: dict[str, Any]) -> None:
    report = helm.lint(str(CHART), values, strict=True, namespace="ai")
    worst = [each for each in report["messages"] if each["severity"] > 1]
    assert (worst, report["errors"]) == ([], [])


@EACH
def test_kubernetes_accepts_each_object(name: str, found: list[Object]) -> None:
    assert len(found) >= 4
    for each in found:
        if each["kind"] in KINDS:
            jsonschema.validate(each, KINDS[each["kind"]])
        else:
            kubernetes.validate(each, kubernetes.latest_version(), strict=True)


def test_kubernetes_would_refuse_a_mistake() -> None:
    deployment = one("Deployment", objects(KEYED))
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(deployment, kubernetes.latest_version(), strict=True)
    route = one("HTTPRoute", RENDERED["gateway-api.yaml"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(route | {"spec": route["spec"] | {"timeout": "0s"}}, KINDS["HTTPRoute"])


@EACH
def test_the_relay_accepts_the_configuration(name: str, found: list[Object], folders: Any) -> None:
    settings = settings_of(found, folders())
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 7221)
    assert not settings.auth.local
    assert settings.notices == ()
    assert settings.simulated == (not re.search(r"deployments|AZURE_OPENAI_ENDPOINT", str(CASES[name])))


@rows("address", ["rediss://:$(A_PASSWORD)@redis.example.com:10000/0", "rediss://me:$(A_PASSWORD)@redis.example.com"])
def test_an_address_may_contain_a_password_that_is_in_a_secret(address: str, folders: Any) -> None:
    """The kubelet knows only the variables before one; without that the address would hold the text $(A_PASSWORD)."""
    values = {
        "secretEnv": {"A_PASSWORD": {"name": "azure-openai", "key": "api-key"}},
        "env": {"CHUKEI_STORES__QUOTA": address},
    }
    quota = settings_of(objects(KEYED | values), folders()).stores.quota
    assert quota is not None
    assert ":the-key-of-azure@" in quota.reveal()


@rows(
    "values",
    [
        {"env": {"CHUKEI_SERVER__DRAIN_SECOND": "5"}},
        {"config": "[server]\nmax_body_byte = 1\n"},
        {"secretEnv": {"CHUKEI_AUTH__PEPER": {"name": "chukei", "key": "pepper"}}},
        {"config": '[auth]\npepper = { file = "/etc/chukei/secrets/chukei/peper" }\n', "secretFiles": ["chukei"]},
    ],
)
def test_the_relay_refuses_a_setting_that_it_does_not_know(values: dict[str, Any], folders: Any) -> None:
    with pytest.raises(ConfigError):
        settings_of(objects(KEYED | values), folders())


@EACH
def test_callers_need_a_key(name: str, found: list[Object], folders: Any) -> None:
    settings = settings_of(found, folders())
    assert not settings.auth.anonymous
    assert settings.auth.api_key is not None or name == "aks.yaml", "there callers have keys in the database"


@EACH
def test_values_hold_no_secret(name: str, found: list[Object]) -> None:
    shown = str(found)
    for content in CONTENT.values():
        for secret in content.values():
            assert secret not in shown


# The pod.


@EACH
def test_a_pod_is_as_restricted_as_the_strictest_policy_asks(name: str, found: list[Object]) -> None:
    """The level "restricted" of Kubernetes' pod security standards, and more."""
    pod, container = pod_of(found), container_of(found)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert isinstance(pod["securityContext"]["runAsUser"], int)
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    allowed = {"name", "emptyDir", "configMap", "secret", "csi", "ephemeral"}
    assert {key for volume in pod["volumes"] for key in volume} <= allowed


@EACH
def test_secrets_can_be_read_by_the_relays_user_and_by_nobody_else(name: str, found: list[Object]) -> None:
    security = pod_of(found)["securityContext"]
    assert security["fsGroup"] == security["runAsGroup"] == security["runAsUser"]
    sources = [volume.get("secret") or volume.get("configMap") for volume in pod_of(found)["volumes"]]
    assert {source.get("defaultMode") for source in sources if source is not None and source.get("name") != "ca"} <= {
        0o440
    }


@EACH
def test_a_name_that_the_service_gives_is_no_setting(name: str, found: list[Object], folders: Any) -> None:
    """Links of a Service whose name has two dashes look like settings: no loader could tell them from typing errors."""
    assert pod_of(found)["enableServiceLinks"] is False
    environment = Pod(found, folders()).environment
    ours = one("Service", found)["metadata"]["name"]
    assert load(None, environment | links(ours)).notices == ()
    with pytest.raises(ConfigError, match="is not a known key"):
        load(None, environment | links("chukei-server--canary"))


def links(service: str) -> dict[str, str]:
    """Return the variables that Kubernetes makes for a Service with one port called http."""
    name, address = service.upper().replace("-", "_"), "10.0.0.11"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": "80",
        f"{name}_SERVICE_PORT_HTTP": "80",
        f"{name}_PORT": f"tcp://{address}:80",
        f"{name}_PORT_80_TCP": f"tcp://{address}:80",
        f"{name}_PORT_80_TCP_PROTO": "tcp",
        f"{name}_PORT_80_TCP_PORT": "80",
        f"{name}_PORT_80_TCP_ADDR": address,
    }


@EACH
def test_probes_ask_the_health_routes_on_the_relays_port(name: str, found: list[Object]) -> None:
    container = container_of(found)
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == ("http", 7221)
    pages = {"startupProbe": Page.LIVE, "readinessProbe": Page.READY, "livenessProbe": Page.LIVE}
    for probe, page in pages.items():
        asked = container[probe]["httpGet"]
        assert (find("GET", asked["path"], "").page, asked["port"]) == (page, "http")
        assert "httpHeaders" not in asked, "Application Gateway's controller ignores them"


@rows(
    ("stopping", "seconds"),
    [
        ({}, 5 + 120 + 10),
        ({"drainSeconds": 0, "graceSeconds": 0}, 10),
        ({"drainSeconds": 90, "graceSeconds": 300, "preStopSeconds": 15}, 415),
        ({"drainSeconds": 2.5, "graceSeconds": 0.7}, 14),
    ],
)
def test_kubernetes_waits_longer_than_the_relay_needs(stopping: dict[str, float], seconds: int, folders: Any) -> None:
    found = objects(KEYED | {"stopping": stopping})
    server = settings_of(found, folders()).server
    pause = stopping.get("preStopSeconds", 0)
    waits = pod_of(found)["terminationGracePeriodSeconds"]
    # docs/deploy-server.md: 5 seconds are what the phases take beyond the two settings.
    assert waits == seconds > pause + server.drain_seconds + server.grace_seconds + 5
    assert container_of(found).get("lifecycle") == ({"preStop": {"sleep": {"seconds": pause}}} if pause else None)


def test_whole_numbers_stay_whole(folders: Any) -> None:
    """Helm reads numbers as floats, of which templates write large ones with an exponent."""
    found = RENDERED["everything"]
    assert settings_of(found, folders()).server.max_bodies_bytes == 1 << 30
    assert pod_of(found)["securityContext"]["fsGroup"] == 1_000_660_000
    metric = one("HorizontalPodAutoscaler", found)["spec"]["metrics"][0]
    assert metric["pods"]["target"]["averageValue"] == "1000000"


@rows(
    "config",
    [
        "",
        "# 中継 – a comment with trailing spaces  \n\n[log]\n\tlevel = 'info'\n",
        "  [log]\n  level = 'info'",
        "[log]\r\nlevel = 'info'\r\n\r\n",
        '[log]\nlevel = "info" # {{ .Values.image }} $(POD_IP) \\\n',
    ],
)
def test_the_text_of_the_configuration_is_mounted_as_it_is(config: str) -> None:
    found = [each for each in objects(KEYED | {"config": config}) if each["kind"] == "ConfigMap"]
    assert [each["data"] for each in found] == ([{"relay.toml": config}] if config else [])


def test_names_fit_whatever_the_release_is_called() -> None:
    """A release's name has 53 characters at most, a name and a label 63."""
    found = objects(CASES["keda.yaml"], release="a" * 53)
    assert max(len(each["metadata"]["name"]) for each in found) <= 63 - len("-keys")
    labels = [value for each in found for value in each["metadata"]["labels"].values()]
    assert max(map(len, labels)) <= 63


def test_no_replica_goes_before_another_is_ready() -> None:
    assert one("Deployment", RENDERED["values.yaml"])["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }


def test_a_volume_that_one_pod_may_have_is_free_before_the_next_pod_starts() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "ledger"}}
    found = objects(KEYED | {"replicaCount": 1, "state": {"volume": claim}})
    assert one("Deployment", found)["spec"]["strategy"] == {"type": "Recreate"}
    kubernetes.validate(one("Deployment", found), kubernetes.latest_version(), strict=True)


@rows("replicas", [1, 2, 5])
def test_a_disruption_budget_never_stops_a_node_from_being_drained(replicas: int) -> None:
    budget = one("PodDisruptionBudget", objects(KEYED | {"replicaCount": replicas}))["spec"]
    assert "minAvailable" not in budget
    assert budget["maxUnavailable"] >= 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_what_selects_pods_selects_those_of_the_deployment() -> None:
    found = RENDERED["aks.yaml"]
    labels = one("Deployment", found)["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one("Deployment", found)["spec"]["selector"]["matchLabels"],
        one("Service", found)["spec"]["selector"],
        one("PodDisruptionBudget", found)["spec"]["selector"]["matchLabels"],
        one("NetworkPolicy", found)["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    found = objects(CASES["aks.yaml"], release="blue")
    monitor = one("ServiceMonitor", found)["spec"]
    service = one("Service", found)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "chukei", "the alerts select this job"
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_a_change_that_needs_a_restart_replaces_the_pods_and_another_does_not() -> None:
    def mark(config: str) -> str:
        annotations = one("Deployment", objects(KEYED | {"config": config}))["spec"]["template"]["metadata"]
        return str(annotations["annotations"]["chukei/read-at-start"])

    plain = mark("[log]\nlevel = 'info'\n")
    assert mark("[log]\nlevel = 'debug'\n[stream]\nidle_seconds = 60\n") == plain
    assert mark("[metrics]\nopen = true\n") == plain
    samples = {
        "server": {"hang_seconds": "1"},
        "stores": dict.fromkeys(("quota", "quota_away", "quota_seconds", "ledger"), "1"),
    }
    for section, keys in NEEDS_RESTART.items():
        for key in samples.get(section, keys):
            assert mark(f"[{section}]\n{key} = 1\n") != plain, (section, key)


def test_every_key_that_needs_a_restart_is_in_the_mark_or_set_by_the_chart(folders: Any) -> None:
    ours = {"host", "port", "drain_seconds", "grace_seconds"}
    assert NEEDS_RESTART["server"] - ours == {"hang_seconds"}
    assert NEEDS_RESTART["stores"] - {"replicas", "ledger_by_default"} == {
        "quota",
        "quota_away",
        "quota_seconds",
        "ledger",
    }


def test_replicas_divide_limits_by_their_number_while_redis_is_away(folders: Any) -> None:
    shared = {"config": '[stores]\nquota = "redis://redis.example.com"\n', "replicaCount": 4}
    assert settings_of(objects(KEYED | shared), folders()).stores.replicas == 4
    scaled = shared | {"autoscaling": {"enabled": True, "maxReplicas": 9}}
    assert settings_of(objects(KEYED | scaled), folders()).stores.replicas == 9
    alone = one("Deployment", objects(KEYED | {"replicaCount": 4}))
    assert "CHUKEI_STORES__REPLICAS" not in str(alone), "a change of it would replace the pods"


def test_ledger_and_spool_are_in_the_volume_for_state(folders: Any) -> None:
    found = RENDERED["values.yaml"]
    assert container_of(found)["volumeMounts"][0] == {"name": "state", "mountPath": "/var/lib/chukei"}
    assert {each["name"]: each.get("value") for each in container_of(found)["env"]}["XDG_STATE_HOME"] == "/var/lib"


def test_the_limit_of_memory_leaves_room_for_the_bodies_of_requests(folders: Any) -> None:
    found = RENDERED["values.yaml"]
    limits = container_of(found)["resources"]["limits"]
    assert "cpu" not in limits
    mebibytes = int(limits["memory"].removesuffix("Mi"))
    assert mebibytes << 20 > 2 * settings_of(found, folders()).server.max_bodies_bytes


def test_the_cluster_may_choose_the_user(folders: Any) -> None:
    """OpenShift refuses every user that is not of the namespace's own range."""
    security = pod_of(objects(KEYED | {"runAsUser": None}))["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


# Scaling.


def test_with_autoscaling_an_upgrade_does_not_set_the_number_of_replicas() -> None:
    assert one("Deployment", RENDERED["values.yaml"])["spec"]["replicas"] == 2
    for name in ("aks.yaml", "keda.yaml"):
        assert "replicas" not in one("Deployment", RENDERED[name])["spec"]


def test_replicas_are_removed_one_at_a_time_and_added_at_once() -> None:
    hpa = one("HorizontalPodAutoscaler", RENDERED["aks.yaml"])["spec"]["behavior"]
    keda = one("ScaledObject", RENDERED["keda.yaml"])["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert hpa == keda
    assert hpa["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 180}]
    assert hpa["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert hpa["scaleUp"]["stabilizationWindowSeconds"] == 0


def test_a_metric_of_pods_has_an_average_as_its_target() -> None:
    """With any other target the controller refuses the metric and stays at the minimum."""
    metric = one("HorizontalPodAutoscaler", RENDERED["aks.yaml"])["spec"]["metrics"][0]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "200"}


# The way in and out.


@EACH
def test_nothing_in_front_buffers_or_limits_the_time_of_a_stream(name: str, found: list[Object]) -> None:
    """Each way in has a rule here, so that a new example must say how it does not buffer."""
    for each in found:
        if each["kind"] == "Ingress":
            check = {"nginx": nginx, "azure-application-gateway": application_gateway}[each["spec"]["ingressClassName"]]
            check({key.partition("/")[2]: value for key, value in each["metadata"]["annotations"].items()})
        elif each["kind"] == "HTTPRoute":
            policies = [policy["spec"] for policy in found if policy["kind"] == "RoutePolicy"]
            limits = [policy["default"]["timeouts"]["routeTimeout"] for policy in policies]
            assert all(policy["targetRef"]["name"] == each["metadata"]["name"] for policy in policies)
            timeouts = [*each["spec"]["rules"][0].get("timeouts", {}).values(), *limits]
            assert set(timeouts) == {"0s"}


def nginx(annotations: dict[str, str]) -> None:
    assert annotations["proxy-buffering"] == "off"
    assert int(annotations["proxy-read-timeout"]) > 15
    assert annotations["proxy-body-size"] == "64m"


def application_gateway(annotations: dict[str, str]) -> None:
    """Its buffering is a switch of the whole gateway, which the example's comment names."""
    text = (CHART / "examples" / "application-gateway.yaml").read_text("utf-8")
    assert "globalConfiguration.enableResponseBuffering=false" in text
    assert int(annotations["request-timeout"]) > 15
    assert annotations["connection-draining"] == "true"


@EACH
def test_what_is_in_front_leads_to_the_service(name: str, found: list[Object]) -> None:
    service = one("Service", found)
    (port,) = service["spec"]["ports"]
    assert (port["targetPort"], port["appProtocol"]) == ("http", "http")
    assert service["spec"]["sessionAffinity"] == "None"
    for each in found:
        if each["kind"] == "HTTPRoute":
            (backend,) = each["spec"]["rules"][0]["backendRefs"]
            assert backend == {"name": service["metadata"]["name"], "port": port["port"]}
        if each["kind"] == "Ingress":
            backend = each["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            assert backend == {"name": service["metadata"]["name"], "port": {"name": port["name"]}}


@EACH
def test_a_network_policy_lets_the_relay_reach_what_it_is_configured_to_reach(
    name: str, found: list[Object], folders: Any
) -> None:
    policies = [each["spec"] for each in found if each["kind"] == "NetworkPolicy"]
    if not policies:
        return
    (policy,) = policies
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for port in policy["ingress"][0]["ports"]] == ["http"]
    allowed = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert needed_ports(settings_of(found, folders())) | {53} <= allowed, "the example's own networkPolicy.egress"


def test_a_network_policy_can_let_dns_out_on_another_port() -> None:
    """OpenShift's DNS pods listen on 5353, and its network looks at the pod's port."""
    egress = [{"port": 443}, {"port": 5353, "protocol": "UDP"}, {"port": 5353}]
    (policy,) = [
        each["spec"]
        for each in objects(KEYED | {"networkPolicy": {"enabled": True, "egress": egress}})
        if each["kind"] == "NetworkPolicy"
    ]
    ports = [(port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [(53, "UDP"), (53, "TCP"), (443, "TCP"), (5353, "UDP"), (5353, "TCP")]


def test_azures_balancer_probes_readiness_and_not_the_page() -> None:
    """For a port with ``appProtocol: http`` its probe asks for "/" unless an annotation names another path."""
    annotation = "service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path"
    plain = one("Service", objects(KEYED | {"service": {"type": "LoadBalancer"}}))["metadata"]["annotations"]
    assert find("GET", plain[annotation], "").page is Page.READY
    hosts = KEYED | {"service": {"type": "LoadBalancer", "port": 8080}, "allowedHosts": ["relay.example.com"]}
    connects = {"service.beta.kubernetes.io/port_8080_health-probe_protocol": "Tcp"}
    assert one("Service", objects(hosts))["metadata"]["annotations"] == connects, "its Host is a node's address"
    own = {"type": "LoadBalancer", "annotations": {annotation: "/health/live"}}
    assert one("Service", objects(KEYED | {"service": own}))["metadata"]["annotations"] == own["annotations"]
    assert "annotations" not in one("Service", RENDERED["values.yaml"])["metadata"]


def needed_ports(settings: Settings) -> set[int]:
    """Return the ports to which a relay connects."""
    defaults = {"https": 443, "http": 80, "redis": 6379, "rediss": 6379, "postgresql": 5432}
    secrets = [settings.stores.quota, settings.stores.ledger, settings.telemetry.endpoint]
    addresses = [secret.reveal() for secret in secrets if secret is not None]
    addresses += [each.endpoint for model in settings.models.values() for each in model.deployments]
    parts = [urlsplit(address) for address in addresses]
    return {each.port or defaults[each.scheme] for each in parts if each.scheme != "sqlite"}


def test_who_may_call_and_who_may_read_metrics_are_both_let_in() -> None:
    (rule,) = one("NetworkPolicy", RENDERED["aks.yaml"])["spec"]["ingress"]
    namespaces = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
    assert namespaces == ["gateway-system", "monitoring"]


def test_workload_identity_has_its_label_and_its_annotations() -> None:
    """Its webhook reads the label of the pod and the annotations of the account."""
    values = {"workloadIdentity": {"enabled": True, "clientId": "00000000-0000-0000-0000-000000000001"}}
    found = objects(KEYED | values)
    assert one("Deployment", found)["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    account = one("ServiceAccount", found)
    assert account["metadata"]["annotations"] == {
        "azure.workload.identity/client-id": "00000000-0000-0000-0000-000000000001"
    }
    assert pod_of(found)["serviceAccountName"] == account["metadata"]["name"]


# What prometheus reads.


def test_the_rules_are_those_of_the_monitoring_folder() -> None:
    written = rules.written()
    assert (CHART / "files" / rules.FILE).read_text("utf-8") == written, "run python -m monitoring"
    assert one("PrometheusRule", RENDERED["aks.yaml"])["spec"] == yaml.safe_load(written)


def test_prometheus_sends_the_key_that_the_relay_expects(folders: Any) -> None:
    found = RENDERED["aks.yaml"]
    reference = one("ServiceMonitor", found)["spec"]["endpoints"][0]["authorization"]["credentials"]
    key = settings_of(found, folders()).metrics.api_key
    assert key is not None
    assert key.reveal() == CONTENT[reference["name"]][reference["key"]]


# Names, notes.


@rows(
    ("release", "namespace", "full"),
    [("123", "456", "relay"), ("true", "null", ""), ("team.relay", "1e3", "off")],
)
def test_kubernetes_accepts_what_yaml_would_take_for_a_number(release: str, namespace: str, full: str) -> None:
    found = objects(CASES["everything"] | {"fullnameOverride": full}, release=release, namespace=namespace)
    for each in found:
        metadata = each["metadata"]
        assert metadata["namespace"] == namespace
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", metadata["name"]), "the rule for Services"
        assert all(isinstance(value, str) for value in metadata["labels"].values())
        if each["kind"] in KINDS:
            jsonschema.validate(each, KINDS[each["kind"]])
        else:
            kubernetes.validate(each, kubernetes.latest_version(), strict=True)


def test_two_long_names_that_begin_alike_stay_apart() -> None:
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in objects(CASES["aks.yaml"], release="a" * 52 + end)}
        for end in "bc"
    )
    assert not first & second


def test_the_alerts_find_the_job_whatever_the_chart_is_called() -> None:
    found = objects(CASES["aks.yaml"] | {"nameOverride": "gateway"}, release="blue")
    job = one("Service", found)["metadata"]["labels"][one("ServiceMonitor", found)["spec"]["jobLabel"]]
    assert f'job="{job}"' in str(one("PrometheusRule", found))


def test_two_releases_in_a_namespace_do_not_meet() -> None:
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in objects(CASES["aks.yaml"], release=release)}
        for release in ("blue", "green")
    )
    assert ("Deployment", "blue-chukei") in first
    assert not first & second


@rows(("name", "values"), CASES.items(), CASES)
def test_the_notes_name_the_first_request(name: str, values: dict[str, Any]) -> None:
    notes = texts(values)["NOTES.txt"]
    assert "port-forward service/chukei 7221:80" in notes
    assert "/api/chat-stream" in notes
    assert ("the simulator answers" in notes) == (name not in {"aks.yaml", "azure-key.yaml", *WITH_DEPLOYMENTS})
    assert ("Each replica counts limits by itself" in notes) == (name != "aks.yaml")


WITH_DEPLOYMENTS = {"external-secrets.yaml", "key-vault-csi.yaml"}


def test_the_notes_name_no_address_that_nobody_can_call_and_see_deployments_in_variables() -> None:
    hosts = {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["*.example.com", "relay.example.com"]}
    address = {"CHUKEI_DEPLOYMENTS__EAST__ENDPOINT": "https://x.openai.azure.com"}
    notes = texts(KEYED | {"httpRoute": hosts, "env": address})["NOTES.txt"]
    assert re.findall("https://.*/v1", notes) == ["https://relay.example.com/v1"]
    assert "the simulator answers" not in notes


def test_every_example_is_on_the_page() -> None:
    page = markdown.read("docs/deploy-kubernetes.md")
    assert len(EXAMPLES) >= 10
    assert [example.name for example in EXAMPLES if f"charts/chukei/examples/{example.name}" not in page] == []


def test_the_table_of_values_is_that_of_the_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    table = markdown.rows(markdown.section(markdown.read("docs/deploy-kubernetes.md"), "Values"))
    documented = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in table}
    assert documented == dict(leaves(values))


def leaves(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that the table has a row for."""
    for name, value in part.items():
        if isinstance(value, dict) and value and f"{path}{name}" not in WHOLE:
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def test_the_rule_for_the_adapter_is_on_the_page() -> None:
    rule = yaml.safe_load((CHART / "files" / "prometheus-adapter.yaml").read_text("utf-8"))
    fences = [fence for fence in markdown.fences("yaml") if fence.page == "docs/deploy-kubernetes.md"]
    assert [yaml.safe_load(fence.text) for fence in fences] == [rule]


def test_the_packaged_chart_renders_the_same(tmp_path: Path) -> None:
    package = helm.package(str(CHART), destination=str(tmp_path))
    with helm.Chart.load(package) as chart:
        packaged = chart.render(CASES["aks.yaml"], name="chukei", namespace="ai")
    assert {name.removeprefix("chukei/templates/"): text for name, text in packaged.items()} == texts(CASES["aks.yaml"])


def test_the_published_chart_names_the_published_image(tmp_path: Path) -> None:
    """The workflow changes this one line before it packages the chart."""
    if not (markdown.ROOT / ".github").is_dir():
        pytest.skip("this is a source distribution, which has no workflows")
    text = markdown.read(".github/workflows/release.yml")
    (pattern, replacement) = re.findall(r'sed -i "s\|(.+?)\|(.+?)\|" charts/chukei/values\.yaml', text)[0]
    values = (CHART / "values.yaml").read_text("utf-8")
    changed, count = re.subn(pattern, replacement.replace("${GITHUB_REPOSITORY,,}", "owner/chukei"), values, flags=re.M)
    assert count == 1
    assert container_of(objects(yaml.safe_load(changed) | KEYED))["image"] == f"ghcr.io/owner/chukei:{__version__}"
    assert 'echo "image=ghcr.io/${GITHUB_REPOSITORY,,}"' in text


def test_every_helm_command_of_the_page_has_values_that_helm_and_the_relay_accept(folders: Any) -> None:
    shells = [fence.text for fence in markdown.fences("sh") if fence.page == "docs/deploy-kubernetes.md"]
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("helm ")]
    assert len(commands) >= 5
    for command in commands:
        values: dict[str, Any] = {}
        for option, given in itertools.pairwise(command):
            if option == "--set":
                filled = given.replace("$CLIENT", "00000000-0000-0000-0000-000000000001").replace(
                    "REGISTRY", "registry"
                )
                merge(values, helm.parse_set_string(filled))
            elif option == "--set-file":
                assert given == "config=relay.toml"
                values["config"] = "[log]\nlevel = 'debug'\n"
            elif option == "--values":
                merge(values, yaml.safe_load((markdown.ROOT / given).read_text("utf-8")))
        assert settings_of(objects(KEYED | values), folders()).notices == ()


def merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    """Add values to others, as Helm does with each option."""
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merge(values[name], value)
        else:
            values[name] = value
