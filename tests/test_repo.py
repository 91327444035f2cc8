"""The house itself: every module has its tests, every promise its page, and nothing points at one machine."""

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from chukei.accounts.limits import Limits, Rules
from chukei.config import (
    AdminEntraSettings,
    AdminSettings,
    AuditSettings,
    AuthSettings,
    CallerSettings,
    EntraSettings,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    PoolSettings,
    ReloadSettings,
    ServerSettings,
    SimulatorSection,
    StoreSettings,
    StreamSettings,
    TelemetrySettings,
    UpstreamSettings,
)
from chukei.model import Deployment, Model, Prices

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "chukei"
DOCS = ROOT / "docs"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# Where a module's tests are, when not in the file that mirrors it; each with its reason.
TESTED_ELSEWHERE = {
    "__main__.py": "one call; test_cli.py runs it",
    "doctor/examination.py": "live/test_doctor.py, against real resources and stores",
    "doctor/finding.py": "doctor/test_report.py",
    "doctor/status_table.py": "doctor/test_inspection.py: the table of a report",
    "gateway/object_bodies.py": "gateway/test_objects.py, with all that is done to a request",
    "gateway/object_homes.py": "gateway/test_objects.py",
    "gateway/object_request.py": "nouns without behaviour",
    "gateway/reading.py": "live/test_large_bodies.py: compressed bodies",
    "model.py": "nouns without behaviour",
    "objects/errors.py": "gateway/test_objects.py: each error where it is raised",
    "request/unserved.py": "request/test_routes.py and request/test_errors.py",
    "upstream/object_client.py": "gateway/test_objects.py and live/test_objects.py",
    "ports.py": "protocols without behaviour",
    "record.py": "a record without behaviour",
    "adapters/file_lock.py": "adapters/ledger/test_spool.py and adapters/audit/test_folder.py",
    "accounts/changes.py": "nouns without behaviour",
    "accounts/ledger.py": "nouns without behaviour",
    "accounts/limits.py": "nouns; accounts/test_policy.py for when limits say something",
    "accounts/stores.py": "protocols without behaviour",
    "adapters/ledger/objects_sql.py": "adapters/ledger/test_object_writer.py: what both databases keep",
    "adapters/ledger/postgres_objects.py": "adapters/ledger/test_object_writer.py",
    "adapters/ledger/sqlite_objects.py": "adapters/ledger/test_object_writer.py",
    "accounts/objects.py": "objects/test_registry.py: owners",
    "upstream/kept.py": "live/test_object_ownership.py: what is referred to, and what is left",
    "objects/kinds.py": "tables; objects/test_references.py and adapters/redis/test_messages.py",
    "adapters/ledger/rules_sql.py": "adapters/ledger/test_databases.py: what is set, and its record",
    "adapters/telemetry/genai.py": "adapters/telemetry/test_spans.py: names by version",
    "adapters/telemetry/metrics.py": "live/test_otlp_metrics.py and live/test_azure_monitor.py",
    "adapters/telemetry/telemetry.py": "live/test_traces.py",
    "adapters/http/answer.py": "adapters/http/test_connection.py: answers arrive on connections",
    "adapters/ledger/retention.py": "adapters/ledger/test_writer.py: the writer runs it",
    "admin/examples.py": "admin/test_api.py: the document",
    "admin/live_example.py": "admin/test_api.py: the document",
    "admin/openapi.py": "admin/test_api.py: the document",
    "admin/openapi_errors.py": "admin/test_api.py: the document",
    "admin/operations.py": "admin/test_api.py: the document",
    "admin/schemas.py": "admin/test_api.py: answers are what the document says",
    "config/bounds.py": "config/test_sections.py",
    "config/parameters.py": "config/test_hardly_meant.py",
    "config/prices.py": "config/test_policies.py",
    "config/reader.py": "config/test_load.py: every kind of mistake",
    "config/settings.py": "config/test_load.py",
    "config/upstreams.py": "config/test_load.py",
    "gateway/exchange.py": "gateway/test_gateway.py: stopping, leaving, draining",
    "gateway/heartbeat.py": "gateway/test_gateway.py: what a client gets while the upstream is silent",
    "gateway/services.py": "gateway/test_gateway.py: all of them are used there",
    "gateway/sockets/calls.py": "gateway/sockets/test_preparing.py: calls are watched, and hung up",
    "gateway/sockets/gate.py": "gateway/sockets/test_preparing.py: the gateway is one",
    "gateway/sockets/meter.py": "live/test_sockets_realtime.py",
    "gateway/sockets/opening.py": "live/test_sockets_realtime.py: refused handshakes",
    "gateway/sockets/places.py": "live/test_sockets_realtime.py: transcriptions",
    "gateway/sockets/preparation.py": "gateway/sockets/test_preparing.py",
    "gateway/sockets/realtime.py": "live/test_sockets_realtime.py",
    "gateway/sockets/realtime_start.py": "live/test_sockets_realtime.py",
    "gateway/sockets/responses.py": "live/test_sockets_responses.py",
    "gateway/sockets/secrets.py": "gateway/sockets/test_preparing.py: keys expire, and go with their callers",
    "gateway/sockets/session.py": "live/test_sockets_responses.py: how sessions end",
    "gateway/sockets/sessions.py": "live/test_sockets_responses.py: who may open one",
    "gateway/sockets/socket_answer.py": "live/test_sockets_responses.py",
    "gateway/batch_upload.py": "gateway/test_batches.py: uploads with what becomes of them",
    "liveview/schema.py": "liveview/test_view.py: views are what it says",
    "pool/source.py": "pool/test_sources.py: what sources do to breakers",
    "pool/source_breakers.py": "pool/test_sources.py",
    "stream/redaction.py": "upstream/test_explanation.py and upstream/test_refusals_credentials.py",
}
TESTED_BY_FOLDER = {
    "hosts": "live/ and hosts/ drive both hosts on real sockets",
    "wiring": "every test in live/ goes through it; live/test_reload.py",
    "simulator": "simulator/ tests what the simulator sends, by kind of answer",
}

