"""The alerts: few, each with something to do. docs/runbook.md has a section for each.

Thresholds are starting points unless a comment names their source. The job that scrapes the relays is called JOB.
"""

from dataclasses import dataclass
from enum import StrEnum

from chukei.metrics import definitions as of
from monitoring import causes
from monitoring.queries import Reader, any_of

JOB = "chukei"
"""The name that docs/metrics.md gives to the job in Prometheus' configuration. Only ``up`` is selected by it."""

OBJECTIVE = 0.995
"""The share of requests that shall not fail, over 30 days. Microsoft promises 99.9 % for Azure OpenAI (Service Level
Agreements for Microsoft Online Services); the rest is for the network and the relay."""

FAST_BURN, SLOW_BURN = 14.4, 6.0
"""How many times faster than allowed the failures use up the month's budget. With the windows (1 h and 5 min, 6 h and
30 min) from Google's Site Reliability Workbook, chapter "Alerting on SLOs", table 5-8: 2 % of the budget in one hour,
5 % in six."""

SLOW_SECONDS = 10.24
"""A model that does not reason is slow if 5 % of its streams begin later. It is a bound of the buckets, so that the
quantile is exact there."""

LAG_SECONDS = 0.1
"""A delay that people notice in a stream (Nielsen, "Response Times: The 3 Important Limits"), and a bound too."""

read = Reader((), "10m")


class Severity(StrEnum):
    """What it is worth: ``CRITICAL`` wakes somebody up, ``WARNING`` can wait for the morning."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. ``lasts`` is how long the expression must hold. ``runbook`` is the section of docs/runbook.md.

    In ``summary``, ``{name}`` stands for a label and ``{value}`` for the value.
    """

    name: str
    expression: str
    lasts: str
    severity: Severity
    summary: str
    runbook: str


def _failing(window: str) -> str:
    parts = [read.select(of.REQUESTS, 'model!=""', *where, window=window) for where in causes.FAILING]
    return "sum by (job, model) (" + " or ".join(f"increase({part})" for part in parts) + ")"


def _share_failing(window: str, limit: float) -> str:
    whole = read.increase(of.REQUESTS, "job, model", *causes.NOT_REFUSED, window=window)
    return f"{_failing(window)} / {whole} > {limit:g}"


def _burn(rate: float, long: str, short: str) -> str:
    """Return whether a model's failures use up the budget so fast, with more than ten failures in the long window."""
    limit = rate * (1 - OBJECTIVE)
    parts = [_share_failing(long, limit), _share_failing(short, limit), f"{_failing(long)} > 10"]
    return "\nand ".join(parts)


def _enough(family: of.Family, by: str, least: int, *where: str, part: str = "") -> str:
    return f"{read.increase(family, by, *where, part=part)} > {least}"


def _of_relays(condition: str) -> str:
    """Restrict metrics that other programs have too to relays."""
    return f"({condition}) and on (job, instance) {of.BUILD.full_name}"


_C, _W = Severity.CRITICAL, Severity.WARNING
_PLACE = "job, model, deployment"
_TARGET = "job, instance"
_AWAY = read.gauge(of.DEPLOYMENT_STATE, f"{_PLACE}, instance", 'state=~"open|half_open"')
_DENIED = read.appeared(of.ATTEMPTS, f"{_PLACE}, outcome", any_of("outcome", causes.CREDENTIALS), window="15m")
_READY = read.gauge(of.DEPLOYMENT_STATE, "job, model", 'state="ready"', combine="max")
_THROTTLED = read.rate(of.REQUESTS, "job, model", *causes.NOT_REFUSED, 'status="429"')
_LIMITED = read.rate(of.REFUSALS, "job, group", causes.OWN_LIMITS)
_LAG = read.quantile(0.99, of.LOOP_LAG, _TARGET, window="5m")
_SPOOL = f"{of.LEDGER_SPOOL_BYTES.full_name} / {of.LEDGER_SPOOL_LIMIT.full_name}"
_FILES = f"{of.OPEN_FILES.full_name} / {of.MAX_FILES.full_name} > 0.8"
_RESTARTS = f"changes({read.select(of.START_TIME, window='15m')}) > 3"
_CPU = f"{read.rate(of.CPU, _TARGET)} / {read.gauge(of.WORKERS, _TARGET)} > 0.9"
_FEWER = f"{of.WORKERS.full_name} < quantile_over_time(0.5, {read.select(of.WORKERS, window='3h')})"

