"""The settings. Durations are seconds, sizes bytes. docs/configuration.md explains every key.

A field is a key of its section. ``sections`` reads it by its type and bounds; its value is the default. The module that
reads a section passes any other way of reading a key to ``read_section``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from chukei.accounts.limits import NOTHING, Rules
from chukei.azure import Passing
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
class SocketSettings:
    """``[sockets]``: WebSocket sessions. ``most`` bounds those of a process, ``per_caller`` those of one caller.

    Azure's events have 15 MiB at most (Microsoft: "Audio events reference"), and its sessions end after 60 minutes.
    ``calls`` allows WebRTC calls, whose sound does not pass through the relay.
    """

    enabled: bool = True
    most: Annotated[int, Whole(1, 1_000_000)] = 2000
    per_caller: Annotated[int, Whole(1, 1_000_000)] = 200
    message_bytes: Annotated[int, Whole(4096, GIBIBYTE)] = 16 * MEBIBYTE
    lifetime_seconds: Annotated[float, Seconds(1.0, 86_400.0)] = 3600.0
    ping_seconds: Duration = 20.0
    pong_seconds: Duration = 20.0
    calls: bool = True


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """``[upstream]``: requests to Azure OpenAI. ``proxies`` maps ``http``, ``https`` and ``no`` to their settings.

    ``pass_headers`` are header fields of clients that may reach the upstream besides the usual ones, ``pass_versions``
    the values of ``api-version`` that they may choose for v1.
    """

    connect_seconds: Duration = 5.0
    answer_seconds: Duration = 600.0
    keepalive_seconds: Duration = 30.0
    ca_file: str | None = None
    plain_http: bool = False
    pass_headers: tuple[str, ...] = ()
    pass_versions: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # an address may contain a password

    @property
    def passing(self) -> Passing:
        """What of clients' requests may pass."""
        return Passing(frozenset(name.encode() for name in self.pass_headers), frozenset(self.pass_versions))


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


CONSOLE_SCOPE = "Console.Use"
"""The scope that the administrators' page asks for by default."""


@dataclass(frozen=True, slots=True)
class AdminEntraSettings:
    """``[admin.entra]``: administrators who sign in with Entra ID.

    ``client_id`` is the page's app registration. Tokens must be of ``tenant``, for one of ``audiences``, and a user's
    must have ``scope``. ``look_role`` and ``change_role`` are app roles of the registration.
    """

    tenant: str
    client_id: str
    audiences: tuple[str, ...]
    scope: str = CONSOLE_SCOPE
    look_role: str = "Chukei.Look"
    change_role: str = "Chukei.Change"
    authority: str = "https://login.microsoftonline.com"

    @property
    def requested_scope(self) -> str:
        """What the page asks for. Entra ID wants an application that asks for itself to be named by its client id."""
        own = self.client_id in self.audiences
        return f"{self.client_id if own else self.audiences[0]}/{self.scope}"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """``[admin]``: how administrators sign in, and the prices' currency, an ISO 4217 code.

    Without a key or Entra ID there are no routes below /admin.
    """

    api_key: Secret | None = None
    entra: AdminEntraSettings | None = None
    currency: str | None = None

    @property
    def open(self) -> bool:
        """Whether there is a way to sign in."""
        return self.api_key is not None or self.entra is not None

    @property
    def sign_in(self) -> str | None:
        """The origin of the login service, if administrators sign in there."""
        return self.entra.authority if self.entra is not None else None


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
class ObjectSettings:
    """``[objects]``: files, batches and other objects that the resource of one model keeps.

    ``model`` is that model; its first deployment tells the resource. ``serve`` are the families that are served.
    ``unknown`` says whether an object that no store knows belongs to the caller that names it first.
    ``max_upload_bytes`` bounds a body that is passed on as it arrives: Azure takes files of 512 MB (Microsoft: "Azure
    OpenAI quotas and limits"), and the form around one is small. After ``settle_seconds`` the relay itself asks how a
    background response is doing, if its end was not seen before.
    """

    model: str | None = None
    serve: tuple[str, ...] = ()
    unknown: Literal["adopt", "refuse"] = "adopt"
    max_upload_bytes: Annotated[int, Whole(1024, 64 * GIBIBYTE)] = 513 * MEBIBYTE
    settle_seconds: Annotated[float, Seconds(0.1, 43_200.0)] = 600.0


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
    that was read to the SHA-256 digest of its content; ``path`` is the configuration's own. ``variables`` maps a key's
    names, from the top, to the variable of the environment that sets it.
    """

    server: ServerSettings
    stream: StreamSettings
    sockets: SocketSettings
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
    objects: ObjectSettings
    models: Mapping[str, Model]
    credentials: Mapping[str, CredentialSettings]
    default_model: str | None = None
    open: Deployment | None = None
    simulated: bool = False
    notices: tuple[str, ...] = ()
    path: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict)

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
