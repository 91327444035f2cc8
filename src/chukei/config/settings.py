"""The settings. Durations are seconds, sizes bytes. docs/configuration.md explains every key.

A field is a key of its section. ``sections`` reads it by its type and bounds; its value is the default. The module that
reads a section passes any other way of reading a key to ``read_section``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from chukei.accounts.limits import NOTHING, Rules
from chukei.config.bounds import Duration, DurationOrZero, Number, Seconds, Whole
from chukei.model import Deployment, Model

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE


class Secret:
    """A credential. Its repr is masked, so that it does not appear in a log or an error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the credential, for the code that sends or compares it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``[server]``: the listening side."""

    host: str = "127.0.0.1"
    port: Annotated[int, Whole(0, 65_535)] = 7221
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: Annotated[int | None, Whole(1024, GIBIBYTE)] = None  # None: each operation has its own
    max_bodies_bytes: Annotated[int, Whole(MEBIBYTE, 64 * GIBIBYTE)] = 256 * MEBIBYTE
    max_header_bytes: Annotated[int, Whole(4096, MEBIBYTE)] = 64 * 1024
    header_seconds: Duration = 10.0
    body_seconds: Duration = 30.0
    keepalive_seconds: Duration = 75.0
    drain_seconds: Annotated[float, Seconds(0.0, 3600.0)] = 5.0
    grace_seconds: Annotated[float, Seconds(0.0, 3600.0)] = 20.0
    hang_seconds: Annotated[float, Seconds(0.0, 3600.0)] = 60.0


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """``[stream]``: heartbeats and time limits of a stream.

    A heartbeat after 15 s of silence is far below the idle limits of common reverse proxies (60 s), of Azure Functions'
    front end (230 s) and of OpenAI's clients (600 s).
    """

    heartbeat_seconds: Duration = 15.0
    first_token_seconds: Duration = 60.0
    thinking_seconds: Duration = 600.0
    idle_seconds: Duration = 120.0
    write_seconds: Duration = 60.0
    max_event_bytes: Annotated[int, Whole(4096, GIBIBYTE)] = MEBIBYTE


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """``[upstream]``: requests to Azure OpenAI. ``proxies`` maps ``http``, ``https`` and ``no`` to their settings."""

    connect_seconds: Duration = 5.0
    answer_seconds: Duration = 600.0
    keepalive_seconds: Duration = 30.0
    ca_file: str | None = None
    plain_http: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # an address may contain a password


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """``[pool]``: load balancing, and the reaction to a deployment that is busy, broken or slow."""

    attempts: Annotated[int, Whole(1, 100)] = 3
    deadline_seconds: Duration = 120.0
    retry_share: Annotated[float, Number(0.0, 10.0)] = 0.2
    cooldown_seconds: Duration = 10.0
    max_cooldown_seconds: DurationOrZero = 300.0
    breaker_failures: Annotated[int, Whole(0, 1000)] = 3
    breaker_seconds: Duration = 5.0
    max_breaker_seconds: Duration = 60.0
    misconfigured_seconds: DurationOrZero = 60.0
    affinity: tuple[str, ...] = ("prompt_cache_key", "session", "user", "prompt")
    session_header: str = "x-session-id"
    affinity_load: Annotated[float, Number(1.0, 100.0)] = 1.25
    hedge_share: Annotated[float, Number(0.0, 1.0)] = 0.0
    deployment_header: bool = False


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """``[stores]``: the stores that replicas share.

    ``quota`` is the address of a Redis, or None for this process's memory. After ``quota_seconds`` without an answer
    Redis is unavailable. Then ``quota_away`` decides: ``by_kind`` counts rates in each process and refuses callers with
    other limits, ``open`` counts all limits in each process, ``closed`` refuses all callers with limits. Meanwhile each
    limit is divided by ``replicas``. ``ledger`` is the address of the database. If it is None and
    ``ledger_by_default`` is true, the database is a file in the user's state folder.
    """

    quota: Secret | None = None
    quota_away: Literal["by_kind", "open", "closed"] = "by_kind"
    quota_seconds: Annotated[float, Seconds(0.01, 1.0)] = 0.07
    replicas: Annotated[int, Whole(1, 10_000)] = 1
    ledger: Secret | None = None
    ledger_by_default: bool = True


@dataclass(frozen=True, slots=True)
class EntraSettings:
    """``[auth.entra]``: requirements on access tokens.

    ``tenants`` are GUIDs in lower case. A user's token must have ``scope`` and an application's ``role``; None allows
    any. ``groups`` maps object ids of groups and names of roles to the configuration's groups.
    """

    tenants: tuple[str, ...]
    audiences: tuple[str, ...]
    scope: str | None = None
    role: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    authority: str = "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``[auth]``: authentication.

    If ``local``, users of this machine need no credential as long as none is configured. ``app_service`` requires App
    Service authentication in front; ``platform_auth`` is true if the platform reports it as active. ``peppers`` are by
    version. ``failures_per_minute`` limits each source; 0 is no limit.
    """

    anonymous: bool = False
    local: bool = True
    api_key: Secret | None = None
    entra: EntraSettings | None = None
    app_service: bool = False
    platform_auth: bool = False
    peppers: Mapping[int, Secret] = field(default_factory=dict)
    unpeppered_keys: bool = False
    key_cache_seconds: Annotated[float, Seconds(5.0)] = 3600.0
    failures_per_minute: Annotated[int, Whole(0, 100_000)] = 20


