"""The panels of the dashboard, by row. The first row says whose affair a problem is, the others show more of it."""

from dataclasses import dataclass
from enum import StrEnum

from chukei.metrics import definitions as of
from monitoring import causes
from monitoring.queries import Reader, any_of

VARIABLES = ("job", "instance", "model", "deployment")
"""The dashboard's variables, which have the names of the labels that they select."""

WEEK = "7d"
"""How long ago the times are with which a panel compares today's: the same weekday has a similar load."""

read = Reader(VARIABLES, "$__rate_interval")


class Shape(StrEnum):
    """How a panel shows its values, by the name of Grafana's panel type."""

    LINES = "timeseries"
    NUMBER = "stat"
    TABLE = "table"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel, and the name of each of its lines."""

    expression: str
    legend: str
    past: bool = False
    """Whether it shows the values of a week ago, which are drawn dashed."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. ``text`` is its explanation, or the text itself; ``unit`` is Grafana's name of the unit.

    ``width`` is in twenty-fourths of the page. ``warning`` and ``alarm`` are the values of a number from which it is
    yellow and red.
    """

    title: str
    text: str
    queries: tuple[Query, ...] = ()
    unit: str = "short"
    shape: Shape = Shape.LINES
    width: int = 8
    stacked: bool = False
    warning: float | None = None
    alarm: float | None = None
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


def _share(part: str, whole: str) -> str:
    """Return a share that is 0, not unknown, if there is none of the part."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def _failing(by: str) -> str:
    failing = " or ".join(
        read.select(of.REQUESTS, 'model!=""', *where, window=read.window).join(("rate(", ")"))
        for where in causes.FAILING
    )
    return f"sum by ({by}) ({failing})"


def _by(family: of.Family, *by: str, legend: str = "", where: tuple[str, ...] = ()) -> Query:
    """Return a counter's rate by labels, with the labels as its legend."""
    shown = legend or " ".join(f"{{{{{name}}}}}" for name in by)
    return Query(read.rate(family, ", ".join(by), *where), shown)


def _level(family: of.Family, *by: str, legend: str = "", combine: str = "sum") -> Query:
    shown = legend or " ".join(f"{{{{{name}}}}}" for name in by)
    return Query(read.gauge(family, ", ".join(by), combine=combine), shown)


def _p95(family: of.Family, by: str, legend: str, *, past: bool = False) -> Query:
    return Query(read.quantile(0.95, family, by, offset=WEEK if past else ""), legend, past)


def _not_ready(*by: str) -> Query:
    shares = read.gauge(of.DEPLOYMENT_STATE, ", ".join(by), 'state!="ready"', combine="avg")
    return Query(f"{shares} > 0", " ".join(f"{{{{{name}}}}}" for name in by))


def _part(part: of.Family, whole: of.Family, combine: str = "sum") -> Query:
    """Return how much of a relay's limit is in use."""
    limit = read.gauge(whole, "instance", combine=whole.combine)
    return Query(f"{read.gauge(part, 'instance', combine=combine)} / {limit}", "{{instance}}")


_ATTEMPTS = read.rate(of.ATTEMPTS)
_LAG = read.quantile(0.99, of.LOOP_LAG)
_CALLS = read.rate(of.REQUESTS, "", causes.CALLS)
_HOUR = "3600 * "
_MODELS_READY = read.gauge(of.DEPLOYMENT_STATE, "model", 'state="ready"', combine="max")

