"""From a call to an answer that has begun: choose a deployment, connect, and turn to another while nothing was sent.

Nothing has been promised to the client yet, but perhaps a comment to keep its connection alive. So whatever goes wrong
here can be tried elsewhere without its knowing, within bounds: a number of attempts, a deadline, and a budget for all
requests together. Every deployment that was asked is on the record with what it may have cost.
"""

from collections.abc import Coroutine, Mapping

from chukei.accounts.estimate import load_of
from chukei.azure import RESPONSES
from chukei.config import Settings
from chukei.errors import RelayError, Unavailable, UpstreamError
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
from chukei.upstream.hedge import first_to_speak
from chukei.upstream.refusals import error_of_event

RETRY_RESERVE = 100
"""So many retries may be saved up: when a deployment dies, all that it was working on move at once."""

HEDGE_RESERVE = 10
"""So many hedged requests may be saved up."""

_TOLD_APART = frozenset({CallerKind.KEY, CallerKind.USER, CallerKind.APPLICATION})
"""Callers that have a name of their own. Behind any other name there may be many."""


class Failover:
    """Opens answers. It keeps what is learnt from one request for the next."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        upstream: Upstream,
        credentials: Mapping[str, Credential],
        clock: Clock,
        board: Board | None = None,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.clock = clock
        self.client = DeploymentClient(upstream, credentials, settings.stream, clock)
        self.stateful_ids = StatefulIds(board)
        self.session_header = settings.pool.session_header.encode()
        share = settings.pool.retry_share
        self.retries = Budget(share, reserve=RETRY_RESERVE, per_second=1.0, saved=RETRY_RESERVE)
        self.hedges = Budget(settings.pool.hedge_share, reserve=HEDGE_RESERVE)

    async def open(self, call: Call, record: RequestRecord, model: Model | None = None) -> LeasedAnswer:
        """Return an answer that has begun. ``model`` is the one that is meant as it is for the caller.

        Raises:
            CallerError: no deployment could answer this request, or there is no such model.
            Unavailable: none can take it now.
            UpstreamError: those that could were asked, and failed.
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
    """One request's way through the deployments."""

    def __init__(self, failover: Failover, call: Call, record: RequestRecord, model: Model) -> None:
        self._failover = failover
        self._call = call
        self._record = record
        self._model = model
        self._several = len(model.deployments) > 1
        self._cost = load_of(call, model)
        who = record.who
        self._source = Source(who.name if who is not None and who.kind in _TOLD_APART else None, call.raw)
        self._key: int | None = None
        self._continuations: list[Continuation] = []
        self._at_home = False
        self._leases: list[Lease] = []
        self._asked: list[tuple[Lease, Attempt]] = []
        self._counted = 0
        self._without: list[Member] = []  # those who said that they do not know what is to be continued
        self._last_error: UpstreamError | None = None  # by the last one that said something else
        self._held: LeasedAnswer | None = None
        self._won: LeasedAnswer | None = None
        settings = failover.settings
        self._limit = settings.upstream.answer_seconds
        if call.stream and call.operation.generates:  # pictures and sounds are made before anything is sent of them
            self._limit = model.first_token_seconds or settings.stream.first_token_seconds
        self._whole = max(self._limit, settings.pool.deadline_seconds) if call.stream else self._limit
        self._deadline = failover.clock() + self._whole

    async def run(self) -> LeasedAnswer:
        """Ask one deployment after the other."""
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
        """Let go of what is not delivered, and put on the record whose answer this is."""
        if self._held is not None and self._held is not self._won:
            self._held.drop()
        for lease in self._leases:
            # Most have been given back; a try that was cancelled before it ran could not do so itself.
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
        self._continuations = affinity.continued(call)
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
        """Keep a place until it is given back, with the model as it is for this caller."""
        lease.model = self._model
        self._leases.append(lease)
        return lease

    def _next(self, error: UpstreamError) -> Lease:
        """Choose who is asked after a failure.

        Raises:
            RelayError: nobody is: what the client is told.
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
            # What a deployment was working on when its breaker opened is stranded there, and all of it may move: it is
            # a bounded lot. The budget is for failures of deployments to which requests are still sent.
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
        """Choose who else may know what the request continues; one that said nothing of it may have it."""
        tried = [lease.member for lease in self._leases]
        lease = self._failover.pool.choose_holder(
            self._model.name, now, cost=self._cost, tried=tried, without=self._without, source=self._source
        )
        if lease is None:
            last = self._last_error or error
            raise self._final(last, judge(last).fault)
        return self._hold(lease)

    def _final(self, error: UpstreamError, fault: Fault) -> RelayError:
        """Return what the client is told when nobody else is asked."""
        if not self._several or not judge(error).moves or self._at_home:
            return error
        now = self._failover.clock()
        refusal = self._failover.pool.refusal(self._model.name, now, cost=self._cost, source=self._source)
        if refusal is not None and fault is not Fault.MISPLACED:
            return refusal
        if len(self._record.tries) > 1 and fault not in (Fault.MISPLACED, Fault.BUSY):
            # OpenAI's clients would try again at once, and all of this would begin anew. A 429 they wait for.
            error.headers[:] = [field for field in error.headers if field[0] != b"x-should-retry"]
            error.headers.append((b"x-should-retry", b"false"))
        return error

    # Asking.

    async def _ask(self, lease: Lease) -> LeasedAnswer:
        after = self._hedge_after(lease)
        if after is None:
            return await self._try(lease)
        answer = await first_to_speak(self._try(lease), after, self._second)
        for other, attempt in self._asked:
            if attempt is not answer.attempt and attempt.code in (None, CANCELLED):
                if attempt.code is not None:  # else it had spoken in the same moment
                    other.outrun(self._failover.clock(), attempt.seconds)
                attempt.code = "hedge_lost"
        return answer

    def _hedge_after(self, lease: Lease) -> float | None:
        """Return after how many seconds of silence a second deployment is asked, or None where none will be."""
        settings, call = self._failover.settings.pool, self._call
        if not (settings.hedge_share and self._several and call.stream and call.operation.generates):
            return None
        # What is continued would grow twice where both know it; and most likely only one does.
        return None if self._continuations else lease.member.percentile(0.95)

    def _second(self) -> Coroutine[None, None, LeasedAnswer] | None:
        """Ask a second deployment beside the first, if the budget and the pool have room."""
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
        attempt = Attempt(lease.deployment.name, hedge=hedge)
        self._asked.append((lease, attempt))
        record.tries.append(attempt)
        output = failover.settings.stream.thinking_seconds if call.stream else 0.0
        waits = Waits.within(self._deadline - failover.clock(), self._limit, self._whole, output)
        try:
            answer = await failover.client.ask(lease, call, record.request_id, attempt, waits)
            self._refuse_failure(answer)
        except UpstreamError as error:
            self._note(lease, error)
            raise
        lease.answered(failover.clock(), attempt.seconds if call.stream else None, answer.opened.answer.headers)
        return answer

    def _note(self, lease: Lease, error: UpstreamError) -> None:
        """Count a failure, of either of a hedged pair."""
        fault = judge(error).fault
        if fault is Fault.MISPLACED:
            self._without.append(lease.member)
            return
        self._last_error = error
        if fault in (Fault.FAILED, Fault.MISCONFIGURED):
            self._counted += 1

    def _refuse_failure(self, answer: LeasedAnswer) -> None:
        """Count a stream that begins with the upstream's own error event as a failure, but keep it.

        On the Responses API such a stream tells more than an error status could, so it is what the client gets if
        no other deployment does better.

        Raises:
            UpstreamError: what the event says, where another deployment might do better.
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
        """Remember who made what a later request may continue, and for whom."""
        opened, call = answer.opened, self._call
        if call.operation is not RESPONSES:
            return
        made = opened.stream.response_id if opened.stream is not None else affinity.made(opened.first)
        owner = affinity.owner_of(self._record.who)
        for known in (*(each.id for each in self._continuations), *([made] if made else [])):
            self._failover.stateful_ids.remember(known, answer.lease.deployment.identity, owner)
