"""For each alert, metrics with which it fires and metrics with which it does not.

The values are promtool's: ``0+3x30`` begins at 0 and grows by 3 in each of 30 minutes, ``_`` is a missing sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]

AT = 60
"""The minute at which an alert is looked for."""

HERE = 'job="chukei", instance="a:7221"'
CHAT = 'job="chukei", instance="a:7221", model="chat"'
EAST = 'job="chukei", instance="a:7221", model="chat", deployment="east"'

_UP = {f"chukei_build_info{{{HERE}}}": "1x400"}


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, and its summary and labels where it fires. It is looked for in the minute ``at``."""

    alert: str
    fires: Series
    summary: str
    labels: Mapping[str, str]
    quiet: Series
    at: int = AT


def _requests(end: str, status: int, values: str) -> dict[str, str]:
    return {f'chukei_requests_total{{{EAST}, operation="chat", status="{status}", end="{end}"}}': values}


def _histogram(name: str, labels: str, le: str, below: str, all: str) -> dict[str, str]:
    return {
        f'{name}_bucket{{{labels}, le="{le}"}}': below,
        f'{name}_bucket{{{labels}, le="20.48"}}': all,
        f'{name}_bucket{{{labels}, le="+Inf"}}': all,
        f"{name}_count{{{labels}}}": all,
    }


def _state(**shares: str) -> dict[str, str]:
    return {f'chukei_deployment_state{{{EAST}, state="{name}"}}': values for name, values in shares.items()}


_TARGET = {"job": "chukei", "instance": "a:7221"}
_MODEL = {"job": "chukei", "model": "chat"}
_PLACE = {"job": "chukei", "model": "chat", "deployment": "east"}
_FIRST = "chukei_time_to_first_token_seconds"
_LAG = "chukei_event_loop_lag_seconds"
_DENIED = f'chukei_attempts_total{{{EAST}, outcome="upstream_unauthorized"}}'
_BUSY = 'chukei_refusals_total{job="chukei", instance="a:7221", code="relay_busy"}'
_LIMITED = 'chukei_refusals_total{job="chukei", instance="a:7221", group="search", code="rate_limit_exceeded"}'
_GROUP = (
    'chukei_caller_requests_total{job="chukei", instance="a:7221", group="search", operation="chat", end="completed"}'
)

