"""The chart, rendered by Helm itself."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import markdown

helm = pytest.importorskip("helm_python", reason="Helm has no wheel for this platform")

CHART = markdown.ROOT / "charts" / "chukei"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
NAMESPACE = "ai"
KEYED: dict[str, Any] = {"apiKey": {"secret": {"name": "chukei-caller"}}}
"""The values without which a rendering that has no cluster would make a key."""

NULLABLE = {
    "httpRoute.timeout",
    "autoscaling.cpuPercent",
    "topologySpreadConstraints",
    "runAsUser",
    "resources.requests",
    "resources.limits",
}
"""The values that may be null."""

WHOLE = {"resources.requests", "resources.limits"}
"""The values that are objects of Kubernetes' own, though they have a default."""

Object = dict[str, Any]


def values_of(example: Path) -> dict[str, Any]:
    """Return an example's values."""
    values = yaml.safe_load(example.read_text("utf-8"))
    assert isinstance(values, dict)
    return values


EVERYTHING: dict[str, Any] = {
    "nameOverride": "chukei",
    "image": {"digest": "sha256:" + "0a" * 32, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "replicaCount": 1,
    "env": {"CHUKEI_SERVER__MAX_BODIES_BYTES": 1 << 30, "CHUKEI_POOL__HEDGE_SHARE": 0.25, "CHUKEI_LOG__LEVEL": "debug"},
    "apiKey": {"secret": {"name": "chukei", "key": "pepper"}},
    "stopping": {"drainSeconds": 2.5, "graceSeconds": 1200, "preStopSeconds": 1.5},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "labels": {"a": "b"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": ["relay.example.com"],
        "annotations": {
            "nginx.ingress.kubernetes.io/proxy-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "60",
            "nginx.ingress.kubernetes.io/proxy-body-size": "64m",
        },
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["*.example.com"]},
    "workloadIdentity": {"enabled": True, "clientId": "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "tenantId": "tenant"},
    "serviceAccount": {"name": "relay", "annotations": {"a": "b"}},
    "metrics": {
        "secret": {"name": "chukei-metrics"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "autoscaling": {"enabled": True, "openStreams": 1_000_000, "cpuPercent": None},
    "networkPolicy": {"enabled": True, "egress": [{"port": 443, "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
    "state": {
        "volume": {
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            }
        }
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "runAsUser": 1_000_660_000,
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
}
"""Values that take the branches that no example takes."""


def cases() -> dict[str, dict[str, Any]]:
    """Return the values of every example, the chart's own, and those that set everything."""
    examples = {example.name: values_of(example) for example in EXAMPLES}
    return {"values.yaml": KEYED, "everything": EVERYTHING} | examples


class Strict(yaml.SafeLoader):
    """Reads YAML as Kubernetes' decoder does: a key that is there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key is there twice: {keys}"
        return super().construct_mapping(node, deep)


def texts(values: dict[str, Any], *, release: str = "chukei", namespace: str = NAMESPACE) -> dict[str, str]:
    """Return what Helm renders, by the template's name.

    Raises:
        helm.HelmError: the values are refused.
    """
    with helm.Chart.load(str(CHART)) as chart:
        rendered = chart.render(values, name=release, namespace=namespace)
    return {name.removeprefix("chukei/templates/"): text for name, text in rendered.items()}


def read(rendered: dict[str, str]) -> list[Object]:
    """Return the objects of a rendering."""
    found = [yaml.load_all(text, Strict) for name, text in rendered.items() if name.endswith(".yaml")]
    return [each for documents in found for each in documents if each is not None]


def objects(values: dict[str, Any], *, release: str = "chukei", namespace: str = NAMESPACE) -> list[Object]:
    """Render, and return the objects."""
    return read(texts(values, release=release, namespace=namespace))


def one(kind: str, found: list[Object]) -> Object:
    """Return the only object of a kind."""
    (only,) = [each for each in found if each["kind"] == kind]
    return only


def pod_of(found: list[Object]) -> Object:
    """Return the pod's specification."""
    pod: Object = one("Deployment", found)["spec"]["template"]["spec"]
    return pod


def container_of(found: list[Object]) -> Object:
    """Return the pod's only container."""
    (container,) = pod_of(found)["containers"]
    assert isinstance(container, dict)
    return container


def refusal(values: dict[str, Any], *, release: str = "chukei") -> str:
    """Return why Helm refuses values."""
    with pytest.raises(helm.HelmError) as raised:
        texts(values, release=release)
    return str(raised.value)