LONG_MODULES = {
    "adapters/ledger/postgres.py": "every method of the port",
    "adapters/ledger/sqlite.py": "every method of the port",
    "upstream/failover.py": "one search, from the first deployment to the last",
    "admin/api.py": "every route of administrators",
    "admin/schemas.py": "all requests and answers of the administrators' API",
    "config/load.py": "every section",
    "config/settings.py": "every setting",
    "liveview/verdict.py": "every rule of the live view, in one table",
    "wiring/build.py": "the one place that wires",
    "accounts/estimate.py": "what each operation may use",
    "callers/gatekeeper.py": "every way in which a caller is recognised",
    "gateway/delivery.py": "streams, and answers that are none",
    "objects/references.py": "every way in which a body names an object",
    "gateway/gateway.py": "the path of a request, and every way out of it",
    "adapters/websocket/connection.py": "an open socket: what arrives, what is sent, and its end",
    "hosts/asgi.py": "the application, and both of its ports",
    "hosts/http/cycle.py": "a request and its answer, which may be a socket",
    "hosts/http/protocol.py": "a connection, and every way in which it ends",
    "ports.py": "all contracts with the outside",
    "request/routes.py": "every route",
    "request/fields.py": "one JSON object, read and changed",
    "accounts/admission.py": "every way in which a reservation begins and ends",
    "gateway/objects.py": "the path of a request for an object, for every form of its answer",
    "objects/jobs.py": "a job from its request to its bill, over restarts and replicas",
    "request/form.py": "one multipart form, read and written",
    "stream/stream.py": "the state machine of a stream, in one place",
}
MAX_LINES = 320


def test_every_module_has_its_tests() -> None:
    without = [
        str(module)
        for module in MODULES
        if module.name != "__init__.py"
        and str(module) not in TESTED_ELSEWHERE
        and module.parts[0] not in TESTED_BY_FOLDER
        and not (ROOT / "tests" / module.parent / f"test_{module.name}").is_file()
    ]
    assert without == []


