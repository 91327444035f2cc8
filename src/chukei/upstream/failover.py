"""Failover: choose a deployment, connect, and try another one until an answer begins.

At this point the client has received at most comments that keep its connection alive. So a failure can be retried
elsewhere without the client noticing, within three bounds: a number of attempts, a deadline, and a retry budget shared
by all requests. The record lists every deployment that was asked, with the usage that it may have charged.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING

from chukei.accounts.estimate import load_of
from chukei.accounts.objects import owner_of
from chukei.config import Settings
from chukei.errors import RelayError, Unavailable, UpstreamError
from chukei.ids import new_span_id
from chukei.model import Model
from chukei.objects.references import ENCRYPTED
from chukei.objects.registry import Objects
from chukei.pool import Fault, Lease, Member, Pool, Source, judge
from chukei.ports import Clock, Credential, Upstream
from chukei.record import Attempt, RequestRecord
from chukei.request.call import Call
from chukei.upstream import affinity
from chukei.upstream.attempt import CANCELLED, DeploymentClient, LeasedAnswer
from chukei.upstream.budget import Budget
from chukei.upstream.connect import Waits
from chukei.upstream.hedge import first_to_answer
from chukei.upstream.kept import NAMED, Kept, is_missing
from chukei.upstream.refusals import error_of_event, is_refusal, without_repeat

if TYPE_CHECKING:  # it is imported with the first request that refers to an object
    from chukei.objects.homes import Home

RETRY_RESERVE = 100
"""Retries that the budget accumulates at most: when a deployment dies, all its requests move at once."""

HEDGE_RESERVE = 10
"""Hedged requests that the budget accumulates at most."""


LATE_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds of the pauses after which a deployment is asked again for what it has just made and does not find yet."""


