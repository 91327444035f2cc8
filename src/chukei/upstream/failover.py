"""Failover: choose a deployment, connect, and try another one until an answer begins.

At this point the client has received at most comments that keep its connection alive. So a failure can be retried
elsewhere without the client noticing, within three bounds: a number of attempts, a deadline, and a retry budget shared
by all requests. The record lists every deployment that was asked, with the usage that it may have charged.
"""

from collections.abc import Coroutine, Mapping

from chukei.accounts.estimate import load_of
from chukei.azure import RESPONSES
from chukei.config import Settings
from chukei.errors import RelayError, Unavailable, UpstreamError
from chukei.ids import new_span_id
from chukei.model import CallerKind, Model
from chukei.pool import Fault, Lease, Member, Pool, Source, judge
from chukei.ports import Board, Clock, Credential, Upstream
from chukei.record import Attempt, RequestRecord
from chukei.request.call import Call
from chukei.upstream import affinity
from chukei.upstream.affinity import Continuation, StatefulIds
from chukei.upstream.attempt import CANCELLED, DeploymentClient, LeasedAnswer
from chukei.upstream.budget import Budget
from chukei.upstream.connect import Waits
from chukei.upstream.hedge import first_to_answer
from chukei.upstream.refusals import error_of_event

RETRY_RESERVE = 100
"""Retries that the budget accumulates at most: when a deployment dies, all its requests move at once."""

HEDGE_RESERVE = 10
"""Hedged requests that the budget accumulates at most."""

_NAMED = frozenset({CallerKind.KEY, CallerKind.USER, CallerKind.APPLICATION})
"""Kinds of callers with a name of their own. Callers of other kinds share a name."""


