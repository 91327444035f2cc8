"""Reads Settings from a TOML file and the environment, and checks them.

A ``CHUKEI_SECTION__KEY`` variable takes precedence over the file, and the file over the default. If neither the file
nor such a variable names a deployment, the variables of Azure OpenAI's own tools describe one resource. If these are
missing too, the built-in simulator answers.
"""

import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from chukei.config.admin import read_admin, read_operator_key
from chukei.config.auth import read_auth
from chukei.config.connections import read_file_name, read_upstream
from chukei.config.endpoints import split_address
from chukei.config.objects import read_objects
from chukei.config.policies import note_unpriced, read_policies
from chukei.config.pool import read_pool, read_stores
from chukei.config.prices import unbound
from chukei.config.reader import ConfigError, Document, Problem, Reader, closest
from chukei.config.sections import read_section
from chukei.config.settings import (
    AuditSettings,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    ReloadSettings,
    ServerSettings,
    Settings,
    SimulatorSection,
    SocketSettings,
    StreamSettings,
)
from chukei.config.telemetry import read_telemetry
from chukei.config.upstreams import read_upstreams

PREFIX = "CHUKEI_"
# Variables with the prefix that do not override a key.
_OWN = frozenset({"CHUKEI_CONFIG", "CHUKEI_API_KEY"})
_NAMING = "settings are named CHUKEI_SECTION__KEY, such as CHUKEI_SERVER__PORT"
# Kubernetes sets variables for every Service in every container; those of a Service named "chukei" have this prefix
# too (Kubernetes, "Accessing the Service": environment variables). The name of a port may contain two underscores.
_SERVICE_LINK = re.compile(
    r"CHUKEI_(?:\w+_)?SERVICE_(?:HOST|PORT(?:_\w+)?)=.*"
    r"|CHUKEI_(?:\w+_)?PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?=.*"
    r"|CHUKEI_(?:(?!\w*__)\w+_)?PORT=(?:tcp|udp|sctp)://.*"
)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:\d{1,5})?")


def load(path: str | Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the configuration.

    ``path`` is the file. If it is None, ``CHUKEI_CONFIG`` names the file; if that is unset, there is no file.

    Raises:
        ConfigError: the configuration has mistakes; it contains all of them.
    """
    chosen = path or environment.get("CHUKEI_CONFIG") or None
    files: dict[str, str] = {}
    document = Document(str(chosen or "configuration"), _parse(chosen, files) if chosen else {}, environment, files)
    settings = read(document, _overlay(document))
    document.raise_problems()
    return settings


def log_format(environment: Mapping[str, str]) -> Literal["auto", "json", "text"]:
    """Return the format of the log. It also works with a configuration that has mistakes."""
    path = environment.get("CHUKEI_CONFIG")
    try:
        table = _parse(path).get("log") if path else None
    except ConfigError:
        table = None
    in_file = table.get("format") if isinstance(table, dict) else None
    wanted = environment.get("CHUKEI_LOG__FORMAT") or in_file
    return "json" if wanted == "json" else "text" if wanted == "text" else "auto"


def _parse(path: str | Path, files: dict[str, str] | None = None) -> dict[str, Any]:
    """Read a file; add its digest to ``files``."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(0, "it is not a regular file, and a pipe cannot be read more than once")
        content = Path(path).read_bytes()
        if files is not None:
            files[str(path)] = hashlib.sha256(content).hexdigest()
        return tomllib.loads(content.decode())
    except FileNotFoundError:
        problem = "there is no such file; give another --config, or unset CHUKEI_CONFIG"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or a number with too many digits
        problem = f"is not valid TOML: {error}"
    raise ConfigError([Problem(str(path), "", problem)], files=[str(path)])


def _overlay(document: Document) -> list[str]:
    """Merge ``CHUKEI_SECTION__KEY`` variables into the file's tables; return notes about ignored variables."""
    notes = []
    for variable, text in sorted(document.environment.items()):
        if not variable.startswith(PREFIX) or variable in _OWN or _SERVICE_LINK.fullmatch(f"{variable}={text}"):
            continue
        if "__" not in variable:
            own = closest(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in sorted(_OWN)])
            notes.append(f"{variable} is ignored; {_NAMING}" + (f"; did you mean {PREFIX}{own}?" if own else ""))
            continue
        parts = variable.removeprefix(PREFIX).lower().split("__")
        if not all(parts):
            document.problems.append(Problem(variable, "", f"is not a setting; {_NAMING}"))
            continue
        _set(document, parts, _value(text), variable)
    return notes


def _set(document: Document, parts: list[str], value: object, variable: str) -> None:
    table: dict[str, Any] = document.tables
    path: tuple[str, ...] = ()
    for part in parts[:-1]:
        name = _existing(table, part)
        path = (*path, name)
        if name not in table:
            document.made[path] = []
        if path in document.made:
            document.made[path].append(variable)
        below = table.setdefault(name, {})
        if not isinstance(below, dict):
            document.problems.append(Problem(variable, "", f"{'.'.join(path)} is not a table in the file"))
            return
        table = below
    name = _existing(table, parts[-1])
    table[name] = value
    document.origins[(*path, name)] = variable


def _existing(table: dict[str, Any], part: str) -> str:
    """Find the name in the file for a part of a variable's name, which cannot express case, dashes and dots."""
    for name in table:
        if name.lower().replace("-", "_").replace(".", "_") == part:
            return name
    return part


