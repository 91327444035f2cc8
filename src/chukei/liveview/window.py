"""The last minute and quarter of an hour of one process, accumulated from the records of its requests."""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

from chukei.accounts.outcomes import Outcome, outcome_of
from chukei.liveview.histogram import Histogram
from chukei.liveview.part import (
    MOST_FAILURES,
    MOST_REASONS,
    MOST_REFUSALS,
    OTHER,
    USUAL,
    Part,
    PoolMember,
    Running,
    Step,
    Waiting,
)
from chukei.liveview.rings import Ring
from chukei.liveview.shares import Callers, Failure, Measure, Reason, Share
from chukei.ports import Clock
from chukei.record import Attempt, RequestRecord, RunningRequest
from chukei.request.routes import Page

SECONDS = 60
TENS = 90

DETAILS = 6
"""Steps of ten seconds in which deployments, callers and reasons are told apart: the last minute."""

MOST_DEPLOYMENTS = 1024
"""Deployments that are told apart; a configuration has far fewer."""

HALF_LIFE = 360
"""Steps of ten seconds with traffic after which what was usual counts half: an hour."""

ENOUGH = 20
"""Durations that make a usual value."""

SLOW = 2.0
"""Times its usual value from which on a duration is called slow."""

SLOWLY = 0.05
"""Weight with which slow steps change what is usual: an incident becomes usual only after an hour or so."""

UNREAD_SECONDS = 1.0
"""Seconds for which a client has not read, from which on it is called slow."""

_PAGES = frozenset(Page)
_LOST = frozenset({"cancelled", "hedge_lost"})
"""Codes of attempts that did not fail."""

# Plain texts as keys: an enumeration's members are hashed by Python code, which would be half of the cost.
_FIRST_TOKEN, _ANSWER, _GAP = Measure.FIRST_TOKEN.value, Measure.ANSWER.value, Measure.GAP.value
_CONNECT, _UPLOAD, _OWN = Measure.CONNECT.value, Measure.UPLOAD.value, Measure.OWN.value

_DECAY = 0.5 ** (1 / HALF_LIFE)


class _Detail(Struct):
    """Ten seconds. ``total`` has only what no deployment has; the rest is added up when somebody looks."""

    total: Share = field(default_factory=Share)
    left: int = 0
    deployments: dict[str, Share] = field(default_factory=dict)
    callers: Callers = field(default_factory=Callers)
    reasons: dict[tuple[Outcome, str, str], Reason] = field(default_factory=dict)