class Failover:
    """Opens answers. It keeps the budgets and the state that requests share; after a reload those of ``before``."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        upstream: Upstream,
        credentials: Mapping[str, Credential],
        clock: Clock,
        board: Board | None = None,
        before: "Failover | None" = None,
    ) -> None:
        self.settings, self.pool, self.clock = settings, pool, clock
        self.session_header = settings.pool.session_header.encode()
        self.stateful_ids: StatefulIds = before.stateful_ids if before else StatefulIds(board)
        fresh = Budget(1.0, reserve=RETRY_RESERVE, per_second=1.0, saved=RETRY_RESERVE)
        self.retries: Budget = before.retries if before else fresh
        self.hedges: Budget = before.hedges if before else Budget(1.0, reserve=HEDGE_RESERVE)
        self.retries.adjust(settings.pool.retry_share)
        self.hedges.adjust(settings.pool.hedge_share)
        known = before.client.known if before else None
        self.client: DeploymentClient = DeploymentClient(upstream, credentials, settings.stream, clock, known)

    async def open(self, call: Call, record: RequestRecord, model: Model | None = None) -> LeasedAnswer:
        """Return an answer that has begun. ``model`` is the requested model with the caller's policy applied.

        Raises:
            CallerError: no deployment could ever answer this request, or the model does not exist.
            Unavailable: no deployment can take the request now.
            UpstreamError: the deployments that were asked have failed.
        """
        model = model or self.pool.model(call.model)
        record.model = model.name
        self.retries.earn()
        self.hedges.earn()
        search = _Search(self, call, record, model)
        try:
            return await search.run()
        finally:
            search.settle()


class _Search:
    """One request's search for a deployment that answers."""

    def __init__(self, failover: Failover, call: Call, record: RequestRecord, model: Model) -> None:
        self._failover = failover
        self._call = call
        self._record = record
        self._model = model
        self._several = len(model.deployments) > 1
        self._cost = load_of(call, model)
        who = record.who
        self._source = Source(who.name if who is not None and who.kind in _NAMED else None, call.raw)
        self._key: int | None = None
        self._continuations: list[Continuation] = []
        self._at_home = False
        self._leases: list[Lease] = []
        self._asked: list[tuple[Lease, Attempt]] = []
        self._counted = 0
        self._without: list[Member] = []  # deployments that do not store the state to be continued
        self._last_error: UpstreamError | None = None  # the last error other than "not stored here"
        self._held: LeasedAnswer | None = None
        self._won: LeasedAnswer | None = None
        settings = failover.settings
        self._limit = settings.upstream.answer_seconds
        if call.stream and call.operation.generates:  # images and sound are generated before their first byte is sent
            self._limit = model.first_token_seconds or settings.stream.first_token_seconds
        self._whole = max(self._limit, settings.pool.deadline_seconds) if call.stream else self._limit
        self._deadline = failover.clock() + self._whole

    async def run(self) -> LeasedAnswer:
        """Ask one deployment after another."""
        lease = await self._first()
        while True:
            try:
                self._won = await self._ask(lease)
                self._learn_home(self._won)
                return self._won
            except UpstreamError as error:
                try:
                    lease = self._next(error)
                except RelayError:
                    if self._held is None:
                        raise
                    self._won = self._held
                    return self._won

    def settle(self) -> None:
        """Release all leases except the winner's, and record the deployment that answers."""
        if self._held is not None and self._held is not self._won:
            self._held.drop()
        for lease in self._leases:
            # Most are released already, except that of an attempt that was cancelled before it ran.
            if self._won is None or lease is not self._won.lease:
                lease.release(self._failover.clock())
        record = self._record
        if record.tries:
            shown = self._won.attempt if self._won is not None else record.tries[-1]
            record.answering, record.deployment, record.usage = shown, shown.deployment, shown.usage
            record.upstream_request_id, record.region = shown.upstream_request_id, shown.region
            record.spilled = shown.spilled

    # Choosing.

    async def _first(self) -> Lease:
        failover, call = self._failover, self._call
        pool, settings = failover.pool, failover.settings.pool
        self._continuations = affinity.continuations_of(call)
        if self._continuations:
            identity = await failover.stateful_ids.find(self._continuations, affinity.owner_of(self._record.who))
            if identity is not None and self._several:
                lease = pool.choose_home(
                    self._model.name, identity, failover.clock(), cost=self._cost, source=self._source
                )
                if lease is not None:
                    self._at_home = True
                    return self._hold(lease)
        if self._several:
            self._key = affinity.key_of(call, settings.affinity, failover.session_header)
        return self._choose()

    def _choose(self) -> Lease:
        failover = self._failover
        tried = [lease.member for lease in self._leases]
        now, name = failover.clock(), self._model.name
        lease = failover.pool.choose(name, now, cost=self._cost, tried=tried, key=self._key, source=self._source)
        return self._hold(lease)

    def _hold(self, lease: Lease) -> Lease:
        """Remember a lease, to release it later, and set its model to the caller's."""
        lease.model = self._model
        self._leases.append(lease)
        return lease

    def _next(self, error: UpstreamError) -> Lease:
        """Choose the next deployment after a failure.

        Raises:
            RelayError: the error for the client, if no other deployment is asked.
        """
        fault = (verdict := judge(error)).fault
        now, settings = self._failover.clock(), self._failover.settings.pool
        if not self._several or not verdict.moves or self._at_home or now >= self._deadline:
            raise self._final(error, fault)
        if fault is Fault.MISPLACED:
            return self._next_holder(error, now)
        retries = self._failover.retries
        spent = False
        if fault in (Fault.FAILED, Fault.MISCONFIGURED):
            # Requests that a deployment was serving when its circuit breaker opened are stranded. All of them may move,
            # since their number is bounded. The budget applies to failures of deployments that still get requests.
            stranded = self._leases[-1].stranded
            if self._counted >= settings.attempts or not (stranded or retries.spend(now)):
                raise self._final(error, fault)
            spent = not stranded
        try:
            return self._choose()
        except Unavailable:
            if spent:
                retries.give_back()
            raise self._final(error, fault) from None

    def _next_holder(self, error: UpstreamError, now: float) -> Lease:
        """Choose another deployment that may store the continued state: one that has not denied it."""
        tried = [lease.member for lease in self._leases]
        lease = self._failover.pool.choose_holder(
            self._model.name, now, cost=self._cost, tried=tried, without=self._without, source=self._source
        )
        if lease is None:
            last = self._last_error or error
            raise self._final(last, judge(last).fault)
        return self._hold(lease)

    def _final(self, error: UpstreamError, fault: Fault) -> RelayError:
        """Return the error for the client when no other deployment is asked."""
        if not self._several or not judge(error).moves or self._at_home:
            return error
        now = self._failover.clock()
        refusal = self._failover.pool.refusal(self._model.name, now, cost=self._cost, source=self._source)
        if refusal is not None and fault is not Fault.MISPLACED:
            return refusal
        if len(self._record.tries) > 1 and fault not in (Fault.MISPLACED, Fault.BUSY):
            # OpenAI's clients would retry at once and repeat the whole search. After a 429 they wait.
            error.headers[:] = [field for field in error.headers if field[0] != b"x-should-retry"]
            error.headers.append((b"x-should-retry", b"false"))
        return error

    # Asking.

    async def _ask(self, lease: Lease) -> LeasedAnswer:
        after = self._hedge_after(lease)
        if after is None:
            return await self._try(lease)
        answer = await first_to_answer(self._try(lease), after, self._second)
        for other, attempt in self._asked:
            if attempt is not answer.attempt and attempt.code in (None, CANCELLED):
                if attempt.code is not None:  # else it answered at the same moment
                    other.outrun(self._failover.clock(), attempt.seconds)
                attempt.code = "hedge_lost"
        return answer

    def _hedge_after(self, lease: Lease) -> float | None:
        """Return the seconds of silence before a hedged request, or None for no hedging."""
        settings, call = self._failover.settings.pool, self._call
        if not (settings.hedge_share and self._several and call.stream and call.operation.generates):
            return None
        # A continued conversation would be extended twice if both deployments store it; most likely only one does.
        return None if self._continuations else lease.member.percentile(0.95)

    def _second(self) -> Coroutine[None, None, LeasedAnswer] | None:
        """Ask a second deployment in parallel, if the hedging budget and the pool allow it."""
        hedges = self._failover.hedges
        if not hedges.spend(self._failover.clock()):
            return None
        try:
            return self._try(self._choose(), hedge=True)
        except Unavailable:
            hedges.give_back()
            return None

    async def _try(self, lease: Lease, *, hedge: bool = False) -> LeasedAnswer:
        """Ask one deployment, up to its first output."""
        failover, call, record = self._failover, self._call, self._record
        attempt = Attempt(lease.deployment.name, hedge=hedge, started=failover.clock() - record.arrived)
        trace = record.trace
        if trace is not None and not trace.foreign:
            attempt.span_id = new_span_id()
        self._asked.append((lease, attempt))
        record.tries.append(attempt)
        output = failover.settings.stream.thinking_seconds if call.stream else 0.0
        waits = Waits.within(self._deadline - failover.clock(), self._limit, self._whole, output)
        try:
            answer = await failover.client.ask(lease, call, record.request_id, attempt, waits, trace)
            self._refuse_failure(answer)
        except UpstreamError as error:
            self._count_failure(lease, error)
            raise
        lease.answered(failover.clock(), attempt.seconds if call.stream else None, answer.opened.answer.headers)
        return answer

    def _count_failure(self, lease: Lease, error: UpstreamError) -> None:
        """Count a failed attempt, hedged or not."""
        fault = judge(error).fault
        if fault is Fault.MISPLACED:
            self._without.append(lease.member)
            return
        self._last_error = error
        if fault in (Fault.FAILED, Fault.MISCONFIGURED):
            self._counted += 1

    def _refuse_failure(self, answer: LeasedAnswer) -> None:
        """Treat a stream that begins with an error event as a failure, but hold it.

        On the Responses API such a stream contains more information than an error status. The client gets it if no
        other deployment answers.

        Raises:
            UpstreamError: the event's error, if another deployment might succeed.
        """
        stream = answer.opened.stream
        if not self._several or stream is None or stream.failure is None or not stream.failed_first:
            return
        error = error_of_event(stream.cause or stream.failure)
        if judge(error).fault is Fault.CALLER:
            return
        answer.broke(error)
        if self._held is not None:
            self._held.drop()
        self._held = answer
        raise error

    def _learn_home(self, answer: LeasedAnswer) -> None:
        """Remember which deployment stores the response that a later request may continue, and for which owner."""
        opened, call = answer.opened, self._call
        if call.operation is not RESPONSES:
            return
        made = opened.stream.response_id if opened.stream is not None else affinity.response_id_of(opened.first)
        owner = affinity.owner_of(self._record.who)
        for known in (*(each.id for each in self._continuations), *([made] if made else [])):
            self._failover.stateful_ids.remember(known, answer.lease.deployment.identity, owner)