CASES = (
    Case("ChukeiAbsent", {"up": "0x100"}, "Prometheus has no metrics of any relay", {}, _UP),
    Case(
        "ChukeiDown",
        {f"up{{{HERE}}}": "0x100"},
        "Prometheus cannot read the metrics of a:7221",
        _TARGET,
        {f"up{{{HERE}}}": "1x100", 'up{job="other", instance="b:80"}': "0x100"},
    ),
    Case(
        "ChukeiRestarts",
        _UP | {f"process_start_time_seconds{{{HERE}}}": "0x45 100+100x40"},
        "a:7221 has restarted 15 times in 15 minutes",
        _TARGET,
        _UP
        | {
            f"process_start_time_seconds{{{HERE}}}": "0x50 900x40",
            'process_start_time_seconds{job="other", instance="b:80"}': "0+1x100",
        },
    ),
    Case(
        "ChukeiWorkersMissing",
        {f"chukei_workers{{{HERE}}}": "4x50 3x40"},
        "a:7221 has only 3 worker processes that answer",
        _TARGET,
        {f"chukei_workers{{{HERE}}}": "4x30 5x2 4x60"},  # a rolling restart
    ),
    Case(
        "ChukeiNoDeployment",
        _state(ready="1x50 0x40", open="0x50 1x40"),
        "No deployment of chat is ready",
        _MODEL,
        _state(ready="0.5x100", open="0.5x100"),
    ),
    Case(
        "ChukeiRequestsFail",
        _requests("completed", 200, "0+9x100") | _requests("upstream_status", 503, "0+1x100"),
        "10% of the requests for chat fail",
        _MODEL,
        # The caller's errors and limits are no failures, nor is a failure long ago.
        _requests("completed", 200, "0+9x100")
        | _requests("upstream_status", 400, "0+5x100")
        | _requests("no_deployment", 429, "0+5x100")
        | _requests("truncated", 200, "0+9x40 360x60"),
    ),
    Case(
        "ChukeiRequestsFailSlowly",
        _requests("completed", 200, "0+96x400") | _requests("timeout", 504, "0+4x400"),
        "4% of the requests for chat have failed for hours",
        _MODEL,
        _requests("completed", 200, "0+98x400") | _requests("timeout", 504, "0+2x400"),
        at=380,
    ),
    Case(
        "ChukeiInternalErrors",
        _UP | _requests("internal_error", 500, "_x55 1x40"),
        "A defect in a:7221 has ended 1 requests",
        _TARGET,
        _UP | _requests("internal_error", 500, "1x100"),
    ),
    Case(
        "ChukeiDeploymentAway",
        _state(open="1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 " * 6, half_open="0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 " * 6),
        "east of chat has been failing for 10 minutes",
        _PLACE,
        _state(open="1 1 1 0 0 " * 20, cooling="0 0 0 1 1 " * 20),
    ),
    Case(
        "ChukeiCredentialsRefused",
        _UP | {_DENIED: "_x55 1x40"},
        "east does not accept the relay's credentials (upstream_unauthorized)",
        _PLACE | {"outcome": "upstream_unauthorized"},
        # Prometheus itself was away: the counter is old.
        {_DENIED: "_x55 7x40", f"chukei_build_info{{{HERE}}}": "_x55 1x40"},
    ),
    Case(
        "ChukeiSlowFirstToken",
        _histogram(_FIRST, EAST, "10.24", "0+90x100", "0+100x100"),
        "5 % of the streams of chat begin after 15.4 s or later",
        _MODEL,
        _histogram(_FIRST, EAST, "10.24", "0+96x100", "0+100x100"),
    ),
    Case(
        "ChukeiStreamsStall",
        {f"chukei_stream_stalls_total{{{EAST}}}": "0+10x100", f"{_FIRST}_count{{{EAST}}}": "0+100x100"},
        "Streams of east stall: 0.1 pauses of more than 5 s for each stream",
        _PLACE,
        {f"chukei_stream_stalls_total{{{EAST}}}": "0+4x100", f"{_FIRST}_count{{{EAST}}}": "0+100x100"},
    ),
    Case(
        "ChukeiAzureBusy",
        _requests("completed", 200, "0+90x100") | _requests("no_deployment", 429, "0+10x100"),
        "10% of the requests for chat get 429, because Azure's quota is used up",
        _MODEL,
        _requests("completed", 200, "0+90x100") | _requests("refused", 429, "0+90x100"),  # the relay's own limits
    ),
    Case(
        "ChukeiLimitsRefuse",
        {_LIMITED: "0+30x100", _GROUP: "0+100x100"},
        "Group 'search': 30% of its requests exceed a limit",
        {"job": "chukei", "group": "search"},
        {_LIMITED: "0+10x100", _GROUP: "0+100x100"},
    ),
    Case(
        "ChukeiBodiesRefused",
        _UP | {_BUSY: "1x50 3x40"},
        "The memory for requests' bodies was used up 2 times",
        {"job": "chukei", "code": "relay_busy"},
        _UP | {_BUSY: "3x100"},
    ),
    Case(
        "ChukeiEventLoopLag",
        _histogram(_LAG, HERE, "0.1", "0+50x100", "0+60x100"),
        "The event loop of a:7221 is 19.3 s late",
        _TARGET,
        _histogram(_LAG, HERE, "0.1", "0+60x100", "0+60x100"),
    ),
    Case(
        "ChukeiProcessorFull",
        {f"process_cpu_seconds_total{{{HERE}}}": "0+114x100", f"chukei_workers{{{HERE}}}": "2x100"},
        "The workers of a:7221 use 0.95 of a processor each",
        _TARGET,
        {f"process_cpu_seconds_total{{{HERE}}}": "0+96x100", f"chukei_workers{{{HERE}}}": "2x100"},
    ),
    Case(
        "ChukeiFilesNearLimit",
        _UP | {f"process_open_fds{{{HERE}}}": "900x100", f"process_max_fds{{{HERE}}}": "1000x100"},
        "a:7221 uses 90% of its file descriptors",
        _TARGET,
        _UP
        | {f"process_open_fds{{{HERE}}}": "700x100", f"process_max_fds{{{HERE}}}": "1000x100"}
        | {'process_open_fds{job="other"}': "900x100", 'process_max_fds{job="other"}': "1000x100"},
    ),
    Case(
        "ChukeiStoreAway",
        {f'chukei_store_available{{{HERE}, store="quota"}}': "1x50 0x40"},
        "a:7221 does not reach its quota store",
        _TARGET | {"store": "quota"},
        {f'chukei_store_available{{{HERE}, store="quota"}}': "1x59 0 1x40"},
    ),
    Case(
        "ChukeiLedgerSpoolFilling",
        {f"chukei_ledger_spool_bytes{{{HERE}}}": "60x100", f"chukei_ledger_spool_limit_bytes{{{HERE}}}": "100x100"},
        "The ledger's spool of a:7221 is at 60% of its limit",
        _TARGET,
        {f"chukei_ledger_spool_bytes{{{HERE}}}": "40x100", f"chukei_ledger_spool_limit_bytes{{{HERE}}}": "100x100"},
    ),
    Case(
        "ChukeiLedgerFull",
        {f"chukei_ledger_full{{{HERE}}}": "1x100"},
        "a:7221 refuses requests, because neither the ledger nor its spool takes entries",
        _TARGET,
        {f"chukei_ledger_full{{{HERE}}}": "0x100"},
    ),
    Case(
        "ChukeiLedgerLost",
        {f"chukei_ledger_lost_entries_total{{{HERE}}}": "0x50 14x40"},
        "a:7221 has lost 14 entries of the ledger",
        _TARGET,
        {f"chukei_ledger_lost_entries_total{{{HERE}}}": "14x100"},
    ),
    Case(
        "ChukeiAuditLost",
        {f"chukei_audit_lost_entries_total{{{HERE}}}": "0x50 14x40"},
        "a:7221 has lost 14 entries of the audit",
        _TARGET,
        {f"chukei_audit_lost_entries_total{{{HERE}}}": "14x100"},
    ),
    Case(
        "ChukeiAuditUnredacted",
        {f"chukei_audit_unredacted_entries_total{{{HERE}}}": "0x50 14x40"},
        "The redaction failed for 14 entries of the audit of a:7221",
        _TARGET,
        {f"chukei_audit_unredacted_entries_total{{{HERE}}}": "14x100"},
    ),
    Case(
        "ChukeiTelemetryLost",
        {f"chukei_telemetry_lost_total{{{HERE}}}": "0+2x100"},
        "The receiver of telemetry has not taken the spans of 30 requests of a:7221",
        _TARGET,
        {f"chukei_telemetry_lost_total{{{HERE}}}": "0x55 14x60"},
    ),
)
