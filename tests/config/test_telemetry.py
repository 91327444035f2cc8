"""[telemetry] and the variables of OpenTelemetry and Azure Monitor."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import ConfigError, TelemetrySettings, load

COLLECTOR = "http://collector:4318"
STRING = "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://in.example"


def read(variables: dict[str, str], path: Path | None = None) -> TelemetrySettings:
    return load(path, variables).telemetry


def endpoints(settings: TelemetrySettings) -> tuple[str | None, str | None]:
    traces, metrics = settings.traces_endpoint, settings.metrics_endpoint
    return traces.reveal() if traces else None, metrics.reveal() if metrics else None


def test_nothing_is_sent_by_default() -> None:
    settings = read({})
    assert settings == TelemetrySettings()
    assert not settings.over_otlp
    assert not settings.to_azure


def test_every_key(tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    path.write_text(
        """
[telemetry]
endpoint = "https://collector:4318/otlp/"
connection_string = { env = "STRING" }
traces = true
metrics = true
sample = 0.25
follow_parent = false
accept_context = "all"
callers = true
genai = "1.36"
batch_seconds = 2.0
metrics_seconds = 30.0
azure_sdk_stats = true
"""
    )
    others = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other", "OTEL_TRACES_SAMPLER": "always_on"}
    settings = read({"STRING": STRING, **others}, path)
    assert endpoints(settings) == ("https://collector:4318/otlp/v1/traces", "https://collector:4318/otlp/v1/metrics")
    assert settings.connection_string is not None
    assert settings.connection_string.reveal() == STRING
    assert (settings.sample, settings.follow_parent, settings.accept_context) == (0.25, False, "all")
    assert (settings.callers, settings.genai, settings.azure_sdk_stats) == (True, "1.36", True)
    assert (settings.batch_seconds, settings.metrics_seconds) == (2.0, 30.0)


@rows(
    ("variables", "sent"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, (f"{COLLECTOR}/v1/traces", f"{COLLECTOR}/v1/metrics")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, (None, None)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/t"}, (f"{COLLECTOR}/t", None)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/x"},
            (f"{COLLECTOR}/v1/traces", "http://m/x"),
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("http://localhost:4318/v1/traces", None)),
    ],
)
def test_where_the_variables_send_to(variables: dict[str, str], sent: tuple[str | None, str | None]) -> None:
    assert endpoints(read(variables)) == sent


@rows(
    ("variables", "traces", "metrics"),
    [
        ({}, True, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_SDK_DISABLED": "true"}, True, True),
    ],
)
def test_what_is_sent(variables: dict[str, str], traces: bool, metrics: bool) -> None:
    settings = read({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, **variables})
    assert (settings.traces, settings.metrics) == (traces, metrics)
    assert settings.over_otlp is ("OTEL_SDK_DISABLED" not in variables)


@rows(
    ("sampler", "argument", "share", "follow"),
    [
        ("always_on", "", 1.0, False),
        ("always_off", "", 0.0, False),
        ("traceidratio", "0.5", 0.5, False),
        ("traceidratio", "", 1.0, False),
        ("parentbased_always_on", "0.5", 1.0, True),
        ("parentbased_always_off", "", 0.0, True),
        ("parentbased_traceidratio", "0.125", 0.125, True),
    ],
)
def test_samplers(sampler: str, argument: str, share: float, follow: bool) -> None:
    settings = read({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert (settings.sample, settings.follow_parent) == (share, follow)


@rows(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
    ],
)
def test_what_means_nothing_here_is_noted(name: str, value: str) -> None:
    settings = load(None, {name: value})
    assert settings.telemetry == TelemetrySettings()
    assert [notice for notice in settings.notices if notice.startswith(f"{name} is ignored: ")]


@rows(
    ("variables", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: must be the http://"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "7"}, "OTEL_TRACES_SAMPLER_ARG: must be"),
        ({"CHUKEI_TELEMETRY__GENAI": "2.0"}, "CHUKEI_TELEMETRY__GENAI: must be one of"),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": "key"}, "APPLICATIONINSIGHTS_CONNECTION_STRING: must"),
    ],
)
def test_mistakes_name_the_variable(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, variables)
    assert said in str(caught.value)


def test_times_are_in_milliseconds_in_the_variables() -> None:
    settings = read({"OTEL_BSP_SCHEDULE_DELAY": "250", "OTEL_METRIC_EXPORT_INTERVAL": "15000"})
    assert (settings.batch_seconds, settings.metrics_seconds) == (0.25, 15.0)


def test_versions_and_temporality() -> None:
    assert read({"OTEL_SEMCONV_STABILITY_OPT_IN": "http,gen_ai_latest_experimental"}).genai == "genai-0.1"
    assert read({"CHUKEI_TELEMETRY__GENAI": "1.36"}).genai == "1.36"
    assert read({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA"}).delta


def test_application_insights_from_its_own_variable() -> None:
    settings = read({"APPLICATIONINSIGHTS_CONNECTION_STRING": STRING})
    assert settings.to_azure
    assert not settings.platform_connection
    on_functions = {"APPLICATIONINSIGHTS_CONNECTION_STRING": STRING, "FUNCTIONS_WORKER_RUNTIME": "python"}
    assert read(on_functions).platform_connection


def test_the_service_as_the_environment_describes_it() -> None:
    settings = read(
        {
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=blue%20green, service.name=a,broken",
            "OTEL_SERVICE_NAME": "relay",
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "WEBSITE_SITE_NAME": "app",
            "WEBSITE_OWNER_NAME": "11-22+group-EastUSwebspace",
            "WEBSITE_RESOURCE_GROUP": "group",
            "REGION_NAME": "East US",
        }
    )
    assert settings.resource == {
        "cloud.provider": "azure",
        "cloud.platform": "azure.functions",
        "cloud.region": "East US",
        "cloud.resource_id": "/subscriptions/11-22/resourceGroups/group/providers/Microsoft.Web/sites/app",
        "faas.name": "app",
        "deployment.environment.name": "blue green",
        "service.name": "relay",
    }
