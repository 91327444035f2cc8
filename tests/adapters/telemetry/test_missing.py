"""A configuration that needs packages which are not installed."""

import subprocess
import sys

import pytest
from tests.live.relays import clean_environment
from tests.rows import rows

STRING = "InstrumentationKey=00000000-0000-0000-0000-000000000000"
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(("opentelemetry.exporter", "azure.monitor")))  # as if they were not installed
from chukei.config import ConfigError
from chukei.hosts.asgi import checked_settings
try:
    checked_settings(None)
except ConfigError as error:
    print(error)
else:
    print("valid")
"""


@rows(
    ("variables", "said"),
    [
        ({}, "valid"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "telemetry.endpoint: needs more packages: "),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": STRING}, "telemetry.connection_string: needs more packages: "),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": STRING, "FUNCTIONS_WORKER_RUNTIME": "python"}, "valid"),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": STRING, "OTEL_SDK_DISABLED": "true"}, "valid"),
    ],
)
def test_missing_packages_are_named_unless_the_platform_has_configured_it(variables: dict[str, str], said: str) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="neither the extra otel nor azure-monitor is installed")
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=clean_environment(variables), capture_output=True, text=True, timeout=120, check=False
    )
    assert said in done.stdout, done.stderr