# fmt: off
VERDICT = Row("Azure, the network, the relay, or a caller?", (
    Panel("How to read this", (
        "**Read from the top.** The first coloured number that is not green is the first suspect. "
        "*Azure*: its failures and timeouts, or a first output later than a week ago. "
        "*Network*: no connection, TLS, or something in between answers. "
        "*Relay*: a late event loop, or a whole processor for each worker. "
        "*Callers*: limits, keys and faulty requests. "
        "`docs/runbook.md` leads from each symptom to its cause and to what to do."
    ), shape=Shape.TEXT, width=24),
    Panel("Azure: failed attempts", "Answered with 408, 425, 5xx or an error in a 200, not in time, or broke off.",
          (Query(_share(read.rate(of.ATTEMPTS, "", any_of("outcome", causes.AZURE)), _ATTEMPTS), "failed"),),
          "percentunit", Shape.NUMBER, 4, warning=0.01, alarm=0.05, runbook="requests-fail"),
    Panel("Azure: 429", "Attempts that Azure's limits refused.",
          (Query(_share(read.rate(of.ATTEMPTS, "", causes.THROTTLED), _ATTEMPTS), "429"),),
          "percentunit", Shape.NUMBER, 4, warning=0.05, alarm=0.2, runbook="429-for-everyone"),
    Panel("Network: failed attempts", "No connection, a TLS failure, or something else than Azure OpenAI answered.",
          (Query(_share(read.rate(of.ATTEMPTS, "", any_of("outcome", causes.NETWORK)), _ATTEMPTS), "failed"),),
          "percentunit", Shape.NUMBER, 4, warning=0.01, alarm=0.05, runbook="requests-fail"),
    Panel("Relay: event-loop lag, p99", "How late a timer fires. Each event of a stream can be that late.",
          (Query(_LAG, "lag"),), "s", Shape.NUMBER, 4, warning=0.05, alarm=0.1, runbook="the-relay-is-busy"),
    Panel("Callers: refused", "Requests that the relay refused: limits, rules, keys, faulty requests.",
          (Query(_share(read.rate(of.REQUESTS, "", causes.CALLS, 'end="refused"'), _CALLS), "refused"),),
          "percentunit", Shape.NUMBER, 4, warning=0.05, alarm=0.2, runbook="429-for-one-caller"),
    Panel("Models without a ready deployment", "All their deployments are failing, cooling down, full or drained.",
          (Query(f"count({_MODELS_READY} == 0) or vector(0)", "models"),),
          "short", Shape.NUMBER, 4, warning=1, alarm=1, runbook="503-no_deployment_available"),
    Panel("Requests by end", "Requests to models. docs/errors.md explains each end.",
          (_by(of.REQUESTS, "end", where=('model!=""',)),), "reqps", stacked=True),
    Panel("Failing share by model", "Failed for a cause that is neither the caller's nor a limit's.",
          (Query(_share(_failing("model"), read.rate(of.REQUESTS, "model", *causes.NOT_REFUSED)), "{{model}}"),),
          "percentunit"),
    Panel("Refusals by code", "What the relay refused, and calls for which no deployment was ready.",
          (_by(of.REFUSALS, "code", "rule"),), "reqps", stacked=True),
    Panel("Time to first token, p95, by deployment", "From a request's head to the first event. Dashed: a week ago.",
          (_p95(of.FIRST_TOKEN, "deployment", "{{deployment}}"),
           _p95(of.FIRST_TOKEN, "deployment", "{{deployment}}, a week ago", past=True)), "s"),
    Panel("First token, p95: whole, and Azure's part", "Between the lines: failed attempts and the relay's own time.",
          (_p95(of.FIRST_TOKEN, "model", "{{model}}, whole"),
           _p95(of.FIRST_OUTPUT, "model", "{{model}}, the deployment that answered")), "s"),
    Panel("Gap between reads, p95, by deployment", "Silence inside streams, as Azure sends them. Dashed: a week ago.",
          (_p95(of.GAPS, "deployment", "{{deployment}}"),
           _p95(of.GAPS, "deployment", "{{deployment}}, a week ago", past=True)), "s"),
    Panel("Stalls a minute", f"Gaps of more than {of.STALL_SECONDS:g} s.",
          (Query("60 * " + read.rate(of.STALLS, "deployment"), "{{deployment}}"),), "short"),
    Panel("Event-loop lag, p99, by relay", "Above 0.1 s readers notice it.",
          (Query(read.quantile(0.99, of.LOOP_LAG, "instance"), "{{instance}}"),), "s"),
    Panel("Processors in use, for each worker", "An event loop uses at most one. Near 1 it is saturated.",
          (Query(f"{read.rate(of.CPU, 'instance')} / {read.gauge(of.WORKERS, 'instance')}", "{{instance}}"),)),
))