class Window:
    """Implements the Hook port: counts a finished request in its steps of time. Pages are not counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds: Ring[Step] = Ring(1.0, SECONDS, Step)
        self._tens: Ring[Step] = Ring(10.0, TENS, Step)
        self._details: Ring[_Detail] = Ring(10.0, DETAILS, _Detail, self._learn)
        self._usual: dict[str, dict[str, Histogram]] = {}
        self._failures: deque[Failure] = deque(maxlen=MOST_FAILURES)
        self._refusals: deque[Failure] = deque(maxlen=MOST_REFUSALS)

    def __call__(self, record: RequestRecord) -> None:
        """See the Hook port."""
        outcome = outcome_of(record.end, record.status)
        operation = record.operation
        if operation in _PAGES or (operation is None and outcome is Outcome.ANSWERED):
            return
        now, count = self._clock(), record.count
        second, ten, detail = self._seconds.turn(now), self._tens.turn(now), self._details.turn(now)
        usage = record.usage
        given, made = (usage.input, usage.output) if usage is not None else (0, 0)
        caller = detail.callers.of(record.caller or "")
        second.requests += count
        ten.requests += count
        caller.requests += count
        second.input += given
        ten.input += given
        caller.input += given
        caller.output += made
        if outcome is Outcome.REFUSED:
            second.refused += count
            ten.refused += count
            caller.refused += count
            self._explain(record, outcome, now, detail)
        elif outcome is Outcome.FAILED:
            second.failed += count
            ten.failed += count
            caller.failed += count
            self._explain(record, outcome, now, detail)
        elif outcome is Outcome.LEFT:
            detail.left += count
        if made:
            self._spread(now - record.duration + (record.first_token or 0.0), now, made)
        for attempt in record.tries:
            self._tried(attempt, record, outcome, detail, ten, made)
        if record.received is not None:
            detail.total.time(_UPLOAD, record.received)
            own = _own(record, record.received)
            if own is not None:
                detail.total.time(_OWN, own)

    def dialled(self, endpoint: str, seconds: float) -> None:
        """Count the time that a new connection to Azure has taken."""
        self._details.turn(self._clock()).total.time(_CONNECT, seconds)

    def _explain(self, record: RequestRecord, outcome: Outcome, now: float, detail: _Detail) -> None:
        """Count the reason of a refusal or failure, and remember the request."""
        code = record.code or (record.end.value if record.end is not None else OTHER)
        failure = Failure(
            at=now,
            request_id=record.request_id,
            caller=record.caller,
            operation=record.operation,
            model=record.model,
            deployment=record.deployment,
            status=record.status,
            code=code,
            rule=record.rule,
            end=record.end.value if record.end is not None else None,
        )
        key = (outcome, code, record.rule or "")
        if key not in detail.reasons and len(detail.reasons) >= MOST_REASONS:
            key = (outcome, OTHER, "")
        reason = detail.reasons.get(key)
        if reason is None:
            detail.reasons[key] = Reason(record.count, failure)
        else:
            reason.count += record.count
            reason.last = failure
        (self._failures if outcome is Outcome.FAILED else self._refusals).appendleft(failure)

    def _tried(
        self, attempt: Attempt, record: RequestRecord, outcome: Outcome, detail: _Detail, ten: Step, made: int
    ) -> None:
        """Count an attempt at a deployment. A caller's own mistake is no failure of the deployment."""
        name = attempt.deployment
        if name not in detail.deployments and len(detail.deployments) >= MOST_DEPLOYMENTS:
            name = OTHER
        share = detail.deployments.get(name)
        if share is None:
            share = detail.deployments[name] = Share()
        share.asked += 1
        code = attempt.code
        if code in _LOST:
            return
        answers = attempt is record.answering
        if code is not None and not (answers and outcome is Outcome.REFUSED):
            if code not in share.codes and len(share.codes) >= MOST_REASONS:
                code = OTHER
            share.failed += 1
            share.codes[code] = share.codes.get(code, 0) + 1
        if not answers or record.status != 200:
            return
        share.output += made
        if not record.stream:
            share.time(_ANSWER, attempt.seconds)
            return
        share.time(_FIRST_TOKEN, attempt.seconds)
        ten.first.add(attempt.seconds)
        gap = _gap(record, made)
        if gap is not None:
            share.time(_GAP, gap)

    def _spread(self, begin: float, end: float, tokens: float) -> None:
        """Count tokens in the steps in which they were generated, as if at a steady pace."""
        for ring in (self._seconds, self._tens):
            for index, part in ring.covering(begin, end):
                ring.steps[index].output += tokens * part

    def _learn(self, ended: _Detail) -> None:
        """Learn what is usual of each deployment. Steps without traffic change nothing, slow ones little."""
        for name, share in ended.deployments.items():
            for measure in USUAL:
                found = share.times.get(measure)
                if found is None:
                    continue
                usual = self._usual.setdefault(name, {}).setdefault(measure, Histogram())
                before, middle = usual.percentile(0.5, least=ENOUGH), found.percentile(0.5)
                slow = before is not None and middle is not None and middle > SLOW * before
                usual.decay(_DECAY)
                usual.merge(found, SLOWLY if slow else 1.0)

    def part(
        self,
        running: Iterable[RunningRequest],
        pool: dict[str, PoolMember],
        *,
        lag: float = 0.0,
        connections: int = 0,
        draining: bool = False,
    ) -> Part:
        """Return what this process knows now. ``running`` are its running requests, ``pool`` its deployments."""
        now = self._clock()
        for ring in (self._seconds, self._tens, self._details):
            ring.turn(now)
        detail = _Detail()
        for each in self._details.steps:
            _add_detail(detail, each)
        for share in detail.deployments.values():
            detail.total.merge(share)
        found = Part(
            covered=min(now - self._began, (DETAILS - 1) * 10 + now % 10),
            up=now - self._began,
            lag=lag,
            connections=connections,
            draining=draining,
            seconds=[_copy(step) for step in self._seconds.steps],
            tens=[_copy(step) for step in self._tens.steps],
            total=detail.total,
            left=detail.left,
            deployments=detail.deployments,
            usual=self._usual,
            callers=detail.callers,
            reasons={"\n".join(key): _aged(reason, now) for key, reason in detail.reasons.items()},
            failures=[_aged_failure(failure, now) for failure in self._failures],
            refusals=[_aged_failure(failure, now) for failure in self._refusals],
            running=Running(),
            pool=pool,
        )
        for request in running:
            self._add_running(found, request, now)
        return found

    def _add_running(self, found: Part, request: RunningRequest, now: float) -> None:
        """Add a running request, and the tokens of its stream in the steps in which they were generated."""
        total, caller = found.running, found.callers.of(request.caller or "")
        slow = request.unread >= UNREAD_SECONDS
        total.requests += 1
        total.streams += request.stream
        total.slow += slow
        caller.open += 1
        caller.slow += slow
        if request.deployment is None:
            total.unplaced += 1
            return
        place = total.deployments.setdefault(request.deployment, Waiting())
        place.open += 1
        if not request.stream:
            place.whole += 1
            place.oldest = max(place.oldest, request.age)
            return
        if request.first_token is None:
            place.waiting += 1
            place.longest = max(place.longest, request.age)
            return
        place.silent = max(place.silent, request.silent)
        place.output += request.tokens
        begin = now - request.age + request.first_token
        for ring, steps in ((self._seconds, found.seconds), (self._tens, found.tens)):
            for index, part in ring.covering(begin, now):
                steps[index].output += request.tokens * part


def _own(record: RequestRecord, received: float) -> float | None:
    """Return the relay's own time before it asked the first deployment."""
    return max(record.tries[0].started - received, 0.0) if record.tries else None


def _gap(record: RequestRecord, made: int) -> float | None:
    """Return the mean time between two tokens. Reasoning came before the first one, and a slow client's time is no
    deployment's."""
    visible = made - (record.usage.reasoning if record.usage is not None else 0)
    if record.first_token is None or visible < 2:
        return None
    return max(record.duration - record.first_token - record.client_wait, 0.0) / (visible - 1)


def _add_detail(into: _Detail, detail: _Detail) -> None:
    into.total.merge(detail.total)
    into.left += detail.left
    for name, share in detail.deployments.items():
        into.deployments.setdefault(name, Share()).merge(share)
    into.callers.merge(detail.callers)
    for key, reason in detail.reasons.items():
        count = into.reasons[key].count if key in into.reasons else 0
        into.reasons[key] = Reason(count + reason.count, reason.last)


def _copy(step: Step) -> Step:
    return Step(step.requests, step.refused, step.failed, step.input, step.output, Histogram(dict(step.first.counts)))


def _aged(reason: Reason, now: float) -> Reason:
    return Reason(reason.count, _aged_failure(reason.last, now))


def _aged_failure(failure: Failure, now: float) -> Failure:
    return replace(failure, at=now - failure.at)
