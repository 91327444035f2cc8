"""Traces and metrics for OpenTelemetry and Azure Monitor: ``[telemetry]``.

The variables of OpenTelemetry's SDKs have the effect that their users expect
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). A key of the section takes
precedence. A value that means nothing here is noted and ignored, as the specification says: other programs in the same
environment may need it.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

from chukei.config.endpoints import split_address
from chukei.config.reader import Reader
from chukei.config.sections import read_section
from chukei.config.settings import Secret, TelemetrySettings

LOCAL = "http://localhost:4318"
"""Where OTLP over HTTP goes if it is asked for without an endpoint."""

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_KEY = re.compile(r"(?:^|;)\s*InstrumentationKey=[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:;|$)", re.IGNORECASE)
_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"

_SAMPLERS: dict[str, tuple[float | None, bool]] = {
    "always_on": (1.0, False),
    "always_off": (0.0, False),
    "traceidratio": (None, False),
    "parentbased_always_on": (1.0, True),
    "parentbased_always_off": (0.0, True),
    "parentbased_traceidratio": (None, True),
}
"""OpenTelemetry's samplers: the share of traces, or None if it is the argument; whether the caller decides first."""


def read_telemetry(table: Reader) -> TelemetrySettings:
    """Read ``[telemetry]`` and the variables of OpenTelemetry and Azure Monitor."""
    variables = _Variables(table)
    platform = variables.get("FUNCTIONS_WORKER_RUNTIME") is not None and not table.has("connection_string")
    variables.adopt()
    endpoint = table.address("endpoint")
    traces, metrics = variables.endpoint("TRACES"), variables.endpoint("METRICS")
    for given in filter(None, (endpoint, traces, metrics)):
        parts = split_address(given.reveal())
        if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
            table.problem("endpoint", "must be the http:// or https:// address of a collector, such as " + LOCAL)
    return read_section(
        table,
        TelemetrySettings,
        endpoint=endpoint,
        connection_string=_connection_string,
        traces_endpoint=traces or _below(endpoint, "traces"),
        metrics_endpoint=metrics or _below(endpoint, "metrics"),
        platform_connection=platform,
        delta=(variables.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE") or "").lower() == "delta",
        disabled=variables.is_true("OTEL_SDK_DISABLED"),
        resource=variables.resource(),
    )


def _connection_string(table: Reader) -> Secret | None:
    string = table.secret("connection_string")
    if string is not None and not _KEY.search(string.reveal()):
        table.problem("connection_string", "must have InstrumentationKey=GUID; copy it from Application Insights")
    return string


def _below(endpoint: Secret | None, signal: str) -> Secret | None:
    """Return the address of a signal below the collector's (OTLP specification, "Endpoint URLs")."""
    return None if endpoint is None else Secret(f"{endpoint.reveal().rstrip('/')}/v1/{signal}")


class _Variables:
    """OpenTelemetry's variables. An empty one counts as unset."""

    def __init__(self, table: Reader) -> None:
        self._table = table
        self._environment = table.document.environment

    def get(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def is_true(self, name: str) -> bool:
        return (self.get(name) or "").lower() == "true"

    def adopt(self) -> None:
        """Use the variables where the table has no key."""
        self._use("endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", str)
        self._use("connection_string", CONNECTION, str)
        self._use("batch_seconds", "OTEL_BSP_SCHEDULE_DELAY", _seconds)
        self._use("metrics_seconds", "OTEL_METRIC_EXPORT_INTERVAL", _seconds)
        self._adopt_sampler()
        for signal in ("TRACES", "METRICS"):
            self._adopt_exporter(signal)
        if "gen_ai_latest_experimental" in (self.get(_OPT_IN) or ""):
            self._table.adopt("genai", "genai-0.1", _OPT_IN)
        protocols = (f"OTEL_EXPORTER_OTLP_{part}PROTOCOL" for part in ("", "TRACES_", "METRICS_"))
        for name in protocols:
            if self.get(name) not in (None, "http/protobuf"):
                self._ignore(name, "the relay sends http/protobuf, which collectors take on port 4318")

    def _use(self, key: str, name: str, convert: Callable[[str], object]) -> None:
        text = self.get(name)
        if text is None:
            return
        try:
            self._table.adopt(key, convert(text), name)
        except ValueError:
            self._ignore(name, f"{text!r} is not a number")

    def _adopt_sampler(self) -> None:
        name = "OTEL_TRACES_SAMPLER"
        sampler = self.get(name)
        if sampler is None:
            return
        if sampler not in _SAMPLERS:
            self._ignore(name, f"the relay has no sampler {sampler!r}, only {', '.join(_SAMPLERS)}")
            return
        share, follow = _SAMPLERS[sampler]
        self._table.adopt("follow_parent", follow, name)
        if share is None:
            self._use("sample", f"{name}_ARG", float)
        else:
            self._table.adopt("sample", share, name)

    def _adopt_exporter(self, signal: str) -> None:
        name = f"OTEL_{signal}_EXPORTER"
        for exporter in (self.get(name) or "").split(","):
            match exporter.strip():
                case "none":
                    self._table.adopt(signal.lower(), False, name)
                case "" | "otlp":
                    pass
                case other:
                    self._ignore(name, f"the relay has no exporter {other!r}, only otlp and none")

    def endpoint(self, signal: str) -> Secret | None:
        """Return the whole address for a signal, if it has its own, or goes to the local collector."""
        address = self.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        if (
            address is None
            and "otlp" in (self.get(f"OTEL_{signal}_EXPORTER") or "")
            and not self._table.has("endpoint")
        ):
            return _below(Secret(LOCAL), signal.lower())
        return None if address is None else Secret(address)

    def resource(self) -> dict[str, str]:
        """Return what the environment says about this service, under OpenTelemetry's names for resources."""
        found = dict(self._platform())
        for member in (self.get("OTEL_RESOURCE_ATTRIBUTES") or "").split(","):
            key, equals, value = member.partition("=")
            if equals and key.strip():
                found[key.strip()] = unquote(value.strip())
        name = self.get("OTEL_SERVICE_NAME")
        return found if name is None else found | {"service.name": name}

    def _platform(self) -> dict[str, str]:
        """Return what Azure Functions says of itself (Microsoft: "App settings reference for Azure Functions")."""
        site = self.get("WEBSITE_SITE_NAME")
        if self.get("FUNCTIONS_WORKER_RUNTIME") is None or site is None:
            return {}
        subscription = (self.get("WEBSITE_OWNER_NAME") or "").partition("+")[0]
        group = self.get("WEBSITE_RESOURCE_GROUP")
        place = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{site}"
        found = {
            "cloud.provider": "azure",
            "cloud.platform": "azure.functions",
            "cloud.region": self.get("REGION_NAME"),
            "cloud.resource_id": place if subscription and group else None,
            "faas.name": site,
            "faas.instance": self.get("WEBSITE_INSTANCE_ID"),
        }
        return {key: value for key, value in found.items() if value is not None}

    def _ignore(self, name: str, why: str) -> None:
        self._table.document.notices.append(f"{name} is ignored: {why}")


def _seconds(text: str) -> float:
    """Read milliseconds."""
    return float(text) / 1000