class Failover:
    """Opens answers. It keeps the budgets and the state that requests share; after a reload those of ``before``.

    ``objects`` are the known objects, such as responses that later requests continue.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        upstream: Upstream,
        credentials: Mapping[str, Credential],
        clock: Clock,
        objects: Objects | None = None,
        before: "Failover | None" = None,
    ) -> None:
        self.settings, self.pool, self.clock = settings, pool, clock
        self.late_pauses: Sequence[float] = LATE_PAUSES
        self.session_header = settings.pool.session_header.encode()
        # Whether callers may have made files, which chats then may not name of each other.
        self.owns_files = settings.objects.model is not None
        self.objects: Objects = before.objects if before else objects or Objects()
        fresh = Budget(1.0, reserve=RETRY_RESERVE, per_second=1.0, saved=RETRY_RESERVE)
        self.retries: Budget = before.retries if before else fresh
        self.hedges: Budget = before.hedges if before else Budget(1.0, reserve=HEDGE_RESERVE)
        self.retries.adjust(settings.pool.retry_share)
        self.hedges.adjust(settings.pool.hedge_share)
        known = before.client.known if before else None
        passing = settings.upstream.passing
        self.client: DeploymentClient = DeploymentClient(upstream, credentials, settings.stream, clock, known, passing)

    async def open(
        self,
        call: Call,
        record: RequestRecord,
        model: Model | None = None,
        owners: Sequence[str] = (),
        through: Upstream | None = None,
    ) -> LeasedAnswer:
        """Return an answer that has begun. ``model`` is the requested model with the caller's policy applied.

        ``owners`` are the owners of the objects that the caller may use, that of new ones first; without them it may
        use its own. ``through`` sends this request, instead of the upstream that all share: a session's own WebSockets.

        Raises:
            CallerError: no deployment could ever answer this request, the model does not exist, or the request refers
                to an object of another caller.
            Unavailable: no deployment can take the request now.
            UpstreamError: the deployments that were asked have failed.
        """
        model = model or self.pool.model(call.model)
        record.model = model.name
        self.retries.earn()
        self.hedges.earn()
        search = _Search(self, call, record, model, owners or (owner_of(record.who),), through)
        try:
            return await search.run()
        finally:
            search.settle()


class _Search:
    """One request's search for a deployment that answers."""

    def __init__(
        self,
        failover: Failover,
        call: Call,
        record: RequestRecord,
        model: Model,
        owners: Sequence[str],
        through: Upstream | None = None,
    ) -> None:
        self._failover = failover
        self._through = through
        self._call = call
        self._record = record
        self._model = model
        self._several = len(model.deployments) > 1
        self._cost = load_of(call, model)
        named = record.who.name if record.who is not None and record.who.kind in NAMED else None
        self._source = Source(named, call.raw)
        self._key: int | None = None
        refuses = failover.settings.objects.unknown == "refuse"
        shared = self._several or named is not None
        self._kept = Kept(failover.objects, call, owners, shared=shared, files=failover.owns_files, refuses=refuses)
        self._at_home = False
        self._pauses = iter(failover.late_pauses)
        self._waited = False
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
                await self._learn(self._won)
                return self._won
            except UpstreamError as error:
                if self._call.background and not is_refusal(error):
                    raise without_repeat(error) from None
                try:
                    lease = await self._once_more(error) or self._next(error)
                except RelayError:
                    if self._held is None:
                        raise
                    self._won = self._held
                    return self._won

    async def _learn(self, won: LeasedAnswer) -> None:
        """Record what the answer leaves at its deployment. If the request is stopped meanwhile, nobody gets it."""
        try:
            if self._kept.adopts:
                await self._kept.adopt(won)
            self._kept.learn(won, self._model.name)
        except BaseException:
            won.drop()
            raise

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
        failover, kept = self._failover, self._kept
        home = await kept.home()
        lease = self._at(home) if home is not None else None
        if lease is not None:
            return self._hold(lease)
        if self._several:
            self._key = affinity.key_of(self._call, failover.settings.pool.affinity, failover.session_header)
        return self._choose()

    def _at(self, home: "Home") -> Lease | None:
        """Choose the deployment that keeps what the request refers to; None if another one serves it too.

        Raises:
            CallerError: the model has no deployment there.
            Unavailable: the deployment cannot take the request now.
        """
        pool, name, reference = self._failover.pool, self._model.name, home.reference
        if not pool.keeps(name, home.identity):
            if reference.needed and reference.param != ENCRYPTED:  # of which only the service can tell
                from chukei.objects.errors import without_deployment

                raise without_deployment(reference.id, reference.param, name)
            return None
        if not self._several:
            return None
        now = self._failover.clock()
        try:
            lease = pool.choose_home(name, home.identity, now, cost=self._cost, source=self._source)
        except Unavailable:
            if reference.needed:
                raise
            return None
        self._at_home = reference.needed
        return lease

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

    async def _once_more(self, error: UpstreamError) -> Lease | None:
        """Choose the same deployment again, after a pause, if what it does not find was only just made."""
        failover, last = self._failover, self._leases[-1].deployment
        if not is_missing(error) or not await self._kept.may_be_late(waited=self._waited):
            return None
        pause, now = next(self._pauses, None), failover.clock()
        if pause is None or now + pause >= self._deadline or not (self._waited or failover.retries.spend(now)):
            return None
        self._waited = True
        await asyncio.sleep(pause)
        try:
            lease = failover.pool.choose_home(
                self._model.name, last.identity, failover.clock(), cost=self._cost, source=self._source
            )
        except Unavailable:
            return None
        return self._hold(lease) if lease is not None else None

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
            return without_repeat(error)
        return error

    # Asking.

    def _ask(self, lease: Lease) -> Coroutine[None, None, LeasedAnswer]:
        after = self._hedge_after(lease)
        return self._try(lease) if after is None else self._race(lease, after)

    async def _race(self, lease: Lease, after: float) -> LeasedAnswer:
        """Ask a deployment, and after some seconds of silence a second one."""
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
        if self._through is not None:
            return None  # its answers could come by the same socket
        # A continued conversation would be extended twice if both deployments store it; most likely only one does.
        return None if self._kept.needed or call.background else lease.member.percentile(0.95)

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
            answer = await failover.client.ask(lease, call, record.request_id, attempt, waits, trace, self._through)
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
        if self._call.background:  # a second deployment would make a second response
            return
        error = error_of_event(stream.cause or stream.failure)
        if judge(error).fault is Fault.CALLER:
            return
        answer.broke(error)
        if self._held is not None:
            self._held.drop()
        self._held = answer
        raise error
