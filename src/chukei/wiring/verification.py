"""What reading a configuration cannot find: whether this machine has what the settings name."""

from importlib.util import find_spec
from pathlib import Path

from chukei.adapters.http.dial import tls_context
from chukei.adapters.identity.credentials import identity_installed
from chukei.adapters.ledger.databases import database_for
from chukei.config import AuditSettings, Problem, Settings, TelemetrySettings
from chukei.installation import command_for


def verify(settings: Settings, *, behind_platform: bool = False) -> list[Problem]:
    """Return the problems of these settings on this machine that reading them cannot find.

    ``behind_platform`` says that a platform runs the relay and takes its disk away with the instance.
    """
    problems = _problems_of_audit(settings.audit, behind_platform=behind_platform)
    for name, wanted in settings.credentials.items():
        if wanted.scope is not None and not identity_installed():
            message = f"Entra ID needs more packages: {command_for('identity')}"
            problems.append(Problem("configuration", f"deployments.{name}.identity", message))
    problems += _problems_of_tokens(settings)
    if settings.stores.quota is not None and find_spec("hiredis") is None:
        message = f"Redis needs one more package: {command_for('redis')}"
        problems.append(Problem("configuration", "stores.quota", message))
    problems += _telemetry_problems(settings.telemetry)
    ledger = settings.stores.ledger
    try:
        if ledger is not None:
            database_for(ledger.reveal())
    except ValueError as error:
        problems.append(Problem("configuration", "stores.ledger", str(error)))
    if settings.admin.open and ledger is None and not settings.stores.ledger_by_default:
        message = 'means nothing without a database: set stores.ledger to something other than "none"'
        key = "admin.api_key" if settings.admin.api_key is not None else "admin.entra"
        problems.append(Problem("configuration", key, message))
    try:
        if settings.upstream.ca_file is not None:
            tls_context(settings.upstream.ca_file)
    except OSError:
        message = f"{settings.upstream.ca_file} holds no certificate; give a PEM file of certificate authorities"
        problems.append(Problem("configuration", "upstream.ca_file", message))
    return problems


def _problems_of_audit(settings: AuditSettings, *, behind_platform: bool) -> list[Problem]:
    if settings.folder is None:
        return []
    from chukei.adapters.audit.entry import load_redactor
    from chukei.adapters.audit.folder import problem_of

    problems = []
    found = problem_of(Path(settings.folder))
    if behind_platform:
        found = "Azure Functions keeps no disk: leave it out, and audit on a relay that runs as a server"
    if found is not None:
        problems.append(Problem("configuration", "audit.folder", found))
    try:
        if settings.redact is not None:
            load_redactor(settings.redact)
    except ValueError as error:
        problems.append(Problem("configuration", "audit.redact", str(error)))
    return problems


def _problems_of_tokens(settings: Settings) -> list[Problem]:
    wanted = [key for key, on in (("auth.entra", settings.auth.entra), ("admin.entra", settings.admin.entra)) if on]
    if not wanted or _entra_installed():
        return []
    message = f"access tokens need one more package: {command_for('entra')}"
    return [Problem("configuration", key, message) for key in wanted]


def _entra_installed() -> bool:
    from chukei.adapters.identity.entra import (
        entra_installed,  # only where it is configured, like all that verifies tokens
    )

    return entra_installed()


def _telemetry_problems(settings: TelemetrySettings) -> list[Problem]:
    """Return which packages are missing. Azure Functions configures telemetry also where nobody has asked for it."""
    return [
        Problem("configuration", f"telemetry.{key}", f"needs more packages: {command_for(extra)}")
        for extra, key in missing_telemetry(settings)
        if extra == "otel" or not settings.platform_connection
    ]


def missing_telemetry(settings: TelemetrySettings) -> list[tuple[str, str]]:
    """Return the extras that the configured telemetry needs and that are not installed, with their settings."""
    wanted = [
        ("otel", "endpoint", settings.over_otlp, "opentelemetry.exporter.otlp.proto.http"),
        ("azure-monitor", "connection_string", settings.to_azure, "azure.monitor.opentelemetry.exporter"),
    ]
    return [(extra, key) for extra, key, on, package in wanted if on and not _installed(package)]


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