# fmt: off
ALERTS = (
    Alert("ChukeiAbsent", f"absent({of.BUILD.full_name})", "5m", _C,
          "Prometheus has no metrics of any relay", "the-relay-is-down"),
    Alert("ChukeiDown", f'up{{job="{JOB}"}} == 0', "2m", _W,
          "Prometheus cannot read the metrics of {instance}", "the-relay-is-down"),
    Alert("ChukeiRestarts", _of_relays(_RESTARTS), "0m", _W,
          "{instance} has restarted {value} times in 15 minutes", "the-relay-restarts"),
    Alert("ChukeiWorkersMissing", _FEWER, "5m", _W,
          "{instance} has only {value} worker processes that answer", "the-relay-restarts"),
    Alert("ChukeiNoDeployment", f"{_READY} == 0", "2m", _C,
          "No deployment of {model} is ready", "503-no_deployment_available"),
    Alert("ChukeiRequestsFail", _burn(FAST_BURN, "1h", "5m"), "0m", _C,
          "{value} of the requests for {model} fail", "requests-fail"),
    Alert("ChukeiRequestsFailSlowly", _burn(SLOW_BURN, "6h", "30m"), "0m", _W,
          "{value} of the requests for {model} have failed for hours", "requests-fail"),
    Alert("ChukeiInternalErrors", read.appeared(of.REQUESTS, _TARGET, 'end="internal_error"', window="15m"), "0m", _W,
          "A defect in {instance} has ended {value} requests", "500-internal_error"),
    Alert("ChukeiDeploymentAway", f"avg by ({_PLACE}) ({_AWAY}) > 0.5", "10m", _W,
          "{deployment} of {model} has been failing for 10 minutes", "503-no_deployment_available"),
    Alert("ChukeiCredentialsRefused", _DENIED, "0m", _C,
          "{deployment} does not accept the relay's credentials ({outcome})", "401-and-403"),
    Alert("ChukeiSlowFirstToken",
          f"{read.quantile(0.95, of.FIRST_TOKEN, 'job, model')} > {SLOW_SECONDS:g}\nand "
          + _enough(of.FIRST_TOKEN, "job, model", 20, part="count"), "10m", _W,
          "5 % of the streams of {model} begin after {value} s or later", "slow-first-token"),
    Alert("ChukeiStreamsStall",
          f"{read.increase(of.STALLS, _PLACE)} / {read.increase(of.FIRST_TOKEN, _PLACE, part='count')} > 0.05\nand "
          + _enough(of.STALLS, _PLACE, 5), "10m", _W,
          "Streams of {deployment} stall: {value} pauses of more than 5 s for each stream", "a-stream-stutters"),
    Alert("ChukeiAzureBusy",
          f"{_THROTTLED} / {read.rate(of.REQUESTS, 'job, model', *causes.NOT_REFUSED)} > 0.05", "10m", _W,
          "{value} of the requests for {model} get 429, because Azure's quota is used up", "429-for-everyone"),
    Alert("ChukeiLimitsRefuse",
          f"{_LIMITED} / {read.rate(of.CALLER_REQUESTS, 'job, group')} > 0.2", "15m", _W,
          "Group '{group}': {value} of its requests exceed a limit", "429-for-one-caller"),
    Alert("ChukeiBodiesRefused", read.appeared(of.REFUSALS, "job, code", 'code="relay_busy"', window="15m"), "0m", _W,
          "The memory for requests' bodies was used up {value} times", "the-relay-is-busy"),
    Alert("ChukeiEventLoopLag", f"{_LAG} > {LAG_SECONDS:g}", "10m", _W,
          "The event loop of {instance} is {value} s late", "the-relay-is-busy"),
    Alert("ChukeiProcessorFull", _CPU, "10m", _W,
          "The workers of {instance} use {value} of a processor each", "the-relay-is-busy"),
    Alert("ChukeiFilesNearLimit", _of_relays(_FILES), "5m", _C,
          "{instance} uses {value} of its file descriptors", "too-many-open-files"),
    Alert("ChukeiStoreAway", f"{read.gauge(of.STORE_AVAILABLE, f'{_TARGET}, store', combine='min')} == 0", "2m", _C,
          "{instance} does not reach its {store} store", "a-store-is-away"),
    Alert("ChukeiLedgerSpoolFilling", f"{_SPOOL} > 0.5", "0m", _W,
          "The ledger's spool of {instance} is at {value} of its limit", "a-store-is-away"),
    Alert("ChukeiLedgerFull", f"{of.LEDGER_FULL.full_name} == 1", "0m", _C,
          "{instance} refuses requests, because neither the ledger nor its spool takes entries", "a-store-is-away"),
    Alert("ChukeiLedgerLost", f"increase({read.select(of.LEDGER_LOST, window='15m')}) > 0", "0m", _C,
          "{instance} has lost {value} entries of the ledger", "a-store-is-away"),
    Alert("ChukeiAuditLost", f"increase({read.select(of.AUDIT_LOST, window='15m')}) > 0", "0m", _W,
          "{instance} has lost {value} entries of the audit", "the-audit-or-telemetry-is-lost"),
    Alert("ChukeiAuditUnredacted", f"increase({read.select(of.AUDIT_UNREDACTED, window='15m')}) > 0", "0m", _W,
          "The redaction failed for {value} entries of the audit of {instance}", "the-audit-or-telemetry-is-lost"),
    Alert("ChukeiTelemetryLost", f"increase({read.select(of.TELEMETRY_LOST, window='15m')}) > 0", "15m", _W,
          "The receiver of telemetry has not taken the spans of {value} requests of {instance}",
          "the-audit-or-telemetry-is-lost"),
)
# fmt: on
