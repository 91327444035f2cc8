"""The meter: counts each finished request, and reads the gauges when somebody asks for a snapshot. Pure.

It implements the Hook port. A record costs a few dictionary look-ups (docs/metrics.md has the measurement); nothing is
formatted before a snapshot.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from chukei.metrics import definitions as of
from chukei.metrics.definitions import FAMILIES, Family, Kind
from chukei.metrics.snapshot import Labels, Reading, Rows, Sample, Snapshot, bounded
from chukei.model import Caller, End
from chukei.record import Attempt, RequestRecord
from chukei.usage import Usage

logger = logging.getLogger(__name__)

ANSWERED = "answered"
"""The outcome of an attempt that did not fail."""

MICRO = 1_000_000
"""A record's cost is in so many parts of the currency's unit."""

_REFUSED = frozenset({End.REFUSED, End.NO_DEPLOYMENT})
_STATUS = {status: str(status) for status in range(100, 600)} | {None: ""}
_STALL = of.SECONDS.index(of.STALL_SECONDS) + 1  # the first bucket beyond it


class _Counter:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class _Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, counts: Sequence[int], total: float) -> None:
        self.counts = [mine + more for mine, more in zip(self.counts, counts, strict=True)]
        self.total += total


class Meter:
    """The metrics of this process. A family has ``most`` rows at the most.

    ``callers`` says that callers are told apart by name, not only by group.
    """

    def __init__(self, *, most: int, callers: bool = False) -> None:
        self._most = most
        self._callers = callers
        self._readers: list[Callable[[], Iterable[Reading]]] = []
        self._counters: dict[str, Rows[_Counter]] = {}
        self._histograms: dict[str, Rows[_Histogram]] = {}
        self._requests = self._counter(of.REQUESTS)
        self._duration = self._histogram(of.DURATION)
        self._first_token = self._histogram(of.FIRST_TOKEN)
        self._gaps = self._histogram(of.GAPS)
        self._stalls = self._counter(of.STALLS)
        self._caller_requests = self._counter(of.CALLER_REQUESTS)
        self._refusals = self._counter(of.REFUSALS)
        self._tokens = self._counter(of.TOKENS)
        self._cached = self._counter(of.CACHED)
        self._reasoning = self._counter(of.REASONING)
        self._wasted = self._counter(of.WASTED)
        self._cost = self._counter(of.COST)
        self._unpriced = self._counter(of.UNPRICED)
        self._attempts = self._counter(of.ATTEMPTS)
        self._first_output = self._histogram(of.FIRST_OUTPUT)
        self._failovers = self._counter(of.FAILOVERS)
        self._hedges = self._counter(of.HEDGES)
        self._lag = self._histogram(of.LOOP_LAG)

    def _counter(self, family: Family) -> Rows[_Counter]:
        rows = self._counters[family.name] = Rows(family, self._most, _Counter)
        return rows

    def _histogram(self, family: Family) -> Rows[_Histogram]:
        rows = Rows(family, self._most, lambda: _Histogram(family.buckets))
        self._histograms[family.name] = rows
        return rows

    # On the path of requests.

    def __call__(self, record: RequestRecord) -> None:
        """Count a record; see the Hook port. A record that stands for several requests counts as that many."""
        count, who, end = record.count, record.who, record.end or ""
        operation, model, deployment = record.operation or "", record.model or "", record.deployment or ""
        self._requests[operation, model, deployment, _STATUS.get(record.status, ""), end].value += count
        group, caller = self._names_of(who)
        if who is not None:
            self._caller_requests[operation, group, caller, end].value += count
        if record.tries:
            self._count_answer(record, (operation, model, deployment))
            self._count_attempts(record, model)
            self._count_usage(record, (model, deployment, group, caller))
        if end in _REFUSED:
            rule = self._shown(record.rule or "", who)
            self._refusals[record.code or "", rule, group, caller].value += count

    def _names_of(self, who: Caller | None) -> tuple[str, str]:
        if who is None:
            return "", ""
        return who.groups[0] if who.groups else "", who.name if self._callers else ""

    def _shown(self, rule: str, who: Caller | None) -> str:
        """Return a rule's place in the configuration, without the caller's name if callers are not told apart."""
        own = f"callers.{who.name}." if who is not None else ""
        return f"callers.*.{rule.removeprefix(own)}" if own and not self._callers and rule.startswith(own) else rule

    def _count_answer(self, record: RequestRecord, call: Labels) -> None:
        self._duration[call].observe(record.duration, record.count)
        if record.first_token is None:
            return
        self._first_token[call].observe(record.first_token)
        gaps = record.gaps
        if gaps is not None:
            self._gaps[call].add(gaps, record.gap_seconds)
            stalls = sum(gaps[_STALL:])
            if stalls:
                self._stalls[call].value += stalls

    def _count_attempts(self, record: RequestRecord, model: str) -> None:
        tries, hedges = record.tries, 0
        for attempt in tries:
            self._attempts[model, attempt.deployment, attempt.code or ANSWERED].value += 1
            if record.stream and attempt.code is None:
                self._first_output[model, attempt.deployment].observe(attempt.seconds)
            if attempt.hedge:
                hedges += 1
                won = attempt is record.answering and record.first_token is not None
                self._hedges[model, "won" if won else "lost"].value += 1
        retries = len(tries) - hedges - 1
        if retries > 0:
            self._failovers[(model,)].value += retries

    def _count_usage(self, record: RequestRecord, use: Labels) -> None:
        if record.usage is not None:
            self._add_usage(record.usage, use)
        for lost in record.lost:
            self._count_lost(lost, use)
        self._add_cost(record.cost, use)

    def _add_usage(self, usage: Usage, use: Labels) -> None:
        estimated = "true" if usage.estimated else "false"
        self._tokens[*use, "input", estimated].value += usage.input
        self._tokens[*use, "output", estimated].value += usage.output
        if usage.cached:
            self._cached[use].value += usage.cached
        if usage.reasoning:
            self._reasoning[use].value += usage.reasoning

    def _add_cost(self, cost: int | None, use: Labels) -> None:
        if cost is None:
            self._unpriced[use].value += 1
        elif cost:
            self._cost[use].value += cost

    def _count_lost(self, lost: Attempt, use: Labels) -> None:
        usage: Usage | None = lost.usage
        if usage is not None:
            model, _, group, caller = use
            self._wasted[model, lost.deployment, group, caller].value += usage.input + usage.output

    def count_bill(self, use: Labels, usage: Usage, cost: int | None) -> None:
        """Count the usage of a response that was made in the background. Its request was counted without usage.

        ``use`` is the model, the deployment, the caller's group and the caller.
        """
        model, deployment, group, caller = use
        use = (model, deployment, group, caller if self._callers else "")
        self._add_usage(usage, use)
        self._add_cost(cost, use)

    def observe_lag(self, seconds: float) -> None:
        """Count how late the event loop was."""
        self._lag[()].observe(seconds)

    # When somebody asks.

    def watch(self, reader: Callable[[], Iterable[Reading]]) -> None:
        """Call ``reader`` for each snapshot."""
        self._readers.append(reader)

    def snapshot(self) -> Snapshot:
        """Return the values of all families."""
        return Snapshot(self._most, {**self.counts().families, **self.gauges().families})

    def counts(self) -> Snapshot:
        """Return the counters and histograms: what stays true when this process has ended."""
        families = {name: _counted(FAMILIES[name], rows) for name, rows in self._counters.items() if rows}
        for name, histograms in self._histograms.items():
            if histograms:
                families[name] = [Sample(labels, each.total, tuple(each.counts)) for labels, each in histograms.items()]
        return Snapshot(self._most, families | self._read(is_gauge=False))

    def gauges(self) -> Snapshot:
        """Return the gauges."""
        return Snapshot(self._most, self._read(is_gauge=True))

    def _read(self, *, is_gauge: bool) -> dict[str, list[Sample]]:
        """Ask all readers. One that fails is logged, and its values are missing."""
        found: dict[str, list[Sample]] = {}
        for reader in self._readers:
            try:
                for family, labels, value in reader():
                    if (family.kind is Kind.GAUGE) is is_gauge:
                        found.setdefault(family.name, []).append(Sample(labels, float(value)))
            except Exception:
                logger.exception("some metrics could not be read")
        return {name: bounded(FAMILIES[name], samples, self._most) for name, samples in found.items()}


def _counted(family: Family, rows: Rows[_Counter]) -> list[Sample]:
    parts = MICRO if family is of.COST else 1
    return [Sample(labels, each.value / parts) for labels, each in rows.items()]