def test_packages_hold_nothing_but_names() -> None:
    for module in MODULES:
        if module.name == "__init__.py":
            body = ast.parse((SOURCE / module).read_text()).body
            assert all(isinstance(each, (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)) for each in body), module


def test_the_exceptions_are_about_modules_that_exist() -> None:
    names = {str(module) for module in MODULES}
    assert set(TESTED_ELSEWHERE) <= names
    assert set(LONG_MODULES) <= names
    assert set(TESTED_BY_FOLDER) <= {module.parts[0] for module in MODULES}


def test_modules_are_of_a_size_to_read() -> None:
    sizes = {str(module): len((SOURCE / module).read_text().splitlines()) for module in MODULES}
    assert {module: lines for module, lines in sizes.items() if lines > MAX_LINES and module not in LONG_MODULES} == {}


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Not even for types: whoever reads one would have to read the other first."""
    names = {".".join(("chukei", *module.with_suffix("").parts)).removesuffix(".__init__") for module in MODULES}
    imports: dict[str, set[str]] = {}
    for module in MODULES:
        name = ".".join(("chukei", *module.with_suffix("").parts)).removesuffix(".__init__")
        found = imports.setdefault(name, set())
        for node in ast.walk(ast.parse((SOURCE / module).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted = {f"{node.module}.{alias.name}" for alias in node.names} & names
                found |= wanted or {node.module} & names
    while free := {name for name, wanted in imports.items() if not wanted & set(imports)}:
        for name in free:
            del imports[name]
    assert sorted(imports) == []


def test_the_picture_of_the_packages_is_the_rule_by_which_they_import() -> None:
    """Imports are held to the rule by import-linter."""
    page = (DOCS / "architecture.md").read_text()
    picture = page[page.index("```text\n") + 8 :]
    drawn = [line.split("  ")[0] for line in picture[: picture.index("```")].splitlines()]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert drawn == contracts[0]["layers"]


# Documentation.


def text_of_docs() -> str:
    pages = sorted(DOCS.rglob("*.md"))
    if not pages:
        pytest.skip("there is no documentation yet")
    return "\n".join(page.read_text() for page in pages)


def page(name: str) -> str:
    path = DOCS / name
    if not path.is_file():
        pytest.skip(f"docs/{name} is not written yet")
    return path.read_text()


SECTIONS = {
    "server": ServerSettings,
    "stream": StreamSettings,
    "upstream": UpstreamSettings,
    "pool": PoolSettings,
    "stores": StoreSettings,
    "ledger": LedgerSettings,
    "admin": AdminSettings,
    "admin.entra": AdminEntraSettings,
    "reload": ReloadSettings,
    "auth": AuthSettings,
    "auth.entra": EntraSettings,
    "callers": CallerSettings,
    "groups": Rules,
    "groups.NAME.limits": Limits,
    "deployments": Deployment,
    "models": Model,
    "models.NAME.prices": Prices,
    "metrics": MetricsSettings,
    "log": LogSettings,
    "audit": AuditSettings,
    "telemetry": TelemetrySettings,
    "simulator": SimulatorSection,
}
NO_KEYS = {
    "proxies",  # set by HTTPS_PROXY, HTTP_PROXY, NO_PROXY
    "platform_auth",  # set by WEBSITE_AUTH_ENABLED
    "failure",  # only the simulator has such models
    "ledger_by_default",  # follows from ledger, and from the host
    "tenants",  # read from tenant
    "audiences",  # read from audience
    "rules",  # a group of keys
    "name",  # the name of a table
    "traces_endpoint",  # read from endpoint, or set by OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    "metrics_endpoint",  # read from endpoint, or set by OTEL_EXPORTER_OTLP_METRICS_ENDPOINT
    "platform_connection",  # set by FUNCTIONS_WORKER_RUNTIME
    "delta",  # set by OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE
    "disabled",  # set by OTEL_SDK_DISABLED
    "resource",  # set by OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and the platform
}


KEY_READERS = {"_file": 1, "_pepper": 1}
"""The configuration's own functions that read a key, and which argument of theirs is its name."""