def _value(text: str) -> object:
    """Parse a variable's text as a TOML value; text that is not TOML is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def read(document: Document, notes: list[str]) -> Settings:
    """Read every key of a document and note its problems; ``notes`` become notices too."""
    root = document.root()
    server = _server(root.table("server"))
    stream = read_section(root.table("stream"), StreamSettings)
    sockets = read_section(root.table("sockets"), SocketSettings)
    upstream = read_upstream(root.table("upstream"))
    pool = read_pool(root.table("pool"))
    stores = read_stores(root.table("stores"))
    auth = read_auth(root.table("auth"))
    reload = read_section(root.table("reload"), ReloadSettings)
    telemetry = read_telemetry(root.table("telemetry"))
    metrics = _metrics(root.table("metrics"))
    log = read_section(root.table("log"), LogSettings, levels=_levels)
    simulator = _simulator(root.table("simulator"))
    ledger = read_section(root.table("ledger"), LedgerSettings)
    served = read_upstreams(root, document, plain_http=upstream.plain_http)
    policies = read_policies(root, served.models, closed=served.open is None and not served.simulated)
    note_unpriced(root, served.models, policies)
    audit = _audit(root.table("audit"), served.models, policies.groups, every_model=served.open is not None)
    objects = read_objects(root.table("objects"), served)
    admin = read_admin(root.table("admin"), auth.entra)
    root.done()
    rules = [*policies.groups.values(), *(caller.rules for caller in policies.callers.values())]
    limits = [each for rule in rules for each in (rule.limits, rule.total)]
    return Settings(
        server=server,
        stream=stream,
        sockets=sockets,
        upstream=upstream,
        pool=pool,
        stores=stores,
        ledger=ledger,
        policies=policies,
        admin=admin,
        auth=auth,
        log=log,
        reload=reload,
        telemetry=telemetry,
        metrics=metrics,
        audit=audit,
        simulator=simulator,
        objects=objects,
        models=served.models,
        credentials=served.credentials,
        default_model=served.default_model,
        open=served.open,
        simulated=served.simulated,
        notices=(*notes, *served.notices, *document.notices, *unbound(served.models.values(), limits)),
        path=document.source if document.source in document.files else None,
        files=document.files,
        variables=document.origins,
    )


def _server(table: Reader) -> ServerSettings:
    origins = table.strings("cors_origins")
    for origin in origins:
        if (fault := _origin_fault(origin)) is not None:
            table.problem("cors_origins", f"{origin!r} {fault}")
    return read_section(
        table,
        ServerSettings,
        cors_origins=tuple(origin.lower() for origin in origins),
        allowed_hosts=lambda table: tuple(host.lower() for host in table.strings("allowed_hosts")),
    )


def _origin_fault(origin: str) -> str | None:
    """Return why no browser sends this origin, or None if one may.

    An origin is scheme://host, and :port if it is not the scheme's default (RFC 6454 §6.1). Any scheme is allowed,
    because editors, desktop programs and extensions have their own. A browser writes the scheme and host in lower case,
    international names in ASCII, and omits the default port.
    """
    if origin == "*":
        return None
    if origin.lower() == "null":
        return "is what every sandboxed page and every file sends, so it would let all of them in; write * for that"
    form = _ORIGIN.fullmatch(origin)
    parts = split_address(origin) if form is not None else None
    if form is None or parts is None:
        return "is not an origin; write scheme and host, without a path or a slash at the end: https://app.example.com"
    if f":{parts.port}" == {"http": ":80", "https": ":443"}.get(parts.scheme):
        return f"has the port that browsers leave away; write {origin.rpartition(':')[0]}"
    return None


def _audit(table: Reader, models: Collection[str], groups: Collection[str], *, every_model: bool) -> AuditSettings:
    audit = read_section(table, AuditSettings)
    for name in [name for name in audit.groups if name not in groups]:
        table.problem("groups", f"{name!r} is not a group of this configuration")
    for name in audit.models:
        if models and not every_model and name not in models:
            table.problem("models", f"{name!r} is not a model of this configuration")
    if audit.folder is None and audit != AuditSettings():
        table.notice("folder", "is not set, so nothing is audited")
    return audit


LEVELS = ("debug", "info", "warning", "error")
"""Levels of the log."""


def _levels(table: Reader) -> dict[str, str]:
    levels = table.mapping("levels")
    if not all(name and level in LEVELS for name, level in levels.items()):
        choices = ", ".join(LEVELS)
        table.problem("levels", f'must map names of loggers to {choices}, such as {{ "chukei.request" = "warning" }}')
        return {}
    return levels


def _metrics(table: Reader) -> MetricsSettings:
    settings = read_section(table, MetricsSettings, api_key=read_operator_key)
    if settings.open and settings.api_key is not None:
        table.problem("open", "means that everybody may read metrics without a key; remove it or metrics.api_key")
    return settings


def _simulator(table: Reader) -> SimulatorSection:
    replay = read_file_name(table, "replay", "a recorded stream (.sse)")
    faults = table.mapping("faults")
    if not all(isinstance(spec, str) for spec in faults.values()):
        table.problem("faults", 'must map deployment names to fault specs, such as { slow-one = "slow:3" }')
    return read_section(table, SimulatorSection, replay=replay, faults=faults)