DEPLOYMENTS = Row("Deployments", (
    Panel("Not ready now", "Deployments that are not ready, and at which share of the processes.",
          (_not_ready("model", "deployment", "state"),), "percentunit", Shape.TABLE),
    Panel("Not ready", "The share of the processes at which a deployment is in this state.",
          (_not_ready("deployment", "state"),), "percentunit"),
    Panel("Time until it is asked again", "Of deployments that cool down or whose breaker is open.",
          (_level(of.DEPLOYMENT_WAIT, "deployment", combine="max"),), "s"),
    Panel("Failures by code", "Failed attempts; failover hides most of them from callers.",
          (_by(of.ATTEMPTS, "deployment", "outcome", where=(causes.NEUTRAL,)),), "reqps", stacked=True),
    Panel("429 by deployment", "Attempts that Azure's limits refused.",
          (_by(of.ATTEMPTS, "deployment", where=(causes.THROTTLED,)),), "reqps"),
    Panel("Share of attempts", "How the load is shared.",
          (Query(f"{read.rate(of.ATTEMPTS, 'deployment')} / scalar({_ATTEMPTS})", "{{deployment}}"),),
          "percentunit", stacked=True),
    Panel("First output of the deployment, p50 and p95", "From asking the deployment to its first output.",
          (Query(read.quantile(0.5, of.FIRST_OUTPUT, "deployment"), "{{deployment}} p50"),
           _p95(of.FIRST_OUTPUT, "deployment", "{{deployment}} p95")), "s"),
    Panel("Outstanding requests", "Requests that deployments are serving.",
          (_level(of.DEPLOYMENT_REQUESTS, "deployment"),)),
    Panel("Outstanding tokens", "Estimated tokens of these requests.", (_level(of.DEPLOYMENT_TOKENS, "deployment"),)),
    Panel("Failovers and hedges", "Further deployments asked for the same request.",
          (_by(of.FAILOVERS, "model", legend="{{model}} failover"),
           _by(of.HEDGES, "model", "result", legend="{{model}} hedge {{result}}")), "reqps"),
    Panel("Unavailable for single callers", "Callers, or contents, for which alone a deployment is unavailable.",
          (_level(of.DEPLOYMENT_SOURCES, "deployment", combine="max"),)),
))

TOKENS = Row("Tokens and cost", (
    Panel("Tokens a second by model", "Cached tokens are part of the input, reasoning of the output.",
          (_by(of.TOKENS, "model", "direction"),), "short"),
    Panel("Tokens a second by group", "The first group of the caller.",
          (_by(of.TOKENS, "group", "direction"),), "short", stacked=True),
    Panel("Cached, reasoning, wasted, estimated", "Shares: of the input, of the output, and of all.",
          (Query(_share(read.rate(of.CACHED), read.rate(of.TOKENS, "", 'direction="input"')), "cached"),
           Query(_share(read.rate(of.REASONING), read.rate(of.TOKENS, "", 'direction="output"')), "reasoning"),
           Query(_share(read.rate(of.WASTED), read.rate(of.TOKENS)), "wasted"),
           Query(_share(read.rate(of.TOKENS, "", 'estimated="true"'), read.rate(of.TOKENS)), "estimated")),
          "percentunit"),
    Panel("Cost an hour by model", "In the currency of the configured prices.",
          (Query(_HOUR + read.rate(of.COST, "model"), "{{model}}"),), "short", stacked=True),
    Panel("Cost an hour by group", "In the currency of the configured prices.",
          (Query(_HOUR + read.rate(of.COST, "group"), "{{group}}"),), "short", stacked=True),
    Panel("Requests without a price", "Their cost is unknown and missing above.",
          (_by(of.UNPRICED, "model"),), "reqps"),
))