@dataclass(frozen=True, slots=True)
class CallerSettings:
    """``[callers.NAME]``: rules, and if its key is in the file, the key's SHA-256 digest and groups."""

    rules: Rules
    key_sha256: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """``[callers]`` and ``[groups]``."""

    callers: Mapping[str, CallerSettings] = field(default_factory=dict)
    groups: Mapping[str, Rules] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """``[ledger]``: retention of entries, and limits of the spool while the database is unavailable."""

    retention_days: Annotated[float, Number(0.0, 36_500.0)] = 400.0
    spool: str | None = None
    max_spool_bytes: Annotated[int, Whole(65_536, 1024 * GIBIBYTE)] = 64 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """``[admin]``: the administrators' key. Without one there are no routes below /admin."""

    api_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """``[metrics]``: counting, and who may read ``/metrics``.

    The holder of ``api_key`` may read them; without a key users of this machine, or everybody if ``open``. ``callers``
    tells callers apart by name, else only by group. ``max_rows`` bounds the combinations of labels of each family.
    """

    enabled: bool = True
    api_key: Secret | None = None
    open: bool = False
    callers: bool = False
    max_rows: Annotated[int, Whole(20, 100_000)] = 1000


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``[log]``: ``format`` is ``json``, ``text`` or ``auto`` (text on a terminal).

    ``level`` is that of the relay's own lines. ``levels`` has other levels by name of a logger.
    """

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """``[audit]``: the record of prompts and answers. Without ``folder`` there is none.

    ``redact`` names a function, ``package.module:function``. ``callers``, ``groups`` and ``models`` select requests;
    an empty one selects all.
    """

    folder: str | None = None
    redact: str | None = None
    callers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    max_content_bytes: Annotated[int, Whole(0, 64 * MEBIBYTE)] = MEBIBYTE
    max_file_bytes: Annotated[int, Whole(65_536, 1024 * GIBIBYTE)] = 64 * MEBIBYTE
    max_bytes: Annotated[int, Whole(MEBIBYTE, 1024 * GIBIBYTE)] = 10 * GIBIBYTE
    max_waiting_bytes: Annotated[int, Whole(65_536, 64 * GIBIBYTE)] = 256 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class ReloadSettings:
    """``[reload]``: every ``watch_seconds`` the relay checks whether a file of its configuration changed; 0: never."""

    watch_seconds: DurationOrZero = 5.0


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """``[telemetry]``: traces and metrics for an OpenTelemetry collector or Azure Monitor.

    ``endpoint`` is the collector's address for OTLP over HTTP; ``traces_endpoint`` and ``metrics_endpoint`` are the
    addresses of the signals. ``connection_string`` is that of Application Insights; ``platform_connection``
    says that Azure Functions has set it, maybe without the operator's intention. ``sample`` is the share of traces that
    are recorded; if ``follow_parent``, a caller whose context is accepted decides. ``callers`` names callers in spans.
    ``genai`` is the version of the conventions for generative AI. ``delta`` says that the collector wants counts since
    the last time, not since the start. ``resource`` describes the service.
    """

    endpoint: Secret | None = None
    connection_string: Secret | None = None
    traces: bool = True
    metrics: bool = True
    sample: Annotated[float, Number(0.0, 1.0)] = 1.0
    follow_parent: bool = True
    accept_context: Literal["callers", "all", "none"] = "callers"
    callers: bool = False
    genai: Literal["1.36", "1.41", "genai-0.1"] = "1.41"
    batch_seconds: Annotated[float, Seconds(0.01, 600.0)] = 5.0
    metrics_seconds: Annotated[float, Seconds(0.1)] = 60.0
    azure_sdk_stats: bool = False
    traces_endpoint: Secret | None = None
    metrics_endpoint: Secret | None = None
    platform_connection: bool = False
    delta: bool = False
    disabled: bool = False
    resource: Mapping[str, str] = field(default_factory=dict)

    @property
    def over_otlp(self) -> bool:
        """Whether a signal goes to a collector."""
        traces, metrics = self.traces and self.traces_endpoint, self.metrics and self.metrics_endpoint
        return not self.disabled and bool(traces or metrics)

    @property
    def to_azure(self) -> bool:
        """Whether a signal goes to Azure Monitor."""
        return not self.disabled and self.connection_string is not None and (self.traces or self.metrics)


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """How to authenticate to a deployment: an API key, a fixed token, or an Entra ID identity (``scope`` set)."""

    api_key: Secret | None = None
    token: Secret | None = None
    scope: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatorSection:
    """``[simulator]``: the built-in simulator and ``chukei simulate``. ``faults`` maps deployment names to specs."""

    seed: Annotated[int, Whole(0, 2**63 - 1)] = 0
    first_token_seconds: DurationOrZero = 0.35
    inter_token_seconds: DurationOrZero = 0.02
    jitter: Annotated[float, Seconds(0.0, 10.0)] = 0.4
    replay: str | None = None
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    ``open`` is a resource that serves every model name as a deployment name; its ``deployment`` is a template and
    unused. If ``simulated``, no deployment is configured and the built-in simulator answers. ``files`` maps every file
    that was read to the SHA-256 digest of its content; ``path`` is the configuration's own.
    """

    server: ServerSettings
    stream: StreamSettings
    upstream: UpstreamSettings
    pool: PoolSettings
    stores: StoreSettings
    ledger: LedgerSettings
    policies: PolicySettings
    admin: AdminSettings
    auth: AuthSettings
    log: LogSettings
    reload: ReloadSettings
    telemetry: TelemetrySettings
    metrics: MetricsSettings
    audit: AuditSettings
    simulator: SimulatorSection
    models: Mapping[str, Model]
    credentials: Mapping[str, CredentialSettings]
    default_model: str | None = None
    open: Deployment | None = None
    simulated: bool = False
    notices: tuple[str, ...] = ()
    path: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts_alone(self) -> bool:
        """Whether there are limits that each process counts by itself."""
        rules = [*self.policies.groups.values(), *(caller.rules for caller in self.policies.callers.values())]
        return self.stores.quota is None and any(each.limits != NOTHING or each.total != NOTHING for each in rules)

    @property
    def closed(self) -> bool:
        """Whether every request needs a credential, also from this machine."""
        auth = self.auth
        in_file = any(caller.key_sha256 is not None for caller in self.policies.callers.values())
        return auth.api_key is not None or auth.entra is not None or auth.app_service or in_file or not auth.local


NEEDS_RESTART: Mapping[str, frozenset[str]] = {
    "server": frozenset({"host", "port", "drain_seconds", "grace_seconds", "hang_seconds"}),
    "stores": frozenset({"quota", "quota_away", "quota_seconds", "replicas", "ledger", "ledger_by_default"}),
    "ledger": frozenset({"retention_days", "spool", "max_spool_bytes"}),
    "metrics": frozenset({"enabled", "callers", "max_rows"}),
    "audit": frozenset(field.name for field in fields(AuditSettings)),
    "telemetry": frozenset(field.name for field in fields(TelemetrySettings)),
}
"""The settings, by section, that a reload leaves as they were: the socket, and what holds state while the process runs.

Every other setting changes with a reload."""
