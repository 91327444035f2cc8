"""What is known of the resources of others that the chart and its examples use, as strict schemas.

Field names are those of the projects' API references: Prometheus operator, KEDA, Gateway API, Application Gateway for
Containers, External Secrets, Secrets Store CSI driver (November 2026). Only what is used is described.
"""

from typing import Any

Schema = dict[str, Any]


def _is(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _each(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "minItems": 1}


def _kind(version: str, spec: Schema) -> Schema:
    metadata = _is(
        {"name": _NAME, "namespace": _TEXT, "labels": _TEXTS, "annotations": _TEXTS},
        ("namespace", "labels", "annotations"),
    )
    return _is({"apiVersion": {"const": version}, "kind": _TEXT, "metadata": metadata, "spec": spec})


_TEXT: Schema = {"type": "string", "minLength": 1}
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_DURATION: Schema = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
_PROMETHEUS_DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
_LABELLED = _is({"matchLabels": _TEXTS})
_KEY = _is({"name": _NAME, "key": _TEXT})
_POLICIES = _is(
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": _each(
            _is(
                {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": _COUNT,
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                }
            )
        ),
    }
)

KINDS: dict[str, Schema] = {
    "ServiceMonitor": _kind(
        "monitoring.coreos.com/v1",
        _is(
            {
                "jobLabel": _TEXT,
                "selector": _LABELLED,
                "endpoints": _each(
                    _is(
                        {
                            "port": _TEXT,
                            "path": {"const": "/metrics"},
                            "interval": _PROMETHEUS_DURATION,
                            "authorization": _is({"type": {"const": "Bearer"}, "credentials": _KEY}),
                        },
                        ("authorization",),
                    )
                ),
            }
        ),
    ),
    "PrometheusRule": _kind(
        "monitoring.coreos.com/v1",
        _is(
            {
                "groups": _each(
                    _is(
                        {
                            "name": _TEXT,
                            "rules": _each(
                                _is(
                                    {
                                        "alert": _TEXT,
                                        "expr": _TEXT,
                                        "for": _PROMETHEUS_DURATION,
                                        "labels": _TEXTS,
                                        "annotations": _TEXTS,
                                    }
                                )
                            ),
                        }
                    )
                )
            }
        ),
    ),
    "ScaledObject": _kind(
        "keda.sh/v1alpha1",
        _is(
            {
                "scaleTargetRef": _is({"name": _NAME}),
                "minReplicaCount": _COUNT,
                "maxReplicaCount": _COUNT,
                "advanced": _is(
                    {
                        "horizontalPodAutoscalerConfig": _is(
                            {"behavior": _is({"scaleUp": _POLICIES, "scaleDown": _POLICIES})}
                        )
                    }
                ),
                "triggers": _each(
                    _is(
                        {
                            "type": {"enum": ["prometheus", "cpu"]},
                            "metricType": {"enum": ["AverageValue", "Utilization"]},
                            "metadata": _TEXTS,  # KEDA takes texts only, also of numbers
                        }
                    )
                ),
            }
        ),
    ),
    "HTTPRoute": _kind(
        "gateway.networking.k8s.io/v1",
        _is(
            {
                "parentRefs": _each(
                    _is({"name": _NAME, "namespace": _NAME, "sectionName": _NAME}, ("namespace", "sectionName"))
                ),
                "hostnames": _each(_TEXT),
                "rules": _each(
                    _is(
                        {
                            "matches": _each(_is({"path": _is({"type": {"const": "PathPrefix"}, "value": _TEXT})})),
                            "timeouts": _is({"request": _DURATION, "backendRequest": _DURATION}),
                            "backendRefs": _each(_is({"name": _NAME, "port": _COUNT})),
                        },
                        ("timeouts",),
                    )
                ),
            }
        ),
    ),
    "RoutePolicy": _kind(
        "alb.networking.azure.io/v1",
        _is(
            {
                "targetRef": _is(
                    {"group": {"const": "gateway.networking.k8s.io"}, "kind": {"const": "HTTPRoute"}, "name": _NAME}
                ),
                "default": _is({"timeouts": _is({"routeTimeout": _DURATION})}),
            }
        ),
    ),
    "ExternalSecret": _kind(
        "external-secrets.io/v1",
        _is(
            {
                "refreshInterval": _DURATION,
                "secretStoreRef": _is({"kind": {"enum": ["SecretStore", "ClusterSecretStore"]}, "name": _NAME}),
                "target": _is({"name": _NAME}),
                "data": _each(_is({"secretKey": _TEXT, "remoteRef": _is({"key": _TEXT})})),
            }
        ),
    ),
    "SecretProviderClass": _kind(
        "secrets-store.csi.x-k8s.io/v1", _is({"provider": {"const": "azure"}, "parameters": _TEXTS})
    ),
}