RELAY = Row("The relay", (
    Panel("Open requests", "Requests being served.", (_level(of.OPEN_REQUESTS, "operation"),), stacked=True),
    Panel("Open streams", "Streams that have begun.", (_level(of.OPEN_STREAMS, "deployment"),), stacked=True),
    Panel("Background jobs", "Responses and batches whose usage is not settled yet.",
          (_level(of.BACKGROUND_JOBS, "instance"),), stacked=True),
    Panel("Connections", "Of clients, and to each endpoint.",
          (_level(of.CLIENT_CONNECTIONS, legend="clients"), _level(of.UPSTREAM_CONNECTIONS, "endpoint", "state"))),
    Panel("Memory", "All processes of a relay, and what is reserved for the bodies of requests.",
          (_level(of.MEMORY, "instance"), _level(of.BODY_BYTES, "instance", legend="{{instance}} bodies")), "bytes"),
    Panel("File descriptors in use", "As a share of the limit, of the process that has most.",
          (_part(of.OPEN_FILES, of.MAX_FILES, combine="max"),), "percentunit"),
    Panel("Workers, and relays that shut down", "Processes that answered, and 1 for a relay that is draining.",
          (_level(of.WORKERS, "instance", legend="{{instance}} workers"),
           _level(of.DRAINING, "instance", legend="{{instance}} draining", combine="max"))),
    Panel("Ledger: entries not yet written", "In memory, and in the spool while the database is unavailable.",
          (_level(of.LEDGER_WAITING, "instance", legend="{{instance}} in memory"),
           _level(of.LEDGER_SPOOLED, "instance", legend="{{instance}} in the spool"))),
    Panel("Ledger: spool in use", "As a share of its limit. A full spool makes the relay refuse requests.",
          (_part(of.LEDGER_SPOOL_BYTES, of.LEDGER_SPOOL_LIMIT),), "percentunit"),
    Panel("Ledger: refusing, and entries lost", "1 while nothing takes entries; entries lost in an hour.",
          (_level(of.LEDGER_FULL, "instance", legend="{{instance}} refuses", combine="max"),
           Query(_HOUR + read.rate(of.LEDGER_LOST, "instance"), "{{instance}} lost"))),
    Panel("Audit and telemetry: lost", "Entries and requests in an hour: lost, and written without their content.",
          (Query(_HOUR + read.rate(of.AUDIT_LOST, "instance"), "{{instance}} audit"),
           Query(_HOUR + read.rate(of.AUDIT_UNREDACTED, "instance"), "{{instance}} audit, without content"),
           Query(_HOUR + read.rate(of.TELEMETRY_LOST, "instance"), "{{instance}} telemetry"))),
    Panel("Audit", "Entries that were written.", (_by(of.AUDIT_WRITTEN, "instance"),), "reqps"),
    Panel("Stores", "1 if the store answered last, 0 if it is away.",
          (_level(of.STORE_AVAILABLE, "instance", "store", combine="min"),)),
    Panel("Hours since the start", "Of the oldest process. A restart begins at 0.",
          (Query(f"(time() - {read.gauge(of.START_TIME, 'instance', combine='min')}) / 3600", "{{instance}}"),), "h"),
    Panel("Garbage collections", "Runs a second, by generation.", (_by(of.COLLECTIONS, "generation"),), "short"),
    Panel("Versions", "The relay's version and Python's, and at how many relays.",
          (_level(of.BUILD, "version", "python", combine="count"),), "short", Shape.TABLE),
))

CALLERS = Row("Callers", (
    Panel("Requests by group", "The first group of each known caller.",
          (_by(of.CALLER_REQUESTS, "group"),), "reqps", stacked=True),
    Panel("Refusals by rule", "The setting that was applied, where there is one.",
          (_by(of.REFUSALS, "rule", where=('rule!=""',)),), "reqps"),
    Panel("Refusals by group", "With the code.", (_by(of.REFUSALS, "group", "code"),), "reqps"),
    Panel("Callers with most requests", "By name only with metrics.callers = true, else by group.",
          (Query(f"topk(10, {read.rate(of.CALLER_REQUESTS, 'group, caller')})", "{{group}} {{caller}}"),), "reqps"),
    Panel("Clients that left or did not read", "They disconnected, or read nothing for stream.write_seconds.",
          (_by(of.CALLER_REQUESTS, "group", "end", where=('end=~"client_.*"',)),), "reqps"),
    Panel("Duration, p50 and p95, by operation", "From the request's arrival to its end.",
          (Query(read.quantile(0.5, of.DURATION, "operation"), "{{operation}} p50"),
           _p95(of.DURATION, "operation", "{{operation}} p95")), "s"),
))
# fmt: on

ROWS = (VERDICT, DEPLOYMENTS, TOKENS, RELAY, CALLERS)
"""The dashboard, from the top."""
