"""Every family of metrics: name, kind, meaning, labels, buckets, and how to combine the gauges of several processes.

Names follow Prometheus (https://prometheus.io/docs/practices/naming/): base units, and a counter's name without its
``_total``. docs/metrics.md has the same table; a test compares both.
"""

from dataclasses import dataclass
from enum import StrEnum

MAX_LABEL = 128
"""Characters of a label's value; the rest is cut off. It is the longest name of a deployment on Azure."""

OTHER = "other"
"""The label of everything that has no row of its own."""


OPEN = frozenset({"caller", "code", "deployment", "endpoint", "group", "model", "outcome", "rule", "status"})
"""Labels whose values come from the configuration, clients or upstreams, so that there may be any number of them. The
values of the other labels are listed in the relay's code."""


class Kind(StrEnum):
    """The kinds of metrics, by Prometheus' names."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Combine(StrEnum):
    """How the gauges of several worker processes become one value. Counters and histograms are always added."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Family:
    """One family. ``buckets`` are the upper bounds of a histogram, without infinity."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    combine: Combine = Combine.SUM

    @property
    def full_name(self) -> str:
        """The name in queries; for a histogram without ``_bucket``, ``_sum`` and ``_count``."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    @property
    def lines(self) -> int:
        """The lines on the page for one combination of labels."""
        return len(self.buckets) + 3 if self.kind is Kind.HISTOGRAM else 1

    def other(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels under which a sample without a row of its own is counted."""
        return tuple([OTHER if name in OPEN else value for name, value in zip(self.labels, labels, strict=True)])


SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds in seconds that OpenTelemetry's conventions for generative AI advise."""

LONG_SECONDS = (*SECONDS, 163.84, 327.68, 655.36)
"""Bounds of durations; answers of reasoning models take minutes."""

STALL_SECONDS = 5.12
"""A longer gap in a stream is a stall: readers notice it. It is one of the bounds."""

_LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_CALL = ("operation", "model", "deployment")
_USE = ("model", "deployment", "group", "caller")
_PLACE = ("model", "deployment")

REQUESTS = Family(
    "chukei_requests",
    _C,
    "Requests that have ended, by their HTTP status and why they ended.",
    (*_CALL, "status", "end"),
)
DURATION = Family(
    "chukei_request_duration_seconds",
    _H,
    "Time from a request's head to its end, of requests for which a deployment was asked.",
    _CALL,
    "seconds",
    LONG_SECONDS,
)
FIRST_TOKEN = Family(
    "chukei_time_to_first_token_seconds",
    _H,
    "Time from a request's head to the first event of its stream.",
    _CALL,
    "seconds",
    SECONDS,
)
GAPS = Family(
    "chukei_stream_gap_seconds",
    _H,
    "Time between two reads of a stream from its deployment.",
    _CALL,
    "seconds",
    SECONDS,
)
STALLS = Family("chukei_stream_stalls", _C, f"Gaps in streams of more than {STALL_SECONDS:g} seconds.", _CALL)
CALLER_REQUESTS = Family(
    "chukei_caller_requests",
    _C,
    "Requests of authenticated callers, by why they ended.",
    ("operation", "group", "caller", "end"),
)
REFUSALS = Family(
    "chukei_refusals",
    _C,
    "Requests that the relay refused, or found no deployment for, by error code; rule is the setting that was applied.",
    ("code", "rule", "group", "caller"),
)
TOKENS = Family(
    "chukei_tokens",
    _C,
    "Tokens of requests, by direction: input or output; estimated is true if Azure did not report them.",
    (*_USE, "direction", "estimated"),
)
CACHED = Family("chukei_cached_tokens", _C, "Input tokens that Azure read from its cache.", _USE)
REASONING = Family("chukei_reasoning_tokens", _C, "Output tokens that were spent on reasoning.", _USE)
WASTED = Family(
    "chukei_wasted_tokens", _C, "Tokens that attempts without an answer for the client may have used.", _USE
)
COST = Family("chukei_cost", _C, "Cost of requests, in the currency of the configured prices.", _USE)
UNPRICED = Family("chukei_unpriced_requests", _C, "Requests with usage for which the model has no price.", _USE)
ATTEMPTS = Family(
    "chukei_attempts",
    _C,
    "Requests to deployments; outcome is answered, or the code of the failure.",
    (*_PLACE, "outcome"),
)
FIRST_OUTPUT = Family(
    "chukei_deployment_first_output_seconds",
    _H,
    "Time from asking a deployment to the first output of its answer.",
    _PLACE,
    "seconds",
    SECONDS,
)
FAILOVERS = Family("chukei_failovers", _C, "Deployments asked after another one had failed the request.", ("model",))
HEDGES = Family(
    "chukei_hedges", _C, "Deployments asked while another one was silent; result is won or lost.", ("model", "result")
)
OPEN_REQUESTS = Family("chukei_open_requests", _G, "Requests being served.", ("operation",))
OPEN_STREAMS = Family("chukei_open_streams", _G, "Streams that have begun and not ended.", _PLACE)
CLIENT_CONNECTIONS = Family("chukei_client_connections", _G, "Open connections of clients.")
UPSTREAM_CONNECTIONS = Family(
    "chukei_upstream_connections", _G, "Open connections to an endpoint, by state: busy or idle.", ("endpoint", "state")
)
BODY_BYTES = Family("chukei_request_body_bytes", _G, "Memory reserved for the bodies of requests.", unit="bytes")
DEPLOYMENT_STATE = Family(
    "chukei_deployment_state",
    _G,
    "1 if the deployment is in the state, else 0; with several processes the share of those for which it is.",
    (*_PLACE, "state"),
    combine=Combine.MEAN,
)
DEPLOYMENT_WAIT = Family(
    "chukei_deployment_unavailable_seconds",
    _G,
    "Time until a cooling or open deployment is asked again.",
    _PLACE,
    "seconds",
    combine=Combine.MAX,
)
DEPLOYMENT_REQUESTS = Family(
    "chukei_deployment_outstanding_requests", _G, "Requests that a deployment is serving.", _PLACE
)
DEPLOYMENT_TOKENS = Family(
    "chukei_deployment_outstanding_tokens", _G, "Estimated tokens of the requests that a deployment is serving.", _PLACE
)
DEPLOYMENT_SOURCES = Family(
    "chukei_deployment_barred_sources",
    _G,
    "Callers, or contents, for which alone a deployment is unavailable.",
    _PLACE,
    combine=Combine.MAX,
)
STORE_AVAILABLE = Family(
    "chukei_store_available",
    _G,
    "1 if the store answered last, 0 if it is away for any process; store is quota, board, ledger or keys.",
    ("store",),
    combine=Combine.MIN,
)
BACKGROUND_JOBS = Family(
    "chukei_background_jobs",
    _G,
    "Responses and batches in the making whose usage is not settled yet, known to this relay.",
)
LEDGER_WAITING = Family("chukei_ledger_waiting_entries", _G, "Entries in memory that are not yet in the ledger.")
LEDGER_SPOOLED = Family("chukei_ledger_spooled_entries", _G, "Entries in the spool that are not yet in the ledger.")
LEDGER_SPOOL_BYTES = Family(
    "chukei_ledger_spool_bytes", _G, "Size of the entries in the spool that are not yet in the ledger.", unit="bytes"
)
LEDGER_SPOOL_LIMIT = Family(
    "chukei_ledger_spool_limit_bytes", _G, "Most bytes of the spool.", unit="bytes", combine=Combine.MAX
)
LEDGER_FULL = Family(
    "chukei_ledger_full", _G, "1 if requests are refused because nothing takes entries.", combine=Combine.MAX
)
LEDGER_LOST = Family("chukei_ledger_lost_entries", _C, "Entries that were lost.")
AUDIT_WRITTEN = Family("chukei_audit_written_entries", _C, "Entries of the audit that were written.")
AUDIT_LOST = Family(
    "chukei_audit_lost_entries", _C, "Entries of the audit that were lost: too many waited, or the disk took none."
)
AUDIT_UNREDACTED = Family(
    "chukei_audit_unredacted_entries",
    _C,
    "Entries of the audit that were written without their content, since the redaction failed.",
)
TELEMETRY_LOST = Family(
    "chukei_telemetry_lost",
    _C,
    "Requests whose spans were lost, and readings of metrics: too many waited, or the receiver took none.",
)
DRAINING = Family("chukei_draining", _G, "1 if a process refuses new requests to shut down.", combine=Combine.MAX)
WORKERS = Family("chukei_workers", _G, "Processes that answered this scrape.")
LOOP_LAG = Family(
    "chukei_event_loop_lag_seconds",
    _H,
    "Delay of a timer that fires once a second: how long the event loop was busy otherwise.",
    unit="seconds",
    buckets=_LAG_SECONDS,
)
BUILD = Family("chukei_build_info", _G, "Always 1.", ("version", "python"), combine=Combine.MAX)
CPU = Family("process_cpu_seconds", _C, "Processor time of all processes.", unit="seconds")
MEMORY = Family("process_resident_memory_bytes", _G, "Memory of all processes.", unit="bytes")
COLLECTIONS = Family("python_gc_collections", _C, "Runs of Python's garbage collector.", ("generation",))
OPEN_FILES = Family("process_open_fds", _G, "Open file descriptors of the process with the most.", combine=Combine.MAX)
MAX_FILES = Family("process_max_fds", _G, "Most file descriptors that a process may open.", combine=Combine.MIN)
START_TIME = Family(
    "process_start_time_seconds",
    _G,
    "Start of the oldest process, in Unix time.",
    unit="seconds",
    combine=Combine.MIN,
)

FAMILIES: dict[str, Family] = {value.name: value for value in globals().values() if isinstance(value, Family)}
"""All families by name, in the order of the page."""


def most_lines(rows: int) -> int:
    """Return the most lines of a page if each family has at most so many combinations of labels."""
    return sum(3 + family.lines * (rows if family.labels else 1) for family in FAMILIES.values()) + 1


def table() -> list[str]:
    """Return the rows as docs/metrics.md shows them."""
    return [
        f"| `{each.full_name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} "
        f"| {each.help} | {'' if each.kind is not Kind.GAUGE else each.combine} |"
        for each in FAMILIES.values()
    ]