def keys_that_are_read() -> set[str]:
    """Return each key that the configuration's readers ask a table for, found in their code."""
    readers = {"string", "boolean", "integer", "seconds", "number", "strings", "secret", "address", "mapping"}
    found = set()
    for path in (SOURCE / "config").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            key: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in readers:
                key = node.args[0] if node.args else None
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEY_READERS:
                key = node.args[KEY_READERS[node.func.id]]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                found.add(key.value)
    return found


def test_every_key_is_documented() -> None:
    text = page("configuration.md")
    keys = keys_that_are_read() | {field.name for kind in SECTIONS.values() for field in fields(kind)} - NO_KEYS
    assert {"port", "endpoint", "caps", "ca_file", "tokens_per_day", "pepper", "key_sha256"} <= keys
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


def test_every_variable_is_documented() -> None:
    variables = set()
    for path in (SOURCE / "config").glob("*.py"):
        variables |= set(re.findall(r'"((?:AZURE|OPENAI|CHUKEI)_[A-Z_]*[A-Z])"', path.read_text()))
    assert {"AZURE_OPENAI_ENDPOINT", "CHUKEI_API_KEY", "CHUKEI_CONFIG"} <= variables
    text = page("configuration.md")
    assert {name for name in variables | {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} if name not in text} == set()


ERRORS = {"CallerError": 1, "Unavailable": 0, "UpstreamError": 0, "_unavailable": 0, "failure": 0}


def error_codes() -> set[str]:
    """Return each literal code that an error is made with, found in the code."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        if "simulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                place = ERRORS[node.func.id]
                code = node.args[place] if len(node.args) > place else None
                code = next((given.value for given in node.keywords if given.arg == "code"), code)
                for part in ast.walk(code) if code is not None else ():
                    if (
                        isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and re.fullmatch(r"[a-z_]+", part.value)
                    ):
                        found.add(part.value)
    return found - {"upstream_"}  # the beginning of upstream_{status}


def test_every_error_code_is_documented() -> None:
    codes = error_codes()
    assert {"invalid_api_key", "stream_incomplete", "tls_error", "unexpected_redirect"} <= codes
    text = page("errors.md")
    assert {code for code in codes if not re.search(rf"\b{code}\b", text)} == set()


def test_every_command_is_documented() -> None:
    from chukei.cli import main

    text = text_of_docs()
    assert set(main.commands) >= {"serve", "check"}
    assert {name for name in main.commands if f"chukei {name}" not in text} == set()


# Nothing of one machine.

TEXTS = [
    path
    for folder in ("src", "tests", "docs", "functions", "scripts", "requirements", ".ci", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and not {"__pycache__", "node_modules", ".venv"} & set(path.parts)
]
# The one folder below home that is meant is where Azure Functions puts every app.
MACHINE_PATH = re.compile(rb"(?<![\w.])/(?:work|home(?!/site/)|root|Users)/[\w.]|[A-Z]:\\\\Users")


def test_no_file_names_a_path_of_one_machine() -> None:
    named = {str(path.relative_to(ROOT)) for path in TEXTS if MACHINE_PATH.search(path.read_bytes())}
    assert named == set()


def test_requirements_name_no_registry() -> None:
    for path in [*(ROOT / "requirements").glob("*.txt"), ROOT / "functions" / "requirements.txt"]:
        text = path.read_text()
        assert not re.search(r"^\s*--(?:index|extra-index|find-links|trusted)", text, re.MULTILINE), path
        assert "://" not in re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE), path


def test_locked_requirements_are_hashed() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        pins = re.findall(r"^[\w.\[\]-]+==", text, re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins), path


def test_the_changelog_knows_the_version() -> None:
    from chukei import __version__

    changelog = ROOT / "CHANGELOG.md"
    if not changelog.is_file():
        pytest.skip("CHANGELOG.md is not written yet")
    assert __version__ in changelog.read_text() or "Unreleased" in changelog.read_text()
